"""Bundles: one message that notifies a person of many alerts."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from alerting.models.alerts import Alert
from escalation.channels.base import AlertSnapshot, Bundle, Message
from escalation.channels.message_kinds import MessageKind
from escalation.channels.message_text import recovered_together
from escalation.engine.joining import HAS_JOINED
from escalation.engine.last_resort import TAKE_IT
from escalation.models.notifications import TO_OWNER, Notification
from escalation.responses.add_responders import ASKS_FOR_HELP
from escalation.responses.selectors import alerts_of
from heartbeat_project.kernel.wording import one_line, some_of

# Number of alerts that the subject of a bundle names.
_NAMED: Final = 2
# Characters that they may take there.
_SUBJECT: Final = 200


def alerts_in_message(message_id: UUID) -> QuerySet[Alert]:
    """Return the alerts that a claimed message is about, without those that left it before this try."""
    return alerts_of(Notification.objects.filter(message_id=message_id, status=Notification.Status.SENDING))


def reason_for_all(message_id: UUID) -> str:
    """Return why the reader is notified; "" if the reasons differ between the alerts of the message."""
    rows = Notification.objects.filter(message_id=message_id, status=Notification.Status.SENDING)
    reasons = list(rows.order_by().values_list("text", flat=True).distinct()[:2])
    return reasons[0] if len(reasons) == 1 else ""


def _why_all(kind: str, reason: str, *, count: int) -> str:
    """Return why the reader is notified of all these alerts, or what they are to do, for a bundle of this kind."""
    if not reason:
        return ""
    if kind == Notification.Kind.LAST_RESORT:
        return reason.partition("\n")[0].replace(TAKE_IT, "Take them, or call somebody", 1)
    if kind in TO_OWNER:
        return "Say that you are on it, or they open again."
    if reason.endswith(ASKS_FOR_HELP):
        return f"{reason.removesuffix(ASKS_FOR_HELP)}asks you to help with these alerts."
    if reason.endswith(HAS_JOINED):
        return "Further problems have joined these alerts."
    return f"{reason} {count} alerts are open and nobody has taken them."


def bundle_message(message: Message, listed: Sequence[AlertSnapshot], *, count: int, reason: str = "") -> Message:
    """Return the message with many alerts in it, the most important of which are listed."""
    link = f"{settings.BASE_URL}/bundles/{message.id}/"
    names = [f"#{alert.id} {one_line(alert.known_as)}" for alert in listed[:_NAMED]]
    recovered = message.kind == MessageKind.RECOVERY
    summary = {
        MessageKind.RECOVERY: recovered_together(listed, count),
        MessageKind.LAST_RESORT: f"{count} alerts reached nobody",
        MessageKind.ASSIGNMENT: f"{count} alerts assigned to you",
        MessageKind.REMINDER: f"{count} alerts that you have are not over",
    }.get(message.kind, f"{count} alerts")
    see = "See them" if recovered or message.to_owner else "See them and take them"
    bundle = Bundle(
        count=count,
        listed=listed,
        link=link,
        summary=summary,
        reason=_why_all(message.kind, reason, count=count),
    )
    mark = "[TEST] " if bundle.only_tests else ""
    return replace(
        message,
        subject=f"{mark}{summary}: {some_of(names, count=count, room=_SUBJECT)}",
        text=f"{see}: {link}",
        bundle=bundle,
    )
