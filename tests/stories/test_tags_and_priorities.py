"""Tags by which maintenance windows cover integrations, and priorities of integrations' own."""

import pytest

from integrations.heartbeats.edits import update_heartbeat
from integrations.heartbeats.selectors import state_of
from integrations.inbound.edits import update_event_integration
from integrations.inbound.selectors import state_of as state_of_any
from integrations.maintenance.windows import create_window, delete_window, update_window
from tests.world import World, hours, minutes

pytestmark = pytest.mark.django_db


def window_of(world, *tags, **fields):
    times = {"starts_at": world.now, "ends_at": world.now + hours(2), "now": world.now}
    return create_window(world.organization, name="work", tags=tags, **times, **fields)


def state(world, job):
    return state_of(world.heartbeat_of(job), now=world.now)


def test_a_window_covers_what_has_one_of_its_tags(world: World):
    shop = world.heartbeat("shop", every=minutes(5), recipients=["ana"], tags=["shop", "env:prod"])
    bank = world.heartbeat("bank", every=minutes(5), recipients=["ana"], tags=["bank"])
    named = world.heartbeat("named", every=minutes(5), recipients=["ana"])
    window_of(world, "shop", "else", integrations=[named])

    world.advance(hours(1))

    assert [state(world, job) for job in (shop, bank, named)] == ["maintenance", "missed", "maintenance"]
    world.advance(hours(1) + minutes(5))
    assert state(world, shop) == "missed"


def test_a_tag_that_comes_or_goes_while_the_window_lasts_suspends_and_releases(world: World):
    job = world.heartbeat("shop", every=minutes(5), recipients=["ana"])
    window_of(world, "shop")
    update_heartbeat(job, actor=None, now=world.now, tags=["shop"])
    world.advance(minutes(30))
    assert state(world, job) == "maintenance"

    update_heartbeat(job, actor=None, now=world.now, tags=[])

    assert state(world, job) == "waiting"
    assert world.heartbeat_of(job).deadline_at == world.now + minutes(5)
    world.advance(minutes(5))
    assert state(world, job) == "missed"


def test_changing_the_tags_of_a_window_releases_what_it_no_longer_covers(world: World):
    shop = world.heartbeat("shop", every=minutes(5), recipients=["ana"], tags=["shop"])
    bank = world.heartbeat("bank", every=minutes(5), recipients=["ana"], tags=["bank"])
    window = window_of(world, "shop")
    world.advance(minutes(1))

    update_window(window, tags=["bank"], now=world.now)

    assert [state(world, job) for job in (shop, bank)] == ["waiting", "maintenance"]
    delete_window(window, now=world.now)
    assert state(world, bank) == "waiting"


def test_ending_one_window_leaves_what_another_covers_by_tag(world: World):
    shop = world.heartbeat("shop", every=minutes(5), recipients=["ana"], tags=["shop"])
    window_of(world, "shop")
    other = window_of(world, integrations=[shop])

    delete_window(other, now=world.now)
    world.beat()

    assert state(world, shop) == "maintenance"


def test_events_of_an_integration_with_the_tag_open_nothing(world: World):
    api = world.api("shop", recipients=["ana"])
    window_of(world, "shop")
    update_event_integration(api, actor=None, now=world.now, tags=["shop"])

    world.post(api, {"title": "Disk full"})

    assert world.alerts(api) == []
    assert state_of_any(api, now=world.now) == "maintenance"


def test_an_alert_has_the_priority_of_its_integration_unless_the_event_says_another(world: World):
    policy = world.policy(priority="high")
    job = world.heartbeat("job", every=minutes(5), recipients=["ana"], escalation_policy=policy, priority="low")
    plain = world.heartbeat("plain", every=minutes(5), recipients=["ana"], escalation_policy=policy)
    api = world.api("api", recipients=["ana"], escalation_policy=policy, priority="none")
    world.post(api, {"title": "Disk full on a"})
    world.post(api, {"title": "Fan broken on b", "severity": "critical"})
    world.advance(minutes(5))

    assert world.alert(job).priority == "low"
    assert world.alert(plain).priority == "high"
    assert sorted(alert.priority for alert in world.alerts(api)) == ["critical", "none"]
