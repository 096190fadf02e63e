"""Hundreds that send byte by byte, say nothing, end their half, or read nothing: pings go on, and nothing is left of them."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import pytest

from heartbeat_project.serve import HEAD_SECONDS
from integrations.ping_lane.lane import BODY_SECONDS
from integrations.ping_lane.own_address import UNREAD_SECONDS
from tests.faults.wire import connect, heard, ping, request
from tests.figures import record_figure
from tests.processes import descriptors, how_busy, memory_mib, until

pytestmark = pytest.mark.serial

HEAD = b"POST /Heartbeat/bench-%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
BUNDLE = "/static/admin/js/vendor/xregexp/xregexp.js"
LARGE = f"GET {BUNDLE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
# Of the states that Linux knows (TCP_INFO), those in which the server has not ended the connection.
ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2 = 1, 4, 5
DONE = 1_901  # the heartbeat of those who end their half after a whole ping; no other test pings it


@dataclass
class Sender:
    """One connection: what it says at once, what it adds each second, and when it was seen to be ended."""

    kind: str
    connection: socket.socket
    drops: Iterator[bytes] = field(default_factory=lambda: iter(()))
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def look(self) -> None:
        state = self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if self.ended is None and state not in {ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2}:
            self.ended = time.monotonic()

    def drip(self) -> None:
        if self.ended is None and (drop := next(self.drops, b"")):
            with contextlib.suppress(OSError):
                self.connection.sendall(drop)


def byte_by_byte(text: bytes) -> Iterator[bytes]:
    return (text[at : at + 1] for at in range(len(text)))


def senders(port: int, each: int, *, deaf: int) -> Iterator[Sender]:
    """Open `each` connections of each kind, and `deaf` that ask for much and read nothing."""
    for _ in range(each):
        yield Sender("says nothing", connect(port))
        yield Sender("head byte by byte", connect(port), byte_by_byte(HEAD % 1))
        half = connect(port)
        half.sendall(HEAD[:30])
        yield Sender("half a head", half)
        slow = connect(port)
        slow.sendall(HEAD % 1)
        yield Sender("body byte by byte", slow, byte_by_byte(b"x" * 999))
        silent = connect(port)
        silent.sendall(HEAD % 1)
        yield Sender("no body", silent)
        done = connect(port)
        done.sendall(request(DONE))
        done.shutdown(socket.SHUT_WR)
        yield Sender("ends its half after a ping", done)
        broken = connect(port)
        broken.sendall(HEAD % 1)
        broken.shutdown(socket.SHUT_WR)
        yield Sender("ends its half before its body", broken)
        unread = connect(port)
        unread.sendall(request() * 20)
        yield Sender("reads no answer", unread)
    for _ in range(deaf):
        one = connect(port)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(LARGE * 40)
        yield Sender("reads nothing of megabytes", one)


class Crowd:
    """Senders of every kind, which drip in a thread for as long as the block lasts."""

    def __init__(self, port: int, each: int, *, deaf: int = 0) -> None:
        self.senders = list(senders(port, each, deaf=deaf))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drip)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for sender in self.senders:
            sender.connection.close()

    def _drip(self) -> None:
        rounds = 0
        while not self._over.wait(0.1):
            for sender in self.senders:
                sender.look()
                if rounds % 10 == 0:
                    sender.drip()
            rounds += 1

    def took(self, kind: str) -> list[float | None]:
        """Return after how many seconds those of a kind were ended, None for each that was not."""
        return [one.ended and one.ended - one.began for one in self.senders if one.kind == kind]

    def last(self, kind: str) -> float:
        took = [seconds for seconds in self.took(kind) if seconds is not None]
        assert len(took) == len(self.took(kind)), f"{kind}: not all have ended: {sorted(took)[-3:]}"
        return max(took)


class Ordinary:
    """Pings over a connection that is kept and over new ones, within a block; `slowest` in seconds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.statuses: list[int] = []
        self.slowest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ping)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ping(self) -> None:
        with connect(self.port) as kept:
            while not self._over.wait(0.1):
                kept.sendall(request(2))
                for said in (heard(kept, seconds=10), ping(self.port, 3, seconds=10)):
                    self.statuses.append(said.status)
                    self.slowest = max(self.slowest, said.seconds)


