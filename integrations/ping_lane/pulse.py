"""The pulse of a web process: a request like a ping that it sends to itself each second.

A process that is stopped does not accept connections, and neither does one whose queue of them is full, so their pulses
do not come back. A pulse counts for the time at which it was sent: everything that was sent to this process before then
was read before the pulse, and is stored before the pulse is committed.
"""

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from heartbeat_project.kernel import clock
from integrations.heartbeats.clock_steps import report_skew_in_a_thread
from integrations.ping_lane.committer import Committer, Full, StoreUnavailable
from integrations.ping_lane.health import ProcessHealth
from integrations.ping_lane.own_address import Address

log = logging.getLogger(__name__)

PATH: Final = "/Heartbeat/pulse/"
PULSE_SECONDS: Final = 1.0
# A deadline is judged by the first pulse after it. That pulse is sent 50 ms later, so that pings which other web
# processes received in time are stored by then. Pulses are at least 100 ms apart: close deadlines share one.
DEADLINE_SECONDS, BETWEEN_SECONDS = 0.05, 0.1
# A time of this length without a pulse is a gap, after which the first pulse does not count.
GAP: Final = timedelta(seconds=2)
RETRY_SECONDS: Final = 0.2  # at the start the server does not listen yet
ANSWER_SECONDS: Final = 5.0
MAX_UNDER_WAY: Final = 16  # if answers take seconds, a pulse is sent each second all the same
# If several processes share one listening socket, a pulse may reach another one, which answers 404.
MAX_TRIES: Final = 8
WARN_EVERY: Final = timedelta(minutes=1)


class InARow:
    """Which of the pulses that come back count.

    The first pulse after a gap does not count, and neither does one that was sent before that pulse was back. While the
    process was stopped, requests waited in its sockets, and a pulse over a new connection may be read before them. A
    pulse that is sent after that has all of them before it.
    """

    def __init__(self) -> None:
        self._newest: datetime | None = None
        self._counts_from: datetime | None = None

    def counts(self, sent_at: datetime, *, now: datetime) -> bool:
        """Return whether a pulse that came back at `now` counts; to be called once for each, in their order."""
        gap = self._newest is None or abs(sent_at - self._newest) >= GAP
        self._newest = sent_at
        if gap or self._counts_from is None:
            self._counts_from = now
            return False
        return sent_at >= self._counts_from


def _set_back() -> timedelta | None:
    setting = clock.setting()
    return setting.set_back if setting else None


