"""An alert that is reassigned begins its escalation anew, in other groups or by another policy, and belongs to nobody."""

import pytest

from accounts.models.groups import GroupMember
from alerting.selectors import may_respond
from alerting.services import alerts
from alerting.via import CONSOLE
from escalation.engine.advance import escalate
from escalation.models.runs import EscalationRun
from escalation.policies.policies import delete_policy
from escalation.responses.reassign import reassign
from heartbeat_project.kernel.errors import FieldError
from integrations.heartbeats.edits import update_heartbeat
from tests.world import minutes

pytestmark = pytest.mark.django_db


def silent(world, **fields):
    """Return a heartbeat that has just been missed, of whose alert Ana was notified."""
    if "recipients" not in fields and "response_play" not in fields:
        fields["recipient_groups"] = [world.team("Database", primary=["ana"], secondary=["sam"], managers=["mia"])]
    job = world.heartbeat("backup", every=minutes(5), **fields)
    world.ping(job)
    world.advance(minutes(5))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    return job


def pages(world, job, *whom):
    """Expect these people, five minutes apart, the first at once, and then nobody."""
    for number, who in enumerate(whom):
        world.advance(minutes(5 if number else 0.1))
        world.expect_page(who, about=job)
        world.expect_nothing_else()
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_other_groups_are_walked_from_the_start_by_the_same_policy(world):
    job, ana = silent(world), world.person("ana")
    alerts.assign(world.alert(job), actor=ana, to=ana, now=world.now)
    alerts.acknowledge(world.alert(job), actor=ana, now=world.now)
    network = world.team("Network", primary=["nina"], secondary=["nick"])
    alert = reassign(world.alert(job), via=CONSOLE, actor=ana, groups=[network], now=world.now)
    assert (alert.status, alert.owner, alert.acknowledged_at, alert.acknowledged_by) == ("open", None, None, None)
    line = alert.timeline.get(kind="reassigned")
    assert (line.text, line.actor) == ("Ana reassigned it to Network: the escalation starts again.", ana)
    assert may_respond(ana, alert)
    assert may_respond(world.person("nick"), alert)
    pages(world, job, "nina", "nick")


def test_another_policy_walks_the_same_groups_and_people(world):
    job, ana = silent(world), world.person("ana")
    managers = world.policy(name="Managers", steps=[{"role": "manager"}, {"role": "secondary"}])
    reassign(world.alert(job), via=CONSOLE, actor=ana, escalation_policy=managers, now=world.now)
    world.advance(minutes(0.1))
    world.expect_page("mia", about=job)
    world.expect_page("sam", about=job)
    run = world.alert(job).run
    assert (run.name, run.policy, run.version) == ("Managers", managers, 1)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_who_was_named_directly_is_walked_by_the_other_policy_and_who_was_only_notified_is_not(world):
    job = silent(world, recipients=["ana"])
    policy = world.policy(steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 5}])
    reassign(world.alert(job), via=CONSOLE, actor=world.person("mia"), escalation_policy=policy, now=world.now)
    pages(world, job, "ana", "ana")


