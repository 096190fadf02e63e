"""Clients that ping over many persistent connections and log every answer."""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import NamedTuple

from benchmarks.ground import Ground

TIMEOUT_SECONDS = 60.0
CLOSED, UNHEARD = 0, -1  # statuses of a ping whose connection was closed, and of one that got no answer in time


class Pinged(NamedTuple):
    """A ping and its answer; times are of time.monotonic()."""

    number: int
    status: int
    head: bytes  # in lower case
    body: bytes
    sent_at: float
    ended_at: float


@dataclass
class Log:
    """The answers that the clients got. For each 200, there must be a row in the history."""

    answered: list[tuple[int, bytes]] = field(default_factory=list)  # heartbeat and body of each 200
    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    strange: list[bytes] = field(default_factory=list)
    marked: dict[str, Pinged] = field(default_factory=dict)  # by user agent, which each of them has to itself

    def note(self, ping: Pinged, *, keep: bool = True) -> None:
        """Add a ping; without `keep`, its counts and latency only."""
        self.statuses[ping.status] += 1
        if ping.status == 200:
            self.milliseconds.append((ping.ended_at - ping.sent_at) * 1e3)
            if keep:
                self.answered.append((ping.number, ping.body))
        elif ping.body and ping.status != 503:
            self.strange.append(ping.body)

    def compare(self, ground: Ground) -> dict[str, int]:
        """Return how the log and the tables differ: `lost` must be 0, and `more` at most the pings without a 200."""
        answered = Counter((integration_id, received_at(body)) for integration_id, body in self.answered)
        stored = Counter(
            (integration_id, received_at)
            for integration_id, received_at in ground.sql("SELECT integration_id, received_at FROM integrations_ping")
        )
        [(wrong_timers,)] = ground.sql(
            "SELECT count(*) FROM integrations_heartbeat AS heartbeat JOIN LATERAL ("
            " SELECT count(*) AS pings, max(received_at) AS last FROM integrations_ping AS ping"
            " WHERE ping.integration_id = heartbeat.integration_id) AS history ON pings > 0"
            " WHERE ping_count <> pings + 1 OR last_ping_at <> last OR deadline_at <> last + interval '1 hour'"
        )
        return {
            "answered_200": answered.total(),
            "stored": stored.total(),
            "lost": (answered - stored).total(),
            "more": (stored - answered).total(),
            "refused_or_closed": self.statuses.total() - self.statuses[200],
            "timers_that_do_not_match_the_history": wrong_timers,
        }

    def compare_each(self, ground: Ground) -> dict[str, int]:
        """Return how marked pings and their rows differ; all but `stored_without_a_200` must be 0."""
        rows = defaultdict(list)
        query = "SELECT user_agent, integration_id, received_at FROM integrations_ping WHERE user_agent IS NOT NULL"
        for agent, integration_id, at in ground.sql(query):
            rows[agent].append((integration_id, at))
        found = Counter[str]()
        for agent, ping in self.marked.items():
            stored = rows.pop(agent, [])
            found["twice"] += len(stored) > 1
            if ping.status != 200:
                found["stored_without_a_200"] += len(stored)
            elif not stored:
                found["lost"] += 1
            elif stored[0] != (ping.number, received_at(ping.body)):
                found["answered_otherwise"] += 1
            found["refused_without_retry_after"] += ping.status == 503 and b"\r\nretry-after: " not in ping.head
        found["sent_by_nobody"] = len(rows)
        kinds = ("lost", "twice", "answered_otherwise", "sent_by_nobody", "refused_without_retry_after")
        return {kind: found[kind] for kind in (*kinds, "stored_without_a_200")}


@contextlib.contextmanager
def pinging(
    port: int,
    *,
    heartbeats: int,
    connections: int,
    per_second: float | None = None,
    keep: bool = True,
    mark: bool = False,
) -> Iterator[Log]:
    """Ping random heartbeats within the block, as fast as answers come or at a steady rate; yield the log.

    Before the block ends, every ping is answered, closed or given up. Without `keep`, the log has only counts and
    latencies. With `mark`, each ping has a user agent of its own.
    """
    log, stop = Log(), threading.Event()

    async def ping_on(number: int) -> None:
        pick, stream, marks = random.Random(number), None, count()
        gap = connections / per_second if per_second else 0.0
        due = time.monotonic() + gap * number / connections
        while not stop.is_set():
            if gap:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due = max(due + gap, time.monotonic() - gap)  # after a delay, catch up by one ping, not in a burst
            if stream is None:
                try:
                    stream = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
            integration_id = pick.randint(1, heartbeats)
            agent = f"{number}-{next(marks)}" if mark else ""
            ping, is_open = await _ask_in_time(stream, integration_id, agent=agent)
            log.note(ping, keep=keep)
            if mark:
                log.marked[agent] = ping
            if not is_open:
                stream[1].close()
                stream = None
        if stream is not None:
            stream[1].close()

    async def ping_on_all() -> None:
        await asyncio.gather(*map(ping_on, range(connections)))

    thread = threading.Thread(target=lambda: asyncio.run(ping_on_all()))
    thread.start()
    try:
        yield log
    finally:
        stop.set()
        thread.join()


async def _ask_in_time(
    stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], number: int, *, agent: str
) -> tuple[Pinged, bool]:
    """Ping heartbeat `number` once; return what came, and whether the connection can be used again."""
    status, head, body, is_open = CLOSED, b"", b"", False
    sent_at = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            status, head, body, is_open = await ask(*stream, number, agent=agent)
    except TimeoutError:
        status = UNHEARD
    except (OSError, asyncio.IncompleteReadError):
        pass
    return Pinged(number, status, head, body, sent_at, time.monotonic()), is_open


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, integration_id: int, *, agent: str = ""
) -> tuple[int, bytes, bytes, bool]:
    """Ping once; return the status, head (in lower case) and body, and whether the connection can be used again."""
    line = f"User-Agent: {agent}\r\n" if agent else ""
    head = f"POST /Heartbeat/bench-{integration_id} HTTP/1.1\r\nHost: localhost\r\n{line}Content-Length: 2\r\n\r\n{{}}"
    writer.write(head.encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    body = await reader.readexactly(int(answer.split(b"content-length:")[1].split(b"\r\n")[0]))
    return int(answer[9:12]), answer, body, b"connection: close" not in answer


def received_at(body: bytes) -> datetime:
    """Return `received_at` from the body of an answer."""
    return datetime.fromisoformat(body.split(b'"received_at":"')[1].split(b'"')[0].decode())
