"""A tick that runs twice, late, or in two places at once changes nothing; a failing row stops nobody."""

import pytest
from django.core import mail
from django.db import connection

from alerting.models.alerts import Alert
from escalation.engine.advance import advance_escalations
from escalation.models.notifications import Notification
from escalation.notifications.deliver import deliver_due
from integrations.heartbeats import detection
from integrations.heartbeats.tick import tick
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


def test_every_tick_twice_changes_nothing(world: World):
    team = world.team("Database", primary=["ana"], secondary=["ben"])
    backup = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    for _ in range(11 * 12):
        world.advance(seconds(5))
        tick(now=world.now)
        advance_escalations(now=world.now)
        deliver_due(now=world.now)

    assert len(world.alerts(backup)) == 1
    world.expect_page("ana", about=backup)
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_ticks_that_come_late_still_page_one_after_the_other(world: World):
    team = world.team("Database", primary=["ana"], secondary=["ben"])
    backup = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.ticking = False
    world.advance(minutes(30))
    world.ticking = True

    world.advance(seconds(1))
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_a_clock_that_goes_back_pages_nobody_twice(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(6))
    world.now -= minutes(3)

    world.advance(minutes(10))

    assert len(world.alerts(backup)) == 1
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


def test_a_job_that_pings_after_the_clock_was_set_back_is_waited_for_again(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(6))
    world.expect_page("ana", about=backup)
    world.now -= minutes(10)
    receipt = world.ping(backup)
    assert receipt.deadline_at == world.now + minutes(5)
    world.advance(seconds(1))
    world.expect_recovery("ana", about=backup)

    world.advance(minutes(5))

    world.expect_page("ana", about=backup)
    assert [alert.status for alert in world.alerts(backup)] == ["closed", "open"]
    assert world.heartbeat_of(backup).error == ""


def test_a_failing_row_is_quarantined_with_its_error_and_stops_nobody(world: World, monkeypatch):
    world.person("olga", roles=["Owner"])
    broken = world.heartbeat("broken", every=minutes(5), recipients=["ana"])
    good = world.heartbeat("good", every=minutes(5), recipients=["ana"])
    real = detection._silence_of
    tried = set()

    def said(integration, *args, **kwargs):
        if integration.name == "broken":
            tried.add(kwargs["now"])
            raise ValueError("something nobody thought of\x00")
        return real(integration, *args, **kwargs)

    monkeypatch.setattr(detection, "_silence_of", said)
    world.advance(minutes(5))

    assert [alert.source_name for alert in Alert.objects.all()] == ["good"]
    world.expect_page("ana", about=good)
    row = Heartbeat.objects.get(pk=broken.pk)
    assert "something nobody thought of" in row.error
    assert row.state == "waiting"
    assert HeartbeatEvent.objects.filter(integration=broken, kind="quarantine").count() == 1
    said = world.expect_mail("olga", saying="could not be opened").body
    assert "Nobody is notified of it before its alert can be opened" in " ".join(said.split())
    world.advance(minutes(2) + seconds(30))
    assert tried == {world.now - seconds(30) - minutes(ago) for ago in (0, 1, 2)}
    assert HeartbeatEvent.objects.filter(integration=broken, kind="quarantine").count() == 1
    world.expect_nothing_else()

    # A ping ends this silence; the next one that cannot be recorded is news again.
    world.ping(broken)
    world.advance(minutes(5))
    world.expect_mail("olga", saying="could not be opened")
    assert HeartbeatEvent.objects.filter(integration=broken, kind="quarantine").count() == 2

    monkeypatch.setattr(detection, "_silence_of", real)
    world.advance(minutes(1))

    world.expect_page("ana", about=broken)
    world.expect_nothing_else()
    assert Heartbeat.objects.get(pk=broken.pk).error == ""


@pytest.mark.django_db(transaction=True)
def test_a_crash_in_the_middle_of_a_tick_leaves_nothing_half_done(world: World, monkeypatch):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5) - seconds(1))

    def crash(*_, **__):
        raise SystemExit("killed")

    with monkeypatch.context() as patched:
        patched.setattr(detection.EscalationStarter, "start", crash)
        world.now += seconds(1)
        with pytest.raises(SystemExit):
            world.beat()
    connection.close()

    assert Alert.objects.count() == 0
    assert Notification.objects.count() == 0
    assert Heartbeat.objects.get(pk=backup.pk).state == "waiting"
    world.advance(seconds(1))
    world.expect_page("ana", about=backup)
    assert len(mail.outbox) == 1
