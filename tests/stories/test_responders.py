"""More people are asked for help with an alert under way, whoever has it; assigning stops what was still to come."""

import pytest

from alerting.services import alerts
from alerting.via import CONSOLE
from escalation.models.notifications import Notification
from escalation.policies.plays import TierRule, create_play
from escalation.responses.add_responders import add_responders
from heartbeat_project.kernel.errors import FieldError
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


def silent(world, **fields):
    """Return a heartbeat that has just been missed, of whose alert Ana was notified."""
    team = world.team("Database", primary=["ana"], secondary=["sam"], managers=["mia"])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team], **fields)
    world.ping(job)
    world.advance(minutes(5))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    return job


def ask(world, job, **whom):
    return add_responders(world.alert(job), via=CONSOLE, actor=world.person("ana"), now=world.now, **whom)


def test_who_is_asked_for_help_with_many_alerts_is_not_informed_that_nobody_has_them(world):
    world.bundle(seconds(5))
    team = world.team("Database", primary=["ana"])
    jobs = [world.heartbeat(f"job {number}", every=minutes(5), recipient_groups=[team]) for number in range(3)]
    world.advance(minutes(5) + seconds(5))
    world.expect_page("ana", about=jobs[0])
    world.expect_bundle("ana", about=jobs[1:])
    for job in jobs:
        ana = world.person("ana")
        alerts.assign(world.alert(job), actor=ana, to=ana, now=world.now)
        ask(world, job, users=[world.person("zoe")])
    world.work("delivery")
    world.expect_page("zoe", about=jobs[0])
    world.advance(seconds(6))
    body = " ".join(world.expect_bundle("zoe", about=jobs[1:]).body.split())
    assert "Ana asks you to help with these alerts." in body
    assert "nobody has taken" not in body
    world.expect_nothing_else()


def test_people_and_groups_are_notified_at_once_beside_the_escalation(world):
    job = silent(world)
    world.advance(minutes(1))
    network = world.team("Network", primary=["nina"], secondary=["nick"])
    ask(world, job, users=[world.person("zoe")], groups=[network])
    world.work("delivery")
    message = world.expect_page("zoe", about=job)
    assert "Ana asks you to help with this alert." in message.body
    assert "Secondary of Database will be notified in 4 minutes" in " ".join(message.body.split())
    world.expect_page("nina", about=job)
    world.expect_page("nick", about=job)
    world.expect_nothing_else()
    line = world.alert(job).timeline.get(kind="responders_added")
    assert (line.text, line.actor) == ("Ana asked for help: Zoe, Network (group).", world.person("ana"))
    for who in ("sam", "mia"):
        world.advance(minutes(4 if who == "sam" else 5))
        world.expect_page(who, about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def play(world, *offsets_and_names):
    tiers = [TierRule(offset, users=[world.person(who)]) for offset, who in offsets_and_names]
    return create_play(world.organization, name="All hands", tiers=tiers)


def test_a_play_begins_now_and_its_tiers_come_at_their_offsets(world):
    job = silent(world)
    world.advance(minutes(1))
    ask(world, job, response_play=play(world, (0, "pia"), (2, "quinn"), (30, "rosa")))
    world.work("delivery")
    world.expect_page("pia", about=job)
    for after, who in ((2, "quinn"), (2, "sam"), (5, "mia"), (21, "rosa")):
        world.advance(minutes(after))
        world.expect_page(who, about=job)
        world.expect_nothing_else()
    world.advance(minutes(600))
    world.expect_nothing_else()


@pytest.mark.parametrize("take", [alerts.assign, alerts.hold])
def test_whoever_has_the_alert_gets_help_and_keeps_it(world, take):
    job, ana = silent(world), world.person("ana")
    alert = take(world.alert(job), actor=ana, now=world.now, **({"to": ana} if take is alerts.assign else {}))
    ask(world, job, users=[world.person("zoe")], response_play=play(world, (0, "pia"), (10, "quinn")))
    world.advance(minutes(1))
    message = world.expect_page("zoe", about=job)
    assert ("Ana has this alert." if take is alerts.assign else "This alert is on hold.") in message.body
    world.expect_page("pia", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert world.alert(job).status == alert.status
    assert world.alert(job).owner == alert.owner


def test_assigning_stops_the_tiers_that_are_still_to_come(world):
    job, ana = silent(world), world.person("ana")
    ask(world, job, response_play=play(world, (0, "pia"), (2, "quinn")))
    world.work("delivery")
    world.expect_page("pia", about=job)
    alerts.assign(world.alert(job), actor=ana, to=ana, now=world.now)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_a_walk_that_had_ended_notifies_them_and_is_not_repeated(world):
    job = silent(world, escalation_policy=world.policy(steps=[{"role": "primary", "wait_minutes": 0}], repeats=0))
    ask(world, job, response_play=play(world, (0, "pia"), (2, "quinn")))
    world.work("delivery")
    world.expect_page("pia", about=job)
    world.advance(minutes(2))
    world.expect_page("quinn", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_they_see_the_alert_and_are_notified_of_the_recovery(world):
    from alerting.selectors import may_respond

    job = silent(world)
    ask(world, job, users=[world.person("zoe")])
    assert may_respond(world.person("zoe"), world.alert(job))
    world.work("delivery")
    world.expect_page("zoe", about=job)
    world.ping(job)
    world.advance(minutes(1))
    world.expect_recovery("ana", about=job)
    world.expect_recovery("zoe", about=job)
    world.expect_nothing_else()


def test_nothing_is_sent_about_an_alert_that_ended_meanwhile(world):
    job = silent(world)
    ask(world, job, users=[world.person("zoe")])
    alerts.close(world.alert(job), actor=world.person("ana"), now=world.now)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert Notification.objects.get(user=world.person("zoe")).status == "superseded"


def test_an_alert_that_is_over_and_people_who_cannot_be_notified_are_refused(world):
    job = silent(world)
    gone = world.person("gone")
    gone.is_active = False
    gone.save()
    with pytest.raises(FieldError, match="Added responders: nobody can be reached"):
        ask(world, job, users=[gone])
    with pytest.raises(FieldError, match="Choose people, groups or a response play"):
        ask(world, job)
    closed = play(world, (0, "pia"))
    closed.enabled = False
    closed.save()
    with pytest.raises(FieldError, match="is disabled"):
        ask(world, job, response_play=closed)
    assert not world.alert(job).timeline.filter(kind="responders_added").exists()
    alerts.close(world.alert(job), actor=world.person("ana"), now=world.now)
    with pytest.raises(alerts.StateConflict):
        ask(world, job, users=[world.person("zoe")])
    world.advance(minutes(60))
    world.expect_nothing_else()
