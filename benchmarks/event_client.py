"""A client that sends events at a steady rate; it imports no Django, so that it can run in a process of its own."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

# Integrations `event-1` to `event-30`, events a second over all connections, and connections.
INTEGRATIONS, EVENTS, CONNECTIONS = 30, 150, 30
# Every so many-th event has a key of its own, and opens an alert.
OPENS_EVERY: Final = 10


@dataclass
class Answers:
    """The answers to the events: how many of each status, and how long each took."""

    statuses: Counter[int] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)


def send(port: int, *, seconds: int) -> Answers:
    """Send events for so many seconds; return their answers."""
    return asyncio.run(_send(port, seconds=seconds))


async def _send(port: int, *, seconds: int) -> Answers:
    answers = Answers()
    end = time.monotonic() + seconds
    clients = (_send_on(port, number, answers, end) for number in range(CONNECTIONS))
    await asyncio.gather(*clients)
    return answers


async def _send_on(port: int, number: int, answers: Answers, end: float) -> None:
    """Send events at a steady rate over one connection."""
    pick = random.Random(number)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    gap = CONNECTIONS / EVENTS
    due = time.monotonic() + gap * number / CONNECTIONS
    count = number  # so that those that open are spread
    while due < end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due += gap
        count += 1
        key = f"key {number} {due}" if count % OPENS_EVERY == 0 else "key"
        body = json.dumps({"status": "firing", "alertKey": key, "title": f"{key} is down", "host": "db1"}).encode()
        sent_at = time.monotonic()
        writer.write(
            f"POST /POSTAlert/event-{pick.randint(1, INTEGRATIONS)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        await reader.readexactly(length)
        answers.statuses[int(head.split()[1])] += 1
        answers.milliseconds.append(1_000 * (time.monotonic() - sent_at))
    writer.close()
