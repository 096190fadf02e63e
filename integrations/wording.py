"""What a miss says to people (pure)."""

from calendar import month_abbr
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from heartbeat_project.kernel.durations import in_words, minutes

SHORT_TEXT_LENGTH = 140  # leaves room for an alert number and a reply hint in one SMS
NAME_IN_SHORT_TEXT = 60


def in_utc(at: datetime) -> str:
    """Return an instant that is in UTC to the second; strftime takes three times as long."""
    return f"{at.isoformat(' ')[:19]} UTC"


@dataclass(frozen=True, slots=True)
class Silence:
    """What is known about a heartbeat at the moment its deadline has passed."""

    name: str
    interval_minutes: Decimal
    grace_minutes: Decimal
    last_ping_at: datetime | None
    deadline_at: datetime
    now: datetime
    link: str

    @property
    def subject(self) -> str:
        """One line: what is silent."""
        return f"{self.name} is silent"

    @property
    def last_ping(self) -> str:
        """When the last ping came, in UTC."""
        return in_utc(self.last_ping_at) if self.last_ping_at else "never"

    @property
    def interval(self) -> str:
        """The interval in words, with its grace where it has one."""
        every = in_words(minutes(self.interval_minutes))
        return f"{every} (and {in_words(minutes(self.grace_minutes))} grace)" if self.grace_minutes else every

    @property
    def overdue(self) -> str:
        """How long the deadline has passed."""
        return in_words(self.now - self.deadline_at)

    @property
    def short_text(self) -> str:
        """For SMS and voice."""
        name = self.name if len(self.name) <= NAME_IN_SHORT_TEXT else f"{self.name[: NAME_IN_SHORT_TEXT - 1]}…"
        at = self.last_ping_at
        last = f"{at.hour:02}:{at.minute:02} UTC on {at.day:02} {month_abbr[at.month]}" if at else "never"
        return f"{name} is silent. Expected every {in_words(minutes(self.interval_minutes))}, last ping {last}."

    @property
    def long_text(self) -> str:
        """For e-mail and chat: name, interval, last ping, how long overdue, link."""
        return (
            f"The heartbeat “{self.name}” has stayed silent for a full interval.\n"
            f"Interval: {self.interval}\n"
            f"Last ping: {self.last_ping}\n"
            f"Overdue: {self.overdue} (expected by {in_utc(self.deadline_at)})\n"
            f"Heartbeat: {self.link}"
        )

    @property
    def facts(self) -> list[dict[str, Any]]:
        """The same as rows, with times that can be shown in a reader's time zone."""
        last: dict[str, Any] = (
            {"label": "Last ping", "at": self.last_ping_at.isoformat()}
            if self.last_ping_at
            else {"label": "Last ping", "text": "never"}
        )
        return [
            {"label": "Heartbeat", "text": self.name},
            {"label": "Interval", "text": self.interval},
            last,
            {"label": "Expected by", "at": self.deadline_at.isoformat()},
        ]
