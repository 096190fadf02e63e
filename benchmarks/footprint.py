"""What the whole embedded stack takes while nothing happens, and how soon it is there again: the real script/server."""

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
from benchmarks.machine import ROOT, family, memory_mib
from benchmarks.rows import row, save, say

STARTS, SAMPLES, SETTLE_SECONDS, BETWEEN_SECONDS = 5, 5, 20, 4
# What is no part of the program: environments, data and what tools leave behind.
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".heartbeat", ".env", "__pycache__", ".*_cache", ".hypothesis", "results", "staticfiles"
)


def footprint() -> list[dict[str, Any]]:
    """Start a copy of the project with its own script/server several times, and weigh it when it is idle."""
    with tempfile.TemporaryDirectory(prefix="heartbeat-", dir="/tmp", ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)  # the service account is to reach it
        project = Path(place) / "project"
        shutil.copytree(ROOT, project, ignore=NOT_COPIED)
        starts = []
        for number in range(STARTS + 1):
            say(f"start {number} of {STARTS}" if number else "first start, which installs")
            with server(project) as (pid, ready_after):
                starts.append(ready_after)
                if number == STARTS:
                    say("weighing it")
                    time.sleep(SETTLE_SECONDS)
                    samples, processes = _samples(pid)
    pss, rss = ([sample[name] for sample in samples] for name in ("pss", "rss"))
    first, *later = starts
    rows = [
        row("resident memory, idle: shared pages once (PSS)", median(pss), unit="MiB", at_most=700, runs=pss),
        row("resident memory, idle: shared pages in each process (RSS)", median(rss), unit="MiB", runs=rss),
        row("processes", processes, unit=""),
        row("second start of script/server until /readyz", median(later), unit="s", at_most=10, runs=later),
    ]
    save("footprint", rows, first_start_with_installation=first)
    return rows


@contextmanager
def server(project: Path) -> Iterator[tuple[int, float]]:
    """Run the project's script/server; give its process and after how many seconds it was ready."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if name.isupper() and name.startswith(("PIP_", "LC_"))}
    env = kept | {
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


def _samples(pid: int) -> tuple[list[dict[str, float]], int]:
    """Weigh the supervisor and all that it started, several times; return the weights and how many processes."""
    samples = []
    for _ in range(SAMPLES):
        time.sleep(BETWEEN_SECONDS)
        processes = family(pid)
        samples.append(memory_mib(processes))
    return samples, len(processes)
