"""What a miss says to people (pure)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from heartbeat_project.kernel.durations import in_words, minutes

SHORT_TEXT_LENGTH = 140  # leaves room for an alert number and a reply hint in one SMS
NAME_IN_SHORT_TEXT = 60
# The calendar module asks for a date each time, and a storm is thousands of these.
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Silence(NamedTuple):
    """The words of an alert about a heartbeat whose deadline has passed.

    `short_text` is for SMS and voice, `long_text` for e-mail and chat; `facts` are the same as rows, with times that
    can be shown in a reader's time zone. `expected_by` is the deadline in UTC to the second.
    """

    subject: str
    short_text: str
    long_text: str
    facts: list[dict[str, Any]]
    expected_by: str


def silence(
    *,
    name: str,
    interval_minutes: Decimal,
    grace_minutes: Decimal,
    last_ping_at: str | None,
    deadline_at: str,
    overdue: timedelta,
    link: str,
) -> Silence:
    """Return what is said about a silence; times are RFC 3339 in UTC, as the store can give them at no cost."""
    every = in_words(minutes(interval_minutes))
    interval = f"{every} (and {in_words(minutes(grace_minutes))} grace)" if grace_minutes else every
    expected_by, last = _in_utc(deadline_at), last_ping_at
    shown = name if len(name) <= NAME_IN_SHORT_TEXT else f"{name[: NAME_IN_SHORT_TEXT - 1]}…"
    shortly = f"{last[11:16]} UTC on {last[8:10]} {MONTHS[int(last[5:7]) - 1]}" if last else "never"
    return Silence(
        subject=f"{name} is silent",
        short_text=f"{shown} is silent. Expected every {every}, last ping {shortly}.",
        long_text=f"The heartbeat “{name}” has stayed silent for a full interval.\n"
        f"Interval: {interval}\n"
        f"Last ping: {_in_utc(last) if last else 'never'}\n"
        f"Overdue: {in_words(overdue)} (expected by {expected_by})\n"
        f"Heartbeat: {link}",
        facts=[
            {"label": "Heartbeat", "text": name},
            {"label": "Interval", "text": interval},
            {"label": "Last ping", "at": last} if last else {"label": "Last ping", "text": "never"},
            {"label": "Expected by", "at": deadline_at},
        ],
        expected_by=expected_by,
    )


def _in_utc(rfc3339: str) -> str:
    """Return an RFC 3339 time of UTC as people read it, to the second."""
    return f"{rfc3339[:10]} {rfc3339[11:19]} UTC"
