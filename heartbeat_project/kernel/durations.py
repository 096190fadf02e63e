"""Durations: from minutes as people enter them, and into words (pure)."""

from datetime import timedelta
from decimal import Decimal
from functools import lru_cache


@lru_cache(maxsize=1024)  # in a storm thousands of alerts have the same values
def minutes(value: Decimal | float) -> timedelta:
    """Return a duration from minutes; 0.1 is six seconds."""
    return timedelta(seconds=float(value) * 60)


def in_words(duration: timedelta) -> str:
    """Return a duration in words, in at most two units: `1 day 2 hours`, `5 minutes`, `6 seconds`."""
    parts = []
    for part in _parts(max(0, round(duration.total_seconds()))):
        if part:
            parts.append(part)
        elif parts:
            break
    return " ".join(parts[:2]) or "0 seconds"


def exactly(duration: timedelta) -> str:
    """Return a duration that somebody set in words, in as many units as it takes: `1 day 1 minute`."""
    return " ".join(part for part in _parts(max(0, round(duration.total_seconds()))) if part) or "0 seconds"


@lru_cache(maxsize=1024)  # as above
def _parts(seconds: int) -> tuple[str, ...]:
    """Return days, hours, minutes and seconds in words; an empty text if there are none of a unit."""
    parts = []
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        parts.append(f"{count} {name}{'' if count == 1 else 's'}" if count else "")
    return tuple(parts)
