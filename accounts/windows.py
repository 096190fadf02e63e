"""When a contact method is used: its lowest priority, weekly windows, delay and repeats (pure).

Windows are stored as `kernel.weekly` writes them. A method without windows is used at any time.
"""

import re
import zoneinfo
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Protocol

from heartbeat_project.kernel.weekly import DAYS, NotAWindow, WeeklyWindow

MAX_WINDOWS: Final = 20
MAX_WRITTEN: Final = 200  # characters of one window in words; all days with their commas take about 80
# From the lowest to the highest; the same values as accounts.models.contact_methods.Priority.
PRIORITIES: Final = ("none", "low", "medium", "high", "critical")
_CRITICAL: Final = PRIORITIES[-1]
_WRITTEN: Final = re.compile(r"([a-z ,-]+?)\s+([0-9:]+)\s*-\s*([0-9:]+)(?:\s*\(\+\s*([0-9])\s*d\))?", re.ASCII)


class Method(Protocol):
    """The fields of a contact method that this module reads."""

    windows: Any
    from_priority: Any
    critical_outside_windows: Any
    delay_minutes: Any
    repeat_count: Any
    repeat_gap_minutes: Any


def is_used(method: Method, *, at: datetime, time_zone: str, priority: str) -> bool:
    """Return whether a contact method is used at this moment for an alert of this priority."""
    if PRIORITIES.index(priority) < PRIORITIES.index(method.from_priority):
        return False
    if priority == _CRITICAL and method.critical_outside_windows:
        return True
    return is_open(method.windows, at=at, time_zone=time_zone)


def is_open(windows: Sequence[Mapping[str, Any]], *, at: datetime, time_zone: str) -> bool:
    """Return whether `at` lies in one of these stored windows, or there are no windows.

    A window that cannot be read counts as open. Otherwise a damaged row would hold messages back.
    """
    return not windows or any(_covers(window, at, zone_of(time_zone)) for window in windows)


def times_of_use(
    method: Method, *, at: datetime, time_zone: str, priority: str, delayed: bool = True
) -> list[datetime]:
    """Return when a contact method is used for a step that notifies its person at `at`, for an alert of this priority.

    The first time is after the method's delay (at once unless `delayed`), then `repeat_count` more times with the gap
    between them. Times outside its windows are left out. If the list is empty, the method does not reach the person
    in this step.
    """
    first = at + _minutes(method.delay_minutes) if delayed else at
    gap = _minutes(method.repeat_gap_minutes)
    moments = [first + gap * number for number in range(method.repeat_count + 1)]
    return [moment for moment in moments if is_used(method, at=moment, time_zone=time_zone, priority=priority)]


def read(text: str) -> list[dict[str, Any]]:
    """Return the stored form of windows that a person wrote: `Mon-Fri 08:00-18:00; Sat, Sun 22:00-06:00`.

    Raises ValueError with a message that says what to write instead.
    """
    windows = []
    for part in re.split(r"[;\n]", text.lower().replace("\u2013", "-")):
        part = " ".join(part.split())  # noqa: PLW2901 - the expression would backtrack over runs of spaces
        if not part:
            continue
        match = _WRITTEN.fullmatch(part) if len(part) <= MAX_WRITTEN else None
        if match is None:
            raise ValueError(f"“{part[:MAX_WRITTEN]}” is not a window. Write for example Mon-Fri 08:00-18:00.")
        days = [DAYS[day] for day in _days(match[1])]
        days_later = int(match[4] or 0)
        windows.append(WeeklyWindow.of(days=days, starts=match[2], ends=match[3], days_later=days_later).dump())
    return windows


def in_words(windows: Sequence[Mapping[str, Any]]) -> str:
    """Return stored windows as text that `read` takes; "" for no windows."""
    return "; ".join(_in_words(WeeklyWindow.load(window)) for window in windows)


def zone_of(name: str) -> tzinfo:
    """Return the time zone of this name, or UTC if there is none."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return UTC


def _covers(stored: Mapping[str, Any], at: datetime, zone: tzinfo) -> bool:
    try:
        return WeeklyWindow.load(stored).covers(at, zone)
    except NotAWindow:
        return True


def _in_words(window: WeeklyWindow) -> str:
    stored = window.dump()
    text = f"{_days_in_words(sorted(window.days))} {stored['starts']}-{stored['ends']}"
    # The days are written only if the window would otherwise be read as another one.
    without_days = WeeklyWindow.load(stored | {"days_later": 0})
    return text if without_days == window else f"{text} (+{stored['days_later']} d)"


def _minutes(value: Any) -> timedelta:
    return timedelta(seconds=round(float(value) * 60))


def _days(text: str) -> list[int]:
    """Return the weekdays (0 is Monday) of a text such as `mon-fri, sun`; a range may pass the end of the week."""
    days: list[int] = []
    for part in re.split(r"[\s,]+", re.sub(r"\s*-\s*", "-", text.strip())):
        first, _, last = part.partition("-")
        if first[:3] not in _SHORT or (last and last[:3] not in _SHORT):
            raise ValueError(f"“{part}” is not a day. Write for example Mon, Sat-Sun.")
        start = _SHORT.index(first[:3])
        length = (_SHORT.index(last[:3]) - start) % 7 if last else 0
        days += [(start + step) % 7 for step in range(length + 1)]
    return days


_SHORT: Final = tuple(day[:3] for day in DAYS)


def _days_in_words(days: Sequence[int]) -> str:
    names = [day.title() for day in _SHORT]
    if len(days) > 2 and list(days) == list(range(days[0], days[-1] + 1)):
        return f"{names[days[0]]}-{names[days[-1]]}"
    return ", ".join(names[day] for day in days)
