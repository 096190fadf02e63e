"""Until when an alert is put on hold, as people choose it (pure)."""

from datetime import datetime, time, timedelta, tzinfo
from typing import Final

HOUR: Final = "hour"
MORNING: Final = "morning"
TIME: Final = "time"
_MORNING: Final = time(8)


def choices(*, now: datetime, zone: tzinfo) -> list[tuple[str, str]]:
    """Return what can be chosen without typing a time: key and words, in the reader's zone."""
    local, morning = now.astimezone(zone), _next_morning(now, zone=zone)
    day = "Today" if morning.date() == local.date() else "Tomorrow"
    return [
        (HOUR, f"For 1 hour, until {local + timedelta(hours=1):%H:%M}"),
        (MORNING, f"{day} at {morning:%H:%M}"),
    ]


def chosen(choice: str, at: str, *, now: datetime, zone: tzinfo) -> datetime | None:
    """Return the end of the hold; `at` is a local date and time (`2026-03-02T14:30`) for the choice TIME.

    Nothing chosen is no end. Raises ValueError for what is neither.
    """
    if not choice:
        return None
    if choice == HOUR:
        return now + timedelta(hours=1)
    if choice == MORNING:
        return _next_morning(now, zone=zone)
    if choice == TIME:
        return datetime.fromisoformat(at).replace(tzinfo=zone)
    raise ValueError(choice)


def _next_morning(now: datetime, *, zone: tzinfo) -> datetime:
    local = now.astimezone(zone)
    today = datetime.combine(local.date(), _MORNING, tzinfo=zone)
    return today if local < today else datetime.combine(local.date() + timedelta(days=1), _MORNING, tzinfo=zone)
