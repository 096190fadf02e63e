"""Events of API integrations at their limits: parts by the hundred, members, and ends in the meantime."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert, AlertMember
from integrations.configuration.edits import delete_integration
from integrations.inbound.event import ReceivedEvent
from integrations.inbound.receive import IntegrationDeleted, receive
from integrations.models.events import EventState, InboundEvent
from integrations.models.integrations import InboundIntegration
from tests.stories.test_events import problem, what
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


def parts(count, status="firing"):
    return [problem(f"db{number}", status) for number in range(count)]


def test_two_hundred_parts_open_at_once_and_the_storm_takes_those_beyond_its_limit(world: World):
    shop = world.api("Shop", recipients=["ana"])
    with CaptureQueriesContext(connection) as opening:
        opened = world.post(shop, parts(230))
    assert [result.action for result in opened.results] == ["opened"] * 60 + ["folded"] * 141
    storm = world.alert(shop)
    assert AlertMember.objects.filter(alert=storm, is_open=True).count() == 141
    # One lock is held meanwhile: other events of the integration wait for it.
    assert len(opening) < 2_000
    closed = world.post(shop, parts(230, "resolved"))
    assert {result.action for result in closed.results} == {"closed"}
    assert not Alert.objects.exclude(status="closed").exists()


def test_one_id_of_two_sources_is_two_members_of_a_storm(world: World):
    shop = world.api("Shop", recipients=["ana"], storm_per_minute=1)
    world.post(shop, problem("web"))
    for source in ("Nagios", "Zabbix"):
        assert what(world.post(shop, problem("db1"), source=source)) == ("folded", "")
    assert what(world.post(shop, problem("db1", "resolved"), source="Nagios")) == ("closed", "member")
    assert world.alert(shop).status == "open"
    assert what(world.post(shop, problem("db1", "resolved"), source="Zabbix")) == ("closed", "")
    assert world.alert(shop).status == "closed"


def test_an_event_that_began_before_its_integration_was_disabled_opens_nothing(world: World):
    shop = world.api("Shop", recipients=["ana"])
    as_it_was = InboundIntegration.objects.select_related("event_settings").get(pk=shop.pk)
    InboundIntegration.objects.filter(pk=shop.pk).update(enabled=False)
    event = ReceivedEvent(raw=b"{}", received_at=world.now, payload=problem())
    assert what(receive(as_it_was, event, now=world.now)) == ("ignored", "disabled")
    assert world.alerts() == []
    assert InboundEvent.objects.count() == 1


def test_an_event_that_began_before_its_integration_was_deleted_is_stored_nowhere(world: World):
    shop = world.api("Shop", recipients=["ana"])
    as_it_was = InboundIntegration.objects.select_related("event_settings").get(pk=shop.pk)
    delete_integration(shop, actor=None, now=world.now)
    event = ReceivedEvent(raw=b"{}", received_at=world.now, payload=problem())
    with pytest.raises(IntegrationDeleted):
        receive(as_it_was, event, now=world.now)
    assert (InboundEvent.objects.count(), Alert.objects.count(), EventState.objects.count()) == (0, 0, 0)


def test_the_replay_of_an_event_whose_alert_was_deleted_opens_nothing(world: World):
    shop = world.api("Shop", recipients=["ana"])
    world.post(shop, problem(), external_id="d1")
    Alert.objects.all().delete()
    assert what(world.post(shop, problem(), external_id="d1")) == ("replayed", "opened")
    assert world.alerts() == []
    assert what(world.post(shop, problem(), external_id="d2")) == ("opened", "")


def test_a_storm_and_a_group_whose_alert_was_deleted_begin_anew(world: World):
    shop = world.api("Shop", recipients=["ana"], storm_per_minute=1, group_minutes=10)
    world.post(shop, problem("db1"))
    Alert.objects.all().delete()
    assert what(world.post(shop, problem("db2"))) == ("folded", "")
    Alert.objects.all().delete()
    assert what(world.post(shop, problem("db3"))) == ("folded", "")
    world.advance(minutes(3))
    assert what(world.post(shop, problem("db4"))) == ("opened", "")


def test_a_clock_that_was_set_back_loses_no_event(world: World):
    shop = world.api("Shop", recipients=["ana"], group_minutes=10, auto_close_minutes=30)
    world.post(shop, problem("db1"))
    world.now -= minutes(60 * 24 * 40)
    assert what(world.post(shop, problem("db1"))) == ("appended", "")
    assert what(world.post(shop, problem("db2"))) == ("grouped", "")
    for key in ("db1", "db2"):
        assert what(world.post(shop, problem(key, "resolved")))[0] == "closed"
    assert world.alert(shop).status == "closed"
    assert InboundEvent.objects.count() == 5


def test_a_policy_that_notifies_nobody_still_opens_and_closes(world: World):
    shop = world.api("Shop")
    assert what(world.post(shop, problem())) == ("opened", "")
    world.advance(seconds(5))
    assert what(world.post(shop, problem(status="resolved"))) == ("closed", "")
    assert world.alert(shop).status == "closed"


def test_what_became_due_while_the_engine_was_down_is_done_when_it_is_back(world: World):
    shop = world.api("Shop", recipients=["ana"], delay={"mode": "minutes", "minutes": 5}, auto_close_minutes=30)
    assert what(world.post(shop, problem("settled")))[0] == "waiting"
    assert what(world.post(shop, problem("opens")))[0] == "waiting"
    world.now += minutes(60)
    assert what(world.post(shop, problem("settled", "resolved"))) == ("ignored", "settled")
    assert world.alerts() == []
    world.advance(seconds(2))
    (alert,) = world.alerts(shop)
    assert (alert.source_id, alert.status) == ("opens", "open")
    world.now += minutes(60)
    world.advance(seconds(2))
    assert world.alert(shop).status == "closed"
