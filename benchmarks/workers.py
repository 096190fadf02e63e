"""The workers and beat as real processes, and a client that pings at a steady rate."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from celery import Celery

from benchmarks.machine import ROOT
from embedded.options import read_options
from embedded.process import Program, tied
from embedded.stack import programs

CLIENTS = 100
NAMES = ("engine", "delivery", "beat")


@contextlib.contextmanager
def workers(*, beat_later: float = 0.0, **env: str) -> Iterator[None]:
    """Run the workers and beat exactly as script/server does, and wait until they take work.

    `beat_later` (seconds) shifts the ticks against the pulses, so that several runs measure several phases.
    """
    # A separate Celery app, because the workers may use another broker than this process.
    celery = Celery(broker=env.get("REDIS_URL", os.environ["REDIS_URL"]), set_as_current=False)
    base = Program(name="", command=(sys.executable,), folder=ROOT, env={}, account=None)
    options = replace(read_options(()), database_url="", redis_url="")
    commands = {program.name: program.command for program in programs(base, options) if program.name in NAMES}
    beat = commands.pop("beat")
    running = [_started(command, env) for command in commands.values()]
    try:
        end = time.monotonic() + 60
        while len(celery.control.ping(timeout=1)) < len(commands):
            if time.monotonic() > end:
                raise SystemExit("the workers did not start")
        time.sleep(beat_later)
        running.append(_started(beat, env))
        time.sleep(6)  # until beat ticks; nothing is due before
        yield
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGTERM)
        for process in running:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _started(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=tied(signal.SIGKILL),  # noqa: PLW1509 - the workers must die with a killed benchmark
    )


@dataclass
class Seen:
    """The answers that a steady client has got: the count of each status, and the rate."""

    statuses: Counter[int] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Start counting again from zero."""
        self.statuses.clear()
        self.started = time.monotonic()

    @property
    def per_second(self) -> float:
        """Return the number of answers per second so far."""
        return self.statuses.total() / (time.monotonic() - self.started)


@contextlib.contextmanager
def steady_pings(port: int, *, per_second: int, heartbeats: range) -> Iterator[Seen]:
    """Ping random heartbeats of the range at a steady rate from another thread within the block."""
    stop = threading.Event()
    answers = Seen()

    async def ping_on_all() -> None:
        await asyncio.gather(*(ping_on(number / CLIENTS) for number in range(CLIENTS)))

    async def ping_on(offset: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        gap = CLIENTS / per_second
        due = time.monotonic() + offset * gap
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += gap
            answers.statuses[await _ping(reader, writer, f"bench-{random.choice(heartbeats)}")] += 1
        writer.close()

    thread = threading.Thread(target=lambda: asyncio.run(ping_on_all()))
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def ping_each(port: int, *, heartbeats: range, connections: int = 200) -> Counter[int]:
    """Ping each heartbeat of the range once, as fast as the server answers; return the count of each status."""
    statuses: Counter[int] = Counter()
    remaining = iter(heartbeats)

    async def ping_on() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in remaining:
            statuses[await _ping(reader, writer, f"bench-{number}")] += 1
        writer.close()

    async def ping_on_all() -> None:
        await asyncio.gather(*(ping_on() for _ in range(connections)))

    asyncio.run(ping_on_all())
    return statuses


async def _ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> int:
    """Ping once over an open connection and return the status."""
    writer.write(f"POST /Heartbeat/{token} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
    return int(head[9:12])
