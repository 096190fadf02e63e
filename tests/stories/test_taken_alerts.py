"""Stories: an alert that was taken is not forgotten."""

import pytest

from alerting.models import Alert
from alerting.states import Action
from escalation.services.actions import act
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


def kinds(alert):
    return list(alert.timeline.order_by("id").values_list("kind", flat=True))


def texts(alert, kind):
    return list(alert.timeline.filter(kind=kind).order_by("id").values_list("text", flat=True))


@pytest.fixture
def backup(world):
    """A heartbeat that is silent, whose Primary Ana was notified; Ben comes after five minutes, Max after ten."""
    team = world.team("database", primary=["ana"], secondary=["ben"], managers=["max"])
    policy = world.policy(name="in steps", reopen_after_minutes=60)
    backup = world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipient_groups=[team])
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    return backup


def do(world: World, backup, action: Action, who: str, **more) -> Alert:
    if "to" in more:
        more["to"] = world.person(more["to"])
    return act(world.alert(backup), action, actor=world.person(who), now=world.now, **more)


def test_an_owner_is_reminded_and_without_an_answer_the_escalation_goes_on_where_it_stood(world, backup):
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(60))
    reminder = world.expect_mail("ana", saying="Unless you answer by", about=backup)
    assert "I am on it" in reminder.body
    assert "Hold until" in reminder.body
    world.advance(minutes(15) - seconds(1))
    world.expect_nothing_else()
    assert world.alert(backup).status == "assigned"
    world.advance(seconds(1))
    alert = world.alert(backup)
    assert (alert.status, alert.owner) == ("open", None)
    assert texts(alert, "reopened") == ["Open again: nobody answered the reminder. “in steps” goes on where it stood."]
    world.expect_page("ben", about=backup)
    world.advance(minutes(5))
    world.expect_page("max", about=backup)
    world.advance(minutes(240))
    world.expect_nothing_else()
