"""The one function that records pings, and the pulse that proves somebody was listening."""

import ipaddress
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.db import connection, transaction

from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import statement, texts

log = logging.getLogger(__name__)

PULSE_PARAMETERS: Final[dict[str, Any]] = {"deaf_after": timedelta(seconds=5), "clock_went_back": timedelta(minutes=1)}
NO_PROCESS: Final[dict[str, Any]] = {"process": None, "pulsed_at": None}


class Arrival(NamedTuple):
    """One request to an API URL. `received_at` is when it reached us, not when a worker got to it."""

    token: str
    received_at: datetime
    method: str = "POST"
    source_ip: str | None = None


class Receipt(NamedTuple):
    """What became of an arrival; `status` is "ok", "disabled", or "method" (this heartbeat takes POST only)."""

    integration_id: int
    status: str
    received_at: datetime
    deadline_at: datetime | None


@lru_cache(maxsize=10_000)
def ip(text: str | None) -> str | None:
    """Return an address that PostgreSQL's inet holds, or None for whatever else stands there."""
    try:
        return str(ipaddress.ip_address((text or "").partition("%")[0]))
    except ValueError:
        return None


def rfc3339(at: datetime) -> str:
    """Return an instant that is in UTC as RFC 3339 writes it."""
    return at.isoformat()[: -len("+00:00")] + "Z"


class Batch:
    """Arrivals on their way into the one statement, and its rows on their way back."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals = arrivals
        # PostgreSQL's text holds no NUL, and UTF-8 no lone surrogate: such a token is unknown, and spoils no batch.
        self.listed = [
            index for index, arrival in enumerate(arrivals) if arrival.token.isascii() and arrival.token.isprintable()
        ]
        self.recovered: set[int] = set()

    @property
    def parameters(self) -> dict[str, str]:
        """Return the parameters of `record_pings.sql`, as array literals."""
        listed = [self.arrivals[index] for index in self.listed]
        return {
            "tokens": texts(arrival.token for arrival in listed),
            "received": texts(rfc3339(arrival.received_at) for arrival in listed),
            "methods": texts(arrival.method for arrival in listed),
            "ips": texts(arrival.source_ip for arrival in listed),
        }

    def receipts(self, rows: Iterable[tuple[Any, ...]]) -> list[Receipt | None]:
        """Return a receipt for each arrival, in order, None for an unknown token; learn which silences ended."""
        receipts: list[Receipt | None] = [None] * len(self.arrivals)
        for ordinal, integration_id, accepted, state, old_state, deadline_at in rows:
            index = self.listed[ordinal - 1]
            status = "method" if not accepted else "disabled" if state == "disabled" else "ok"
            received_at = self.arrivals[index].received_at
            receipts[index] = Receipt(integration_id, status, received_at, deadline_at if accepted else None)
            if accepted and old_state == "missed":
                self.recovered.add(integration_id)
        return receipts


def ring_for_recoveries(integration_ids: Collection[int], *, bell: Callable[..., None]) -> None:
    """Ring for the auto-close of the silences that ended, if any; the tick closes whatever this does not."""
    if integration_ids:
        bell("integrations.close_recovered", queue="engine", integration_ids=sorted(integration_ids))


def record_pings(arrivals: Sequence[Arrival]) -> list[Receipt | None]:
    """Commit a batch of arrivals and return a receipt for each, in order; None for an unknown token.

    When it returns, the pings are stored and their timers set. Raises django.db.OperationalError when the store cannot
    be reached; then nothing is stored.
    """
    batch = Batch(arrivals)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("integrations", "record_pings"), batch.parameters)
        receipts = batch.receipts(cursor.fetchall())
    ring_for_recoveries(batch.recovered, bell=ring)
    return receipts


def record_pulse(*, now: datetime) -> None:
    """Commit that somebody was listening at `now`, and the outage that this pulse ended, if there was one.

    Deadlines are judged only up to the newest pulse, so while nobody can hear, nobody is judged. Where one has
    passed by now, the detector is rung for.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("integrations", "record_pulse"), {"now": now, **PULSE_PARAMETERS, **NO_PROCESS})
        heard = Heard._make(cursor.fetchone())
    heard.say()
    if heard.due:
        ring_for_misses(bell=ring)


class Heard(NamedTuple):
    """The row of record_pulse.sql: the outage that the pulse ended, if there was one, and what the timers say."""

    started_at: datetime | None
    ended_at: datetime | None
    due: bool
    next_deadline: datetime | None

    def say(self) -> None:
        """Put the outage into the log."""
        if self.started_at:
            log.warning("nobody was listening for pings from %s to %s", self.started_at, self.ended_at)


def ring_for_misses(*, bell: Callable[..., None]) -> None:
    """Ring for the detector: with this pulse a deadline can be judged, and its alert need not wait for the tick."""
    bell("integrations.detect_misses", queue="engine")
