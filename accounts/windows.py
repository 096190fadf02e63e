"""When a contact method is used: weekly windows, delay and repeats (pure).

A window is stored as `{"days": ["mon", …], "from": "22:00", "to": "06:00"}`. It begins on each of its days and, when
its end is not after its beginning, ends on the day after. No windows at all mean: at any time.
"""

import re
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any, Final, Self

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_WINDOWS: Final = 20
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])", re.ASCII)
_WRITTEN: Final = re.compile(r"([a-z ,-]+?)\s+([0-9:]+)\s*-\s*([0-9:]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of local time that begins on each of some weekdays (0 is Monday)."""

    days: tuple[int, ...]
    start: time
    end: time

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Self:
        """Return the window from its stored form; raise ValueError with what is wrong with it."""
        days, start, end = stored.get("days"), stored.get("from"), stored.get("to")
        if not isinstance(days, Sequence) or isinstance(days, str) or not days:
            raise ValueError("A window needs at least one day.")
        unknown = [day for day in days if day not in DAYS]
        if unknown:
            raise ValueError(f"“{unknown[0]}” is not a day. Use {', '.join(DAYS)}.")
        return cls(tuple(sorted({DAYS.index(day) for day in days})), _clock(start), _clock(end))

    def dump(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"days": [DAYS[day] for day in self.days], "from": f"{self.start:%H:%M}", "to": f"{self.end:%H:%M}"}

    def covers(self, local: datetime) -> bool:
        """Answer whether a moment, given in the person's own time, lies in the window."""
        moment, today, yesterday = local.time(), local.weekday(), (local.weekday() - 1) % 7
        if self.start < self.end:
            return today in self.days and self.start <= moment < self.end
        return (today in self.days and moment >= self.start) or (yesterday in self.days and moment < self.end)

    def __str__(self) -> str:
        return f"{_days_in_words(self.days)} {self.start:%H:%M}-{self.end:%H:%M}"


def is_open(windows: Sequence[Mapping[str, Any]], *, at: datetime, time_zone: str) -> bool:
    """Answer whether a contact method with these stored windows is used at this moment."""
    local = at.astimezone(_zone(time_zone))
    return not windows or any(Window.load(window).covers(local) for window in windows)


def times_of_use(
    *,
    at: datetime,
    time_zone: str,
    delay_minutes: float = 0,
    repeat_count: int = 0,
    repeat_gap_minutes: float = 0,
    windows: Sequence[Mapping[str, Any]] = (),
) -> list[datetime]:
    """Return when a contact method is used for a step that reaches its person at `at`.

    After its delay, then `repeat_count` more times with the gap between; moments outside its windows are left out, so
    the list may be empty: then this method does not reach the person in this step.
    """
    first = at + timedelta(seconds=round(float(delay_minutes) * 60))
    gap = timedelta(seconds=round(float(repeat_gap_minutes) * 60))
    moments = [first + gap * number for number in range(repeat_count + 1)]
    return [moment for moment in moments if is_open(windows, at=moment, time_zone=time_zone)]


def read(text: str) -> list[dict[str, Any]]:
    """Return the stored form of what a person wrote: `Mon-Fri 08:00-18:00; Sat, Sun 22:00-06:00`.

    Raises ValueError with words that say what to write instead.
    """
    found = []
    for part in re.split(r"[;\n]", text.lower().replace("\u2013", "-")):
        if not part.strip():
            continue
        written = _WRITTEN.fullmatch(part.strip())
        if written is None:
            raise ValueError(f"“{part.strip()}” is not a window. Write for example Mon-Fri 08:00-18:00.")
        days = [DAYS[day] for day in _days(written[1])]
        found.append(Window.load({"days": days, "from": written[2], "to": written[3]}).dump())
    return found


def in_words(windows: Sequence[Mapping[str, Any]]) -> str:
    """Return stored windows as `read` takes them; nothing for any time."""
    return "; ".join(str(Window.load(window)) for window in windows)


def _clock(text: object) -> time:
    written = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    if written is None or (written[1] == "24" and written[2] != "00"):
        raise ValueError(f"“{text}” is not a time of day. Write for example 08:00.")
    return time(int(written[1]) % 24, int(written[2]))


def _days(text: str) -> list[int]:
    """Return the days of `mon-fri, sun`; a range may go over the end of the week."""
    days: list[int] = []
    for part in re.split(r"[\s,]+", re.sub(r"\s*-\s*", "-", text.strip())):
        first, _, last = part.partition("-")
        if first[:3] not in DAYS or (last and last[:3] not in DAYS):
            raise ValueError(f"“{part}” is not a day. Write for example Mon, Sat-Sun.")
        start = DAYS.index(first[:3])
        length = (DAYS.index(last[:3]) - start) % 7 if last else 0
        days += [(start + step) % 7 for step in range(length + 1)]
    return days


def _days_in_words(days: Sequence[int]) -> str:
    names = [day.title() for day in DAYS]
    if len(days) > 2 and list(days) == list(range(days[0], days[-1] + 1)):
        return f"{names[days[0]]}-{names[days[-1]]}"
    return ", ".join(names[day] for day in days)


def _zone(name: str) -> tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return UTC
