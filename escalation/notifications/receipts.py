"""Receipts: reports of providers about messages that they accepted earlier."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from accounts.services.failing_methods import Refusal, record_stop, record_working
from alerting.models.alerts import TimelineEntry
from escalation.models.notifications import Notification
from escalation.notifications.after_failures import go_on_after_failures, lock_runs
from escalation.notifications.notices.failing_methods import note_refusals
from escalation.notifications.timeline_names import CHANNEL_NAMES

_Status = Notification.Status


def record_delivered(message_id: UUID, *, provider_id: str, now: datetime) -> bool:
    """Record that the message reached the person; return whether this was news."""
    with transaction.atomic():
        waiting = _waiting(message_id, provider_id=provider_id)
        _notifications(waiting).update(
            status=_Status.DELIVERED,
            next_attempt_at=None,
            provider_id=provider_id,
            accepted_at=Coalesce("accepted_at", now),
            last_error="",
        )
        _write_timelines(waiting, TimelineEntry.Kind.NOTIFIED, "delivered", now=now)
        record_working({row.contact_method_id for row in waiting if row.contact_method_id is not None})
    return bool(waiting)


def record_undelivered(
    message_id: UUID, *, provider_id: str, error: str, bad_address: bool = False, stopped: bool = False, now: datetime
) -> bool:
    """Record that the message did not reach the person after all, and go on as after any failure.

    `bad_address`: the report is about the address; `stopped`: its owner sent STOP. Returns whether this was news.
    Notifications that were delivered or failed before keep their status.
    """
    error = error.replace("\x00", "")[:1_000]
    with transaction.atomic():
        # Runs before notifications, as in outcomes.record: two failures at the end of a walk must see each other.
        runs = lock_runs([message_id])
        waiting = _waiting(message_id, provider_id=provider_id)
        _notifications(waiting).update(
            status=_Status.FAILED,
            next_attempt_at=None,
            provider_id=provider_id,
            last_error=error,
            possibly_sent_at=None,
        )
        _write_timelines(waiting, TimelineEntry.Kind.NOTIFICATION_FAILED, f"failed: {error}", now=now)
        if waiting:
            go_on_after_failures([notification.pk for notification in waiting], runs, now=now)
        for address in {row.address for row in waiting if stopped}:
            record_stop(address, now=now)
        if bad_address and not stopped:
            refused = {
                row.contact_method_id: Refusal(row.contact_method_id, row.address, error)
                for row in waiting
                if row.contact_method_id is not None and not row.about_failing
            }
            note_refusals(list(refused.values()), now=now)
    return bool(waiting)


def _waiting(message_id: UUID, *, provider_id: str) -> list[Notification]:
    """Lock and return the notifications of the message that wait for a receipt.

    A receipt may overtake the provider's answer to our request: then the status is still `sending`, and the provider's
    id is not known yet.
    """
    waits = Q(status=_Status.ACCEPTED, provider_id=provider_id) | Q(status=_Status.SENDING)
    waiting = Notification.objects.filter(waits, message_id=message_id)
    return list(waiting.select_for_update(no_key=True, of=("self",)).select_related("user", "group").order_by("id"))


def _notifications(rows: list[Notification]) -> QuerySet[Notification]:
    return Notification.objects.filter(pk__in=[row.pk for row in rows])


def _write_timelines(notifications: list[Notification], kind: str, result: str, *, now: datetime) -> None:
    TimelineEntry.objects.bulk_create(
        TimelineEntry(
            alert_id=row.alert_id,
            at=now,
            kind=kind,
            text=f"{CHANNEL_NAMES.get(row.channel, row.channel)} to {row.addressee}: {result}",
        )
        for row in notifications
        if row.alert_id is not None
    )
