"""Group commit: what arrives while one batch commits forms the next."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import psycopg
from asgiref.sync import sync_to_async

from heartbeat_project.kernel.sql import statement
from integrations.ingest.record import PULSE_PARAMETERS, Arrival, Batch, Receipt, heed_pulse, ring_for_misses

log = logging.getLogger(__name__)

MAX_BATCH: Final = 1_000
AWAY_SECONDS: Final = 0.5  # after a failed connect, requests are refused at once for so long


class Full(Exception):
    """As many requests wait as may wait."""


class Away(Exception):
    """The store cannot be reached; nothing was stored."""


class Committer:
    """One connection that commits arrivals in batches, in the event loop of a web process.

    `conninfo` are psycopg's connection parameters, `max_waiting` bounds the requests in memory.
    """

    def __init__(self, conninfo: dict[str, Any], *, max_waiting: int) -> None:
        self.conninfo = conninfo
        self.max_waiting = max_waiting
        self._waiting: list[tuple[Arrival, asyncio.Future[Receipt | None]]] = []
        self._some = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._away_until = 0.0
        self._closing = False
        self._rings: set[asyncio.Future[None]] = set()

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
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._commit(batch)
            if self._closing:
                break
        async with self._one_at_a_time:
            await self._disconnect()
        if self._rings:
            await asyncio.wait(self._rings, timeout=2)

    def close(self) -> None:
        """Let `run` end after what was accepted."""
        self._closing = True
        self._some.set()

    async def pulse(self, *, now: datetime) -> None:
        """Commit that this process listens, over the connection that pings take. Raises Away."""
        rows = await self._execute("record_pulse", {"now": now, **PULSE_PARAMETERS})
        if heed_pulse((started_at, ended_at, due) for started_at, ended_at, due in rows):
            self._ring(ring_for_misses)

    def _ring(self, bell: Callable[[], None]) -> None:
        """Ring in a thread: a broker that hangs must not hold up the next batch."""
        ring = asyncio.ensure_future(sync_to_async(bell, thread_sensitive=False)())
        self._rings.add(ring)
        ring.add_done_callback(self._rings.discard)

    async def _commit(self, waiting: list[tuple[Arrival, asyncio.Future[Receipt | None]]]) -> None:
        batch = Batch([arrival for arrival, _ in waiting])
        try:
            receipts = batch.receipts(await self._execute("record_pings", batch.parameters))
        except Away:
            for _, future in waiting:
                _answer(future, Away())
            return
        except Exception as error:
            if len(waiting) > 1:
                log.exception("a batch of %d pings failed; trying each alone", len(waiting))
                for one in waiting:
                    await self._commit([one])
                return
            log.exception("a ping failed")
            _answer(waiting[0][1], error)
            return
        for (_, future), receipt in zip(waiting, receipts, strict=True):
            _answer(future, receipt)
        if batch.recovered:
            self._ring(batch.ring_for_recoveries)

    async def _execute(self, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        async with self._one_at_a_time:
            try:
                connection = await self._connected()
                cursor = await connection.execute(statement("integrations", name), parameters, prepare=True)
                return await cursor.fetchall()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                await self._disconnect()
                raise Away from error

    async def _connected(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
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


def _answer(future: asyncio.Future[Receipt | None], result: Receipt | BaseException | None) -> None:
    if future.done():  # the client hung up and its request was cancelled
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
