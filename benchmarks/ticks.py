"""Measures that the time of a tick depends on the number of due heartbeats, not on the number of all."""

import time
from statistics import median
from typing import Any

from alerting.models.alerts import Alert
from benchmarks.fill import fill, make_due
from benchmarks.rows import row, save, say
from heartbeat_project.kernel import clock
from integrations.heartbeats.tick import tick

DUE, ROUNDS = 1_000, 5


def ticks() -> list[dict[str, Any]]:
    """Time a tick with 1,000 due among 10,000 heartbeats and among 1,000,000."""
    took = {}
    for heartbeats in (10_000, 1_000_000):
        say(f"filling {heartbeats:,} heartbeats")
        fill(heartbeats)
        took[heartbeats] = tick_times(heartbeats, rounds=ROUNDS)
    few, many = took[10_000], took[1_000_000]
    rows = [
        row(
            f"tick with {DUE:,} due among 1,000,000 heartbeats, against 10,000",
            median(many),
            unit="s",
            reference=median(few),
            at_most=1.5,
            runs=many,
        )
    ]
    save("ticks", rows, among_10_000=few)
    return rows


def tick_times(heartbeats: int, *, rounds: int) -> list[float]:
    """Return the seconds that a tick took in each round, after a round to warm up; 1,000 heartbeats are due in each."""
    times = []
    for number in range(rounds + 1):
        Alert.objects.all().delete()
        make_due(DUE, of=heartbeats)
        now = clock.now()
        started = time.perf_counter()
        opened = tick(now=now)
        times.append(time.perf_counter() - started)
        if opened != DUE:
            raise SystemExit(f"{opened} alerts opened in round {number}, expected {DUE}")
        _recover()
    return times[1:]


def _recover() -> None:
    """Make the missed heartbeats healthy again, without the work of a recovery."""
    from integrations.models.heartbeats import Heartbeat  # noqa: PLC0415 - needs the app registry

    now = clock.now()
    missed = Heartbeat.objects.filter(state="missed")
    missed.update(state="healthy", armed_at=now, deadline_at=now.replace(year=now.year + 1))
