"""A ping after a miss closes the alert and notifies those who were notified (domain: timing 5 and 6)."""

import pytest
from django.core import mail

from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from tests.world import minutes

pytestmark = pytest.mark.django_db


def silent_and_back(world, *, after=0.2, **fields):
    job = world.heartbeat("backup", every=minutes(0.1), **fields)
    world.ping(job)
    world.advance(minutes(0.1))
    world.advance(minutes(after))
    world.ping(job)
    world.beat()
    return job


def test_those_who_were_notified_get_one_short_recovery_notice_and_nobody_else(world):
    team = world.team("Database", primary=["ana", "bob"], secondary=["sam"])
    job = silent_and_back(world, recipient_groups=[team])
    for name in ("ana", "bob"):
        world.expect_page(name, about=job)
    for name in ("ana", "bob"):
        world.expect_recovery(name, about=job)
    world.expect_nothing_else()
    assert (world.alert(job).status, world.alert(job).close_reason) == ("closed", "closed by heartbeat")
    assert world.alert(job).timeline.filter(kind="closed", text="Closed by heartbeat.").exists()


def test_the_notice_says_how_late_the_signal_was(world):
    job = silent_and_back(world, recipients=["ana"], after=1)
    world.expect_page("ana", about=job)
    message = world.expect_recovery("ana", about=job)
    assert message.subject == f"[Recovered] #{world.alert(job).pk} backup"
    assert "The signal came back 1 minute late." in message.body


def test_the_escalation_stops_and_nothing_that_was_waiting_is_sent(world):
    ana = world.person("ana")
    ana.contact_methods.create(label="Email-Later", address="later@example.com", delay_minutes=1, verified_at=world.now)
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    job = silent_and_back(world, recipient_groups=[team])
    assert world.alert(job).notifications.get(label="Email-Later").status == "superseded"
    assert EscalationRun.objects.get().next_step_at is None
    assert not Notification.objects.filter(next_attempt_at__isnull=False).exists()


def test_recovery_notices_can_be_switched_off(world):
    job = silent_and_back(world, recipients=["ana"], escalation_policy=world.policy(recovery_notice=False))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()


def test_the_last_resort_gets_the_recovery_notice_too(world):
    world.person("olga", roles=["Owner"])
    job = silent_and_back(world)
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.expect_recovery("olga", about=job)
    world.expect_nothing_else()


def test_one_notice_however_often_a_person_was_notified(world):
    policy = world.policy(steps=[{"role": "primary", "retries": 2, "retry_interval_minutes": "0.1"}])
    job = silent_and_back(world, recipients=["ana"], escalation_policy=policy, after=0.5)
    number = world.alert(job).pk
    subjects = [message.subject for message in mail.outbox]
    assert subjects == [f"High #{number} [Open] backup is silent"] * 3 + [f"[Recovered] #{number} backup"]
