"""What each benchmark stands on: real web processes on embedded servers with durable settings, and wrk."""

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
from heartbeat_project.embedded.process import tied


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw; latencies in milliseconds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def wrk(port: int, *, connections: int, seconds: int, heartbeats: int) -> Load:
    """Load the web server on loopback for a bounded time and return what was seen."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("script/bench needs wrk (Debian: apt-get install wrk).")
    script = ROOT / "benchmarks" / "ping.lua"
    done = subprocess.run(
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
    said = json.loads(done.stdout.split("JSON", 1)[1].splitlines()[0])
    return Load(
        requests_per_second=said["requests"] / (said["us"] / 1e6),
        p50_ms=said["p50"] / 1e3,
        p99_ms=said["p99"] / 1e3,
        errors=said["errors"],
    )


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def middle(loads: list[Load]) -> Load:
    """Return the median of each number over several runs; errors add up."""
    return Load(
        requests_per_second=median(load.requests_per_second for load in loads),
        p50_ms=median(load.p50_ms for load in loads),
        p99_ms=median(load.p99_ms for load in loads),
        errors=sum(load.errors for load in loads),
    )


@dataclass(frozen=True, slots=True)
class Served:
    """A web server that runs: where, and as which process."""

    port: int
    pid: int


@contextlib.contextmanager
def web(application: str, *, workers: int = 1, env: dict[str, str] | None = None) -> Iterator[int]:
    """Run an ASGI application with the production server and return its port."""
    with served(application, workers=workers, env=env) as server:
        yield server.port


@contextlib.contextmanager
def served(application: str, *, workers: int = 1, env: dict[str, str] | None = None) -> Iterator[Served]:
    """Run an ASGI application with the production server and return its port and process."""
    port = free_port()
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "asgi",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            str(workers),
            "--no-access-log",
            application,
        ],
        cwd=ROOT,
        env={**os.environ, "HEARTBEAT_LOG_LEVEL": "WARNING", **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=tied(signal.SIGTERM),  # noqa: PLW1509 - nothing is left behind by a killed benchmark
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
        except subprocess.TimeoutExpired:  # a reference that still works through what the load left behind
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
