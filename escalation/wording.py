"""Times as people read them, what comes next, and text that fits one line (pure)."""

import unicodedata
import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo

from escalation.walk import Coming
from heartbeat_project.kernel.durations import in_words


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


def at_night(at: datetime, *, zone: tzinfo) -> str:
    """Return `2 Mar 13:05`, the shortest that cannot be mistaken by somebody who was just woken."""
    local = at.astimezone(zone)
    return f"{local.day} {local:%b %H:%M}"


def what_next(coming: Coming | None, *, at: datetime, zone: tzinfo) -> str:
    """Say in plain words what happens if nobody does anything."""
    if coming is None:
        return "No further step follows. The alert stays open until somebody takes it or the signal comes back."
    label = one_line(coming.label)
    if coming.at <= at:
        return f"If nobody takes it, {label} will be told now."
    wait = in_words(coming.at - at + timedelta(milliseconds=500))
    return f"If nobody takes it, {label} will be told in {wait}, at {moment(coming.at, zone=zone)}."


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters, as a mail header can hold it."""
    clean = "".join(" " if unicodedata.category(character) in {"Cc", "Zl", "Zp"} else character for character in text)
    return " ".join(clean.split())