@pytest.fixture(scope="module")
def web(ground):
    """A server that waits two seconds for a head."""
    with ground.web(options=("--http1-header-read-timeout", "2000")) as web:
        yield web


def test_what_was_downloaded_leaves_memory_at_once(web):
    [pid] = web.pids()

    def download() -> None:
        asked = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
        asked.request("GET", BUNDLE)
        assert len(asked.getresponse().read()) > 300_000
        asked.close()

    download()  # what is loaded at the first use is loaded
    before = memory_mib(pid)
    for _ in range(160):  # 50 MiB in all
        download()

    assert memory_mib(pid) - before < 20


def test_slow_and_half_open_senders_hold_up_no_ping_and_leave_nothing(web):
    """The short form: who sends a body leaves before its time is over."""
    [pid] = web.pids()
    assert ping(web.port).status == 200
    before = descriptors(pid)
    with Ordinary(web.port) as ordinary:
        with Crowd(web.port, 50) as crowd:
            heads = ("says nothing", "head byte by byte", "half a head", "reads no answer")
            until(lambda: all(None not in crowd.took(kind) for kind in heads), seconds=20, what="their time is over")
            took = {kind: crowd.last(kind) for kind in heads}
            halves = [crowd.last(f"ends its half {when}") for when in ("after a ping", "before its body")]
            assert crowd.took("no body") == [None] * 50, "a body has more time than a head"
        until(lambda: descriptors(pid) <= before + 3, seconds=5, what="their descriptors are given back")

    assert web.pids() == [pid]
    assert set(ordinary.statuses) == {200}
    assert ordinary.slowest < 1 * how_busy()
    assert max(took.values()) < 5 * how_busy(), took
    assert max(halves) < 2 * how_busy()


@pytest.mark.long
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_thousand_slow_and_half_open_senders_end_by_their_limits(ground, loop):
    ground.sql("DELETE FROM integrations_ping WHERE integration_id = %s", [DONE])
    each, deaf = 125, 10
    fault = f"{each * 8 + deaf:,} slow and half-open senders, {loop}"
    with ground.web(options=("--loop", loop)) as web:
        [pid] = web.pids()
        assert ping(web.port).status == 200
        before, memory = descriptors(pid), []
        with Ordinary(web.port) as ordinary:
            for _ in range(2):
                with Crowd(web.port, each, deaf=deaf) as crowd:
                    until(
                        lambda: descriptors(pid) <= before + 3,
                        seconds=UNREAD_SECONDS * 2.5,
                        what="all have ended by themselves",
                        every=0.5,
                    )
                    last = {kind: crowd.last(kind) for kind in {one.kind for one in crowd.senders[:8]}}
                memory.append(memory_mib(pid))
        assert web.pids() == [pid]

    record_figure(
        fault, f"slowest of {len(ordinary.statuses)} ordinary pings", ordinary.slowest, unit="s", at_most=1 * how_busy()
    )
    record_figure(
        fault, "ordinary pings refused", len(ordinary.statuses) - ordinary.statuses.count(200), unit="", at_most=0
    )
    for kind, seconds in sorted(last.items()):
        limit = {"body byte by byte": BODY_SECONDS, "no body": BODY_SECONDS}.get(kind, HEAD_SECONDS)
        record_figure(fault, f"last that {kind} ended after", seconds, unit="s", at_most=limit + 5)
    record_figure(
        fault, "memory after the second crowd, above the first", memory[1] - memory[0], unit="MiB", at_most=15
    )
