"""Choices for the end of a hold (pure)."""

from datetime import datetime, time, timedelta, tzinfo
from typing import Final

HOUR: Final = "hour"
MORNING: Final = "morning"
TIME: Final = "time"
_MORNING: Final = time(8)  # in the reader's zone


def choices(*, now: datetime, zone: tzinfo) -> list[tuple[str, str]]:
    """Return the choices other than TIME as pairs of key and label, in the reader's zone."""
    local, morning = now.astimezone(zone), _next_morning(now, zone=zone)
    # Added before the conversion: on the days on which the clocks change, an hour on the wall is not an hour.
    in_an_hour = (now + timedelta(hours=1)).astimezone(zone)
    day = "Today" if morning.date() == local.date() else "Tomorrow"
    return [
        (HOUR, f"For 1 hour, until {in_an_hour:%H:%M}"),
        (MORNING, f"{day} at {morning:%H:%M}"),
    ]


def chosen(choice: str, at: str, *, now: datetime, zone: tzinfo) -> datetime | None:
    """Return the end of the hold, or None if `choice` is empty.

    `at` is a local date and time (`2026-03-02T14:30`) for the choice TIME. Raises ValueError for an unknown choice and
    for a time that cannot be read.
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
