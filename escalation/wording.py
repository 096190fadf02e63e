"""Times as people read them, what comes next, and text that fits one line (pure)."""

import re
import textwrap
import unicodedata
import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from escalation.walk import Coming
from heartbeat_project.kernel.durations import in_words

WIDTH: Final = 78
_LABELLED_ADDRESS: Final = re.compile(r".{0,50}https?://\S+")
_ITEM: Final = re.compile(r"\d+\. |[^\s:][^:]{0,14}: ")
# As `moment` writes it; and what stands for its spaces while a line is folded, so that a time stays in one piece.
_MOMENT: Final = re.compile(r"[A-Z][a-z]{2} \d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d:\d\d \S+")
_JOINT: Final = "\x1f"


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


def at_weekday(at: datetime, *, zone: tzinfo) -> str:
    """Return `Mon 09:00`, for what is less than a week away."""
    return f"{at.astimezone(zone):%a %H:%M}"


def what_next(coming: Coming | None, *, ends_when: str, at: datetime, zone: tzinfo) -> str:
    """Say in plain words what happens if nobody does anything; `ends_when`: see Alert."""
    if coming is None:
        ends = f" or {ends_when}" if ends_when else ""
        return f"No further step follows. The alert stays open until somebody takes it{ends}."
    label = one_line(coming.label)
    if coming.at <= at:
        return f"If nobody takes it, {label} will be told now."
    wait = in_words(coming.at - at + timedelta(milliseconds=500))
    return f"If nobody takes it, {label} will be told in {wait}, at {moment(coming.at, zone=zone)}."


def folded(text: str) -> str:
    """Return a text for a mail with its long lines folded at spaces; an address stays whole, and beside its label."""
    return "\n".join(_folded(line) for line in text.split("\n"))


def _folded(line: str) -> str:
    if len(line) <= WIDTH or _LABELLED_ADDRESS.fullmatch(line):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    further = indent + ("   " if _ITEM.match(line.lstrip()) else "")
    text = textwrap.fill(
        _MOMENT.sub(lambda found: found[0].replace(" ", _JOINT), line),
        WIDTH,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
        expand_tabs=False,
        replace_whitespace=False,
    )
    return text.replace(_JOINT, " ")


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters, as a mail header can hold it."""
    clean = "".join(" " if unicodedata.category(character) in {"Cc", "Zl", "Zp"} else character for character in text)
    return " ".join(clean.split())
