"""Times as people read them, and text that fits one line (pure)."""

import unicodedata
import zoneinfo
from datetime import UTC, datetime, tzinfo


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


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters, as a mail header can hold it."""
    clean = "".join(" " if unicodedata.category(character) in {"Cc", "Zl", "Zp"} else character for character in text)
    return " ".join(clean.split())
