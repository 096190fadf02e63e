"""Times and durations as people read them (pure)."""

import unicodedata
import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo


def zone(name: str) -> tzinfo:
    """Return the time zone of this name; UTC where it is unknown, because a message must not fail over it."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return UTC


def moment(at: datetime, *, zone: tzinfo) -> str:
    """Return `Mon 2 Mar 2026, 13:05:00 CET`."""
    local = at.astimezone(zone)
    name = local.strftime("%Z")
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M:%S} {f'UTC{name}' if name[:1] in '+-' else name}"


def in_words(duration: timedelta) -> str:
    """Return a duration as people say it, in at most two units: `1 day 2 hours`, `5 minutes`, `6 seconds`."""
    seconds = max(0, round(duration.total_seconds()))
    parts = []
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 seconds"


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters, as a mail header can hold it."""
    clean = "".join(" " if unicodedata.category(character) in {"Cc", "Zl", "Zp"} else character for character in text)
    return " ".join(clean.split())
