"""The periods that a heartbeat's history is made of: written where its state changes, and read for its pages.

The ping path writes none of them. The end of a silence is written when its alert closes, or, if somebody has closed the
alert before, by the next miss or by the upkeep; until then, whoever reads the history looks the ping up.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection

from heartbeat_project.kernel.sql import array, statement
from integrations.availability.numbers import History, Period
from integrations.models.outages import Outage
from integrations.models.periods import StatePeriod

# Of one heartbeat, in one history: a month of a job that fails four times an hour. Before the oldest: no data.
MAX_PERIODS: Final = 3_000
MAX_OUTAGES: Final = 3_000  # in one history


def begin_period(integration_id: int, kind: str, *, now: datetime) -> None:
    """Write that a heartbeat waits, or is disabled, from now on; call it when its row has the new state."""
    end_periods([integration_id], now=now)
    StatePeriod.objects.bulk_create(
        [StatePeriod(integration_id=integration_id, kind=kind, started_at=now)], ignore_conflicts=True
    )


def record_silences(ids: Sequence[int]) -> None:
    """Write that these heartbeats have just been marked missed, in the transaction that did so."""
    _execute("record_silences", {"ids": array(ids)})


def end_periods(ids: Collection[int] | None, *, now: datetime) -> int:
    """Write the ends of periods that are over, of these heartbeats or of all; return how many there were."""
    return _execute("end_periods", {"ids": None if ids is None else array(ids), "now": now})


def record_maintenance(ids: Collection[int], *, starts_at: datetime, ends_at: datetime) -> None:
    """Write that these heartbeats are in maintenance for this time."""
    if ids:
        _execute("record_maintenance", {"ids": array(ids), "starts_at": starts_at, "ends_at": ends_at})


def end_maintenance(ids: Collection[int], *, now: datetime) -> None:
    """Let the maintenance of these heartbeats end now; what has ended already stays."""
    planned = StatePeriod.objects.filter(
        integration_id__in=ids, kind=StatePeriod.Kind.MAINTENANCE, ended_at__gt=now, started_at__lt=now
    )
    planned.update(ended_at=now)


def histories(ids: Collection[int], *, since: datetime, now: datetime) -> dict[int, History]:
    """Return the history of each of these heartbeats from `since` until now, with two statements.

    It begins later if the heartbeat is younger, if what happened is past its retention, or if there was so much that
    only the newest MAX_PERIODS periods are read; before that, nothing is known.
    """
    since = max(since, now - timedelta(days=settings.ALERT_RETENTION_DAYS))
    ended = Outage.objects.filter(ended_at__gt=since, started_at__lt=now).order_by("-id")
    outages = list(ended.values_list("started_at", "ended_at")[:MAX_OUTAGES])
    with connection.cursor() as cursor:
        parameters: dict[str, Any] = {"ids": array(ids), "since": since, "limit": MAX_PERIODS}
        cursor.execute(statement("integrations", "read_periods"), parameters)
        rows = cursor.fetchall()
    periods: defaultdict[int, list[Period]] = defaultdict(list)
    begins: dict[int, datetime] = {}
    for pk, created_at, kind, started_at, ended_at in rows:
        begins[pk] = max(since, created_at)
        if kind is not None:
            periods[pk].append(Period(kind, started_at, ended_at))
    return {
        pk: History(
            periods=periods[pk],
            outages=outages,
            known_since=_known_since(periods[pk], begins=begin),
            until=now,
        )
        for pk, begin in begins.items()
    }


def _known_since(periods: Sequence[Period], *, begins: datetime) -> datetime:
    """Return from when on all periods were read: if their number is at its limit, from the end of the oldest."""
    ends = [period.ended_at for period in periods if period.ended_at is not None]
    return max(begins, min(ends)) if len(ends) >= MAX_PERIODS else begins


def delete_old_periods(*, before: datetime, limit: int) -> int:
    """Delete up to `limit` periods that ended before this moment; return their number."""
    old = StatePeriod.objects.filter(ended_at__lt=before).values_list("pk", flat=True)
    return StatePeriod.objects.filter(pk__in=list(old[:limit])).delete()[0]


def _execute(name: str, parameters: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", name), parameters)
        return int(cursor.rowcount)
