"""Closing what a ping ended: whose alerts, and how many at a time."""

import pytest

from alerting.models.alerts import Alert
from integrations.heartbeats import recoveries
from integrations.heartbeats.detection import detect_misses
from integrations.heartbeats.recoveries import close_recovered
from integrations.heartbeats.tick import tick
from integrations.models.heartbeats import HeartbeatEvent
from integrations.models.outages import Outage
from integrations.ping_lane.batch import Arrival, record_pings, record_pulse
from tests.factories import HeartbeatFactory
from tests.world import minutes

pytestmark = pytest.mark.django_db


@pytest.fixture
def came_back(now):
    """Five heartbeats that were silent and have been pinged; their alerts are open still."""
    made = [HeartbeatFactory(now=now) for _ in range(5)]
    record_pulse(now=now + minutes(5))
    assert detect_misses(now=now + minutes(5)) == 5
    record_pings([Arrival(token=integration.token, received_at=now + minutes(6)) for integration in made])
    return made


def closed():
    return set(Alert.objects.filter(status="closed").values_list("integration_id", flat=True))


def test_all_that_came_back_are_closed_in_batches(came_back, now):
    assert close_recovered(now=now + minutes(6), limit=2) == 5
    assert closed() == {integration.pk for integration in came_back}
    assert HeartbeatEvent.objects.filter(kind="recovered").count() == 5
    assert close_recovered(now=now + minutes(7)) == 0


def test_one_that_cannot_be_closed_holds_up_neither_the_others_nor_the_judging(came_back, now, monkeypatch, caplog):
    broken = Alert.objects.get(integration_id=came_back[0].pk)
    close_alerts = recoveries.close_alerts

    def choke(ids, **how):
        if broken.pk in ids:
            raise ValueError("a row that cannot be closed")
        return close_alerts(ids, **how)

    monkeypatch.setattr(recoveries, "close_alerts", choke)
    HeartbeatFactory(now=now + minutes(1), organization=came_back[0].organization)
    record_pulse(now=now + minutes(6))
    Outage.objects.all().delete()

    assert tick(now=now + minutes(6)) == 1

    assert closed() == {integration.pk for integration in came_back[1:]}
    assert f"recoveries: row {broken.pk} failed" in caplog.text
    assert close_recovered(now=now + minutes(7), limit=1) == 0


def test_of_those_that_are_named_no_other_is_closed(came_back, now):
    some = [integration.pk for integration in came_back[:2]]
    assert close_recovered(now=now + minutes(6), integration_ids=some) == 2
    assert closed() == set(some)
    assert close_recovered(now=now + minutes(6), integration_ids=[]) == 0


def test_an_alert_from_elsewhere_about_the_same_integration_is_left_alone(came_back, now):
    backup = came_back[0]
    other = Alert.objects.create(
        organization=backup.organization, subject="x", source="API", integration_id=backup.pk, opened_at=now
    )
    close_recovered(now=now + minutes(6))
    assert Alert.objects.get(pk=other.pk).status == "open"
