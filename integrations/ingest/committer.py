"""Group commit: what arrives while one batch commits forms the next."""

import asyncio
import contextlib
import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

import psycopg

from heartbeat_project.kernel.doorbell import ring_now
from heartbeat_project.kernel.sql import statement
from integrations.ingest.record import (
    PULSE_PARAMETERS,
    Arrival,
    Batch,
    Heard,
    Receipt,
    ring_for_misses,
    ring_for_recoveries,
)

log = logging.getLogger(__name__)

MAX_BATCH: Final = 1_000
AWAY_SECONDS: Final = 0.5  # after a failed connect, and a store that said nothing, all that wait are refused
STORE_SECONDS: Final = (
    12.0  # longer than the store's own patience with a statement, and less than a supervisor's with us
)
RING_SECONDS: Final = 2.0  # how long an end waits for a doorbell that hangs


class Full(Exception):
    """As many requests wait as may wait."""


class Away(Exception):
    """The store cannot be reached, or did not take this ping: it is not known to be stored."""


class Committer:
    """One connection that commits arrivals in batches, in the event loop of a web process.

    `conninfo` are psycopg's connection parameters, `max_waiting` bounds the requests in memory.
    """

    def __init__(self, conninfo: dict[str, Any], *, max_waiting: int) -> None:
        self.conninfo = conninfo
        self.max_waiting = max_waiting
        self._process = uuid4()
        self._waiting: list[tuple[Arrival, asyncio.Future[Receipt | None]]] = []
        self._batch: list[tuple[Arrival, asyncio.Future[Receipt | None]]] = []
        self._some = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._away_until = 0.0
        self._closing = False
        self._recovered: set[int] = set()
        self._misses = False
        self._ringing: asyncio.Task[None] | None = None

    async def record(self, arrival: Arrival) -> Receipt | None:
        """Return the receipt of one arrival once its batch is committed; None for an unknown token.

        Raises Full or Away; then nothing was stored, or it is not known whether it was. A caller that is cancelled
        takes nothing from the others of its batch.
        """
        loop = asyncio.get_running_loop()
        if len(self._waiting) >= self.max_waiting or self._closing:
            raise Full
        if loop.time() < self._away_until:
            raise Away
        future: asyncio.Future[Receipt | None] = loop.create_future()
        self._waiting.append((arrival, future))
        self._some.set()
        return await future

    async def run(self) -> None:
        """Commit batch after batch until `close`; what was accepted by then is committed and answered."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                self._batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._commit(self._batch)
                self._batch = []
            if self._closing:
                break
        async with self._one_at_a_time:
            await self._disconnect()
        if self._ringing is not None:
            await asyncio.wait({self._ringing}, timeout=RING_SECONDS)

    def close(self) -> None:
        """Let `run` end after what was accepted."""
        self._closing = True
        self._some.set()

    async def pulse(self, *, now: datetime) -> datetime | None:
        """Commit that this process has stored what it heard by `now`, over the connection that pings take.

        Returns the first deadline after it, if there is one. Raises Away.
        """
        async with self._one_at_a_time:
            # What is still to be committed came in time for its deadlines, and they are not to be judged before it is.
            heard_by = min([now, *(arrival.received_at for arrival, _ in (*self._batch, *self._waiting))])
            process = {"process": self._process, "pulsed_at": now}
            rows = await self._execute_alone("record_pulse", {"now": heard_by, **PULSE_PARAMETERS, **process})
        heard = Heard._make(rows[0])
        heard.say()
        if heard.due:
            self._ring_for(misses=True)
        return heard.next_deadline

    async def _commit(self, waiting: list[tuple[Arrival, asyncio.Future[Receipt | None]]]) -> None:
        batch = Batch([arrival for arrival, _ in waiting])
        try:
            receipts = batch.receipts(await self._execute("record_pings", batch.parameters))
        except Away as error:
            for _, future in waiting:
                _answer(future, Away(*error.args))
            return
        except Exception:
            if len(waiting) > 1:
                log.exception("a batch of %d pings failed; trying each alone", len(waiting))
                for one in waiting:
                    await self._commit([one])
                return
            log.exception("a ping failed")
            _answer(waiting[0][1], Away())
            return
        for (_, future), receipt in zip(waiting, receipts, strict=True):
            _answer(future, receipt)
        self._ring_for(batch.recovered)

    def _ring_for(self, recovered: Collection[int] = (), *, misses: bool = False) -> None:
        """Ring beside the next batch; what comes while the doorbell hangs is rung for together, after it."""
        self._recovered.update(recovered)
        self._misses = self._misses or misses
        if (self._recovered or self._misses) and (self._ringing is None or self._ringing.done()):
            self._ringing = asyncio.create_task(self._ring())

    async def _ring(self) -> None:
        """Ring in one thread: a broker that hangs must not hold up a batch."""
        while self._recovered or self._misses:
            recovered, self._recovered = self._recovered, set()
            misses, self._misses = self._misses, False
            if misses:
                await asyncio.to_thread(ring_for_misses, bell=ring_now)
            await asyncio.to_thread(ring_for_recoveries, recovered, bell=ring_now)

    async def _execute(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        async with self._one_at_a_time:
            return await self._execute_alone(name, parameters)

    async def _execute_alone(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        try:
            connection = await self._connected()
            return await _in_time(connection, statement("integrations", name), parameters)
        except (psycopg.DataError, psycopg.IntegrityError):  # what was sent is wrong, and the store is well
            raise
        except (psycopg.Error, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._away_until = asyncio.get_running_loop().time() + AWAY_SECONDS
            await self._disconnect()
            raise Away(str(error).partition("\n")[0]) from error

    async def _connected(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            if asyncio.get_running_loop().time() < self._away_until:
                raise Away
            try:
                # Each statement is a transaction of its own, committed when its result is there.
                self._connection = await psycopg.AsyncConnection.connect(**self.conninfo, autocommit=True)
            except psycopg.OperationalError:
                self._away_until = asyncio.get_running_loop().time() + AWAY_SECONDS
                raise
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                await self._connection.close()
        self._connection = None


async def _in_time(
    connection: psycopg.AsyncConnection[tuple[Any, ...]], query: Any, parameters: dict[str, Any]
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement. Raises TimeoutError when a store that is frozen does not answer in time."""

    async def ask() -> list[tuple[Any, ...]]:
        cursor = await connection.execute(query, parameters, prepare=True)
        return await cursor.fetchall()

    asking = asyncio.create_task(ask())
    try:
        answered, _ = await asyncio.wait({asking}, timeout=STORE_SECONDS)
    finally:
        if not asking.done():
            # Closed before it is cancelled, or psycopg would ask the frozen store to cancel, and wait for that.
            await connection.close()
            asking.cancel()
    if not answered:
        raise TimeoutError("the store said nothing")
    return asking.result()


def _answer(future: asyncio.Future[Receipt | None], result: Receipt | BaseException | None) -> None:
    if future.done():  # the client hung up and its request was cancelled
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
