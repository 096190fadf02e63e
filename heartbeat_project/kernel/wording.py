"""Formats times for people, and folds, clips and cleans text (pure)."""

import re
import textwrap
import unicodedata
import zoneinfo
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from heartbeat_project.kernel.durations import in_words

WIDTH: Final = 78  # characters in a line of a mail (RFC 5322, 2.1.1)
# A shorter delay is not mentioned: “0 seconds ago” reads as if nothing were wrong.
A_WHILE: Final = timedelta(minutes=1)
# Letters and a symbol that are shown as nothing: the fillers of Hangul, and Braille without a dot.
_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_LABELLED_ADDRESS: Final = re.compile(r".{0,50}https?://\S+")
_ITEM: Final = re.compile(r"\d+\. |[^\s:][^:]{0,14}: ")
# A time as `moment` writes it. _JOINT replaces its spaces while a line is folded, so that a time is not broken.
_MOMENT: Final = re.compile(r"[A-Z][a-z]{2} \d{1,2} [A-Z][a-z]{2} \d{4}, \d\d:\d\d:\d\d \S+")
_JOINT: Final = "\x1f"


def zone(name: str) -> tzinfo:
    """Return the time zone of this name; UTC if it is unknown, because a message must not fail for that."""
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
    """Return `2 Mar 13:05`, the shortest form that somebody who was just woken cannot mistake."""
    local = at.astimezone(zone)
    return f"{local.day} {local:%b %H:%M}"


def at_weekday(at: datetime, *, zone: tzinfo) -> str:
    """Return `Mon 09:00`, for a time that is less than a week away."""
    return f"{at.astimezone(zone):%a %H:%M}"


def silent_since(last: datetime | None, *, expected_at: datetime, at: datetime, zone: tzinfo) -> str:
    """Return `Silent since 02:00:00 (expected by 03:00:00, 5 minutes ago).`, with dates if the days differ."""
    days = {moment.astimezone(zone).date() for moment in (last or at, expected_at, at)}

    def time_text(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%H:%M:%S}" if len(days) == 1 else at_night(moment, zone=zone)

    since = f"Silent since {time_text(last)}" if last else "It has never pinged"
    late = at - expected_at
    ago = f", {in_words(late)} ago" if late >= A_WHILE else ""
    return f"{since} (expected by {time_text(expected_at)}{ago})."


def folded(text: str) -> str:
    """Return a text for a mail with its long lines folded at spaces; a URL stays whole and beside its label."""
    return "\n".join(_folded(line) for line in text.split("\n"))


def _folded(line: str) -> str:
    if len(line) <= WIDTH or _LABELLED_ADDRESS.fullmatch(line):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    further = indent + ("   " if _ITEM.match(line.lstrip()) else "")
    text = textwrap.fill(
        _MOMENT.sub(lambda match: match[0].replace(" ", _JOINT), line),
        WIDTH,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
        expand_tabs=False,
        replace_whitespace=False,
    )
    return text.replace(_JOINT, " ")


def clip(text: str, length: int) -> str:
    """Return the text in at most `length` characters, with an ellipsis if it was cut."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def some_of(names: Sequence[str], *, count: int, room: int) -> str:
    """Return at least one name and as many as fit into `room` characters, and how many of `count` are left.

    Example: `a, b and 3 more`.
    """
    listed = ""
    for number in range(1, len(names) + 1):
        remaining = count - number
        more = ", ".join(names[:number]) + (f" and {remaining} more" if remaining else "")
        if listed and len(more) > room:
            break
        listed = more
    return listed


def is_visible(character: str) -> bool:
    """Answer whether a character can be seen by itself: not a space, a control or formatting character, or a mark."""
    category = unicodedata.category(character)
    return category not in {"Cc", "Cf", "Cs"} and category[0] not in "ZM" and character not in _BLANK


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters, as a mail header can hold it."""
    clean = "".join(" " if unicodedata.category(character) in {"Cc", "Zl", "Zp"} else character for character in text)
    return " ".join(clean.split())
