"""Time in which we could not hear does not count as silence."""

from datetime import datetime

from django.db import connection, transaction

from accounts.models import Organization
from escalation.services.notices import write_owner_notice
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.sql import statement
from integrations.models import Outage


def move_deadlines(*, now: datetime, limit: int = 5_000) -> None:
    """Move the deadlines of all timers that ran through an outage of ours by its length, in batches.

    Each batch is one transaction with the mark of how far it got, so that a crash goes on where it stopped. The
    Owners get one message when it is done.
    """
    while True:
        with transaction.atomic():
            outage = Outage.objects.select_for_update(skip_locked=True).filter(done_at=None).order_by("id").first()
            if outage is None:
                return
            length = in_words(outage.ended_at - outage.started_at)
            with connection.cursor() as cursor:
                cursor.execute(
                    statement("integrations", "move_by_outage"),
                    {
                        "after": outage.moved_through,
                        "limit": limit,
                        "started_at": outage.started_at,
                        "ended_at": outage.ended_at,
                        "text": f"We could not hear pings for {length}; the deadline was moved by that time.",
                    },
                )
                last_id, moved = cursor.fetchone()
            outage.moved_count += moved
            if last_id is None:
                outage.done_at = now
                _tell_owners(outage, length=length, now=now)
            else:
                outage.moved_through = last_id
            outage.save(update_fields=["moved_through", "moved_count", "done_at"])


def _tell_owners(outage: Outage, *, length: str, now: datetime) -> None:
    for organization in Organization.objects.filter(created_at__lt=outage.ended_at):
        write_owner_notice(
            organization.pk,
            subject=f"Heartbeat could not hear pings for {length}",
            text=(
                f"From {outage.started_at:%Y-%m-%d %H:%M:%S} to {outage.ended_at:%Y-%m-%d %H:%M:%S} UTC ({length}) "
                "Heartbeat was not running or could not store pings. That time does not count as silence: running "
                "deadlines were moved by it. A job that failed in that time is noticed that much later."
            ),
            now=now,
        )
