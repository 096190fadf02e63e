"""Receipts: what a provider reports later about a message that it had accepted."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from accounts.models import ContactMethod
from alerting.models import TimelineEntry
from escalation.models import EscalationRun, Notification
from escalation.services.delivery import _go_on_after_failure

_Status = Notification.Status


def record_delivered(message_id: UUID, *, provider_id: str, now: datetime) -> bool:
    """Write down that the message reached the person; return whether this was news."""
    with transaction.atomic():
        mine = _waiting(message_id, provider_id=provider_id)
        found = list(mine.select_related("user"))
        written = mine.update(
            status=_Status.DELIVERED,
            provider_id=provider_id,
            accepted_at=Coalesce("accepted_at", now),
            next_attempt_at=None,
            last_error="",
        )
        _tell_timelines(found if written else [], TimelineEntry.Kind.TOLD, "delivered", now=now)
    return written > 0


def record_undelivered(message_id: UUID, *, provider_id: str, error: str, now: datetime) -> bool:
    """Write down that the message did not reach the person after all, and go on as after any failure.

    Returns whether this was news. What was delivered or failed before stays what it was.
    """
    error = error.replace("\x00", "")[:1_000]
    with transaction.atomic():
        # The runs first, as delivery does: two failures at the end of a walk must see each other.
        runs = EscalationRun.objects.select_for_update(no_key=True, of=("self",)).select_related("alert")
        locked = {run.pk: run for run in runs.filter(notifications__pk=message_id).order_by("pk")}
        mine = _waiting(message_id, provider_id=provider_id)
        found = list(mine.select_related("user"))
        written = mine.update(status=_Status.FAILED, provider_id=provider_id, next_attempt_at=None, last_error=error)
        if not written:
            return False
        _tell_timelines(found, TimelineEntry.Kind.TOLD_FAILED, f"failed: {error}", now=now)
        for notification in found:
            run = locked.get(notification.run_id or 0)
            if notification.kind == Notification.Kind.PAGE and run is not None:
                _go_on_after_failure(notification, run, now=now)
    return True


def _waiting(message_id: UUID, *, provider_id: str) -> QuerySet[Notification, Notification]:
    """Return the message if a receipt still says something new about it.

    A receipt may overtake the answer that it follows: then the message is still being sent, and its id not yet known.
    """
    still = Q(status=_Status.ACCEPTED, provider_id=provider_id) | Q(status=_Status.SENDING)
    return Notification.objects.filter(still, pk=message_id)


def _tell_timelines(found: list[Notification], kind: str, what: str, *, now: datetime) -> None:
    lines: list[Any] = []
    for row in found:
        if row.alert_id is not None:
            channel = dict(ContactMethod.Kind.choices).get(row.channel, row.channel)
            text = f"{channel} to {row.user} ({row.label}): {what}"
            lines.append(TimelineEntry(alert_id=row.alert_id, at=now, kind=kind, text=text))
    TimelineEntry.objects.bulk_create(lines)
