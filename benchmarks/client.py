"""Clients that ping over many kept connections and log every answer."""

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from benchmarks.ground import Ground

PATIENCE_SECONDS = 60.0
CLOSED, UNHEARD = 0, -1  # statuses of a ping whose connection was closed, and of one that got nothing at all in time


@dataclass
class Log:
    """What the clients saw; a 200 is kept as the row that must stand in the history."""

    answered: list[tuple[int, bytes]] = field(default_factory=list)  # which heartbeat, and the answer's body
    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    strange: list[bytes] = field(default_factory=list)

    def compare(self, ground: Ground) -> dict[str, int]:
        """Return how the log and the tables differ; `lost` must be 0, and `more` at most what got no 200."""
        answered = Counter((integration_id, received_at(body)) for integration_id, body in self.answered)
        stored = Counter(
            (integration_id, received_at)
            for integration_id, received_at in ground.sql("SELECT integration_id, received_at FROM integrations_ping")
        )
        [(wrong,)] = ground.sql(
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
            "timers_that_do_not_match_the_history": wrong,
        }


@contextlib.contextmanager
def pinging(
    port: int, *, heartbeats: int, connections: int, per_second: float | None = None, keep: bool = True
) -> Iterator[Log]:
    """Ping random heartbeats while the block lasts, as fast as answers come or at a steady rate; yield the log.

    Every ping that was sent is answered, closed or given up before the block is left. Without `keep` only counts and
    latencies are kept.
    """
    log, stop = Log(), threading.Event()

    async def one(number: int) -> None:
        pick, stream = random.Random(number), None
        gap = connections / per_second if per_second else 0.0
        due = time.monotonic() + gap * number / connections
        while not stop.is_set():
            if gap:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due = max(due + gap, time.monotonic() - gap)  # what is late is made up for once, not in a burst
            if stream is None:
                try:
                    stream = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
            integration_id = pick.randint(1, heartbeats)
            sent = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    status, body, kept = await ask(*stream, integration_id)
            except TimeoutError:
                status, body, kept = UNHEARD, b"", False
            except (OSError, asyncio.IncompleteReadError):
                status, body, kept = CLOSED, b"", False
            log.statuses[status] += 1
            if status == 200:
                log.milliseconds.append((time.monotonic() - sent) * 1e3)
                if keep:
                    log.answered.append((integration_id, body))
            elif body and status != 503:
                log.strange.append(body)
            if not kept:
                stream[1].close()
                stream = None
        if stream is not None:
            stream[1].close()

    async def all_of_them() -> None:
        await asyncio.gather(*map(one, range(connections)))

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
    thread.start()
    try:
        yield log
    finally:
        stop.set()
        thread.join()


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, integration_id: int
) -> tuple[int, bytes, bool]:
    """Ping once; return status, body, and whether the connection may be used again."""
    head = f"POST /Heartbeat/bench-{integration_id} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
    writer.write(head.encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    body = await reader.readexactly(int(answer.split(b"content-length:")[1].split(b"\r\n")[0]))
    return int(answer[9:12]), body, b"connection: close" not in answer


def received_at(body: bytes) -> datetime:
    """Return when the answer to a ping says it was received."""
    return datetime.fromisoformat(body.split(b'"received_at":"')[1].split(b'"')[0].decode())
