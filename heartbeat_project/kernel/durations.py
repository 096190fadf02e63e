"""Durations: minutes as people enter them, and words as people say them (pure)."""

from datetime import timedelta
from decimal import Decimal
from functools import lru_cache


@lru_cache(maxsize=1024)  # as below
def minutes(value: Decimal | float) -> timedelta:
    """Return a duration from minutes; 0.1 is six seconds."""
    return timedelta(seconds=float(value) * 60)


def in_words(duration: timedelta) -> str:
    """Return a duration as people say it, in at most two units: `1 day 2 hours`, `5 minutes`, `6 seconds`."""
    return _in_words(max(0, round(duration.total_seconds())))


@lru_cache(maxsize=1024)  # in a storm thousands of alerts say the same
def _in_words(seconds: int) -> str:
    parts = []
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 seconds"
