"""Deadlines: the one formula, and how an outage of ours changes them (pure)."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from heartbeat_project.kernel.durations import minutes

# A ping may come this much earlier or later than the last gap makes it expected: a tenth of the gap, at most 5 min.
TOLERANCE_SHARE: Final = 10
MAX_TOLERANCE: Final = timedelta(minutes=5)


def deadline(armed_at: datetime, *, interval_minutes: Decimal, grace_minutes: Decimal) -> datetime:
    """Return when a heartbeat armed at `armed_at` is missed: armed_at + interval + grace."""
    return armed_at + minutes(interval_minutes) + minutes(grace_minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A running timer: the columns of a heartbeat's row that decide when it is missed.

    `waiting` is true until the first ping after it was enabled. `excused_until` is the newest expected ping that an
    outage gave it a new interval for.
    """

    armed_at: datetime
    interval: timedelta
    grace: timedelta = timedelta()
    waiting: bool = False
    last_ping_at: datetime | None = None
    last_gap: timedelta | None = None
    excused_until: datetime | None = None

    @property
    def deadline_at(self) -> datetime:
        """Return when the heartbeat is missed."""
        return self.armed_at + self.interval + self.grace


def after_outage(timer: Timer, *, started_at: datetime, ended_at: datetime) -> Timer:
    """Return the timer after a time in which no ping could be received.

    If a ping was expected in that time, it may have been lost: the timer starts anew at the end. This happens once for
    each expected ping, or restarts in a row would put the deadline off for ever. Any other timer is moved by the part
    of the outage that it ran through. A timer that was overdue before stays overdue.
    `integrations/sql/move_by_outage.sql` does the same in SQL.
    """
    if timer.armed_at >= ended_at or timer.deadline_at <= started_at:
        return timer
    has_history = not timer.waiting and timer.last_ping_at is not None
    usual = timer.interval
    # A gap longer than the timer was a silence, not the usual one; a gap of zero would expect pings without end.
    if has_history and timer.last_gap and timedelta() < timer.last_gap <= timer.interval + timer.grace:
        usual = timer.last_gap
    since = timer.last_ping_at if has_history and timer.last_ping_at else timer.armed_at
    if timer.excused_until is not None:
        since = max(since, timer.excused_until)
    tolerance = min(usual / TOLERANCE_SHARE, MAX_TOLERANCE)
    if started_at - tolerance <= since + usual <= ended_at + tolerance:
        excused = since + usual * ((ended_at + tolerance - since) // usual)
        return replace(timer, armed_at=ended_at, excused_until=excused)
    return replace(timer, armed_at=timer.armed_at + (ended_at - max(timer.armed_at, started_at)))
