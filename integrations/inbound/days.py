"""Inbound events by day: each day has a partition, which is dropped when it is old.

The default partition takes events whose day has none, so that no event is refused; a day that has events there gets no
partition of its own, and they are deleted row by row.
"""

import logging
from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.db import DatabaseError, connection, transaction

from integrations.inbound.mails import KEPT_FOR

log = logging.getLogger(__name__)

DAYS_AHEAD: Final = 7
# An event that comes in waits behind a statement that waits for the table's lock. After 500 ms it gives way.
LOCK_TIMEOUT: Final = "500ms"
_TABLE: Final = "integrations_inboundevent"


def keep_days(*, now: datetime) -> None:
    """Make the partitions of the coming days, and drop those past KEPT_FOR; what fails is tried again later."""
    today = now.astimezone(UTC).date()
    existing = _days()
    for number in range(DAYS_AHEAD + 1):
        day = today + timedelta(days=number)
        if day not in existing:
            start, end = (datetime(at.year, at.month, at.day, tzinfo=UTC) for at in (day, day + timedelta(days=1)))
            bounds = f"FROM ('{start.isoformat()}') TO ('{end.isoformat()}')"
            _change(f"CREATE TABLE {partition_of(day)} PARTITION OF {_TABLE} FOR VALUES {bounds}")
    for day in existing:
        if day < (now - KEPT_FOR).astimezone(UTC).date():
            _change(f"DROP TABLE {partition_of(day)}")


def partition_of(day: date) -> str:
    """Return the name of a day's partition."""
    return f"{_TABLE}_{day:%Y%m%d}"


def _days() -> set[date]:
    """Return the days that have a partition."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(%s)", [_TABLE])
        names = [name.rpartition("_")[2] for (name,) in cursor.fetchall()]
    return {datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC).date() for name in names if name.isdecimal()}


def _change(sql: str) -> None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            cursor.execute(sql)
    except DatabaseError as error:
        log.warning("inbound events: %s failed, and will be tried again: %s", sql.partition(" PARTITION")[0], error)
