"""The ping history: partitions made ahead, days counted by the hour, and old ones dropped."""

import logging
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from heartbeat_project.kernel.sql import statement
from integrations.models import Listener, PingDay, PingHour

log = logging.getLogger(__name__)

DAYS_AHEAD: Final = 7
# Pings of the last moments of a day may still be on their way; clocks of web processes differ a little.
DAY_IS_OVER_AFTER: Final = timedelta(minutes=10)
LISTENER_IS_GONE_AFTER: Final = timedelta(minutes=10)


def keep_history(*, now: datetime) -> None:
    """Make the partitions of the coming days, count the days that ended, and drop what is older than is kept.

    Web processes that are gone are forgotten, too.

    Safe to run at any time and twice at once. Each step waits at most two seconds for a lock, so that pings never queue
    up behind it; what could not be done is done the next time.
    """
    today = now.astimezone(UTC).date()
    for ahead in range(DAYS_AHEAD + 1):
        _make_partition(today + timedelta(days=ahead))
    ended = (now - DAY_IS_OVER_AFTER).astimezone(UTC).date()
    for day in PingDay.objects.filter(day__lt=ended, counted_at=None).order_by("day")[:31]:
        _count_hours(day.day, now=now)
    oldest = today - timedelta(days=settings.PING_RETENTION_DAYS)
    for day in PingDay.objects.filter(day__lt=oldest, counted_at__isnull=False).order_by("day")[:31]:
        _drop_partition(day.day)
    Listener.objects.filter(pulsed_at__lt=now - LISTENER_IS_GONE_AFTER).delete()
    PingHour.objects.filter(hour__lt=now - timedelta(days=settings.PING_HOURS_RETENTION_DAYS)).delete()


def partition_of(day: date) -> str:
    """Return the name of a day's partition."""
    return f"integrations_ping_{day:%Y%m%d}"


def _bounds(day: date) -> tuple[datetime, datetime]:
    """Return the half-open span of a UTC day."""
    start = datetime.combine(day, time(), tzinfo=UTC)
    return start, start + timedelta(days=1)


def _make_partition(day: date) -> None:
    """Make a day's partition, and move into it what the default partition had to take in its place."""
    if PingDay.objects.filter(day=day).exists():
        return
    name = partition_of(day)
    start, end = _bounds(day)
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        if PingDay.objects.filter(day=day).exists():
            return
        # Made apart and attached: that takes no lock that a ping's insert would wait for.
        cursor.execute(f"CREATE TABLE {name} (LIKE integrations_ping INCLUDING DEFAULTS INCLUDING INDEXES)")
        moved = "DELETE FROM integrations_ping_other WHERE received_at >= %s AND received_at < %s RETURNING *"
        cursor.execute(
            f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved",  # noqa: S608 - the name is made of a date
            [start, end],
        )
        cursor.execute(
            f"ALTER TABLE integrations_ping ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)",
            [start.isoformat(), end.isoformat()],
        )
        PingDay.objects.create(day=day)


def _count_hours(day: date, *, now: datetime) -> None:
    """Count the pings of a day that ended by integration and hour."""
    start, end = _bounds(day)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("integrations", "count_hours"), {"start": start, "end": end})
        PingDay.objects.filter(day=day).update(counted_at=now)


def _drop_partition(day: date) -> None:
    """Drop a day's pings at once, which costs the same however many there are."""
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        if PingDay.objects.filter(day=day).delete()[0]:
            cursor.execute(f"DROP TABLE {partition_of(day)}")
            log.info("dropped the pings of %s", day)


def _lock(cursor: CursorWrapper) -> None:
    """Let one process at a time change partitions, and wait for no lock for long."""
    cursor.execute("SET LOCAL lock_timeout = '2s'")
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('integrations.history'))")
