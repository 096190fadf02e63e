"""Measures how long events of API integrations take to be answered, and what they cost the pings beside them."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

from django.db import connection

from benchmarks.client import pinging
from benchmarks.event_client import EVENTS, INTEGRATIONS, send
from benchmarks.fill import fill
from benchmarks.harness import web
from benchmarks.pings import LANE
from benchmarks.rows import row, save, say
from benchmarks.workers import workers

HEARTBEATS: Final = 10_000
PINGS, PING_CONNECTIONS, SECONDS = 500, 64, 30
# As with pings, the first requests are not measured: they load code, and open the alert of each integration.
WARM_SECONDS: Final = 5
FILL: Final = """
INSERT INTO integrations_inboundintegration (id, organization_id, type, name, token, escalation_policy_id, enabled,
    created_at)
    SELECT 1000000 + n, 900, 'api', 'sender ' || n, 'event-' || n, 900, true, now() FROM generate_series(1, %(n)s) AS n;
INSERT INTO integrations_inboundintegration_recipient_groups (inboundintegration_id, group_id)
    SELECT 1000000 + n, 901 + n %% 5 FROM generate_series(1, %(n)s) AS n;
INSERT INTO integrations_eventsettings (integration_id, allow_get, preset, mapping, status_words, rules, no_rule, delay,
    group_minutes, auto_close_minutes, storm_per_minute)
    SELECT 1000000 + n, false, 'auto', '{}', '{}', '[]', 'continue', '{"mode": "none"}', 0, 0, 0
    FROM generate_series(1, %(n)s) AS n;
INSERT INTO integrations_eventstate (integration_id, event_count, rejected_count, opened_in_minute)
    SELECT 1000000 + n, 0, 0, 0 FROM generate_series(1, %(n)s) AS n
"""


def events() -> list[dict[str, Any]]:
    """Send 150 events a second to 30 integrations beside 500 pings a second, every tenth of them opening an alert.

    Events are sent by a process of their own: one that also sends the pings would measure how they wait for each other.
    """
    say(f"filling {HEARTBEATS:,} heartbeats and {INTEGRATIONS} integrations")
    fill(HEARTBEATS)
    with connection.cursor() as cursor:
        for sentence in FILL.strip().split(";\n"):
            cursor.execute(sentence, {"n": INTEGRATIONS})
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as sender, web(LANE) as port, workers():
        say("warming up")
        first = sender.submit(send, port, seconds=WARM_SECONDS).result()
        say(f"{PINGS} pings a second alone")
        with pinging(port, heartbeats=HEARTBEATS, connections=PING_CONNECTIONS, per_second=PINGS, keep=False) as alone:
            time.sleep(SECONDS)
        say(f"{PINGS} pings and {EVENTS} events a second")
        with pinging(port, heartbeats=HEARTBEATS, connections=PING_CONNECTIONS, per_second=PINGS, keep=False) as beside:
            answers = sender.submit(send, port, seconds=SECONDS).result()
    if set(first.statuses | answers.statuses) != {200} or set(beside.statuses) != {200}:
        raise SystemExit(f"events were answered {dict(answers.statuses)}, pings {dict(beside.statuses)}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), sum(event_count) FROM alerting_alert WHERE integration_type = 'api'")
        alerts, counted = cursor.fetchone()
    answered = len(first.milliseconds) + len(answers.milliseconds)
    rows = [
        row("events answered", len(answers.milliseconds) / SECONDS, unit="1/s", at_least=0.95 * EVENTS),
        row("time to answer an event, p99", _p99(answers.milliseconds), unit="ms", at_most=1_000),
        row("time to answer an event, p50", _percentile(answers.milliseconds, 0.5), unit="ms"),
        row(
            "time to answer a ping beside the events, p99",
            _p99(beside.milliseconds),
            unit="ms",
            reference=_p99(alone.milliseconds),
            at_most=2,
        ),
        row("alerts that opened", alerts, unit=""),
        row("events that are in no alert", answered - counted, unit="", at_most=0),
    ]
    save("events", rows)
    return rows


def _p99(values: list[float]) -> float:
    return _percentile(values, 0.99)


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
