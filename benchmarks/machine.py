"""Describes the machine that measures, and the resources that processes use (Linux)."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat behind the program's name: the field numbers of proc(5) minus three.
PARENT, TIMES = 1, slice(11, 15)


def machine() -> dict[str, Any]:
    """Return a description of the machine, the database and the commit, without names or paths."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in cpus if "model name" in line), "?")
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
        "commit": _commit(),
        "postgresql": _postgresql(),
    }


def _commit() -> str:
    """Return the commit that was measured, with a plus sign if the code has uncommitted changes."""

    def git(*arguments: str) -> str:
        command = ["git", "-c", "safe.directory=*", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    not_measured = (f":!{name}" for name in ("benchmarks/results", "docs", "tests", "*.md"))
    changed = git("status", "--porcelain", "--", ".", *not_measured)
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + ("+" if changed else "")


def _postgresql() -> dict[str, Any]:
    """Return the server's version and the settings of its command line."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version')")
        [version] = cursor.fetchone()
        cursor.execute(
            "SELECT name, current_setting(name) FROM pg_settings"
            " WHERE source = 'command line' AND setting NOT LIKE '%/%' ORDER BY name"
        )
        return {"version": version, "settings": dict(cursor.fetchall())}


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (numbers := _stat(int(entry.name))):
            children.setdefault(int(numbers[PARENT]), []).append(int(entry.name))
    pids = [pid]
    for member in pids:  # the list grows while it is read
        pids += children.get(member, [])
    return pids


def parent(pid: int) -> int:
    """Return the process that started this one."""
    return int(_stat(pid)[PARENT])


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time of these processes and of their children that have ended."""
    return sum(sum(map(int, _stat(pid)[TIMES])) for pid in pids) / TICKS


def memory_mib(pids: Iterable[int]) -> dict[str, float]:
    """Return the resident memory of processes in MiB: `pss` counts shared pages once, `rss` once per process."""
    sums = {"Pss": 0, "Rss": 0}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                name, number = line.split()[:2]
                if (name := name.rstrip(":")) in sums:
                    sums[name] += int(number)
    return {name.lower(): kib / 1024 for name, kib in sums.items()}


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the program's name; zeros if the process has ended.

    The name may contain spaces and brackets, so the fields begin after the last bracket.
    """
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ["0"] * 50
