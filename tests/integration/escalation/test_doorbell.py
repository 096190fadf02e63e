"""The doorbell rings after the commit, and a broker that is away is no reason to fail or to wait."""

import time

import pytest
from django.db import transaction
from kombu import Connection

from heartbeat_project.kernel import doorbell

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def not_quiet(monkeypatch):
    monkeypatch.setattr(doorbell, "_quiet_until", 0.0)


@pytest.fixture
def rung(monkeypatch):
    calls = []
    monkeypatch.setattr(doorbell, "_send", lambda name, **more: calls.append((name, more)))
    return calls


def test_it_rings_after_the_commit_and_not_at_all_after_a_rollback(rung):
    with transaction.atomic():
        doorbell.ring("escalation.deliver_due", queue="delivery", some=1)
        assert rung == []
    assert rung == [("escalation.deliver_due", {"queue": "delivery", "kwargs": {"some": 1}})]
    with transaction.atomic():
        doorbell.ring("escalation.deliver_due", queue="delivery")
        transaction.set_rollback(True)
    assert len(rung) == 1


def test_a_broker_that_is_away_is_noticed_once_and_then_left_in_peace(caplog, monkeypatch):
    monkeypatch.setattr(
        doorbell, "_door", lambda: Connection("redis://127.0.0.1:1/0", transport_options={"max_retries": 0})
    )
    started = time.monotonic()
    for _ in range(50):
        doorbell.ring("escalation.deliver_due", queue="delivery")
    assert time.monotonic() - started < 2
    assert caplog.text.count("was not rung for") == 1
