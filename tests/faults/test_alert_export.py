"""An export of 100,000 alerts from a real web process, to clients that read slowly."""

import csv
import http.client
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from accounts.services.api_keys import create_api_key
from heartbeat_project.kernel import clock
from tests import factories
from tests.web_trial import Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]
ALERTS = 100_000
# Each export is some 50 MB: what a web process may gain while it writes several of them is far less than one.
MAX_GAIN_MIB = 25
SLOW_ONES = 2
EXPORT = "/api/v1/alerts/export/?format="


@pytest.fixture
def job():
    """A heartbeat in an organization with many alerts that have long subjects."""
    job = factories.HeartbeatFactory()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO alerting_alert (organization_id, status, priority, subject, short_text, long_text, facts, source,"
            " source_name, source_id, opened_at, closed_at, close_reason)"
            " SELECT %s, 'closed', 'high', repeat('long ', 50) || n, 's', 'l', '[]', 'API', 'disk', n::text, now(), now(),"
            " repeat('why ', 40) FROM generate_series(1, %s) AS n",
            [job.organization_id, ALERTS],
        )
        cursor.execute("VACUUM ANALYZE alerting_alert")
    return job


@pytest.fixture
def key(job):
    return create_api_key(
        factories.UserFactory(organization=job.organization, roles=["App Admin"]), name="test", now=clock.now()
    )[1]


@pytest.fixture
def web(job, tmp_path) -> Iterator[Web]:
    """A web process with fewer connections to the database than there are exports."""
    process = Web(tmp_path / "web.log", env={"HEARTBEAT_DB_POOL": str(SLOW_ONES)})
    try:
        process.start()
        yield process
    finally:
        process.end()


def ask(web: Web, key: str, path: str, *, method: str = "GET") -> http.client.HTTPResponse:
    """Return the answer; the connection ends once it is read."""
    asked = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    asked.request(method, path, headers={"Authorization": f"Bearer {key}", "Connection": "close"})
    answer = asked.getresponse()
    assert answer.status == 200, answer.read()
    return answer


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def ids_of(text: bytes) -> list[int]:
    return [int(line["id"]) for line in csv.DictReader(io.StringIO(text.decode(), newline=""))]


def test_a_hundred_thousand_alerts_cost_little_memory_and_slow_clients_hold_nobody_up(job, key, web):
    ask(web, key, f"{EXPORT}csv&search=nothing-matches").read()  # what is loaded at the first use is loaded
    before = resident_mib(web.worker)

    # They take a quarter while somebody else takes everything. A client that takes nothing for a minute is disconnected.
    slow = [ask(web, key, f"{EXPORT}csv") for _ in range(SLOW_ONES)]
    begun = [answer.read(1_000) for answer in slow]
    fast = ask(web, key, f"{EXPORT}csv")
    text, most = b"", 0.0
    while part := fast.read(1_000_000):
        text += part
        most = max(most, resident_mib(web.worker))
        begun = [first + answer.read(250_000) for answer, first in zip(slow, begun, strict=True)]
    ids = ids_of(text)
    assert len(ids) == ALERTS
    assert ids == sorted(ids, reverse=True)
    assert len(text) > 40_000_000
    assert most - before < MAX_GAIN_MIB

    # The slow ones are not complete; pages and pings have their connections and turns.
    assert json.loads(ask(web, key, "/api/v1/alerts/?page_size=1").read())["results"]
    assert json.loads(ask(web, key, f"/Heartbeat/{job.token}", method="POST").read())["status"] == "ok"
    for answer in slow[1:]:
        answer.close()  # a client that goes away
    assert ids_of(begun[0] + slow[0].read()) == ids
