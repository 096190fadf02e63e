"""The only reader of the clock: this process's time, set by the database's clock.

The reference is the database's clock. Each process reads it once a second and continues from there with its own
monotonic clock, so that a machine whose clock is wrong, or is set while the process runs, writes correct times. Until
the first reading, a process uses the machine's own clock.

For tests only: HEARTBEAT_TEST_CLOCK names a file that moves clocks. Each of its lines is a word and a number of
seconds. The word `all` moves every process and the database's clock as this module reads it; any other word moves the
machine's clock for the processes that have it in their command line (`asgi` for web, `engine`, `delivery`, `beat`).
Without the variable, none of this code runs.
"""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

# A larger difference means that a clock is wrong or was set; a slow answer or a busy machine stays below it.
TOLERANCE: Final = timedelta(seconds=2)
# PostgreSQL and Python round to microseconds, and both ends of a reading are rounded.
_ROUNDING: Final = timedelta(milliseconds=1)
_TEST_FILE: Final = os.environ.get("HEARTBEAT_TEST_CLOCK", "")
_READ_EVERY: Final = 0.25  # seconds


class Setting(NamedTuple):
    """The database's time at one reading of time.monotonic() (seconds), and the steps of its clock so far.

    `set_back` is the total by which the database's clock was set back. `unmoved` is the part of it by which stored
    times may still have to be moved; None if all of them were moved.
    """

    at: datetime
    monotonic: float
    set_back: timedelta = timedelta()
    unmoved: timedelta | None = None

    def time_at(self, monotonic: float) -> datetime:
        """Return the database's time at another reading of time.monotonic()."""
        return self.at + timedelta(0, monotonic - self.monotonic)  # a keyword would take twice as long


_setting: Setting | None = None


def now() -> datetime:
    """Return the present instant, aware, in UTC; read it once at the edge and hand it down as `now`."""
    setting = _setting
    return machine_now() if setting is None else setting.time_at(time.monotonic())


def setting() -> Setting | None:
    """Return the last setting of this process's clock; None before the first."""
    return _setting


def machine_now() -> datetime:
    """Return the time of this machine's own clock."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one place


def skew() -> timedelta:
    """Return how far this machine's clock is ahead of the database's (negative: behind); zero until it is known."""
    setting = _setting
    return timedelta() if setting is None else machine_now() - setting.time_at(time.monotonic())


def set_by_database(
    at: datetime, *, asked: float, set_back: timedelta = timedelta(), unmoved: timedelta | None = None
) -> timedelta:
    """Set this process's clock: the database read `at` between `asked` (time.monotonic(), seconds) and this call.

    Returns how far `at` is ahead of the time that this process expected, without the steps that `set_back` counts. If
    that is more than TOLERANCE, the database's clock was set, or this process or its machine was paused.
    """
    global _setting  # noqa: PLW0603 - one clock for each process
    machine, answered = machine_now(), time.monotonic()
    old = _setting
    took = timedelta(seconds=answered - asked)

    def agrees(then: datetime) -> bool:
        return then - took - _ROUNDING <= at <= then + _ROUNDING

    is_known = old is not None and old.set_back == set_back and agrees(old.time_at(answered))
    # A slow answer leaves a wide margin, in which a machine's wrong clock would seem right: then keep the old setting.
    if agrees(machine) and (took <= TOLERANCE or not is_known):
        # Take the machine's clock itself, so that all processes of a machine agree to the microsecond.
        new = Setting(machine, answered, set_back, unmoved)
    elif old is not None and is_known:
        new = old._replace(unmoved=unmoved)  # this reading is not more precise than the old one
    else:
        new = Setting(at, (asked + answered) / 2, set_back, unmoved)
    _setting = new
    if old is None:
        return timedelta()
    return new.time_at(answered) - old.time_at(answered) + (set_back - old.set_back)


def database_offset() -> timedelta:
    """Return the offset by which a test moves the database's clock; zero outside of tests."""
    return timedelta()


def _moved_by_file() -> tuple[Callable[[], datetime], Callable[[], timedelta]]:
    """Return the functions that replace `machine_now` and `database_offset` and follow the test's file."""
    path, command = Path(_TEST_FILE), " ".join(sys.argv)
    read_at, process_offset, common_offset = float("-inf"), timedelta(), timedelta()

    def read(*, every: float) -> None:
        nonlocal read_at, process_offset, common_offset
        if time.monotonic() - read_at < every:
            return
        read_at = time.monotonic()
        try:
            lines = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        except OSError:
            lines = []
        moves = [(word, timedelta(seconds=float(seconds))) for word, seconds in lines]
        common_offset = sum((offset for word, offset in moves if word == "all"), timedelta())
        process_offset = sum((offset for word, offset in moves if word == "all" or word in command), timedelta())

    def machine() -> datetime:
        read(every=_READ_EVERY)
        return datetime.now(UTC) + process_offset  # noqa: TID251 - this is the one place

    def database() -> timedelta:
        read(every=0.0)  # always fresh: no process may read the old offset after another read the new one
        return common_offset

    return machine, database


if _TEST_FILE:
    machine_now, database_offset = _moved_by_file()
