"""Probes by address, strange hosts, and whether this process can store pings."""

import logging

import pytest
from django.test import Client

from heartbeat_project.kernel import clock
from integrations.ingest.hearing import HERE
from tests.world import record_pulse

pytestmark = pytest.mark.django_db
STRANGE = ("10.1.2.3", "heartbeat.example", "a b", "x" * 500, "[::1", "")


@pytest.fixture
def hearing():
    yield HERE
    HERE.pulse_at = HERE.refused_at = None


@pytest.mark.parametrize("host", STRANGE)
def test_a_probe_is_answered_whatever_it_calls_us(host):
    record_pulse(now=clock.now())
    for path in ("/healthz", "/readyz"):
        response = Client().get(path, headers={"host": host})
        assert response.status_code == 200, response.content
        assert (host or "10.1.2.3") not in response.content.decode()


@pytest.mark.parametrize("host", STRANGE[:-1])
@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/alerts/", "/healthz/", "/login/"])
def test_everything_else_stays_refused(path, host):
    assert Client().get(path, headers={"host": host}).status_code in ({400} if path != "/healthz/" else {400, 404})


def test_a_strange_host_leaves_one_line_and_no_traceback(caplog):
    handler = next(iter(logging.getLogger("django.security.DisallowedHost").filters), None)
    assert handler is not None
    with caplog.at_level(logging.ERROR):
        Client().get("/", headers={"host": "nonsense.example"})
    (record,) = [record for record in caplog.records if record.name == "django.security.DisallowedHost"]
    assert "nonsense.example" in record.getMessage()
    assert record.exc_info is None


def test_a_process_that_cannot_store_pings_is_not_ready_though_others_pulse(hearing):
    now = clock.now()
    record_pulse(now=now)
    assert Client().get("/readyz").status_code == 200
    hearing.refused(now, why="No space left on device")
    response = Client().get("/readyz")
    assert response.status_code == 503
    listening = response.json()["checks"]["listening"]
    assert listening["ok"] is False
    assert "No space left on device" in listening["detail"]
    hearing.stored()
    assert Client().get("/readyz").status_code == 200
