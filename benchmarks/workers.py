"""The workers and beat as real processes, and a client that pings at a steady rate."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from celery import Celery

from benchmarks.machine import ROOT
from heartbeat_project.embedded.options import read_options
from heartbeat_project.embedded.process import Program, tied
from heartbeat_project.embedded.stack import programs

CLIENTS = 100


@contextlib.contextmanager
def workers(*, beat_later: float = 0.0, **env: str) -> Iterator[None]:
    """Run the workers and beat just as script/server does, and wait until they take work.

    `beat_later` (seconds) moves the ticks against the pulses, so that several runs see several phases.
    """
    # Theirs may be another broker than ours.
    asking = Celery(broker=env.get("REDIS_URL", os.environ["REDIS_URL"]), set_as_current=False)
    base = Program(name="", command=(), folder=ROOT, env={}, account=None)
    options = replace(read_options(()), database_url="", redis_url="")
    commands = {program.name: program.command for program in programs(base, options) if program.name != "web"}
    beat = commands.pop("beat")
    running = [_started(command, env) for command in commands.values()]
    try:
        end = time.monotonic() + 60
        while len(asking.control.ping(timeout=1)) < len(commands):
            if time.monotonic() > end:
                raise SystemExit("the workers did not start")
        time.sleep(beat_later)
        running.append(_started(beat, env))
        time.sleep(6)  # until it ticks; nothing is due before
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
        preexec_fn=tied(signal.SIGKILL),  # noqa: PLW1509 - nothing is left behind by a killed benchmark
    )


@dataclass
class Seen:
    """What a steady client saw since it began: how many of each status, and at which rate."""

    statuses: Counter[int] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Count anew from here."""
        self.statuses.clear()
        self.started = time.monotonic()

    @property
    def per_second(self) -> float:
        """Return the rate so far."""
        return self.statuses.total() / (time.monotonic() - self.started)


@contextlib.contextmanager
def steady_pings(port: int, *, per_second: int, heartbeats: range) -> Iterator[Seen]:
    """Ping random heartbeats of the range at a steady rate from a thread."""
    stop = threading.Event()
    seen = Seen()

    async def ping_on() -> None:
        await asyncio.gather(*(one(number / CLIENTS) for number in range(CLIENTS)))

    async def one(offset: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        gap = CLIENTS / per_second
        due = time.monotonic() + offset * gap
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += gap
            seen.statuses[await _ping(reader, writer, f"bench-{random.choice(heartbeats)}")] += 1
        writer.close()

    thread = threading.Thread(target=lambda: asyncio.run(ping_on()))
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def ping_each(port: int, *, heartbeats: range, connections: int = 200) -> Counter[int]:
    """Ping each heartbeat of the range once, as fast as the server answers; return how many of each status came."""
    statuses: Counter[int] = Counter()
    left = iter(heartbeats)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in left:
            statuses[await _ping(reader, writer, f"bench-{number}")] += 1
        writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(connections)))

    asyncio.run(all_of_them())
    return statuses


async def _ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> int:
    """Ping over an open connection and return the status."""
    writer.write(f"POST /Heartbeat/{token} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
    return int(head[9:12])
