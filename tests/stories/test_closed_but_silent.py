"""Stories: a heartbeat whose alert was ended by hand, and which is silent all the same, is named once a day."""

from datetime import timedelta

import pytest

from alerting.states import Action
from alerting.via import CONSOLE
from escalation.responses.act import act
from integrations.heartbeats.daily_lists import send_daily_lists
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


def at(world, hour, minute=0, *, days=0):
    """Let time pass until then, in UTC."""
    moment = world.now.replace(hour=hour, minute=minute, second=0) + timedelta(days=days)
    world.advance(moment - world.now, at_most_every=minutes(10))


def send(world):
    sent = send_daily_lists(now=world.now)
    world.advance(seconds(1))
    return sent


@pytest.fixture
def backup(world):
    """A heartbeat that is silent since 12:05."""
    world.person("olga", roles=["Owner"])
    world.person("adam", roles=["App Admin"])
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    return backup


@pytest.mark.parametrize("action", [Action.CLOSE, Action.CANCEL])
def test_owners_and_app_admins_get_one_list_a_day_about_eight(world, backup, action):
    send(world)
    act(world.alert(backup), action, via=CONSOLE, actor=world.person("ana"), now=world.now, reason="later")
    at(world, 7, 59, days=1)
    assert send(world) == 0
    at(world, 8, 0)
    assert send(world) == 2
    for who in ("olga", "adam"):
        message = world.expect_mail(who, saying="later", about=backup)
        assert message.subject == "backup is silent, and nobody is notified"
    assert send(world) == 0
    world.expect_nothing_else()
    at(world, 8, 0, days=1)
    assert send(world) == 2
    world.expect_mail("olga", saying="by Ana", about=backup)
    world.expect_mail("adam", saying="by Ana", about=backup)
    world.expect_nothing_else()


def test_eight_is_that_of_the_organization(world, backup):
    world.organization.time_zone = "America/New_York"
    world.organization.save()
    act(world.alert(backup), Action.CLOSE, via=CONSOLE, actor=world.person("ana"), now=world.now)
    at(world, 12, 59)  # 7:59 there
    assert send(world) == 0
    at(world, 13)
    assert send(world) == 2
    world.expect_mail("olga", saying="silent", about=backup)
    world.expect_mail("adam", saying="silent", about=backup)
    world.expect_nothing_else()


def test_what_is_not_ended_by_hand_or_pings_again_is_not_listed(world, backup):
    disabled = world.heartbeat("disabled", every=minutes(5), recipients=["ana"])
    recovered = world.heartbeat("recovered", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    for heartbeat in (disabled, recovered):
        world.expect_page("ana", about=heartbeat)
        act(world.alert(heartbeat), Action.CLOSE, via=CONSOLE, actor=world.person("ana"), now=world.now)
    world.ping(recovered)
    disabled.heartbeat.state, disabled.heartbeat.deadline_at, disabled.heartbeat.armed_at = "disabled", None, None
    disabled.heartbeat.save()
    world.ticking = False
    at(world, 13)
    assert send_daily_lists(now=world.now) == 0
    world.expect_nothing_else()


def test_a_disabled_or_missing_admin_and_an_empty_day_get_nothing(world, backup):
    world.person("adam").is_active = False
    world.person("adam").save()
    assert send(world) == 0
    at(world, 9, days=1)
    assert send(world) == 0
    world.expect_nothing_else()
