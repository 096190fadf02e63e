"""A soak at half of the top rate: measures whether memory and the number of dead rows stay flat."""

import os
import time
from pathlib import Path
from typing import Any

from benchmarks.client import pinging
from benchmarks.ground import Ground, Web, children, ground
from benchmarks.rows import row, save
from benchmarks.workers import workers

HEARTBEATS, CONNECTIONS, TOP_SECONDS, EVERY_SECONDS = 100_000, 64, 20, 5.0
WARM_UP = 0.3  # the fraction of the soak in which caches, pools and shared buffers still fill
MARKS = {"-Q\0engine": "engine", "-Q\0delivery": "delivery", "\0beat\0": "beat"}
GROWTH_PER_HOUR, GROWTH_KIB_PER_HOUR = 0.10, 1024  # memory is flat if its growth is below one of these bounds
TABLE = (
    "SELECT n_dead_tup, n_tup_upd, n_tup_hot_upd, autovacuum_count, pg_table_size(relid), pg_indexes_size(relid)"
    " FROM pg_stat_user_tables WHERE relname = 'integrations_heartbeat'"
)


def soak(*, minutes: float = 10.0) -> list[dict[str, Any]]:
    """Ping 100,000 heartbeats for `minutes` at half of the top rate of two web processes, with the workers running."""
    with ground(heartbeats=HEARTBEATS) as servers, servers.web(workers=2) as web, workers(**servers.env):
        top = top_rate(web)
        before = servers.sql(TABLE)[0]
        samples: list[dict[str, Any]] = []
        started = time.monotonic()
        with pinging(web.port, heartbeats=HEARTBEATS, connections=CONNECTIONS, per_second=top / 2, keep=False) as log:
            while (elapsed := time.monotonic() - started) < minutes * 60:
                samples.append({"seconds": round(elapsed, 1), **sample(servers, web)})
                time.sleep(max(0.0, EVERY_SECONDS - (time.monotonic() - started - elapsed)))
        took = time.monotonic() - started
        after = servers.sql(TABLE)[0]
    steady = [item for item in samples if item["seconds"] >= WARM_UP * minutes * 60]
    rows = [memory_row(name, steady) for name in steady[0]["memory_kib"]]
    rows.append(dead_rows_row(steady))
    updates, hot = after[1] - before[1], after[2] - before[2]
    latencies = sorted(log.milliseconds)
    save(
        "soak",
        rows,
        minutes=minutes,
        top_pings_per_second=top,
        pings_per_second=log.statuses[200] / took,
        statuses={str(status): count for status, count in log.statuses.items()},
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[int(len(latencies) * 0.99)],
        updates=updates,
        hot_share=hot / updates,
        autovacuums=after[3] - before[3],
        shared_buffers_kib=[steady[0]["shared_buffers_kib"], steady[-1]["shared_buffers_kib"]],
        samples=samples,
    )
    return rows


def top_rate(web: Web) -> float:
    """Return the pings per second that are answered if each connection pings again at once."""
    started = time.monotonic()
    with pinging(web.port, heartbeats=HEARTBEATS, connections=CONNECTIONS, keep=False) as log:
        time.sleep(TOP_SECONDS)
    return log.statuses[200] / (time.monotonic() - started)


def sample(servers: Ground, web: Web) -> dict[str, Any]:
    """Return the memory of each process, the shared buffers, and the state of the heartbeats' table."""
    pids = {f"web {number}": [pid] for number, pid in enumerate(web.pids(), 1)}
    for pid in children(os.getpid()):
        command = Path(f"/proc/{pid}/cmdline").read_text()
        pids |= {name: [pid] for mark, name in MARKS.items() if mark in command}
    database = servers.database.child.pid
    pids["database, all its processes"] = [database, *children(database)]
    pids["broker"] = [servers.broker.child.pid]
    dead, updates, hot, autovacuums, table, indexes = servers.sql(TABLE)[0]
    return {
        "memory_kib": {name: sum(memory_kib(pid, "Pss_Anon") for pid in group) for name, group in pids.items()},
        "shared_buffers_kib": sum(memory_kib(pid, "Pss_Shmem") for pid in pids["database, all its processes"]),
        "dead_rows": dead,
        "updates": updates,
        "hot_updates": hot,
        "autovacuums": autovacuums,
        "table_mib": round(table / 2**20, 1),
        "indexes_mib": round(indexes / 2**20, 1),
    }


def memory_kib(pid: int, kind: str) -> int:
    """Return a process's share of one kind of memory in KiB; 0 if it has just ended.

    Files are not counted, because a process's share of a library depends on the other processes of the machine.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


def memory_row(name: str, steady: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of one process: the slope of its memory in KiB a minute."""
    minutes = [item["seconds"] / 60 for item in steady]
    memory = [item["memory_kib"][name] for item in steady]
    mean = sum(memory) / len(memory)
    flat = max(GROWTH_PER_HOUR * mean, GROWTH_KIB_PER_HOUR) / 60
    return row(
        f"memory of {name} ({mean / 1024:.0f} MiB) grows",
        slope(minutes, memory),
        unit="KiB/min",
        at_most=round(flat, 1),
    )


def dead_rows_row(steady: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of the heartbeat table's dead rows: the maximum of the later half against the earlier half."""
    half = len(steady) // 2
    earlier = max(item["dead_rows"] for item in steady[:half])
    later = max(item["dead_rows"] for item in steady[half:])
    label = "most dead heartbeat rows in the later half against the earlier"
    return row(label, later, unit="", reference=max(1, earlier), at_most=1.5)


def slope(xs: list[float], ys: list[float]) -> float:
    """Return the slope of the least-squares line."""
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - x_mean) ** 2 for x in xs)
