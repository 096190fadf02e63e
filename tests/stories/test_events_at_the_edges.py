"""Events of API integrations at their limits: parts by the hundred, members, and ends in the meantime."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert, AlertMember
from integrations.configuration.edits import delete_integration
from integrations.inbound import timers
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
    assert storm.subject == "141 more events from Shop in this minute"
    with CaptureQueriesContext(connection) as appending:
        appended = world.post(shop, parts(230))
    assert [result.action for result in appended.results] == ["appended"] * 201
    with CaptureQueriesContext(connection) as closing:
        closed = world.post(shop, parts(230, "resolved"))
    assert {result.action for result in closed.results} == {"closed"}
    assert not Alert.objects.exclude(status="closed").exists()
    # One lock is held meanwhile: other events of the integration wait for it.
    for captured, most in ((opening, 80), (appending, 20), (closing, 30)):
        assert len(captured) < most, [query["sql"][:200] for query in captured]


def test_the_parts_of_one_key_are_carried_out_in_their_order(world: World):
    shop = world.api("Shop", recipients=["ana"])
    up, down = problem("db1", "resolved"), problem("db1")
    results = world.post(shop, [down, down, up, up, down, problem("db2"), up]).results
    actions = [(result.action, result.reason) for result in results]
    ignored = ("ignored", "nothing_to_close")
    assert actions == [
        ("opened", ""),
        ("appended", ""),
        ("closed", ""),
        ignored,
        ("opened", ""),
        ("opened", ""),
        ("closed", ""),
    ]
    assert sorted((alert.source_id, alert.status) for alert in world.alerts(shop)) == [
        ("db1", "closed"),
        ("db1", "closed"),
        ("db2", "open"),
    ]


def test_a_group_whose_members_change_within_one_event_stays_the_same_alert(world: World):
    shop = world.api("Shop", recipients=["ana"], group_minutes=10)
    world.post(shop, problem("db1"))
    received = world.post(shop, [problem("db1", "resolved"), problem("db2"), problem("db3")])
    assert [what_of(result) for result in received.results] == [("closed", "member"), ("grouped", ""), ("grouped", "")]
    alert = world.alert(shop)
    assert alert.status == "open"
    lines = list(alert.timeline.filter(kind="member").values_list("text", flat=True))
    assert lines == [
        "db2 is down joined, 2 members.",
        "db3 is down joined, 3 members.",
        "db1 is down closed, 2 members are open.",
    ]
    last = world.post(shop, [problem("db2", "resolved"), problem("db3", "resolved")])
    assert [what_of(result) for result in last.results] == [("closed", "member"), ("closed", "")]
    assert world.alert(shop).status == "closed"


def test_several_keys_of_one_event_begin_a_group_and_the_most_urgent_sets_its_priority(world: World):
    shop = world.api("Shop", recipients=["ana"], group_minutes=10)
    urgent = {**problem("db3"), "severity": "critical"}
    received = world.post(shop, [{**problem("db1"), "severity": "low"}, problem("db2"), urgent])
    assert [result.action for result in received.results] == ["opened", "grouped", "grouped"]
    alert = world.alert(shop)
    assert (alert.event_count, alert.priority) == (3, "critical")
    risen = "The priority rises from low to critical: the escalation starts again."
    assert list(alert.timeline.filter(kind="updated").values_list("text", flat=True)) == [risen]


def test_an_event_acknowledges_the_alerts_of_all_its_parts(world: World):
    shop = world.api("Shop", recipients=["ana"])
    world.post(shop, [problem("db1"), problem("db2")])
    received = world.post(shop, [problem(key, "acknowledged") for key in ("db1", "db2", "db3")])
    assert [what_of(result) for result in received.results] == [
        ("acknowledged", ""),
        ("acknowledged", ""),
        ("ignored", "nothing_to_update"),
    ]
    for alert in world.alerts(shop):
        assert alert.acknowledged_at == world.now
        assert alert.timeline.filter(kind="acknowledged").get().text == "Acknowledged in Shop."


def test_waiting_keys_of_one_event_wait_and_settle_each_by_itself(world: World):
    shop = world.api("Shop", recipients=["ana"], delay={"mode": "minutes", "minutes": 5})
    waiting = world.post(shop, [problem("db1"), problem("db2"), problem("db3")])
    assert {what_of(result) for result in waiting.results} == {("waiting", "delay")}
    settled = world.post(shop, [problem("db1", "resolved"), problem("db2", "resolved")])
    assert {what_of(result) for result in settled.results} == {("ignored", "settled")}
    world.advance(minutes(5) + seconds(1))
    assert [alert.source_id for alert in world.alerts(shop)] == ["db3"]


def what_of(result):
    return result.action, result.reason


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


@pytest.mark.parametrize("is_locked", [False, True])
def test_an_integration_with_many_waiting_keys_holds_up_no_other(world: World, monkeypatch, is_locked):
    delay = {"mode": "minutes", "minutes": 1}
    busy = world.api("Busy", recipients=["ana"], delay=delay, storm_per_minute=0)
    shop = world.api("Shop", recipients=["ana"], delay=delay)
    for first in (0, 150):
        world.post(busy, [problem(f"db{first + number}") for number in range(150)])
    world.now += seconds(1)
    world.post(shop, problem())
    if is_locked:  # by an event that is carried out at each of its ticks
        isolated = timers._isolated
        monkeypatch.setattr(timers, "_isolated", lambda pk, **more: 0 if pk == busy.pk else isolated(pk, **more))
    assert timers.run_due(now=world.now + minutes(1)) == (1 if is_locked else 101)
    assert len(world.alerts(shop)) == 1
    monkeypatch.undo()
    for _ in range(2):
        timers.run_due(now=world.now + minutes(1))
    assert len(world.alerts(busy)) == 300
