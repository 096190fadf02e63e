"""Committed pings: the lane beside the constant answer and beside the plain view."""

from dataclasses import asdict
from typing import Any

from django.db import connection

from benchmarks.fill import fill
from benchmarks.harness import Load, middle, save, web, wrk

CONSTANT, LANE, VIEW = (
    "benchmarks.constant:application",
    "heartbeat_project.asgi:application",
    "benchmarks.view:application",
)
RUNS, SECONDS = 3, 6


def pings() -> list[dict[str, Any]]:
    """Measure throughput at 256 connections and latency at 64, over 100,000 heartbeats, history written."""
    heartbeats = 100_000
    fill(heartbeats)
    wide: dict[str, list[Load]] = {CONSTANT: [], LANE: [], VIEW: []}
    narrow: dict[str, list[Load]] = {CONSTANT: [], LANE: []}
    for _ in range(RUNS):
        for application, loads in wide.items():
            with web(application) as port:
                wrk(port, connections=64, seconds=2, heartbeats=heartbeats)  # warm
                loads.append(wrk(port, connections=256, seconds=SECONDS, heartbeats=heartbeats))
                if application in narrow:
                    narrow[application].append(wrk(port, connections=64, seconds=SECONDS, heartbeats=heartbeats))
    rate = {application: middle(loads) for application, loads in wide.items()}
    latency = {application: middle(loads) for application, loads in narrow.items()}
    rows = [
        {
            "what": "committed pings per second against the constant, 256 connections",
            "measured": rate[LANE].requests_per_second,
            "reference": rate[CONSTANT].requests_per_second,
            "ratio": rate[LANE].requests_per_second / rate[CONSTANT].requests_per_second,
            "must": "at least 0.30",
            "reached": rate[LANE].requests_per_second >= 0.30 * rate[CONSTANT].requests_per_second,
        },
        {
            "what": "committed pings per second against the plain view, 256 connections",
            "measured": rate[LANE].requests_per_second,
            "reference": rate[VIEW].requests_per_second,
            "ratio": rate[LANE].requests_per_second / rate[VIEW].requests_per_second,
            "must": "at least 12",
            "reached": rate[LANE].requests_per_second >= 12 * rate[VIEW].requests_per_second,
        },
        {
            "what": "p99 latency in ms against the constant, 64 connections",
            "measured": latency[LANE].p99_ms,
            "reference": latency[CONSTANT].p99_ms,
            "ratio": latency[LANE].p99_ms / latency[CONSTANT].p99_ms,
            "must": "at most 6",
            "reached": latency[LANE].p99_ms <= 6 * latency[CONSTANT].p99_ms,
        },
    ]
    detail = {name: [asdict(load) for load in loads] for name, loads in wide.items()}
    save(
        "pings",
        rows,
        runs=detail,
        latency_runs={name: [asdict(load) for load in loads] for name, loads in narrow.items()},
    )
    return rows


def growth() -> list[dict[str, Any]]:
    """Measure the lane over 10,000 to 1,000,000 heartbeats and with one and two web processes."""
    rows = []
    for heartbeats in (10_000, 100_000, 1_000_000):
        fill(heartbeats)
        for workers in (1, 2):
            with web(LANE, workers=workers) as port:
                wrk(port, connections=64, seconds=2, heartbeats=heartbeats)
                load = wrk(port, connections=256, seconds=SECONDS, heartbeats=heartbeats)
            rows.append(
                {
                    "what": f"pings per second, {heartbeats:,} heartbeats, {workers} web processes",
                    "measured": load.requests_per_second,
                    "reference": rows[0]["measured"] if rows else load.requests_per_second,
                    "ratio": load.requests_per_second / (rows[0]["measured"] if rows else load.requests_per_second),
                    "must": "",
                    "reached": load.errors == 0,
                }
            )
    save("growth", rows)
    return rows


def stored() -> int:
    """Return how many pings the history holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM integrations_ping")
        return int(cursor.fetchone()[0])
