"""What clocks on the wall show, as instants (pure).

One rule for every change of the clocks: a local time means *the first instant at which clocks show it or a later one*.
A time that is shown twice means the first; a time that is passed over means the instant of the change. So the order of
local times is kept, and two shifts of which one ends where the other begins never overlap and never leave a gap.
(RFC 5545 agrees, but for times that are passed over: those it moves by the length of the gap, which would bring 02:30
behind 03:10.)
"""

from bisect import bisect_left
from datetime import UTC, datetime, timedelta, tzinfo


def instant(local: datetime, zone: tzinfo) -> datetime:
    """Return the first instant (UTC) at which clocks in `zone` show the naive time `local` or a later one."""
    before = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    after = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return before if before <= after else _change(after, before, zone)


def local_time(at: datetime, zone: tzinfo) -> datetime:
    """Return what clocks in `zone` show at an instant, as a naive time."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _change(early: datetime, late: datetime, zone: tzinfo) -> datetime:
    """Return the instant at which the clocks jump: it lies after `early`, and `late` has its offset already."""
    offset = late.astimezone(zone).utcoffset()

    def changed(seconds: int) -> bool:
        return (early + timedelta(seconds=seconds)).astimezone(zone).utcoffset() == offset

    passed_over = range(int((late - early).total_seconds()) + 1)
    return early + timedelta(seconds=bisect_left(passed_over, True, key=changed))
