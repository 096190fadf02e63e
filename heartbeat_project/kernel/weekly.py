"""Weekly windows: the same time on some weekdays, for contact methods and for shifts (pure).

A window is written as `{"days": ["friday"], "starts": "22:00", "ends": "06:00", "days_later": 1}`. It begins on each of
its days and ends `days_later` days after; `24:00` is the end of a day. Without `days_later`, an end that is not after
the start is on the next day. `kernel.local_time` has the rule for days on which the clocks change.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Any, Final, Self

from heartbeat_project.kernel.local_time import instant, local_time

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
END_OF_DAY: Final = "24:00"
MAX_DAYS_LATER: Final = 7
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)
_DAY: Final = timedelta(days=1)


class NotAWindow(ValueError):
    """A field of a window is wrong; `field` names it, and the message says what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class WeeklyWindow:
    """The same time on some weekdays (0 is Monday), until `ends` on the day that is `days_later` days later.

    The end of a day is 00:00 of the next one.
    """

    days: frozenset[int]
    starts: time
    ends: time
    days_later: int = 0

    @classmethod
    def of(cls, *, days: object, starts: object, ends: object, days_later: object = None) -> Self:
        """Return the window that these fields describe. Raises NotAWindow."""
        if not isinstance(days, Sequence) or isinstance(days, str) or not days:
            raise NotAWindow("days", "A window needs at least one day.")
        unknown = [day for day in days if day not in DAYS]
        if unknown:
            raise NotAWindow("days", f"“{unknown[0]}” is not a day. Use {', '.join(DAYS)}.")
        later = 0 if days_later is None else days_later
        if not isinstance(later, int) or isinstance(later, bool):
            raise NotAWindow("days_later", "Enter a number of days.")
        begins = _clock("starts", starts)
        is_end_of_day = ends == END_OF_DAY
        until = time.min if is_end_of_day else _clock("ends", ends)
        later = later + 1 if is_end_of_day else later or (0 if until > begins else 1)
        if not 0 <= later <= MAX_DAYS_LATER or (later == MAX_DAYS_LATER and until > begins):
            raise NotAWindow("days_later", "A window lasts at most a week.")
        return cls(frozenset(DAYS.index(day) for day in days), begins, until, later)

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Self:
        """Return the window from its written form. Raises NotAWindow."""
        return cls.of(**{name: stored.get(name) for name in ("days", "starts", "ends", "days_later")})

    def dump(self) -> dict[str, Any]:
        """Return the written form."""
        ends, days_later = self.written_end
        days = [DAYS[day] for day in sorted(self.days)]
        return {"days": days, "starts": clock_text(self.starts), "ends": ends, "days_later": days_later}

    @property
    def written_end(self) -> tuple[str, int]:
        """Return the end as it is written, with its `days_later`."""
        if self.ends == time.min and self.days_later > 0:
            return END_OF_DAY, self.days_later - 1
        return clock_text(self.ends), self.days_later

    def periods(self, starts_at: datetime, ends_at: datetime, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
        """Yield the (start, end) instants of the window, in order, that overlap `starts_at` to `ends_at`.

        Periods are half-open. The first day to look at is the one whose window could still last until `starts_at`.
        """
        day = local_time(starts_at, zone).date() - (self.days_later + 1) * _DAY
        last = local_time(ends_at, zone).date() + _DAY
        while day <= last:
            if day.weekday() in self.days:
                begins = instant(datetime.combine(day, self.starts), zone)
                ends = instant(datetime.combine(day + self.days_later * _DAY, self.ends), zone)
                if max(begins, starts_at) < min(ends, ends_at):
                    yield begins, ends
            day += _DAY

    def covers(self, at: datetime, zone: tzinfo) -> bool:
        """Return whether an instant lies in the window."""
        return any(True for _ in self.periods(at, at + timedelta(microseconds=1), zone))


def clock_text(clock: time) -> str:
    """Return a time of day as `HH:MM`, or `HH:MM:SS` if it has seconds."""
    return f"{clock:%H:%M:%S}" if clock.second else f"{clock:%H:%M}"


def _clock(field: str, text: object) -> time:
    if isinstance(text, time):
        return text
    match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise NotAWindow(field, f"“{text}” is not a time of day. Write for example 08:00.")
    return time(int(match[1]), int(match[2]), int(match[3] or 0))
