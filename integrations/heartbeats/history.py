"""The ping history: one partition for each day; days are counted by the hour, and dropped when they are old.

The default partition keeps pings whose day has no partition, so that no ping is ever refused. A day can be attached
only while the default partition holds none of its pings. So one short transaction detaches the whole default partition
(`ASIDE`), makes an empty one and attaches the days. Afterwards the pings of `ASIDE` are moved into their days, in
batches for which no incoming ping waits.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from typing import Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.backends.utils import CursorWrapper

from escalation.notifications.notices.operator import notify_operator
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wakeup import wake_now
from integrations.availability.periods import end_periods
from integrations.models.history import PingDay, PingHour
from integrations.models.outages import IngestProcess

log = logging.getLogger(__name__)

DAYS_AHEAD: Final = 7
# Pings of the last moments of a day may still be under way, and clocks of web processes differ a little.
DAY_IS_OVER_AFTER: Final = timedelta(minutes=10)
PROCESS_IS_GONE_AFTER: Final = timedelta(minutes=10)  # since its last pulse
# The default partition, and its former content while that is moved.
OVERFLOW: Final = "integrations_ping_other"
ASIDE: Final = "integrations_ping_aside"
# Incoming pings queue up behind a statement that waits for their table's lock. After 500 ms it gives way to them.
LOCK_TIMEOUT: Final = "500ms"
TRIES, PAUSE_SECONDS = 5, 0.3
# 64 blocks are about 8,000 pings: some 50 ms, and no lock that a ping waits for.
BLOCKS_AT_ONCE: Final = 64
MOVE_SECONDS: Final = 20.0
# By block numbers, which needs no index: nobody else writes to this table.
MOVE: Final = f"""
    WITH taken AS (DELETE FROM {ASIDE} WHERE ctid >= %s::tid AND ctid < %s::tid RETURNING *)
    INSERT INTO integrations_ping SELECT * FROM taken WHERE received_at >= %s
"""  # noqa: S608 - a constant
# A few pings in the default partition come from clocks that are wrong; this many mean that partitions are missing.
OVERFLOW_FILLS: Final = 10_000


def keep_history(*, now: datetime) -> None:
    """Make the partitions of the coming days, count the days that ended, and drop those past the retention.

    Rows of web processes that are gone are deleted, too. Safe to run at any time and twice at once. A step that fails
    is logged, does not stop the others, and is done by the next run. Raises only if the connection is lost.
    """
    today = now.astimezone(UTC).date()
    oldest = today - timedelta(days=settings.PING_RETENTION_DAYS)
    _attempt("making ping partitions", partial(make_partitions, now=now))
    ended = (now - DAY_IS_OVER_AFTER).astimezone(UTC).date()
    for day in PingDay.objects.filter(day__lt=ended, counted_at=None).order_by("day")[:31]:
        _attempt(f"counting {day}", partial(_count_hours, day.day, now=now))
    for day in PingDay.objects.filter(day__lt=oldest, counted_at__isnull=False).order_by("day")[:31]:
        _attempt(f"dropping {day}", partial(_drop_partition, day.day))
    if warning := overflow_warning():
        log.warning("history: %s", warning)
        notify_operator("history", subject="Pings are not being sorted into days", text=warning, now=now)
    # Of silences whose alert somebody closed before the ping came, and of heartbeats that waited for their first ping.
    _attempt("writing the ends of periods", partial(end_periods, None, now=now))
    IngestProcess.objects.filter(pulsed_at__lt=now - PROCESS_IS_GONE_AFTER).delete()
    PingHour.objects.filter(hour__lt=now - timedelta(days=settings.PING_HOURS_RETENTION_DAYS)).delete()


def make_partitions(*, now: datetime, seconds: float = MOVE_SECONDS) -> None:
    """Make the partitions of today and the coming days, and move pings of the default partition into their days.

    It also runs before the web server starts, so that the first pings find their day. Pings that cannot be moved within
    `seconds` are moved by a later call, for which it wakes the engine.
    """
    today = now.astimezone(UTC).date()
    oldest, last = today - timedelta(days=settings.PING_RETENTION_DAYS), today + timedelta(days=DAYS_AHEAD)
    ahead = [today + timedelta(days=number) for number in range(DAYS_AHEAD + 1)]
    until = time.monotonic() + seconds
    moved = _move_aside(oldest=oldest, last=last, until=until)
    _make_days(ahead, aside=moved and _overflow_has(oldest, last))
    if not _move_aside(oldest=oldest, last=last, until=until):
        wake_now("integrations.keep_history", queue="engine")


def overflow_warning() -> str:
    """Return a warning if the default partition fills, else an empty text."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM (SELECT FROM {OVERFLOW} LIMIT %s) AS rest", [OVERFLOW_FILLS])  # noqa: S608 - a constant
        if cursor.fetchone()[0] < OVERFLOW_FILLS:
            return ""
    return (
        f"{OVERFLOW_FILLS:,} or more pings are in no day's partition of the history, so they are neither counted nor "
        "dropped. Look for “history:” in the engine worker's log, and check the clocks of the web servers."
    )


def partition_of(day: date) -> str:
    """Return the name of a day's partition."""
    return f"integrations_ping_{day:%Y%m%d}"


def _attempt(step_name: str, step: Callable[[], object]) -> None:
    try:
        step()
    except InterfaceError:
        raise
    except DatabaseError:
        if connection.connection is None or connection.connection.closed:
            raise
        log.exception("history: %s failed, and will be tried again", step_name)


