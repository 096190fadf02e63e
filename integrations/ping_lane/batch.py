"""Pings as one batch, which one statement records, and pulses, which prove that pings could be stored."""

import ipaddress
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from random import randrange, sample
from typing import Any, Final, NamedTuple

from django.db import connection, transaction

from heartbeat_project.kernel import clock
from heartbeat_project.kernel.sql import statement, texts
from heartbeat_project.kernel.wakeup import wake_on_commit

log = logging.getLogger(__name__)

PULSE_PARAMETERS: Final[dict[str, Any]] = {"deaf_after": timedelta(seconds=2), "clock_went_back": timedelta(minutes=1)}
NO_PROCESS: Final[dict[str, Any]] = {
    "process": None,
    "first_sent_at": None,
    "committed_at": None,
    "refused": 0,
    "refused_tokens": "{}",
}
MAX_SAMPLE: Final = 1_000  # tokens of refused pings
MAX_AGENT: Final = 200  # bytes of a user agent that are kept
MAX_TOKEN: Final = 64  # characters, as many as the column holds


class Arrival(NamedTuple):
    """One request to an API URL; `received_at` is when it reached this process, not when it is stored.

    `set_back` is clock.Setting.set_back at that time; None stands for the present one.
    """

    token: str
    received_at: datetime
    method: str = "POST"
    source_ip: str | None = None
    set_back: timedelta | None = None
    user_agent: str | None = None

    def stamped_by(self, set_back: timedelta | None) -> datetime:
        """Return when it was received, by the database's clock after it was set back by `set_back` in all."""
        if self.set_back is None or set_back is None or self.set_back == set_back:
            return self.received_at
        return self.received_at - (set_back - self.set_back)


class Receipt(NamedTuple):
    """The result of an arrival; `status` is "ok", "disabled", or "method" (its method is not accepted).

    `received_at` is the text, in the format of RFC 3339, that was given to the store.
    """

    integration_id: int
    status: str
    received_at: str
    deadline_at: datetime | None
    allows_get: bool = False


@lru_cache(maxsize=10_000)
def ip(text: str | None) -> str | None:
    """Return an IP address without its zone, as PostgreSQL's inet holds it, or None for any other text."""
    try:
        return str(ipaddress.ip_address((text or "").partition("%")[0]))
    except ValueError:
        return None


@lru_cache(maxsize=1_000)
def agent(value: bytes) -> str | None:
    """Return a user agent as printable text, None if it is empty; the caller has cut `value` to MAX_AGENT bytes."""
    text = value.decode("utf-8", "replace").strip()
    if not text.isprintable():
        text = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return text or None


def rfc3339(at: datetime) -> str:
    """Return an instant, which must be in UTC, in the format of RFC 3339."""
    return at.isoformat()[:-6] + "Z"  # without +00:00


def is_text(token: str) -> bool:
    """Return whether a token is printable ASCII; any other is unknown, and PostgreSQL might refuse its whole batch."""
    return token.isascii() and token.isprintable()


