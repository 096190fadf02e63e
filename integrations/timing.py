"""Deadlines, as one formula, and durations in words (pure)."""

from datetime import datetime, timedelta
from decimal import Decimal


def minutes(value: Decimal | float) -> timedelta:
    """Return a duration from minutes; 0.1 is six seconds."""
    return timedelta(seconds=float(value) * 60)


def deadline(armed_at: datetime, *, interval_minutes: Decimal, grace_minutes: Decimal) -> datetime:
    """Return when a heartbeat armed at `armed_at` is missed: armed_at + interval + grace."""
    return armed_at + minutes(interval_minutes) + minutes(grace_minutes)


def in_words(duration: timedelta) -> str:
    """Return a duration as people say it, in at most two units: `1 day 2 hours`, `5 minutes`, `6 seconds`."""
    seconds = max(0, round(duration.total_seconds()))
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 seconds"