def _bounds(day: date) -> tuple[datetime, datetime]:
    """Return the start of a UTC day and that of the next."""
    start = datetime.combine(day, time_of_day(), tzinfo=UTC)
    return start, start + timedelta(days=1)


def _make_days(days: Iterable[date], *, aside: bool) -> None:
    """Make the missing partitions of these days; with `aside`, put the content of the default partition aside first.

    One transaction makes all of them. If that fails, each is made alone, so that one does not stop the others.
    """
    existing = set(PingDay.objects.filter(day__in=days).values_list("day", flat=True))
    missing = [day for day in days if day not in existing]
    if not missing and not aside:
        return
    try:
        # A ping of one of these days may have come meanwhile, into the default partition: a second try puts it aside.
        _retried(lambda number: _attach(missing, aside=aside or number > 0))
    except OperationalError:
        raise
    except DatabaseError:
        log.exception("history: %d days failed together, trying each alone", len(missing))
        for day in missing:
            _attempt(f"the partition of {day}", partial(_attach, [day], aside=False))


def _retried(change: Callable[[int], None]) -> None:
    """Call `change` with the number of the try until it succeeds; it fails while pings hold the lock it needs."""
    for number in range(TRIES):
        try:
            change(number)
        except DatabaseError:
            if number == TRIES - 1:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return


def _attach(days: Sequence[date], *, aside: bool) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        # Created apart and attached later: CREATE TABLE ... PARTITION OF would take a lock that inserts wait for.
        for day in days:
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {partition_of(day)} "
                "(LIKE integrations_ping INCLUDING DEFAULTS INCLUDING INDEXES)"
            )
        if aside and not _exists(cursor, ASIDE):
            cursor.execute(f"ALTER TABLE integrations_ping DETACH PARTITION {OVERFLOW}")
            cursor.execute(f"ALTER TABLE {OVERFLOW} RENAME TO {ASIDE}")
            cursor.execute(f"CREATE TABLE {OVERFLOW} PARTITION OF integrations_ping DEFAULT")
        attached = _attached(cursor)
        for day in days:
            if partition_of(day) not in attached:
                start, end = _bounds(day)
                cursor.execute(
                    f"ALTER TABLE integrations_ping ATTACH PARTITION {partition_of(day)} FOR VALUES FROM (%s) TO (%s)",
                    [start.isoformat(), end.isoformat()],
                )
        PingDay.objects.bulk_create([PingDay(day=day) for day in days], ignore_conflicts=True)


def _attached(cursor: CursorWrapper) -> set[str]:
    cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'integrations_ping'::regclass")
    return {name for (name,) in cursor.fetchall()}


def _exists(cursor: CursorWrapper, table: str) -> bool:
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
    return bool(cursor.fetchone()[0])


def _overflow_has(oldest: date, last: date) -> bool:
    """Return whether the default partition holds pings of these days; it is read whole, since it is nearly empty."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT EXISTS (SELECT FROM {OVERFLOW} WHERE received_at >= %s AND received_at < %s)",  # noqa: S608 - a constant
            [_bounds(oldest)[0], _bounds(last)[1]],
        )
        return bool(cursor.fetchone()[0])


def _move_aside(*, oldest: date, last: date, until: float) -> bool:
    """Move the pings that were put aside into their days, in batches, and return whether all of them are moved.

    Pings of other days go back to the default partition, and those past the retention are deleted. Each batch is one
    transaction, so after a crash the next call goes on where this one stopped.
    """
    with connection.cursor() as cursor:
        if not _exists(cursor, ASIDE):
            return True
        cursor.execute(f"SELECT DISTINCT (received_at AT TIME ZONE 'UTC')::date FROM {ASIDE}")  # noqa: S608 - a constant
        days = sorted(day for (day,) in cursor.fetchall() if oldest <= day <= last)
        _make_days(days, aside=False)
        # These days may have been counted without the pings that are moved now: they are counted again.
        PingDay.objects.filter(day__in=days).update(counted_at=None)
        cursor.execute("SELECT pg_relation_size(%s) / current_setting('block_size')::bigint", [ASIDE])
        blocks = int(cursor.fetchone()[0])
    for block in range(0, blocks, BLOCKS_AT_ONCE):
        if time.monotonic() > until:
            return False
        with transaction.atomic(), connection.cursor() as cursor:
            if not _exists(cursor, ASIDE):
                return True
            cursor.execute(MOVE, [f"({block},0)", f"({block + BLOCKS_AT_ONCE},0)", _bounds(oldest)[0]])
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        # Two workers may have moved pings at once; the second finds no table.
        if _exists(cursor, ASIDE):
            cursor.execute(f"SELECT EXISTS (SELECT FROM {ASIDE})")  # noqa: S608 - a constant
            if cursor.fetchone()[0]:
                return False
            cursor.execute(f"DROP TABLE {ASIDE}")
    return True


def _count_hours(day: date, *, now: datetime) -> None:
    """Count the pings of a day that ended by integration and hour."""
    start, end = _bounds(day)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("integrations", "count_hours"), {"start": start, "end": end})
        PingDay.objects.filter(day=day).update(counted_at=now)


def _drop_partition(day: date) -> None:
    """Drop a day's partition, which costs the same however many pings it holds."""

    def drop(_: int) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            _lock(cursor)
            if PingDay.objects.filter(day=day).delete()[0]:
                cursor.execute(f"DROP TABLE IF EXISTS {partition_of(day)}")
                log.info("dropped the pings of %s", day)

    _retried(drop)


def _lock(cursor: CursorWrapper) -> None:
    """Let one process at a time change partitions, and give up a lock that is not free within LOCK_TIMEOUT."""
    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('integrations.history'))")
