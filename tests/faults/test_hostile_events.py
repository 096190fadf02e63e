"""Hostile requests to the addresses of API integrations: no 5xx, each is stored as it was sent or refused for a reason.

The web process does not grow with them, and takes pings meanwhile.
"""

import http.client
import json
import os
import random
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from integrations.models.events import InboundEvent
from integrations.ping_lane.lane import MAX_DROPPED_BYTES
from tests import factories
from tests.faults.hostile_events import MAX_BODY, Request, drawn
from tests.figures import record_figure
from tests.processes import memory_mib
from tests.web_trial import Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial, pytest.mark.timeout(1_200)]

CLIENTS = 8
MORE_MEMORY = 48  # MiB, of the web process, after the first requests have warmed it
# Give the seed of a failure here to have the same again.
SEED = os.environ.get("FUZZ_SEED") or str(random.SystemRandom().randrange(10**9))
SETTINGS = [
    {},
    {"allow_get": True},
    {"mapping": {"each": "{{ payload.alerts }}", "subject": "{{ payload.title | upper }} {{ payload | tojson }}"}},
    {
        "mapping": {"source_id": "{{ payload.alerts[0].labels | json | lower }}", "url": "{{ query.payload }}"},
        "rules": [
            {
                "name": "regex",
                "when": {"any": [{"path": "alerts[*].status", "op": "matches", "value": "(a+)+$"}]},
                "then": {"action": "close"},
                "stop": False,
            },
            {
                "name": "number",
                "when": {"all": [{"path": "severity", "op": "above", "value": "1"}]},
                "then": {"priority": "critical"},
            },
        ],
    },
    {"signature": {"scheme": "github", "secret": "s3cret"}},
    {"signature": {"scheme": "basic", "header": "", "secret": "user:s3cret"}},
    {"delay": {"mode": "count_within", "count": 3, "minutes": 1}, "auto_close_minutes": 1},
    {"group_minutes": 1},
]


@pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_hostile_requests_are_stored_as_sent_or_refused(tmp_path, number: int):
    ana = factories.UserFactory(name="Ana")
    ours = [
        factories.ApiIntegrationFactory(organization=ana.organization, name=f"Shop {n}", recipient_users=[ana])
        for n in range(3 * len(SETTINGS))
    ]
    for n, integration in enumerate(ours):
        for name, value in SETTINGS[n % len(SETTINGS)].items():
            setattr(integration.event_settings, name, value)
        integration.event_settings.save()
    backup = factories.HeartbeatFactory(now=factories.WHEN)
    web = Web(tmp_path / "web.log")
    web.start()
    try:
        warm = number // 5
        with pinging(f"http://127.0.0.1:{web.port}/Heartbeat/{backup.token}") as pings:
            faults, statuses = send(web, ours, range(warm))
            before = memory_mib(web.worker)
            more_faults, more = send(web, ours, range(warm, number))
            after = memory_mib(web.worker)
    finally:
        web.end()
    statuses.update(more)
    assert faults + more_faults == [], "\n".join([f"FUZZ_SEED={SEED}", *faults, *more_faults])
    log = web.log.read_text()
    assert "Traceback" not in log, f"FUZZ_SEED={SEED}\n{log[-4_000:]}"
    assert InboundEvent.objects.count() == statuses[200] > number // 2, f"FUZZ_SEED={SEED} {statuses}"
    fault = f"{number} hostile requests"
    record_figure(fault, "growth of the web process", round(after - before, 1), unit="MiB", at_most=MORE_MEMORY)
    record_figure(fault, "slowest ping", round(max(pings), 2), unit="s", at_most=1.0)


@contextmanager
def pinging(address: str) -> Iterator[list[float]]:
    """Ping five times a second; give the seconds that each took, or 60 if it was refused."""
    over, took = threading.Event(), [0.0]

    def ping() -> None:
        while not over.wait(0.2):
            begun = time.monotonic()
            try:
                with urllib.request.urlopen(urllib.request.Request(address, b"{}"), timeout=30):
                    took.append(time.monotonic() - begun)
            except OSError:
                took.append(60.0)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join(60)


def send(web: Web, integrations, numbers: range) -> tuple[list[str], Counter[int]]:
    """Send the requests of these numbers; return what is wrong with the answers, and how often each status came.

    The statuses of OPTIONS, which store nothing, are negative.
    """
    turn, statuses, faults, stored = iter(numbers), Counter[int](), [], {}
    lock = threading.Lock()

    def go_on(_: int) -> None:
        while True:
            with lock:
                number = next(turn, None)
            if number is None:
                return
            integration = integrations[number % len(integrations)]
            request = drawn(f"{SEED}-{number}")
            status, answer = sent(web.port, integration.token, request)
            fault = wrong(request, integration, status, answer)
            with lock:
                statuses[status if request.method != "OPTIONS" else -status] += 1
                if fault:
                    faults.append(f"{number}: {fault}")
                elif status == 200 and b'"event":' in answer:
                    stored[json.loads(answer)["event"]] = request.body

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(go_on, range(CLIENTS)))
    for pk, raw in InboundEvent.objects.filter(pk__in=stored).values_list("pk", "raw").iterator():
        if bytes(raw) != stored.pop(pk):
            faults.append(f"event {pk} was not stored as it was sent")
    return [*faults, *(f"event {pk} is not stored" for pk in stored)], statuses


def sent(port: int, token: str, request: Request) -> tuple[int, bytes]:
    """Return status and body of the answer, or 0 and why there was none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        query = f"?{request.query}" if request.query else ""
        connection.putrequest(request.method, f"/POSTAlert/{token}{request.source}{query}", skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, value.encode("latin-1"))
        connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error).encode()
    finally:
        connection.close()


def wrong(request: Request, integration, status: int, answer: bytes) -> str:
    """Return what is wrong with an answer; "" if nothing is."""
    if status == 0 and len(request.body) > MAX_DROPPED_BYTES:
        return ""  # refused before all of it was sent, which a sender may notice before it reads the answer
    settings = integration.event_settings
    packed = any(name == "Content-Encoding" for name, _ in request.headers)
    reasons = {
        200: request.method in {"POST", "OPTIONS"} or (request.method == "GET" and settings.allow_get),
        401: settings.signature is not None,
        404: "/" in request.source[1:].rstrip("/"),
        405: request.method not in {"POST", "OPTIONS"},
        413: packed or len(request.body) > MAX_BODY,
    }
    if not reasons.get(status):
        return f"{status} {answer[:200]!r} for {request.method} {request.source[:50]} {request.headers!r:.500}"
    if status == 200 and request.method != "OPTIONS" and json.loads(answer)["status"] != "ok":
        return f"{answer[:200]!r}"
    return ""
