"""Checks that every ping answered 200 is in the history, under full load while the database and web restart."""

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
    """Load two web processes for a minute; kill one of them, then restart the database."""
    with ground(heartbeats=HEARTBEATS) as servers, servers.web(workers=2) as web:
        log = under_fire(servers, web, seconds=SECONDS, connections=CONNECTIONS)
        comparison = log.compare(servers)
    latencies = sorted(log.milliseconds)
    refused = comparison["refused_or_closed"]
    rows = [
        row("pings answered 200", comparison["answered_200"], unit=""),
        row("of these not stored", comparison["lost"], unit="", at_most=0),
        row("pings refused or closed", refused, unit=""),
        row("of these stored all the same", comparison["more"], unit="", at_most=refused),
        row("pings neither answered nor closed", log.statuses[UNHEARD], unit="", at_most=0),
        row("answers other than 200 and 503", len(log.strange), unit="", at_most=0),
        row("timers off the history", comparison["timers_that_do_not_match_the_history"], unit="", at_most=0),
    ]
    save(
        "chaos",
        rows,
        seconds=SECONDS,
        **comparison,
        statuses={str(status) if status else "closed": count for status, count in log.statuses.items()},
        pings_per_second=log.statuses[200] / SECONDS,
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[int(len(latencies) * 0.99)],
        worst_ms=latencies[-1],
    )
    return rows


def under_fire(servers: Ground, web: Web, *, seconds: float, connections: int) -> Log:
    """Ping for `seconds`; kill a web process with SIGKILL after a quarter, restart the database in the middle."""
    with pinging(web.port, heartbeats=servers.heartbeats, connections=connections) as log:
        time.sleep(seconds / 4)
        os.kill(random.choice(web.pids()), signal.SIGKILL)
        time.sleep(seconds / 4)
        servers.database.end()
        servers.database.start()
        time.sleep(seconds / 2)
    return log
