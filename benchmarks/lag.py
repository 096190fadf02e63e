"""Measures the time from a deadline to the committed alert, while pings come in."""

import time
from datetime import timedelta
from statistics import median
from typing import Any

from django.db import connection

from benchmarks.fill import fill
from benchmarks.harness import web
from benchmarks.pings import LANE
from benchmarks.rows import row, save, say
from benchmarks.workers import Seen, steady_pings, workers
from heartbeat_project.kernel import clock

HEARTBEATS, SILENT, SECONDS, RATE, RUNS = 100_000, 240, 24, 1_000, 4


def lag() -> list[dict[str, Any]]:
    """Let ten of 100,000 heartbeats go silent per second for 24 s, with 1,000 pings a second to the others.

    Tick and pulse are not synchronized, so an installation has every phase between them. Each run therefore shifts beat
    by a quarter of a second; the percentiles are those of all runs together.
    """
    runs: list[list[float]] = []
    rates: list[float] = []
    for number in range(RUNS):
        say(f"run {number + 1} of {RUNS}: filling {HEARTBEATS:,} heartbeats")
        fill(HEARTBEATS)
        with (
            web(LANE) as port,
            workers(beat_later=number / RUNS),
            steady_pings(port, per_second=RATE, heartbeats=range(SILENT + 1, HEARTBEATS + 1)) as answers,
        ):
            say(f"run {number + 1} of {RUNS}: {SILENT:,} deadlines pass in {SECONDS} s")
            runs.append(_silence(answers))
            rates.append(answers.per_second)
        if set(answers.statuses) != {200}:
            raise SystemExit(f"pings were answered {dict(answers.statuses)}")
    together = sorted(lag for run in runs for lag in run)
    rows = []
    for name, share, at_most in (("p50", 0.5, None), ("p90", 0.9, None), ("p99", 0.99, 1.5), ("longest", 1, None)):
        by_run = [_percentile(sorted(run), share) for run in runs]
        measured = _percentile(together, share)
        rows.append(row(f"deadline to open alert, {name}", measured, unit="s", at_most=at_most, runs=by_run))
    rows += [
        row("pings answered meanwhile", median(rates), unit="1/s", at_least=0.95 * RATE, runs=rates),
        row("deadlines without their alert", RUNS * SILENT - len(together), unit="", at_most=0),
    ]
    save("lag", rows)
    return rows


def _silence(answers: Seen) -> list[float]:
    """Let the deadlines pass; return for each the seconds until its alert was seen."""
    start = clock.now() + timedelta(seconds=4)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE integrations_heartbeat SET deadline_at = %s + integration_id * interval '1 second' * %s"
            " WHERE integration_id <= %s",
            [start, SECONDS / SILENT, SILENT],
        )
    answers.begin()
    lags: list[float] = []
    last, end = 0, time.monotonic() + SECONDS + 30
    while len(lags) < SILENT and time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, expected_at FROM alerting_alert WHERE id > %s ORDER BY id", [last])
            rows = cursor.fetchall()
        now = clock.now()
        lags += [(now - expected_at).total_seconds() for _, expected_at in rows]
        last = rows[-1][0] if rows else last
        time.sleep(0.02)
    return lags


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
