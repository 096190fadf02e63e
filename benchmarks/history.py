"""Fills several daily partitions with ten million pings, and measures the queries of the pages that show them."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from datetime import time as midnight
from statistics import median
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from benchmarks.fill import EMPTY, fill
from benchmarks.rows import row, save, say
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.sql import statement
from integrations.heartbeats.history import keep_history, partition_of
from integrations.heartbeats.selectors import pings_of, recent_pings
from integrations.models.history import Ping, PingDay, PingHour
from integrations.models.integrations import InboundIntegration

# A thousand heartbeats that ping every minute for a week; QUESTIONS is the number of times each query is measured.
HEARTBEATS, DAYS, QUESTIONS = 1_000, 7, 300
MINUTES = 24 * 60
PINGS = HEARTBEATS * DAYS * MINUTES
# Rows are inserted in the order of arrival, so that the pings of one heartbeat lie far apart on the disk.
FILL_DAY = """
INSERT INTO integrations_ping (integration_id, received_at, method, source_ip)
SELECT heartbeat, %(day)s + minute * interval '1 minute' + heartbeat * interval '50 milliseconds', 'POST', '192.0.2.7'
FROM generate_series(0, %(minutes)s - 1) AS minute, generate_series(1, %(heartbeats)s) AS heartbeat
ORDER BY minute, heartbeat
"""


def history() -> list[dict[str, Any]]:
    """Measure reading a heartbeat's newest pings, one day of pings and hourly counts, and counting a whole day."""
    today = clock.now().astimezone(UTC).date()
    days = [datetime.combine(today - timedelta(days=ago), midnight(), tzinfo=UTC) for ago in range(DAYS, 0, -1)]
    fill(HEARTBEATS)
    filled = _fill(days)
    counted = _count(days)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE integrations_ping, integrations_pinghour")
        cursor.execute("SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('integrations_ping')")
        [size] = cursor.fetchone()
    questions: dict[str, Callable[[InboundIntegration], object]] = {
        "the newest 20 pings of a heartbeat": recent_pings,
        "the newest 100 pings of a heartbeat": lambda integration: recent_pings(integration, limit=100),
        "one day of a heartbeat, 1,440 pings": lambda integration: list(_day(integration, random.choice(days))),
        "a heartbeat's week by the hour": lambda integration: list(_hours(integration, days)),
    }
    rows, plans = [], {}
    for name, ask in questions.items():
        say(name)
        plans[name] = _plan(ask)
        took = sorted(_milliseconds(ask) for _ in range(QUESTIONS))
        rows += [
            row(f"{name}, p50", median(took), unit="ms"),
            row(f"{name}, p99", took[int(QUESTIONS * 0.99)], unit="ms"),
        ]
    rows += [
        row("counting one day by the hour, 1,440,000 pings", median(counted), unit="s", runs=counted),
        row("history of one ping, row and index", float(size) / PINGS, unit="bytes"),
    ]
    save("history", rows, pings=PINGS, partitions=DAYS, filled_in_seconds=round(filled, 1), plans=plans)
    _clean_up(days)
    return rows


def _fill(days: list[datetime]) -> float:
    """Fill each day's partition with one statement; return the seconds that all of them took."""
    started = time.monotonic()
    keep_history(now=days[0])  # creates the partitions of a week
    for number, day in enumerate(days):
        with connection.cursor() as cursor:
            cursor.execute(FILL_DAY, {"day": day, "minutes": MINUTES, "heartbeats": HEARTBEATS})
        say(f"{number + 1} of {DAYS} days filled")
    return time.monotonic() - started


def _count(days: list[datetime]) -> list[float]:
    """Count each day by the hour, as Heartbeat does once a day; return the seconds that each took."""
    took = []
    for day in days:
        started = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(statement("integrations", "count_hours"), {"start": day, "end": day + timedelta(days=1)})
        took.append(time.monotonic() - started)
    return took


def _day(integration: InboundIntegration, day: datetime) -> QuerySet[Ping]:
    return pings_of(integration).filter(received_at__gte=day, received_at__lt=day + timedelta(days=1))


def _hours(integration: InboundIntegration, days: list[datetime]) -> QuerySet[PingHour]:
    return PingHour.objects.filter(integration_id=integration.pk, hour__gte=days[0]).order_by("hour")


def _milliseconds(ask: Callable[[InboundIntegration], object]) -> float:
    integration = InboundIntegration(pk=random.randint(1, HEARTBEATS))
    started = time.perf_counter()
    ask(integration)
    return (time.perf_counter() - started) * 1e3


def _plan(ask: Callable[[InboundIntegration], object]) -> list[str]:
    """Return PostgreSQL's plan for the query that `ask` runs."""
    with CaptureQueriesContext(connection) as capture:
        ask(InboundIntegration(pk=HEARTBEATS // 2))
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + capture.captured_queries[-1]["sql"].replace("%", "%%"))
        return [line for (line,) in cursor.fetchall()]


def _clean_up(days: list[datetime]) -> None:
    """Free the disk space at once, because other benchmarks may follow on this server."""
    with connection.cursor() as cursor:
        cursor.execute(EMPTY)
        cursor.execute("TRUNCATE integrations_pinghour")
        for day in days:
            cursor.execute(f"DROP TABLE {partition_of(day.date())}")
    PingDay.objects.filter(day__in=[day.date() for day in days]).delete()
