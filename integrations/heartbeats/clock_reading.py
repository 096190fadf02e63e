"""A reading of the database's clock, by which each process sets its own."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from heartbeat_project.kernel import clock


class Reading(NamedTuple):
    """A row of read_clock.sql: the database's time, the newest time seen before, and how far the clock was set back.

    `latest_at` is None before a worker has noted the first time. `set_back` is the sum of all steps back, `unmoved` the
    part of it by which some heartbeats are still to be moved (None: no part).
    """

    at: datetime
    latest_at: datetime | None
    set_back: timedelta
    unmoved: timedelta | None

    @property
    def is_before_a_step_that_nobody_claimed(self) -> bool:
        """Return whether the clock was set back by a step that no worker has claimed: what is stored is ahead of it."""
        return self.latest_at is not None and self.at < self.latest_at - clock.TOLERANCE


def clock_parameters(*, now: datetime | None = None) -> dict[str, Any]:
    """Return the parameters of read_clock.sql."""
    return {"now": now, "offset": clock.database_offset()}


def set_clock(reading: Reading, *, asked: float) -> timedelta:
    """Set this process's clock by a reading; return by how much it is ahead of what this process expected.

    `asked` is when the reading was asked for, in seconds of the monotonic clock.
    """
    return clock.set_by_database(reading.at, asked=asked, set_back=reading.set_back, unmoved=reading.unmoved)
