"""The one statement that records pings, given whole batches."""

import pytest

from integrations.models.heartbeats import Heartbeat
from integrations.models.history import Ping
from integrations.ping_lane.batch import Arrival, record_pings, rfc3339
from tests.factories import HeartbeatFactory
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def woken(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "integrations.ping_lane.batch.wake_on_commit", lambda name, **kwargs: calls.append((name, kwargs))
    )
    return calls


def test_each_ping_of_a_batch_counts_and_the_newest_sets_the_timer(now):
    backup = HeartbeatFactory()
    times = [now + seconds(1), now + seconds(9), now + seconds(5)]

    receipts = record_pings([Arrival(token=backup.token, received_at=at) for at in times])

    row = Heartbeat.objects.get(pk=backup.pk)
    assert (row.ping_count, row.last_ping_at) == (3, now + seconds(9))
    assert (row.armed_at, row.deadline_at) == (now + seconds(9), now + seconds(9) + minutes(5))
    assert [receipt.received_at for receipt in receipts] == [rfc3339(at) for at in times]
    assert list(Ping.objects.values_list("received_at", flat=True)) == sorted(times, reverse=True)


def test_each_arrival_gets_its_own_receipt_whatever_stands_beside_it(now):
    backup, off = HeartbeatFactory(), HeartbeatFactory(enabled=False)
    tokens = ["a\x00b", backup.token, "unknown", "\ud800", off.token, "tab\t", "café", backup.token]

    receipts = record_pings([Arrival(token=token, received_at=now) for token in tokens])

    assert [receipt and (receipt.integration_id, receipt.status) for receipt in receipts] == [
        None, (backup.pk, "ok"), None, None, (off.pk, "disabled"), None, None, (backup.pk, "ok"),
    ]  # fmt: skip


def test_a_method_that_is_not_taken_leaves_no_trace_and_learns_nothing(now, woken):
    backup = HeartbeatFactory()
    Heartbeat.objects.update(state="missed")
    before = Heartbeat.objects.values().get()

    [refused] = record_pings([Arrival(token=backup.token, received_at=now, method="GET")])

    assert (refused.status, refused.deadline_at) == ("method", None)
    assert Heartbeat.objects.values().get() == before
    assert not Ping.objects.exists()
    assert woken == []


def test_a_refused_and_a_taken_ping_of_one_heartbeat_in_one_batch_are_distinguished(now):
    backup = HeartbeatFactory()

    refused, taken = record_pings(
        [Arrival(token=backup.token, received_at=now, method=method) for method in ("GET", "POST")]
    )

    assert (refused.status, refused.deadline_at) == ("method", None)
    assert (taken.status, taken.deadline_at) == ("ok", now + minutes(5))
    assert Heartbeat.objects.get().ping_count == 1


def test_a_ping_that_ends_a_silence_wakes_workers_for_the_recovery_and_no_other_does(now, woken):
    backup, report = HeartbeatFactory(), HeartbeatFactory()
    Heartbeat.objects.filter(pk=backup.pk).update(state="missed")

    record_pings([Arrival(token=token, received_at=now) for token in (report.token, backup.token)])
    record_pings([Arrival(token=backup.token, received_at=now)])

    assert woken == [("integrations.close_recovered", {"queue": "engine", "integration_ids": [backup.pk]})]