class Pulse:
    """Sends a pulse each second and after each deadline; those that count are committed by `committer`.

    `address` is called for each pulse, because a server may begin to listen after the first. If it returns None (no TCP
    socket of this process is known), no connection is made: such a pulse proves only that the process runs.

    `turns_away` returns whether connections are dropped before they are accepted. A pulse that gets through meanwhile
    proves nothing, because pings before it may have been dropped.
    """

    def __init__(
        self,
        committer: Committer,
        address: Callable[[], Address | None],
        *,
        health: ProcessHealth,
        turns_away: Callable[[], bool] = lambda: False,
    ) -> None:
        self.committer = committer
        self.address = address
        self.turns_away = turns_away
        self.health = health
        self._path = PATH + secrets.token_urlsafe(24)
        self._in_a_row = InARow()
        self._first_sent_at: datetime | None = None
        self._number = 0
        self._newest_back = 0
        self._one_at_a_time = asyncio.Lock()
        self._under_way: set[asyncio.Task[None]] = set()
        self._sooner = asyncio.Event()
        self._next_at = 0.0  # of the event loop's clock
        self._warned_at: datetime | None = None
        self._reporting: asyncio.Task[None] | None = None

    def is_own(self, path: str) -> bool:
        """Return whether a request to this path is one of this process's pulses."""
        return hmac.compare_digest(path.encode(), self._path.encode())

    async def run(self) -> None:
        """Send pulses until it is cancelled."""
        loop = asyncio.get_running_loop()
        self.health.begins(clock.now())
        try:
            while True:
                self._send()
                self._next_at = loop.time() + PULSE_SECONDS
                while (wait := self._next_at - loop.time()) > 0:
                    self._sooner.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._sooner.wait(), wait)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def _send(self) -> None:
        if len(self._under_way) < MAX_UNDER_WAY:
            self._number += 1
            task = asyncio.create_task(self._go(self._number))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    def _send_within(self, seconds: float) -> None:
        at = asyncio.get_running_loop().time() + max(0.0, seconds)
        if at < self._next_at:
            self._next_at = at
            self._sooner.set()

    async def _go(self, number: int) -> None:
        """Send one pulse, wait for it and commit it if it counts."""
        try:
            await self.committer.keep_time()
        except StoreUnavailable as error:
            self._lost(error)
            return
        self._report_skew()
        set_back, sent_at = _set_back(), clock.now()
        try:
            for _ in range(MAX_TRIES):
                came_back = await asyncio.wait_for(self._came_back(), ANSWER_SECONDS)
                if came_back:
                    break
                sent_at = clock.now()
            else:
                self._warn("no pulse came back to this process: it was answered by another one")
                return
        except (OSError, EOFError, TimeoutError) as error:
            self._warn("no pulse: %s", str(error) or type(error).__name__)
            if not self._first_sent_at:
                self._send_within(RETRY_SECONDS)
            return
        if number < self._newest_back:  # a pulse that was sent later came back first, and proves more
            return
        self._newest_back = number
        if _set_back() != set_back:  # the clock was set back after it was sent
            self._in_a_row, self._first_sent_at = InARow(), None
            self._send_within(0)
            return
        self._first_sent_at = self._first_sent_at or sent_at
        if not self._in_a_row.counts(sent_at, now=clock.now()):
            self._send_within(0)
            return
        await self._commit(sent_at, self._first_sent_at)

    async def _commit(self, sent_at: datetime, first_sent_at: datetime) -> None:
        async with self._one_at_a_time:
            try:
                deadline = await self.committer.pulse(sent_at=sent_at, first_sent_at=first_sent_at)
            except (StoreUnavailable, Full) as error:
                self._lost(error)
                return
            except Exception:
                log.exception("no pulse")
                return
        self.health.pulsed(sent_at)
        if deadline is not None:
            coming = (deadline - clock.now()).total_seconds() + DEADLINE_SECONDS
            self._send_within(max(BETWEEN_SECONDS, coming))

    def _lost(self, error: StoreUnavailable | Full) -> None:
        self.health.lost(clock.now(), why=str(error))
        self._warn("no pulse, the store is away: %s", error.__cause__ or error)

    def _report_skew(self) -> None:
        """Report that this machine's clock is wrong, in a thread, since that writes into the database."""
        if abs(clock.skew()) > clock.TOLERANCE and (self._reporting is None or self._reporting.done()):
            self._reporting = asyncio.create_task(asyncio.to_thread(report_skew_in_a_thread))

    async def _came_back(self) -> bool:
        """Send a request like a ping's, and return whether this process answered it."""
        address = self.address()
        if address is None:
            self._warn(
                "the address of this process is not known, so pulses are sent over no connection: if it is stopped "
                "for a moment, alerts may open though their pings came in time; set HEARTBEAT_HOST and HEARTBEAT_PORT"
            )
            return True
        host, port = address
        self._check_queue()
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(
                f"POST {self._path} HTTP/1.1\r\nHost: pulse\r\nContent-Type: application/json\r\n"
                "Content-Length: 2\r\nConnection: close\r\n\r\n{}".encode()
            )
            is_own = (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            self._check_queue()
            return is_own
        finally:
            writer.close()

    def _check_queue(self) -> None:
        if self.turns_away():
            raise OSError("the queue of connections is full, and further ones are dropped")

    def _warn(self, message: str, *arguments: object) -> None:
        """Log a warning, at most once a minute."""
        now = clock.now()
        if self._warned_at is None or abs(now - self._warned_at) >= WARN_EVERY:
            log.warning(message, *arguments)
            self._warned_at = now
