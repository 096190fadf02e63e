"""Measures committed pings: the ping lane against the constant and against the plain view, and the cost of a ping."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from statistics import median
from typing import Any

from django.db import connection

from benchmarks.fill import fill
from benchmarks.harness import PRODUCT, Load, Served, middle, served, wrk
from benchmarks.machine import cpu_seconds, family, parent
from benchmarks.report import COSTS
from benchmarks.rows import row, save, say

CONSTANT, LANE, VIEW = "benchmarks.constant:application", PRODUCT, "benchmarks.view:application"
HEARTBEATS, RUNS, SECONDS = 100_000, 3, 6


def pings() -> list[dict[str, Any]]:
    """Measure throughput at 256 connections and latency at 64, over 100,000 heartbeats, including the history."""
    fill(HEARTBEATS)
    wide: dict[str, list[Load]] = {CONSTANT: [], LANE: [], VIEW: []}
    narrow: dict[str, list[Load]] = {CONSTANT: [], LANE: []}
    costs: list[dict[str, float]] = []
    for number in range(RUNS):
        for application, loads in wide.items():
            say(f"run {number + 1} of {RUNS}: {application}")
            with served(application) as server:
                wrk(server.port, connections=64, seconds=2, heartbeats=HEARTBEATS)  # to warm up
                with measured(server, costs if application == LANE else []):
                    loads.append(wrk(server.port, connections=256, seconds=SECONDS, heartbeats=HEARTBEATS))
                if application in narrow:
                    load = wrk(server.port, connections=64, seconds=SECONDS, heartbeats=HEARTBEATS)
                    narrow[application].append(load)
    rate = {application: middle(loads).requests_per_second for application, loads in wide.items()}
    slowest = {application: middle(loads).p99_ms for application, loads in narrow.items()}
    rows = [
        row(
            "committed pings, 256 connections, against the constant",
            rate[LANE],
            unit="1/s",
            reference=rate[CONSTANT],
            at_least=0.48,
            runs=[load.requests_per_second for load in wide[LANE]],
        ),
        row(
            "committed pings, 256 connections, against the plain view",
            rate[LANE],
            unit="1/s",
            reference=rate[VIEW],
            at_least=12,
        ),
        row(
            "p99 of a ping, 64 connections, against the constant",
            slowest[LANE],
            unit="ms",
            reference=slowest[CONSTANT],
            at_most=4,
            runs=[load.p99_ms for load in narrow[LANE]],
        ),
        *_cost_rows(costs),
        row("errors under this load", sum(load.errors for load in wide[LANE] + narrow[LANE]), unit="", at_most=0),
    ]
    save(
        "pings",
        rows,
        runs={name: [asdict(load) for load in loads] for name, loads in wide.items()},
        latency_runs={name: [asdict(load) for load in loads] for name, loads in narrow.items()},
        costs=costs,
    )
    return rows


@contextmanager
def measured(server: Served, costs: list[dict[str, float]]) -> Iterator[None]:
    """Add to `costs` the processor time, write-ahead log and disk space that one ping took within the block."""
    before = _resources(server)
    yield
    difference = {name: value - before[name] for name, value in _resources(server).items()}
    if count := difference.pop("pings"):
        costs.append({name: value / count for name, value in difference.items()})


def _resources(server: Served) -> dict[str, float]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), pg_current_wal_insert_lsn() - '0/0', count(*) FROM integrations_ping")
        backend, wal, count = cursor.fetchone()
        cursor.execute("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('integrations_ping')")
        [size] = cursor.fetchone()
    return {
        "pings": count,
        "web_cpu_us": cpu_seconds(family(server.pid)) * 1e6,
        "database_cpu_us": cpu_seconds(family(parent(backend))) * 1e6,
        "wal_bytes": float(wal),
        "history_bytes": float(size),
    }


def _cost_rows(costs: list[dict[str, float]]) -> list[dict[str, Any]]:
    units = {"web_cpu_us": "µs", "database_cpu_us": "µs", "wal_bytes": "bytes", "history_bytes": "bytes"}
    return [
        row(label, median(cost[name] for cost in costs), unit=unit, runs=[cost[name] for cost in costs])
        for label, (name, unit) in zip(COSTS, units.items(), strict=True)
    ]
