"""A heartbeat's paging is tried in earnest: the true people over the true way, marked as a test, and over by itself."""

import pytest
from django.core import mail
from django.db import IntegrityError, transaction

from alerting.models.alerts import Alert
from alerting.services import alerts
from alerting.services.alerts import AlertDraft, open_alerts
from escalation.channels import message_text
from escalation.channels.base import Bundle, Message
from escalation.channels.email import compose
from escalation.models.notifications import Notification
from escalation.notifications.bundles import bundle_message
from escalation.notifications.message import snapshot
from integrations.configuration.edits import delete_integration
from integrations.heartbeats.edits import update_heartbeat
from integrations.heartbeats.paging_tests import CannotBePaged, TestRunning, preview_test, start_test
from integrations.models.heartbeats import HeartbeatEvent
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db

ROLES = ["Integrations Admin"]


def start(world: World, job) -> Alert:
    return start_test(job, actor=world.person("ivy", roles=ROLES), now=world.now)


def watched(world: World, **fields):
    team = world.team("Database", primary=["ana"], secondary=["sam"], managers=["mia"])
    return world.heartbeat("backup", every=minutes(300), recipient_groups=[team], **fields)


def state(alert) -> tuple[str, str]:
    alert.refresh_from_db()
    return alert.status, alert.close_reason


def test_a_test_takes_the_way_that_was_previewed_and_closes_by_itself(world):
    job = watched(world)
    previewed = preview_test(job, at=world.now)
    test = start(world, job)
    world.advance(seconds(2))
    message = world.expect_mail("ana", saying="This is a TEST of who is notified when the heartbeat “backup”")
    assert message.subject == f"[TEST] High #{test.pk} Open: backup: test of who is notified"
    world.advance(minutes(20))
    world.expect_mail("sam", saying="TEST")
    world.expect_mail("mia", saying="TEST")
    pages = Notification.objects.filter(alert=test, kind="page").order_by("created_at")
    notification = [notification.name for step in previewed.steps for notification in step.notifications]
    assert [str(page.user) for page in pages] == notification == ["Ana", "Sam", "Mia"]
    assert test.timeline.filter(kind="opened", actor__name="Ivy").exists()
    world.advance(minutes(39))
    assert state(test) == ("open", "")
    world.advance(minutes(1))
    assert state(test) == ("closed", "the test has ended")
    world.advance(minutes(120))
    world.expect_nothing_else()


def test_pings_and_silences_go_on_beside_a_test(world):
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(job)
    test = start(world, job)
    world.advance(minutes(4))
    world.ping(job)
    world.advance(minutes(4))
    assert state(test)[0] == "open"
    world.expect_mail("ana", saying="TEST")
    world.advance(minutes(1))
    real = world.alert(job)
    assert (real.is_test, real.source) == (False, "Heartbeat")
    world.expect_page("ana", about=job)
    world.ping(job)
    world.advance(seconds(2))
    world.expect_recovery("ana", about=job)
    assert (state(real)[0], state(test)[0]) == ("closed", "open")
    world.advance(minutes(4))
    world.ping(job)
    update_heartbeat(job, actor=world.person("ivy"), now=world.now, interval_minutes=300)
    world.advance(minutes(50))
    assert state(test)[0] == "closed"
    world.expect_nothing_else()


def test_one_test_at_a_time_also_while_it_is_assigned_or_on_hold(world):
    job, other = watched(world), world.heartbeat("hand-off", every=minutes(300), recipients=["zoe"])
    test = start(world, job)
    for change in (alerts.hold, alerts.resume):
        with pytest.raises(TestRunning):
            start(world, job)
        change(test, actor=world.person("ivy"), now=world.now)
    alerts.assign(test, actor=world.person("ana"), to=world.person("ana"), now=world.now)
    with pytest.raises(TestRunning), transaction.atomic():
        start(world, job)
    start(world, other)
    alerts.close(test, actor=world.person("ana"), now=world.now)
    again = start(world, job)
    assert again.pk != test.pk
    assert Alert.objects.filter(is_test=True).count() == 3
    world.advance(seconds(2))
    world.expect_mail("zoe", saying="TEST")
    world.expect_mail("ana", saying="TEST")


def test_what_ends_a_test_by_hand_ends_it_for_good(world):
    job = watched(world)
    test = start(world, job)
    world.advance(seconds(2))
    world.expect_mail("ana", saying="TEST")
    alerts.close(test, actor=world.person("ana"), now=world.now)
    world.ping(job)
    world.advance(minutes(120))
    assert state(test)[0] == "closed"
    assert test.timeline.filter(kind="closed").count() == 1
    world.expect_nothing_else()


