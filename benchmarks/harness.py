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
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


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


def middle(loads: list[Load]) -> Load:
    """Return the median of each number over several runs; errors add up."""
    return Load(
        requests_per_second=median(load.requests_per_second for load in loads),
        p50_ms=median(load.p50_ms for load in loads),
        p99_ms=median(load.p99_ms for load in loads),
        errors=sum(load.errors for load in loads),
    )


@contextlib.contextmanager
def web(application: str, *, workers: int = 1, env: dict[str, str] | None = None) -> Iterator[int]:
    """Run an ASGI application with the production server and return its port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
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
    )
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if time.monotonic() > end:
                raise SystemExit(f"{application} did not start")
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:  # a reference that still works through what the load left behind
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def machine() -> dict[str, Any]:
    """Describe the machine that measured."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in cpus if "model name" in line), "?")
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
    }


def save(name: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """Write a benchmark's rows as JSON, with the machine that measured them."""
    RESULTS.mkdir(exist_ok=True)
    result = {"benchmark": name, "machine": machine(), "rows": rows, **more}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1, default=asdict) + "\n")
