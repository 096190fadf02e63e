"""Full load while the database restarts and a web process is killed: what was answered 200 is in the history."""

import os
import random
import signal
import time
from typing import Any

from benchmarks.client import UNHEARD, Log, pinging
from benchmarks.ground import Ground, Web, ground
from benchmarks.rows import row, save

HEARTBEATS, CONNECTIONS, SECONDS = 20_000, 128, 60.0


def chaos() -> list[dict[str, Any]]:
    """Load two web processes for a minute; restart the database in the middle, and kill a web process before it."""
    with ground(heartbeats=HEARTBEATS) as place, place.web(workers=2) as web:
        log = under_fire(place, web, seconds=SECONDS, connections=CONNECTIONS)
        found = log.compare(place)
    latencies = sorted(log.milliseconds)
    refused = found["refused_or_closed"]
    rows = [
        row("pings answered 200", found["answered_200"], unit=""),
        row("of these not stored", found["lost"], unit="", at_most=0),
        row("pings refused or closed", refused, unit=""),
        row("of these stored all the same", found["more"], unit="", at_most=refused),
        row("pings neither answered nor closed", log.statuses[UNHEARD], unit="", at_most=0),
        row("answers other than 200 and 503", len(log.strange), unit="", at_most=0),
        row("timers off the history", found["timers_that_do_not_match_the_history"], unit="", at_most=0),
    ]
    save(
        "chaos",
        rows,
        seconds=SECONDS,
        **found,
        statuses={str(status) if status else "closed": count for status, count in log.statuses.items()},
        pings_per_second=log.statuses[200] / SECONDS,
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[int(len(latencies) * 0.99)],
        worst_ms=latencies[-1],
    )
    return rows


def under_fire(place: Ground, web: Web, *, seconds: float, connections: int) -> Log:
    """Ping for so long; after a quarter kill a web process with SIGKILL, in the middle restart the database."""
    with pinging(web.port, heartbeats=place.heartbeats, connections=connections) as log:
        time.sleep(seconds / 4)
        os.kill(random.choice(web.pids()), signal.SIGKILL)
        time.sleep(seconds / 4)
        place.database.end()
        place.database.start()
        time.sleep(seconds / 2)
    return log
