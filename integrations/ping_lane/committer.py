"""Group commit: the pings that arrive while one batch commits form the next."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import psycopg

from heartbeat_project.kernel import clock
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wakeup import wake_now
from integrations.heartbeats.clock_reading import Reading, clock_parameters, set_clock
from integrations.ping_lane.batch import (
    PULSE_PARAMETERS,
    Arrival,
    Batch,
    PulseReceipt,
    Receipt,
    RefusedPings,
    wake_for_misses,
    wake_for_recoveries,
)

log = logging.getLogger(__name__)

MAX_BATCH: Final = 1_000
MAX_KNOWN: Final = 100_000  # tokens, some 15 MB
MAX_RESERVED_EACH: Final = 10  # reserved places that one token may hold
# After a connect that failed, or a statement without an answer, pings are refused for this long instead of waiting.
AWAY_SECONDS: Final = 0.5
# Longer than the database's own timeout of a statement, and shorter than a supervisor waits for this process.
STORE_SECONDS: Final = 12.0
# After this time, the next statement is planned anew. A plan that was made for tables of a few rows would be used until
# PostgreSQL analyzes them, perhaps a minute after thousands of heartbeats were added, and reads them all.
PLAN_SECONDS: Final = 10.0
WAKE_SECONDS: Final = 2.0  # for which the end of the process waits for a broker that hangs

# The beginnings of SQLSTATEs that say that the connection ended, and nothing about the statement.
CONNECTION: Final = "08"
SHUT_DOWN: Final = "57P"


class Full(Exception):
    """As many requests wait as may wait; this one was not stored."""


class StoreUnavailable(Exception):
    """The database cannot be reached, or did not take this ping: it may not be stored."""


class Refused(StoreUnavailable):
    """The database was reached and did not take this ping, for example on a full disk, where a pulse may have room."""


class Committer:
    """Commits arrivals in batches over one connection, in the event loop of a web process.

    `conninfo` are psycopg's connection parameters; `max_waiting` is how many requests may wait in memory.
    """

    def __init__(self, conninfo: dict[str, Any], *, max_waiting: int) -> None:
        self.conninfo = conninfo
        self.max_waiting = max_waiting
        self._process = uuid4()
        self._waiting: list[tuple[Arrival, asyncio.Future[Receipt | None]]] = []
        self._some = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._away_until = 0.0
        self._planned_until = 0.0
        self._closing = False
        self._recovered: set[int] = set()
        self._misses = False
        self._waking: asyncio.Task[None] | None = None
        # Arrivals are numbered as they come, and settled (committed or refused) in that order. A pulse waits until all
        # arrivals before it are settled.
        self._arrived = 0
        self._settled = 0
        self._pulses: list[tuple[int, asyncio.Future[None]]] = []
        self._refused = RefusedPings()  # since the last pulse that counts
        # Tokens of pings that were stored. Requests with any other token may take one half of the waiting places only,
        # so that a stranger who sends many of them keeps out no ping, and no pulse.
        self._known: set[str] = set()
        self._reserved: Counter[str] = Counter()  # how many places of the other half each token holds

    async def record(self, arrival: Arrival) -> Receipt | None:
        """Return the receipt of one arrival once its batch is committed; None for an unknown token.

        Raises Full if too many wait, and StoreUnavailable if the ping was not stored, or may not have been. A caller
        that is cancelled does not affect the others of its batch.
        """
        loop = asyncio.get_running_loop()
        if len(self._waiting) * 2 >= self.max_waiting or self._closing:
            self._take_reserved_place(arrival)
        if loop.time() < self._away_until:
            self._refused.add(arrival)
            raise StoreUnavailable
        future: asyncio.Future[Receipt | None] = loop.create_future()
        self._waiting.append((arrival, future))
        self._arrived += 1
        self._some.set()
        return await future

    def _take_reserved_place(self, arrival: Arrival) -> None:
        """Take one of the places that are reserved for known tokens. Raises Full."""
        if self._closing or len(self._waiting) >= self.max_waiting or arrival.token not in self._known:
            self._refused.add(arrival)
            raise Full
        if self._reserved[arrival.token] >= MAX_RESERVED_EACH:
            raise Full  # not counted as refused: other pings of this heartbeat wait, and set its timer
        self._reserved[arrival.token] += 1

    async def run(self) -> None:
        """Commit batch after batch until `close`; arrivals that were accepted by then are committed and answered."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                if len(self._waiting) * 2 < self.max_waiting:
                    self._reserved.clear()
                await self._commit(batch)
                self._settle(len(batch))
            if self._closing:
                break
        async with self._one_at_a_time:
            if self._connection is not None:
                with contextlib.suppress(StoreUnavailable):
                    await self._execute_alone("delete_process", {"process": self._process})
            await self._disconnect()
        if self._waking is not None:
            await asyncio.wait({self._waking}, timeout=WAKE_SECONDS)

    def close(self) -> None:
        """Let `run` end once everything that was accepted is committed."""
        self._closing = True
        self._some.set()

    async def keep_time(self) -> None:
        """Set this process's clock by the database's. Raises StoreUnavailable.

        That is also raised after a step back that no worker has claimed yet. Until then this process goes on by the old
        time, as the stored times do, and sends no pulse, which would belong to neither time.
        """
        async with self._one_at_a_time:
            asked = time.monotonic()
            reading = Reading._make((await self._execute_alone("read_clock", clock_parameters()))[0])
            if reading.is_before_a_step_that_nobody_claimed:
                raise StoreUnavailable("the database's clock was set back, and no worker has noticed it yet")
            set_clock(reading, asked=asked)

    async def pulse(self, *, sent_at: datetime, first_sent_at: datetime) -> datetime | None:
        """Commit that everything sent to this process before `sent_at` is stored; return the next deadline, or None.

        The pulse is committed after all arrivals before it, over the connection that pings use. `first_sent_at` is when
        the first pulse was sent that came back to this process. Raises Full, as for a ping, or StoreUnavailable.
        """
        if len(self._waiting) >= self.max_waiting or self._closing:
            raise Full
        if self._settled < self._arrived:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._pulses.append((self._arrived, future))
            await future
        async with self._one_at_a_time:
            refused, self._refused = self._refused, RefusedPings()
            parameters = {
                "now": sent_at,
                "process": self._process,
                "first_sent_at": first_sent_at,
                "committed_at": clock.now(),
                **refused.parameters,
            }
            counts = False
            try:
                rows = await self._execute_alone("record_pulse", {**parameters, **PULSE_PARAMETERS})
                receipt = PulseReceipt._make(rows[0])
                counts = receipt.counts
            finally:
                if not counts:
                    self._refused = refused.and_then(self._refused)
        receipt.log_outage()
        if receipt.due:
            self._wake_for(misses=True)
        return receipt.next_deadline

    def _settle(self, count: int) -> None:
        """Count `count` arrivals as settled, and let the pulses go on that waited for them."""
        self._settled += count
        while self._pulses and self._pulses[0][0] <= self._settled:
            _, future = self._pulses.pop(0)
            if not future.done():
                future.set_result(None)

    async def _is_stamped_right(self) -> bool:
        """Return whether arrivals can be stored with the times of this process's clock.

        They cannot if they came before the clock was compared with the database's, and turns out to be wrong.
        """
        if clock.setting() is None:
            try:
                await self.keep_time()
            except StoreUnavailable:
                return False
            return abs(clock.skew()) <= clock.TOLERANCE
        return True

    async def _commit(self, waiting: list[tuple[Arrival, asyncio.Future[Receipt | None]]]) -> None:
        if not await self._is_stamped_right():
            for arrival, future in waiting:
                self._refused.add(arrival)
                _answer(future, StoreUnavailable("the clock was not known yet"))
            return
        batch = Batch([arrival for arrival, _ in waiting])
        try:
            receipts = batch.receipts(await self._execute("record_pings", batch.parameters))
        except StoreUnavailable as error:
            for arrival, future in waiting:
                self._refused.add(arrival)
                _answer(future, type(error)(*error.args))
            return
        except Exception:
            if len(waiting) > 1:
                log.exception("a batch of %d pings failed; trying each alone", len(waiting))
                for single in waiting:
                    await self._commit([single])
                return
            log.exception("a ping failed")
            _answer(waiting[0][1], Refused("the database did not take this ping; see the log"))
            return
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        for (arrival, future), receipt in zip(waiting, receipts, strict=True):
            if receipt is not None:
                self._known.add(arrival.token)
            _answer(future, receipt)
        self._wake_for(batch.recovered)

    def _wake_for(self, recovered: Collection[int] = (), *, misses: bool = False) -> None:
        """Wake workers beside the next batch; those that come while the broker hangs are sent together afterwards."""
        self._recovered.update(recovered)
        self._misses = self._misses or misses
        if (self._recovered or self._misses) and (self._waking is None or self._waking.done()):
            self._waking = asyncio.create_task(self._wake_workers())

    async def _wake_workers(self) -> None:
        """Wake workers in a thread: a broker that hangs must not hold up a batch."""
        while self._recovered or self._misses:
            recovered, self._recovered = self._recovered, set()
            misses, self._misses = self._misses, False
            if misses:
                await asyncio.to_thread(wake_for_misses, wake_worker=wake_now)
            await asyncio.to_thread(wake_for_recoveries, recovered, wake_worker=wake_now)

    async def _execute(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        async with self._one_at_a_time:
            return await self._execute_alone(name, parameters)

    async def _execute_alone(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement while holding `_one_at_a_time`. Raises StoreUnavailable, or Refused if it was reached."""
        try:
            connection = await self._connected()
            now = asyncio.get_running_loop().time()
            if now >= self._planned_until:
                await _execute_in_time(connection, "DISCARD PLANS", {})
                self._planned_until = now + PLAN_SECONDS
            try:
                return await _execute_in_time(connection, statement("integrations", name), parameters)
            except psycopg.errors.FeatureNotSupported:
                # An upgrade changed the type of a column ("cached plan must not change result type"). The statement did
                # nothing, and a new connection prepares it anew.
                await self._disconnect()
                connection = await self._connected()
                return await _execute_in_time(connection, statement("integrations", name), parameters)
        except (psycopg.DataError, psycopg.IntegrityError):  # the parameters are at fault, not the database
            raise
        except (psycopg.Error, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._away_until = asyncio.get_running_loop().time() + AWAY_SECONDS
            await self._disconnect()
            state = getattr(error, "sqlstate", None) or CONNECTION
            kind = StoreUnavailable if state.startswith((CONNECTION, SHUT_DOWN)) else Refused
            raise kind(str(error).partition("\n")[0]) from error

    async def _connected(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            if asyncio.get_running_loop().time() < self._away_until:
                raise StoreUnavailable
            try:
                # Each statement is a transaction of its own, committed when its result is there, and prepared the
                # first time: Django's parameters would forbid that.
                parameters = self.conninfo | {"autocommit": True, "prepare_threshold": 0}
                self._connection = await psycopg.AsyncConnection.connect(**parameters)
            except psycopg.OperationalError:
                self._away_until = asyncio.get_running_loop().time() + AWAY_SECONDS
                raise
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                await self._connection.close()
        self._connection = None


async def _execute_in_time(
    connection: psycopg.AsyncConnection[tuple[Any, ...]], query: Any, parameters: dict[str, Any]
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement. Raises TimeoutError if the database does not answer within STORE_SECONDS."""

    async def execute() -> list[tuple[Any, ...]]:
        cursor = await connection.execute(query, parameters, binary=True)
        return await cursor.fetchall() if cursor.description else []

    task = asyncio.create_task(execute())
    try:
        done, _ = await asyncio.wait({task}, timeout=STORE_SECONDS)
    finally:
        if not task.done():
            # Closed before the task is cancelled: otherwise psycopg would ask a frozen database to cancel, and wait.
            await connection.close()
            task.cancel()
    if not done:
        raise TimeoutError("the database did not answer")
    return task.result()


def _answer(future: asyncio.Future[Receipt | None], result: Receipt | BaseException | None) -> None:
    if future.done():  # the client hung up and its request was cancelled
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