def test_a_test_that_was_taken_closes_by_itself_too(world):
    job = watched(world)
    test = start(world, job)
    world.advance(seconds(2))
    world.expect_mail("ana", saying="TEST")
    alerts.assign(test, actor=world.person("ana"), to=world.person("ana"), now=world.now)
    world.advance(minutes(60))
    assert state(test) == ("closed", "the test has ended")
    world.expect_nothing_else()


def test_a_disabled_heartbeat_is_tested_and_disabling_one_does_not_end_its_test(world):
    job = watched(world, enabled=False)
    test = start(world, job)
    world.advance(seconds(2))
    world.expect_mail("ana", saying="TEST")
    update_heartbeat(job, actor=world.person("ivy"), now=world.now, enabled=True)
    update_heartbeat(job, actor=world.person("ivy"), now=world.now, enabled=False)
    assert state(test)[0] == "open"
    delete_integration(job, actor=world.person("ivy"), now=world.now)
    assert state(test) == ("closed", "its heartbeat was deleted")
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_what_cannot_be_followed_is_not_tested(world):
    policy = world.policy()
    job = watched(world, escalation_policy=policy)
    policy.enabled = False
    policy.save(update_fields=["enabled"])
    with pytest.raises(CannotBePaged, match="is disabled"):
        start(world, job)
    assert not Alert.objects.exists()
    world.advance(minutes(1))
    world.expect_nothing_else()


def test_a_test_that_reaches_nobody_tries_the_last_resort(world):
    world.person("olga", roles=["Owner"])
    job = world.heartbeat("backup", every=minutes(300), recipient_groups=[world.team("Empty")])
    test = start(world, job)
    world.advance(seconds(2))
    message = world.expect_mail("olga", saying="TEST")
    assert message.subject == f"[TEST] High #{test.pk} Nobody was reached: backup: test of who is notified"
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_every_channel_says_first_that_it_is_a_test(world):
    job = watched(world)
    test = start(world, job)
    notification = Notification.objects.filter(alert=test).first()
    for kind in ("page", "last_resort"):
        message = Message(
            id=notification.pk,
            kind=kind,
            address="x",
            reader="Ana",
            time_zone="UTC",
            at=world.now,
            alert=snapshot(test),
            text="Nobody.",
        )
        for said in (message_text.short(message), message_text.spoken(message)):
            assert said.startswith("TEST"), said
        for said in (message_text.title(message), str(compose(message).subject)):
            assert said.startswith("[TEST] "), said


def test_a_bundle_is_a_test_only_when_nothing_in_it_is_in_earnest(world):
    job, other = watched(world), world.heartbeat("hand-off", every=minutes(5), recipients=["ana"])
    test = start(world, job)
    message = Message(
        id=Notification.objects.get(alert=test).pk, kind="page", address="x", reader="A", time_zone="UTC", at=world.now
    )
    together = bundle_message(message, [snapshot(test), snapshot(start(world, other))], count=2)
    for said in (message_text.short(together), message_text.title(together), str(compose(together).subject)):
        assert said.startswith("[TEST] High: 2 alerts"), said
    world.advance(minutes(5))
    mixed = bundle_message(message, [snapshot(world.alert(other)), snapshot(test)], count=2)
    listed = f"#{world.alert(other).pk} hand-off, #{test.pk} [TEST] backup"
    assert compose(mixed).subject == f"High: [Open] 2 alerts: {listed}"
    assert not Bundle(count=201, listed=[snapshot(test)], link="").only_tests


def test_the_log_names_who_tested(world):
    job = watched(world)
    test = start(world, job)
    event = HeartbeatEvent.objects.get(integration=job, kind="tested")
    assert (str(event.actor), event.text) == ("Ivy", f"Alert {test.pk} opened: a test of who is notified.")


def test_the_database_holds_that_a_test_is_alone(world):
    job = watched(world)
    facts = {"facts": [], "source_name": "x", "source_id": "1", "priority": "high", "long_text": "", "short_text": ""}
    draft = AlertDraft(world.organization.pk, subject="x", source="Test", integration_id=job.pk, is_test=True, **facts)
    open_alerts([draft], now=world.now)
    with pytest.raises(IntegrityError, match="one_live_test_per_integration"), transaction.atomic():
        open_alerts([draft], now=world.now)
    assert not mail.outbox
