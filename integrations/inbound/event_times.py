"""The time that a sender says an event happened at."""

from datetime import UTC, datetime
from typing import Final

_MAX_LENGTH: Final = 60
# Senders write a date near the year 1 for "never"; nothing that is monitored happened before 2000.
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
# Numbers from here on are milliseconds, then microseconds, then nanoseconds: 10^11 seconds are the year 5138.
_UNITS: Final = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def parse_time(text: str, *, now: datetime) -> datetime | None:
    """Return a time in UTC from ISO 8601, RFC 3339, or seconds or milliseconds since 1970; None for anything else.

    A time without an offset is UTC. A time after `now` becomes `now`: the clock of a sender that is fast must not make
    its events win over later ones.
    """
    text = text.strip()
    if not text or len(text) > _MAX_LENGTH or not text.isascii():
        return None
    try:
        time = _from_number(text) if text.replace(".", "", 1).isdecimal() else _from_words(text)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (LookupError, ValueError, OverflowError, OSError):
        return None
    return min(time, now) if time >= _EARLIEST else None


def _from_number(text: str) -> datetime:
    number = float(text)
    for least, unit in _UNITS:
        if number >= least:
            return datetime.fromtimestamp(number / unit, tz=UTC)
    return datetime.fromtimestamp(number, tz=UTC)


def _from_words(text: str) -> datetime:
    """Return the time of an ISO text, also as Go, Zabbix and Checkmk write it."""
    if text[10:11] in {"T", "t"}:
        text = f"{text[:10]} {text[11:]}"
    words = [word for word in text.upper().split() if word not in {"UTC", "GMT", "Z"}]
    date = words[0].replace(".", "-").replace("/", "-")
    return datetime.fromisoformat("".join([date, "T" if len(words) > 1 else "", *words[1:3]]))
