"""Measures how pings and ticks depend on the number of heartbeats, and what a second web process brings."""

from statistics import median
from typing import Any

from django.db import connection

from benchmarks.fill import fill
from benchmarks.harness import web, wrk
from benchmarks.pings import LANE
from benchmarks.rows import row, save, say
from benchmarks.ticks import DUE, tick_times

SIZES, PROCESSES, RUNS, SECONDS = (10_000, 100_000, 1_000_000), (1, 2), 3, 3


def growth() -> list[dict[str, Any]]:
    """Measure pings, with one and two web processes, and ticks over 10,000 to 1,000,000 heartbeats."""
    rates: dict[tuple[int, int], list[float]] = {}
    ticks: dict[int, list[float]] = {}
    errors = 0
    for heartbeats in SIZES:
        say(f"filling {heartbeats:,} heartbeats")
        fill(heartbeats)
        for processes in PROCESSES:
            say(f"{heartbeats:,} heartbeats, {processes} web processes")
            with web(LANE, workers=processes) as port:
                wrk(port, connections=64, seconds=2, heartbeats=heartbeats)
                loads = [wrk(port, connections=256, seconds=SECONDS, heartbeats=heartbeats) for _ in range(RUNS)]
            rates[heartbeats, processes] = [load.requests_per_second for load in loads]
            errors += sum(load.errors for load in loads)
        say(f"{heartbeats:,} heartbeats, ticks")
        ticks[heartbeats] = tick_times(heartbeats, rounds=RUNS)
    rows = [
        row(
            f"pings, {heartbeats:,} heartbeats, {processes} web process{'es' if processes > 1 else ''}",
            median(runs),
            unit="1/s",
            reference=median(rates[SIZES[0], 1]),
            runs=runs,
        )
        for (heartbeats, processes), runs in rates.items()
    ]
    rows += [
        row(
            f"tick with {DUE:,} due among {heartbeats:,}",
            median(runs),
            unit="s",
            reference=median(ticks[SIZES[0]]),
            runs=runs,
        )
        for heartbeats, runs in ticks.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('integrations_heartbeat')")
        [size] = cursor.fetchone()
    rows.append(row("hot row of one heartbeat with its indexes", size / SIZES[-1], unit="bytes"))
    rows.append(row("pings that were not answered 200", errors, unit="", at_most=0))
    save("growth", rows)
    return rows
