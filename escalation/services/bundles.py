"""Bundles: many alerts that one person is told of in one message."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db.models import Case, F, IntegerField, QuerySet, Value, When

from alerting.models import Alert, Priority
from escalation.channels.base import Bundle, Message
from escalation.models import Notification
from escalation.selectors import TO_OWNER
from escalation.wording import one_line

# A bundle lists so many alerts and says how many more there are.
LISTED: Final = 200
# Its subject names so many.
_NAMED: Final = 2


def alerts_in(envelope: UUID) -> QuerySet[Alert]:
    """Return the alerts that travelled in one message, the most important first, then what is overdue longest."""
    return _told(Notification.objects.filter(envelope=envelope))


def alerts_to_tell(envelope: UUID) -> QuerySet[Alert]:
    """Return the alerts that a claimed message tells of: those that left it before this try are not among them."""
    return _told(Notification.objects.filter(envelope=envelope, status=Notification.Status.SENDING))


def most_urgent_first(alerts: QuerySet[Alert]) -> QuerySet[Alert]:
    """Return the alerts by priority, then by how long they are overdue."""
    ranks = [When(priority=priority, then=Value(rank)) for rank, priority in enumerate(Priority.values)]
    return alerts.order_by(Case(*ranks, output_field=IntegerField()), F("expected_at").asc(nulls_last=True), "pk")


def reason_for_all(envelope: UUID) -> str:
    """Return why the reader is notified, where it is the same for all that a claimed message tells of."""
    told = Notification.objects.filter(envelope=envelope, status=Notification.Status.SENDING)
    reasons = list(told.order_by().values_list("text", flat=True).distinct()[:2])
    return reasons[0] if len(reasons) == 1 else ""


def _told(told: QuerySet[Notification]) -> QuerySet[Alert]:
    return most_urgent_first(Alert.objects.filter(pk__in=told.values("alert")))


def told_together(message: Message, listed: Sequence[Alert], *, count: int, reason: str = "") -> Message:
    """Return the message with many alerts in it, the most important of which are listed."""
    link = f"{settings.BASE_URL}/bundles/{message.id}/"
    names = [one_line(alert.source_name) for alert in listed[:_NAMED]]
    more = f" and {count - len(names)} more" if count > len(names) else ""
    recovered = message.kind == Notification.Kind.RECOVERY
    what = {
        Notification.Kind.RECOVERY: f"{count} heartbeats have recovered",
        Notification.Kind.LAST_RESORT: f"{count} alerts reached nobody",
        Notification.Kind.ASSIGNMENT: f"{count} alerts assigned to you",
        Notification.Kind.REMINDER: f"{count} alerts that you have are not over",
    }.get(Notification.Kind(message.kind), f"{count} alerts")
    see = "See them" if recovered or message.kind in TO_OWNER else "See them and take them"
    bundle = Bundle(
        count=count,
        listed=listed,
        link=link,
        reason=f"{reason} {count} alerts are open and nobody has taken them." if reason else "",
    )
    mark = "[TEST] " if bundle.only_tests else ""
    return replace(message, subject=f"{mark}{what}: {', '.join(names)}{more}", text=f"{see}: {link}", bundle=bundle)
