"""Whether this web process can store pings: what its ping lane saw last, kept in memory."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from heartbeat_project.kernel.connections import max_connections
from integrations.ping_lane.own_address import all_connections_are_taken

# A pulse comes back and is committed each second, so five are missing by then.
PULSE_AGE_LIMIT: Final = timedelta(seconds=5)
# For this long a refused ping counts as trouble, unless a ping is stored after it. A pulse is no proof of the contrary:
# on a full disk a pulse may still be stored. If the database could not be reached at all, the next pulse ends the
# trouble, because a load balancer sends no pings to a process that is not ready.
REFUSAL_COUNTS: Final = timedelta(seconds=30)


@dataclass(slots=True)
class ProcessHealth:
    """The newest pulse and the last refused ping; a process without a ping lane has neither.

    `lost_since` is when the first of the pulses came back that could not be committed, `was_reached` says whether the
    database was reached for the refused ping.
    """

    began_at: datetime | None = None
    pulse_at: datetime | None = None
    lost_since: datetime | None = None
    refused_at: datetime | None = None
    was_reached: bool = True
    why: str = ""

    def begins(self, at: datetime) -> None:
        """Note that pulses begin."""
        self.began_at = self.pulse_at = at

    def ends(self) -> None:
        """Note that no more pulses are sent."""
        self.began_at = self.pulse_at = self.lost_since = None

    def pulsed(self, at: datetime) -> None:
        """Note that a pulse which was sent at `at` was committed."""
        self.pulse_at, self.lost_since = at, None
        if not self.was_reached and self.refused_at is not None and at > self.refused_at:
            self.refused_at = None

    def lost(self, at: datetime, *, why: str) -> None:
        """Note that a pulse came back and could not be committed."""
        self.lost_since, self.why = self.lost_since or at, why

    def stored(self) -> None:
        """Note that a ping was committed."""
        self.refused_at = self.lost_since = None

    def refused(self, at: datetime, *, why: str, was_reached: bool = True) -> None:
        """Note that a ping could not be committed, and whether the database was reached for it."""
        self.refused_at, self.why, self.was_reached = at, why, was_reached

    def trouble(self, *, now: datetime) -> str:
        """Return what keeps this process from storing pings, in one sentence; empty if it knows of nothing."""
        if self.lost_since is not None and now - self.lost_since > PULSE_AGE_LIMIT:
            seconds = (now - self.lost_since).total_seconds()
            return f"This process has stored nothing for {seconds:.0f} seconds: {self.why or 'the database is away'}."
        if self.refused_at is not None and now - self.refused_at <= REFUSAL_COUNTS:
            return f"The last ping could not be stored: {self.why or 'the database is away'}."
        return ""

    def degraded(self, *, now: datetime) -> str:
        """Return a warning if this process's pulses do not come back; empty if they do, or if none are sent."""
        if self.pulse_at is None or now - self.pulse_at <= PULSE_AGE_LIMIT:
            return ""
        seconds = (now - self.pulse_at).total_seconds()
        if all_connections_are_taken():
            return (
                f"No pulse of this process has come back for {seconds:.0f} seconds: all {max_connections():,} "
                "connections that it takes at once are taken, and pings wait. Raise its limit of open files, and let "
                "a proxy bound the connections of each address (docs/proxy/haproxy.cfg)."
            )
        return (
            f"No pulse of this process has come back for {seconds:.0f} seconds: deadlines are judged by the pulses of "
            "other web processes only. HEARTBEAT_HOST and HEARTBEAT_PORT must say where this process listens."
        )


PROCESS_HEALTH: Final = ProcessHealth()
