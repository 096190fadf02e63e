"""The tools of the benchmarks: real web processes on embedded servers with durable settings, and wrk."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.machine import ROOT
from embedded.process import tied

PRODUCT = "heartbeat_project.asgi:application"


@dataclass(frozen=True, slots=True)
class Load:
    """The result of one run of wrk; latencies in milliseconds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def wrk(port: int, *, connections: int, seconds: int, heartbeats: int) -> Load:
    """Load the web server on loopback for `seconds` and return the result."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("script/bench needs wrk. Install it (Debian: apt-get install wrk).")
    script = ROOT / "benchmarks" / "ping.lua"
    completed = subprocess.run(
        [
            program,
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "-s",
            str(script),
            f"http://127.0.0.1:{port}",
        ],
        env={**os.environ, "HEARTBEATS": str(heartbeats)},
        capture_output=True,
        text=True,
        check=True,
    )
    summary = json.loads(completed.stdout.split("JSON", 1)[1].splitlines()[0])
    return Load(
        requests_per_second=summary["requests"] / (summary["us"] / 1e6),
        p50_ms=summary["p50"] / 1e3,
        p99_ms=summary["p99"] / 1e3,
        errors=summary["errors"],
    )


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def middle(loads: list[Load]) -> Load:
    """Return the median of each figure over several runs, and the sum of their errors."""
    return Load(
        requests_per_second=median(load.requests_per_second for load in loads),
        p50_ms=median(load.p50_ms for load in loads),
        p99_ms=median(load.p99_ms for load in loads),
        errors=sum(load.errors for load in loads),
    )


@dataclass(frozen=True, slots=True)
class Served:
    """A running web server: its port and its process id."""

    port: int
    pid: int


@contextlib.contextmanager
def web(application: str, *, workers: int = 1, env: dict[str, str] | None = None) -> Iterator[int]:
    """Run an ASGI application with the production server and return its port."""
    with served(application, workers=workers, env=env) as server:
        yield server.port


@contextlib.contextmanager
def served(application: str, *, workers: int = 1, env: dict[str, str] | None = None) -> Iterator[Served]:
    """Run an ASGI application with the production server and return its port and process.

    The product is started by its own command, any other application with nothing but granian and asyncio.
    """
    port = free_port()
    options = ("--host", "127.0.0.1", "--port", str(port), "--workers", str(workers))
    plain = ("granian", "--interface", "asgi", "--loop", "asyncio", "--no-access-log", *options, application)
    server = subprocess.Popen(
        [sys.executable, "-m", *(("heartbeat_project.serve", *options) if application == PRODUCT else plain)],
        cwd=ROOT,
        env={
            **os.environ,
            "HEARTBEAT_LOG_LEVEL": "WARNING",
            "HEARTBEAT_HOST": "127.0.0.1",
            "HEARTBEAT_PORT": str(port),
            **(env or {}),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=tied(signal.SIGTERM),  # noqa: PLW1509 - the server must die with a killed benchmark
    )
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if time.monotonic() > end:
                raise SystemExit(f"{application} did not start")
            time.sleep(0.1)
        yield Served(port, server.pid)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:  # a reference application that still works through queued requests
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
