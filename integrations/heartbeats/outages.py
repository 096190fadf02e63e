"""Our own outages: time in which pings could not be received does not count as silence."""

import logging
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import InterfaceError, OperationalError, connection, transaction

from escalation.notifications.notices.operator import first_owner, notify_operator
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wording import moment, zone
from integrations.models.outages import ClockStep, Outage

log = logging.getLogger(__name__)

# A shorter outage is a restart, of which the operator knows.
WORTH_A_NOTICE: Final = timedelta(seconds=60)
MAX_MERGED: Final = 10_000  # outages that are merged into one at once


def record_outage(*, started_at: datetime, ended_at: datetime, refused_pings: int = 0) -> Outage | None:
    """Store that pings could not be received between two instants; return None if there is no time between them.

    The next tick recalculates the deadlines that ran through the outage; until then nothing is judged. A pulse that
    ends an outage writes the row itself, see record_pulse.sql.
    """
    if ended_at <= started_at:
        return None
    return Outage.objects.create(started_at=started_at, ended_at=ended_at, refused_pings=refused_pings)


def move_deadlines(*, now: datetime, limit: int = 5_000) -> None:
    """Recalculate the deadlines of all timers that ran through an outage (see timing.after_outage), in batches.

    Each batch is one transaction with the mark of how far it came, so that after a crash the next call goes on there.
    Outages are applied in their order, and those that follow each other without a break are merged: while pings are
    refused, each second adds an outage, and a million heartbeats take some ten seconds. The operator is notified of an
    outage that was long, or in which pings were refused.
    """
    while True:
        with transaction.atomic():
            outage = _next_outage()
            if outage is None:
                return
            if outage.moved_through == 0:
                _merge_following(outage)
            last_id, moved, has_long = _move_batch(outage, limit=limit)
            outage.moved_count += moved
            outage.mail_due |= has_long
            if last_id is None:
                outage.done_at = now
                try:
                    with transaction.atomic():
                        _notify_operator(outage, now=now)
                except (OperationalError, InterfaceError):
                    raise
                except Exception:
                    # Not raised: nothing is judged until the outage is done.
                    log.exception("the operator could not be notified of the outage %s", outage)
            else:
                outage.moved_through = last_id
            outage.save(
                update_fields=["ended_at", "refused_pings", "moved_through", "moved_count", "mail_due", "done_at"]
            )


def _next_outage() -> Outage | None:
    """Lock and return the oldest outage that is not applied; None if there is none, or another worker applies it.

    None as well while deadlines are moved back after a step of the clock: outages were moved at once, so the two are
    not by the same time yet.
    """
    oldest = Outage.objects.filter(done_at=None).order_by("id").values_list("pk", flat=True)[:1]
    # If it is locked, the next outage must not be applied instead: outages change a timer in their order.
    outage = Outage.objects.select_for_update(skip_locked=True).filter(pk__in=list(oldest), done_at=None).first()
    if outage is None or ClockStep.objects.filter(done_at=None, stage=ClockStep.Stage.HEARTBEATS).exists():
        return None
    return outage


def _merge_following(outage: Outage) -> None:
    """Merge into this outage those after it that begin by its end; none of them is applied to any heartbeat yet."""
    later = (
        Outage.objects.select_for_update(skip_locked=True)
        .filter(done_at=None, moved_through=0, pk__gt=outage.pk)
        .order_by("id")
    )
    merged_ids: list[int] = []
    for other in later[:MAX_MERGED]:
        if not outage.started_at <= other.started_at <= outage.ended_at:
            break
        outage.ended_at = max(outage.ended_at, other.ended_at)
        outage.refused_pings += other.refused_pings
        merged_ids.append(other.pk)
    Outage.objects.filter(pk__in=merged_ids).delete()


def _move_batch(outage: Outage, *, limit: int) -> tuple[int | None, int, bool]:
    """Return the last id of the batch (None: there was none), how many moved, and whether one is to be mailed about."""
    parameters: dict[str, Any] = {
        "after": outage.moved_through,
        "limit": limit,
        "started_at": outage.started_at,
        "ended_at": outage.ended_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "move_by_outage"), parameters)
        last_id, moved, has_long = cursor.fetchone()
    return last_id, moved, has_long


def _notify_operator(outage: Outage, *, now: datetime) -> None:
    """Notify the operator of an outage that was long, or in which a ping was refused; at most once an hour."""
    length = outage.ended_at - outage.started_at
    if length < WORTH_A_NOTICE and not outage.refused_pings:
        return
    owner = first_owner()
    time_zone = zone("UTC") if owner is None else zone(owner.time_zone)
    pings = "1 ping was" if outage.refused_pings == 1 else f"{outage.refused_pings:,} pings were"
    refused = f" {pings} refused (answered 503)." if outage.refused_pings else ""
    notify_operator(
        "outage",
        subject=f"Heartbeat could not receive pings for {in_words(length)}",
        text=f"From {moment(outage.started_at, zone=time_zone)} until {moment(outage.ended_at, zone=time_zone)} "
        f"({in_words(length)}) Heartbeat was not running or could not store pings.{refused} This time does not count "
        "as silence: a heartbeat whose ping was expected then waits for its next one, every other deadline moved by "
        "that time. If you did not stop Heartbeat yourself, look into the logs of the web process and the database.",
        now=now,
        part_of_standstill=True,
    )