def test_what_was_still_to_come_does_not(world):
    policy = world.policy(steps=[{"role": "primary", "retries": 3, "retry_interval_minutes": 2}])
    job = silent(world, escalation_policy=policy)
    ana = world.person("ana")
    ana.contact_methods.create(
        kind="email",
        label="E-Mail-Private",
        address="ana@home.example.com",
        position=1,
        verified_at=world.now,
        delay_minutes=1,
    )
    world.advance(minutes(2))
    world.expect_page("ana", about=job)
    network = world.team("Network", primary=["nina"])
    reassign(world.alert(job), via=CONSOLE, actor=ana, groups=[network], now=world.now)
    world.advance(minutes(0.1))
    world.expect_page("nina", about=job)
    for _ in range(3):
        world.advance(minutes(2))
        world.expect_page("nina", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_a_new_walk_that_reaches_nobody_after_all_ends_with_the_owners(world):
    """Whoever was notified before the alert was reassigned was not the right one: they do not count for it."""
    world.person("olga", roles=["Owner"])
    job = silent(world)
    network = world.team("Network", secondary=["nick"])
    policy = world.policy(steps=[{"role": "secondary", "wait_minutes": 5}])
    reassign(
        world.alert(job),
        via=CONSOLE,
        actor=world.person("ana"),
        groups=[network],
        escalation_policy=policy,
        now=world.now,
    )
    GroupMember.objects.filter(group=network).delete()
    world.advance(minutes(6))
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_the_owners_are_notified_a_second_time_where_the_new_walk_fails_as_the_first_did(world):
    world.person("olga", roles=["Owner"])
    team = world.team("Database")
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.ping(job)
    world.advance(minutes(5))
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    network = world.team("Network", primary=["nina"])
    policy = world.policy(steps=[{"role": "primary", "wait_minutes": 5}])
    reassign(
        world.alert(job),
        via=CONSOLE,
        actor=world.person("olga"),
        groups=[network],
        escalation_policy=policy,
        now=world.now,
    )
    GroupMember.objects.filter(group=network).delete()
    world.advance(minutes(6))
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    world.expect_nothing_else()


def test_whoever_acknowledged_before_may_do_so_again(world):
    job, ana = silent(world), world.person("ana")
    alerts.acknowledge(world.alert(job), actor=ana, now=world.now)
    reassign(world.alert(job), via=CONSOLE, actor=ana, groups=[world.team("Network", primary=["nina"])], now=world.now)
    assert alerts.acknowledge(world.alert(job), actor=ana, now=world.now).acknowledged_by == ana
    world.advance(minutes(1))
    world.expect_page("nina", about=job)
    world.expect_nothing_else()


def test_escalating_after_it_goes_on_in_the_new_walk(world):
    job, ana = silent(world), world.person("ana")
    network = world.team("Network", primary=["nina"], secondary=["nick"])
    alert = reassign(world.alert(job), via=CONSOLE, actor=ana, groups=[network], now=world.now)
    world.advance(minutes(1))
    world.expect_page("nina", about=job)
    escalate(alert, actor=world.person("nina"), now=world.now)
    world.advance(minutes(0.1))
    world.expect_page("nick", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def refused(world, job, match, **where):
    with pytest.raises(FieldError, match=match):
        reassign(world.alert(job), via=CONSOLE, actor=world.person("ana"), now=world.now, **where)


def test_what_cannot_be_walked_is_refused_and_changes_nothing(world):
    job, ana = silent(world), world.person("ana")
    alerts.assign(world.alert(job), actor=ana, to=ana, now=world.now)
    before = EscalationRun.objects.values().get()
    refused(world, job, "Choose groups or an escalation policy")
    refused(world, job, "Primary of Empty: nobody is there", groups=[world.team("Empty")])
    refused(world, job, "“Off” is disabled", escalation_policy=world.policy(name="Off", enabled=False))
    assert EscalationRun.objects.values().get() == before
    assert world.alert(job).owner == ana
    assert not world.alert(job).timeline.filter(kind="reassigned").exists()
    alerts.close(world.alert(job), actor=ana, now=world.now)
    with pytest.raises(alerts.StateConflict):
        reassign(
            world.alert(job), via=CONSOLE, actor=ana, groups=[world.team("Network", primary=["nina"])], now=world.now
        )
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_where_the_policy_is_gone_or_a_play_is_followed_a_policy_is_asked_for(world):
    from escalation.policies.plays import TierRule, create_play

    play = create_play(world.organization, name="Drill", tiers=[TierRule(0, users=[world.person("ana")])])
    job = silent(world, response_play=play)
    network = world.team("Network", primary=["nina"])
    refused(world, job, "follows a response play", groups=[network])
    policy = world.policy(name="Nights")
    alert = reassign(
        world.alert(job),
        via=CONSOLE,
        actor=world.person("ana"),
        groups=[network],
        escalation_policy=policy,
        now=world.now,
    )
    assert alert.timeline.get(kind="reassigned").text.startswith("Ana reassigned it to Network by the policy “Nights”")
    world.advance(minutes(1))
    world.expect_page("nina", about=job)
    delete_policy(policy, actor=None, now=world.now)
    refused(world, job, "no longer follows a policy", groups=[network])
    world.advance(minutes(60))
    world.expect_nothing_else()
    update_heartbeat(job, actor=None, now=world.now, name="renamed")
