"""Whether this web process can store what it hears: what its ping lane saw last, kept in memory."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

# A pulse is committed each second.
PULSE_AGE_LIMIT: Final = timedelta(seconds=5)
# So long a refused ping counts, unless one is stored after it: without pings nobody else would say that it is over.
REFUSAL_COUNTS: Final = timedelta(seconds=30)


@dataclass(slots=True)
class Hearing:
    """The newest pulse and the newest ping that was refused; a process without a ping lane has neither."""

    pulse_at: datetime | None = None
    refused_at: datetime | None = None
    why: str = ""

    def pulsed(self, at: datetime) -> None:
        """Remember that a pulse was committed, or for the first time that they begin."""
        self.pulse_at = at

    def stored(self) -> None:
        """Remember that a ping was committed."""
        self.refused_at = None

    def refused(self, at: datetime, *, why: str) -> None:
        """Remember that a ping could not be committed."""
        self.refused_at, self.why = at, why

    def trouble(self, *, now: datetime) -> str:
        """Say what keeps this process from storing pings; empty when nothing does that it knows of."""
        if self.pulse_at is not None and now - self.pulse_at > PULSE_AGE_LIMIT:
            return f"This process has committed no pulse for {(now - self.pulse_at).total_seconds():.0f} seconds."
        if self.refused_at is not None and now - self.refused_at <= REFUSAL_COUNTS:
            return f"The last ping could not be stored: {self.why or 'the database is away'}."
        return ""


HERE: Final = Hearing()
