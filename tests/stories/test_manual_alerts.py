"""A person opens an alert by hand: a preview first, then the same people are notified at the same times."""

import re

import pytest

from accounts.models.contact_methods import ContactMethod
from alerting.models.alerts import Alert
from alerting.selectors import may_respond, visible_alerts
from escalation.engine.manual import ManualAlert, preview_alert, send_alert
from escalation.models.notifications import Notification
from escalation.policies.plays import TierRule, create_play
from heartbeat_project.kernel import clock
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]


@pytest.fixture
def sender(world):
    return world.person("sue", roles=["Send Message"])


@pytest.fixture
def team(world):
    return world.team("Database", primary=["ana", "bob"], secondary=["sam"], managers=["mia"])


def of(escalation_preview):
    """Return what a preview says as (when, who, label, round)."""
    return sorted(
        (notification.at, notification.user_id, notification.label, notification.retry)
        for step in escalation_preview.steps
        for notification in step.notifications
    )


def notified_about(alert):
    """Return what the engine really wrote, in the same form."""
    pages = Notification.objects.filter(alert=alert, kind="page")
    return sorted(pages.values_list("accepted_at", "user_id", "label", "retry"))


def test_the_people_of_a_policy_are_notified_as_previewed_and_the_sender_sees_the_alert(world, team, sender):
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
    escalation_preview = preview_alert(draft, sender=sender, now=world.now)
    assert not Alert.objects.exists()
    assert not Notification.objects.exists()
    assert (escalation_preview.complete, escalation_preview.problems, escalation_preview.instead) == (True, [], [])

    alert = send_alert(draft, sender=sender, now=world.now)
    world.beat()
    for who in ("zoe", "ana"):
        message = world.expect_mail(who, saying="The lift is stuck")
        assert "Third floor.\nSomebody is in it." in message.body
    world.expect_nothing_else()
    world.listening = False
    world.advance(minutes(120))
    assert notified_about(alert) == of(escalation_preview)
    assert len(of(escalation_preview)) > 10
    assert len(world.unread()) == len(of(escalation_preview)) - 2
    assert (alert.priority, alert.source, alert.source_name, alert.status) == ("critical", "Manual", "Sue", "open")
    opened = alert.timeline.get(kind="opened")
    assert (opened.actor, opened.text) == (sender, "Opened: The lift is stuck.")
    assert alert in visible_alerts(sender)
    assert may_respond(sender, alert)


def test_a_play_notifies_its_tiers_and_who_is_named_beside_them(world, sender):
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


def test_from_the_page_those_are_notified_whom_it_showed_beside_its_button(world: World, client, monkeypatch, sender):
    monkeypatch.setattr(clock, "now", lambda: world.now)
    policy = world.policy(name="Fire brigade", quick_launch=True, priority="high", steps=[{"role": "primary"}])
    world.team("Builders", primary=["sue", "ana"])
    client.force_login(sender)
    said = {"subject": "Smoke", "text": "On the roof.", "follows": f"policy:{policy.pk}", "wish": "preview"}
    page = client.post("/alerts/new/", said | {"recipient_users": [world.person("ben").pk]}).content.decode()
    assert "<strong>Notified now:</strong> Ben" in page
    hidden = dict(re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"', page))
    sending = said | hidden | {"recipient_users": [world.person("ben").pk], "wish": "send"}
    sent = client.post("/alerts/new/", sending)
    (alert,) = world.alerts()
    assert sent["Location"] == f"/alerts/{alert.pk}/"
    world.advance(seconds(2))
    message = world.expect_mail("ben", saying="Smoke")
    assert message.subject == f"High #{alert.pk} [Open] Smoke"
    assert "On the roof.\n\nSent by Sue." in message.body
    world.advance(minutes(60))
    world.expect_nothing_else()
    page = client.get("/alerts/new/").content.decode()
    assert re.search(r'name="subject"[^>]* autofocus', page)
    assert f'<option value="policy:{policy.pk}" selected>' in page


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

    monkeypatch.setattr("escalation.engine.manual.EscalationStarter.start", refuse)
    draft = ManualAlert(subject="Smoke", escalation_policy=world.policy(quick_launch=True), recipient_groups=[team])
    with pytest.raises(RuntimeError):
        send_alert(draft, sender=sender, now=world.now)
    assert not Alert.objects.exists()


def test_an_answer_names_what_it_is_about_and_not_who_sent_it(world: World, client, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: world.now)
    sender = world.person("sam", roles=["Send Message"])
    policy = world.policy(quick_launch=True)
    draft = ManualAlert(subject="Rack 4 stands open", escalation_policy=policy, recipient_users=[world.person("ana")])
    alert = send_alert(draft, sender=sender, now=world.now)
    world.advance(seconds(1))
    message = world.expect_mail("ana", saying="Rack 4 stands open")
    link = re.findall(r"http://127\.0\.0\.1:8000(/r/[\w-]+)", message.body)[0]
    said = client.post(link, {"action": "assign"}, follow=True).content.decode()
    assert f"#{alert.pk} Rack 4 stands open is yours" in said
    world.expect_nothing_else()
