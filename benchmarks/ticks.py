"""What a tick costs: by what is due, not by what exists."""

import time
from statistics import median
from typing import Any

from alerting.models import Alert
from benchmarks.fill import fill, make_due
from benchmarks.harness import save
from heartbeat_project.kernel import clock
from integrations.services.tick import tick

DUE, ROUNDS = 1_000, 5


def ticks() -> list[dict[str, Any]]:
    """Time a tick with 1,000 due among 10,000 heartbeats and among 1,000,000."""
    took = {}
    for heartbeats in (10_000, 1_000_000):
        fill(heartbeats)
        times = []
        for number in range(ROUNDS + 1):
            Alert.objects.all().delete()
            make_due(DUE, of=heartbeats)
            now = clock.now()
            started = time.perf_counter()
            opened = tick(now=now)
            times.append(time.perf_counter() - started)
            if opened != DUE:
                raise SystemExit(f"{opened} alerts opened in round {number}, expected {DUE}")
            _recover()
        took[heartbeats] = median(times[1:])
    few, many = took[10_000], took[1_000_000]
    rows = [
        {
            "what": "seconds of a tick with 1,000 due among 1,000,000 heartbeats against 10,000",
            "measured": many,
            "reference": few,
            "ratio": many / few,
            "must": "at most 1.5",
            "reached": many <= 1.5 * few,
        }
    ]
    save("ticks", rows)
    return rows


def _recover() -> None:
    """Let the missed heartbeats be healthy again, without the recovery's work."""
    from integrations.models import Heartbeat  # noqa: PLC0415 - needs the app registry

    now = clock.now()
    missed = Heartbeat.objects.filter(state="missed")
    missed.update(state="healthy", armed_at=now, deadline_at=now.replace(year=now.year + 1))