class RefusedPings:
    """Pings that were refused: their number, and a sample of their tokens.

    They are an outage only if one of the tokens is a heartbeat's. Otherwise anybody could put off all deadlines, by
    requests to `/Heartbeat/` with any token.
    """

    def __init__(self) -> None:
        self.count = 0
        self.tokens: list[str] = []

    def add(self, arrival: Arrival) -> None:
        """Count one more; each ping has the same chance to be in the sample."""
        self.count += 1
        if len(self.tokens) < MAX_SAMPLE:
            self.tokens.append(arrival.token)
        elif (index := randrange(self.count)) < MAX_SAMPLE:  # noqa: S311 - a sample
            self.tokens[index] = arrival.token

    def and_then(self, later: "RefusedPings") -> "RefusedPings":
        """Return these and those that were refused after them."""
        both = RefusedPings()
        tokens = self.tokens + later.tokens
        both.count = self.count + later.count
        both.tokens = sample(tokens, MAX_SAMPLE) if len(tokens) > MAX_SAMPLE else tokens
        return both

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of record_pulse.sql."""
        tokens = {token for token in self.tokens if is_text(token) and len(token) <= MAX_TOKEN}
        return {"refused": self.count, "refused_tokens": texts(sorted(tokens))}


class Batch:
    """Arrivals that one statement records: its parameters, and the receipts from its rows.

    `recovered` are the ids of integrations whose silence ended with one of these pings.
    """

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self.arrivals = arrivals
        self.listed = [index for index, arrival in enumerate(arrivals) if is_text(arrival.token)]
        self.recovered: set[int] = set()
        setting = clock.setting()
        self._unmoved = setting.unmoved if setting else None
        self._set_back = setting.set_back if setting else None  # None: the same as each heartbeat's row
        self._received = [rfc3339(arrivals[index].stamped_by(self._set_back)) for index in self.listed]

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of `record_pings.sql`; lists as array literals."""
        listed = [self.arrivals[index] for index in self.listed]
        return {
            "set_back": self._set_back,
            "unmoved": self._unmoved,
            "tokens": texts(arrival.token for arrival in listed),
            "received": texts(self._received),
            "methods": texts(arrival.method for arrival in listed),
            "ips": texts(arrival.source_ip for arrival in listed),
            "agents": texts(arrival.user_agent for arrival in listed),
        }

    def receipts(self, rows: Iterable[tuple[Any, ...]]) -> list[Receipt | None]:
        """Return a receipt for each arrival, in order, None for an unknown token; note which silences ended."""
        receipts: list[Receipt | None] = [None] * len(self.arrivals)
        for ordinal, integration_id, accepted, allows_get, state, old_state, deadline_at in rows:
            index = self.listed[ordinal - 1]
            status = "disabled" if state == "disabled" else "ok"
            if not accepted:
                status = "method"
            received_at = self._received[ordinal - 1]
            receipts[index] = Receipt(
                integration_id, status, received_at, deadline_at if accepted else None, allows_get
            )
            if accepted and old_state == "missed":
                self.recovered.add(integration_id)
        return receipts


def wake_for_recoveries(integration_ids: Collection[int], *, wake_worker: Callable[..., None]) -> None:
    """Wake a worker to close the alerts of silences that ended, if any; the tick closes those that this misses."""
    if integration_ids:
        wake_worker("integrations.close_recovered", queue="engine", integration_ids=sorted(integration_ids))


def record_pings(arrivals: Sequence[Arrival]) -> list[Receipt | None]:
    """Commit a batch of arrivals and return a receipt for each, in order; None for an unknown token.

    When it returns, the pings are stored and their timers set. Raises django.db.OperationalError when the store cannot
    be reached; then nothing is stored.
    """
    batch = Batch(arrivals)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("integrations", "record_pings"), batch.parameters)
        receipts = batch.receipts(cursor.fetchall())
    wake_for_recoveries(batch.recovered, wake_worker=wake_on_commit)
    return receipts


def record_pulse(*, now: datetime) -> None:
    """Commit that pings could be stored at `now`, and the outage that this pulse ended, if there was one.

    This pulse belongs to no web process, and was sent over no connection. Deadlines are judged only up to the newest
    pulse, so while no ping can be received, no silence is judged. If a deadline has passed, the detector is woken.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement("integrations", "record_pulse"), {"now": now, **PULSE_PARAMETERS, **NO_PROCESS})
        receipt = PulseReceipt._make(cursor.fetchone())
    receipt.log_outage()
    if receipt.due:
        wake_for_misses(wake_worker=wake_on_commit)


class PulseReceipt(NamedTuple):
    """The row of record_pulse.sql: the outage that the pulse ended, whether a deadline has passed, and the next one.

    A pulse that does not count has changed nothing: it is not known yet whether another process listened meanwhile.
    """

    started_at: datetime | None
    ended_at: datetime | None
    counts: bool
    due: bool
    next_deadline: datetime | None

    def log_outage(self) -> None:
        """Log the outage, if there was one."""
        if self.started_at:
            log.warning("no pings could be received from %s to %s", self.started_at, self.ended_at)


def wake_for_misses(*, wake_worker: Callable[..., None]) -> None:
    """Wake the detector: with this pulse a deadline can be judged, so its alert does not wait for the tick."""
    wake_worker("integrations.detect_misses", queue="engine")
