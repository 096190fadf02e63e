"""Local times as instants, with one rule for every change of the clocks (pure).

A local time means *the first instant at which clocks show it or a later one*. A time that occurs twice means its first
occurrence; a time that is skipped means the instant of the change. This keeps the order of local times: two shifts of
which one ends when the other begins never overlap and never leave a gap. (RFC 5545 agrees except for skipped times: it
moves those by the length of the gap, which would put 02:30 after 03:10.)
"""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta, tzinfo


def instant(local: datetime, zone: tzinfo) -> datetime:
    """Return the first instant (UTC) at which clocks in `zone` show the naive time `local` or a later one."""
    before = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    after = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return before if before <= after else _change(after, before, zone)


def local_time(at: datetime, zone: tzinfo) -> datetime:
    """Return the naive local time in `zone` at an instant."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _change(early: datetime, late: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which the clocks are set forward; it lies after `early` and not after `late`."""
    offset = late.astimezone(zone).utcoffset()

    def changed(seconds: int) -> bool:
        return (early + timedelta(seconds=seconds)).astimezone(zone).utcoffset() == offset

    seconds_after_early = range(int((late - early).total_seconds()) + 1)
    return early + timedelta(seconds=bisect_left(seconds_after_early, True, key=changed))
