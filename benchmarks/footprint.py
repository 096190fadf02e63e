"""Measures memory and processor time of the idle embedded stack, and its start, with the real script/server."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import free_port
from benchmarks.machine import ROOT, cpu_seconds, family, memory_mib
from benchmarks.rows import row, save, say

STARTS, SAMPLES, SETTLE_SECONDS, BETWEEN_SECONDS = 5, 5, 20, 4
# Long enough that the work of every minute counts with its share.
IDLE_SECONDS = 120
# Not part of the program: environments, data and caches of tools.
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".heartbeat", ".env", "__pycache__", ".*_cache", ".hypothesis", "results", "staticfiles"
)


def footprint() -> list[dict[str, Any]]:
    """Start a copy of the project with its own script/server several times, and measure its memory when it is idle."""
    with tempfile.TemporaryDirectory(prefix="heartbeat-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the service account must be able to enter it
        project = Path(folder) / "project"
        shutil.copytree(ROOT, project, ignore=NOT_COPIED)
        starts = []
        for number in range(STARTS + 1):
            say(f"start {number} of {STARTS}" if number else "first start, which installs")
            with server(project) as (pid, ready_after):
                starts.append(ready_after)
                if number == STARTS:
                    say("measuring its memory")
                    time.sleep(SETTLE_SECONDS)
                    samples, processes = _samples(pid)
                    say("measuring its processor time")
                    idle_percent = _idle_percent(pid)
    pss, rss = ([sample[name] for sample in samples] for name in ("pss", "rss"))
    first, *later = starts
    rows = [
        row("resident memory, idle: shared pages once (PSS)", median(pss), unit="MiB", at_most=450, runs=pss),
        row("resident memory, idle: shared pages in each process (RSS)", median(rss), unit="MiB", runs=rss),
        row("processor time of the whole stack, idle", idle_percent, unit="% of one core", at_most=2),
        row("processes", processes, unit=""),
        row("second start of script/server until /readyz", median(later), unit="s", at_most=10, runs=later),
    ]
    save("footprint", rows, first_start_with_installation=first)
    return rows


@contextmanager
def server(project: Path) -> Iterator[tuple[int, float]]:
    """Run the project's script/server within the block; yield its process id and the seconds until it was ready."""
    port = free_port()
    passed_on = {
        name: value for name, value in os.environ.items() if name.isupper() and name.startswith(("PIP_", "LC_"))
    }
    env = passed_on | {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "HEARTBEAT_PORT": str(port),
        "HEARTBEAT_DATA_DIR": str(project.parent / "data"),
    }
    started = time.monotonic()
    with (project.parent / "server.log").open("ab") as log:
        process = subprocess.Popen(["./script/server"], cwd=project, env=env, stdout=log, stderr=log)
    try:
        while not _ready(port):
            if process.poll() is not None or time.monotonic() - started > 600:
                raise SystemExit((project.parent / "server.log").read_text()[-3000:])
            time.sleep(0.02)
        yield process.pid, time.monotonic() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def _idle_percent(pid: int) -> float:
    """Return the processor time of the supervisor and its descendants, in percent of one core."""
    processes = family(pid)
    before = cpu_seconds(processes)
    time.sleep(IDLE_SECONDS)
    return 100 * (cpu_seconds(processes) - before) / IDLE_SECONDS


def _samples(pid: int) -> tuple[list[dict[str, float]], int]:
    """Measure the memory of the supervisor and its descendants several times; return it and the number of processes."""
    samples = []
    for _ in range(SAMPLES):
        time.sleep(BETWEEN_SECONDS)
        processes = family(pid)
        samples.append(memory_mib(processes))
    return samples, len(processes)
