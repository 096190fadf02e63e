"""The engine, the delivery worker and beat as real processes, and a client that pings at a steady rate."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from benchmarks.harness import ROOT

CELERY = [sys.executable, "-m", "celery", "-A", "heartbeat_project"]
QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat"]


@contextlib.contextmanager
def workers(**env: str) -> Iterator[None]:
    """Run one engine worker, one delivery worker and one beat, as script/server does."""
    commands = [
        [*CELERY, "worker", "-Q", "engine", "-n", "engine@%h", "--pool", "threads", "--concurrency", "2", *QUIET],
        [*CELERY, "worker", "-Q", "delivery", "-n", "delivery@%h", "--pool", "threads", "--concurrency", "8", *QUIET],
        [*CELERY, "beat", "--max-interval", "1", "--pidfile="],
    ]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        time.sleep(6)  # until they have connected; nothing is due before
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


@contextlib.contextmanager
def steady_pings(port: int, *, per_second: int, heartbeats: range) -> Iterator[list[int]]:
    """Ping random heartbeats of the range at a steady rate from a thread; the list counts the statuses seen."""
    stop = threading.Event()
    statuses: list[int] = []

    async def ping_on() -> None:
        connections = 20
        await asyncio.gather(*(one(number / connections) for number in range(connections)))

    async def one(offset: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        gap = 20 / per_second
        due = time.monotonic() + offset * gap
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += gap
            token = f"bench-{random.choice(heartbeats)}"
            writer.write(
                f"POST /Heartbeat/{token} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            statuses.append(int(head[9:12]))
        writer.close()

    thread = threading.Thread(target=lambda: asyncio.run(ping_on()))
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join()
