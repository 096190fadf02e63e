"""The texts of an alert about a miss (pure)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from heartbeat_project.kernel.durations import exactly, in_words, minutes

SHORT_TEXT_LENGTH = 140  # characters; leaves room for an alert number and a reply hint in one SMS
NAME_IN_SHORT_TEXT = 60  # characters
# An alert that opens at least this long after the deadline says how long.
A_WHILE = timedelta(minutes=1)
# Not strftime, which needs a parsed date each time: a storm is thousands of these texts.
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Silence(NamedTuple):
    """The words of an alert about a heartbeat whose deadline has passed.

    `short_text` is for SMS and voice, `long_text` for e-mail and chat. `facts` say the same as rows of label and text,
    or label and time, which is shown in a reader's time zone. `expected_by` is the deadline in UTC, to the second.
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
    """Return the texts about a silence; times are RFC 3339 in UTC, as the database returns them."""
    every = exactly(minutes(interval_minutes))
    interval = f"{every} (and {exactly(minutes(grace_minutes))} grace)" if grace_minutes else every
    expected_by, last = _in_utc(deadline_at), last_ping_at
    short_name = name if len(name) <= NAME_IN_SHORT_TEXT else f"{name[: NAME_IN_SHORT_TEXT - 1]}…"
    # “every hour”, but “every 1 hour 30 minutes”
    often = every[2:] if every.startswith("1 ") and every.count(" ") == 1 else every
    pinged = (
        f"Expected every {often}, last ping {last[11:16]} UTC on {int(last[8:10])} {MONTHS[int(last[5:7]) - 1]}."
        if last
        else f"Expected every {often}; it has never pinged."
    )
    since = f"has not pinged since {_in_utc(last)}" if last else "has never pinged"
    late = f", {in_words(overdue)} ago" if overdue >= A_WHILE else ""
    return Silence(
        subject=f"{name} is silent",
        short_text=f"{short_name} is silent. {pinged}",
        long_text=f"“{name}” {since} (expected by {expected_by}{late}).\nInterval: {interval}\nHeartbeat: {link}",
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
