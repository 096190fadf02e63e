"""Receipts: what a provider reports later about a message that it had accepted."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce

from accounts.services.failing import Refusal, record_working
from alerting.models import TimelineEntry
from escalation.models import Notification
from escalation.services.failing import note_refusals
from escalation.services.outcomes import CHANNEL_NAMES, go_on_after_failures, lock_runs

_Status = Notification.Status


def record_delivered(message_id: UUID, *, provider_id: str, now: datetime) -> bool:
    """Write down that the message reached the person; return whether this was news."""
    with transaction.atomic():
        found = _waiting(message_id, provider_id=provider_id)
        _write(
            found, _Status.DELIVERED, provider_id=provider_id, accepted_at=Coalesce("accepted_at", now), last_error=""
        )
        _tell_timelines(found, TimelineEntry.Kind.TOLD, "delivered", now=now)
        record_working({row.contact_method_id for row in found if row.contact_method_id is not None})
    return bool(found)


def record_undelivered(
    message_id: UUID, *, provider_id: str, error: str, bad_address: bool = False, now: datetime
) -> bool:
    """Write down that the message did not reach the person after all, and go on as after any failure.

    `bad_address`: the report is about the address. Returns whether this was news. What was delivered or failed before
    stays what it was.
    """
    error = error.replace("\x00", "")[:1_000]
    with transaction.atomic():
        # The runs first, as delivery does: two failures at the end of a walk must see each other.
        runs = lock_runs([message_id])
        found = _waiting(message_id, provider_id=provider_id)
        _write(found, _Status.FAILED, provider_id=provider_id, last_error=error)
        _tell_timelines(found, TimelineEntry.Kind.TOLD_FAILED, f"failed: {error}", now=now)
        if found:
            go_on_after_failures([notification.pk for notification in found], runs, now=now)
        if bad_address:
            refused = {
                row.contact_method_id: Refusal(row.contact_method_id, row.address, error)
                for row in found
                if row.contact_method_id is not None and not row.about_failing
            }
            note_refusals(list(refused.values()), now=now)
    return bool(found)


def _waiting(message_id: UUID, *, provider_id: str) -> list[Notification]:
    """Return, locked, what travels in the message and of which a receipt still says something new.

    A receipt may overtake the answer that it follows: then the message is still being sent, and its id not yet known.
    """
    still = Q(status=_Status.ACCEPTED, provider_id=provider_id) | Q(status=_Status.SENDING)
    carried = Notification.objects.filter(still, envelope=message_id)
    return list(carried.select_for_update(no_key=True, of=("self",)).select_related("user", "group").order_by("id"))


def _write(found: list[Notification], status: str, **fields: Any) -> None:
    carried = Notification.objects.filter(pk__in=[notification.pk for notification in found])
    carried.update(status=status, next_attempt_at=None, **fields)


def _tell_timelines(found: list[Notification], kind: str, what: str, *, now: datetime) -> None:
    TimelineEntry.objects.bulk_create(
        TimelineEntry(
            alert_id=row.alert_id,
            at=now,
            kind=kind,
            text=f"{CHANNEL_NAMES.get(row.channel, row.channel)} to {row.addressee}: {what}",
        )
        for row in found
        if row.alert_id is not None
    )
