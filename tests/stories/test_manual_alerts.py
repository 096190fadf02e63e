"""A person opens an alert by hand: a preview first, then the same people are told at the same times."""

import pytest

from accounts.models import ContactMethod
from alerting.models import Alert
from alerting.selectors import may_respond, visible_alerts
from escalation.models import Notification
from escalation.services.manual import ManualAlert, preview_alert, send_alert
from escalation.services.plays import TierRule, create_play
from tests.world import minutes

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender(world):
    return world.person("sue", roles=["Send Message"])


@pytest.fixture
def team(world):
    return world.team("Database", primary=["ana", "bob"], secondary=["sam"], managers=["mia"])


def of(forecast):
    """Return what a forecast says as (when, who, label, round)."""
    return sorted((told.at, told.user_id, told.label, told.round) for step in forecast.moments for told in step.told)


def told_about(alert):
    """Return what the engine really wrote, in the same form."""
    pages = Notification.objects.filter(alert=alert, kind="page")
    return sorted(pages.values_list("accepted_at", "user_id", "label", "round"))


def test_the_policys_people_are_told_as_previewed_and_the_sender_sees_the_alert(world, team, sender):
    policy = world.policy(
        quick_launch=True,
        priority="critical",
        repeats=1,
        steps=[
            {"role": "primary", "between_members_minutes": 1, "retries": 1, "retry_interval_minutes": 2},
            {"role": "secondary", "wait_minutes": 5},
            {"role": "manager", "wait_minutes": 5},
        ],
    )
    ContactMethod.objects.create(
        user=world.person("ana"),
        label="Email-Personal",
        address="ana@home.example.com",
        delay_minutes=3,
        verified_at=world.now,
    )
    draft = ManualAlert(
        subject="The lift is stuck",
        text="Third floor.\nSomebody is in it.",
        escalation_policy=policy,
        recipient_groups=[team],
        recipient_users=[world.person("zoe")],
    )
    forecast = preview_alert(draft, sender=sender, now=world.now)
    assert not Alert.objects.exists()
    assert not Notification.objects.exists()
    assert (forecast.complete, forecast.problems, forecast.instead) == (True, [], [])

    alert = send_alert(draft, sender=sender, now=world.now)
    world.beat()
    for who in ("zoe", "ana"):
        message = world.expect_mail(who, saying="The lift is stuck")
        assert "Third floor.\nSomebody is in it." in message.body
    world.expect_nothing_else()
    world.listening = False
    world.advance(minutes(120))
    assert told_about(alert) == of(forecast)
    assert len(of(forecast)) > 10
    assert (alert.priority, alert.source, alert.source_name, alert.status) == ("critical", "Manual", "Sue", "open")
    opened = alert.timeline.get(kind="opened")
    assert (opened.actor, opened.text) == (sender, "Opened: The lift is stuck.")
    assert alert in visible_alerts(sender)
    assert may_respond(sender, alert)


def test_a_play_tells_its_tiers_and_who_is_named_beside_them(world, sender):
    ana, mia, zoe = (world.person(name) for name in ("ana", "mia", "zoe"))
    play = create_play(
        world.organization, name="Fire", tiers=[TierRule(0, users=[ana]), TierRule(5, users=[mia])], priority="low"
    )
    draft = ManualAlert(subject="Smoke", response_play=play, recipient_users=[zoe], priority="high")
    alert = send_alert(draft, sender=sender, now=world.now)
    world.beat()
    world.expect_mail("ana", saying="Smoke")
    world.expect_mail("zoe", saying="Smoke")
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_mail("mia", saying="Smoke")
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert alert.priority == "high"


def test_one_that_is_sent_twice_under_one_name_is_one_alert(world, team, sender):
    policy = world.policy(quick_launch=True)
    draft = ManualAlert(subject="Smoke", escalation_policy=policy, recipient_groups=[team], source_id="ticket-7")
    first = send_alert(draft, sender=sender, now=world.now)
    assert send_alert(draft, sender=sender, now=world.now) == first
    world.beat()
    world.expect_mail("ana", saying="Smoke")
    world.expect_mail("bob", saying="Smoke")
    world.expect_nothing_else()
    other = world.person("olga", roles=["Send Message"])
    assert send_alert(draft, sender=other, now=world.now) != first


def test_nothing_is_left_behind_when_the_escalation_cannot_be_started(world, team, sender, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no run")

    monkeypatch.setattr("escalation.services.manual.Starter.start", refuse)
    draft = ManualAlert(subject="Smoke", escalation_policy=world.policy(quick_launch=True), recipient_groups=[team])
    with pytest.raises(RuntimeError):
        send_alert(draft, sender=sender, now=world.now)
    assert not Alert.objects.exists()
