"""A policy, a play or recipients that change while an escalation runs.

It goes on as it began and says so, or is stopped.
"""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models.groups import GroupMember
from alerting.via import CONSOLE
from escalation.engine import walk
from escalation.engine.advance import escalate
from escalation.models.runs import EscalationRun
from escalation.policies.edits import count_running
from escalation.policies.plays import TierRule, create_play, delete_play, update_play
from escalation.policies.policies import delete_policy, update_policy
from escalation.responses.add_responders import add_responders
from escalation.responses.reassign import reassign
from heartbeat_project.kernel.errors import FieldError
from integrations.heartbeats.edits import update_heartbeat
from tests.world import minutes

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(world):
    return world.person("olga", roles=["Owner"])


@pytest.fixture
def policy(world):
    return world.policy(name="100 % Nights", version=3)


@pytest.fixture
def team(world):
    return world.team("Database", primary=["ana"], secondary=["sam"])


def silent(world, *names, **fields):
    """Return heartbeats that have just been missed, of whose alerts Ana was notified."""
    jobs = [world.heartbeat(name, every=minutes(5), **fields) for name in names or ("backup",)]
    for job in jobs:
        world.ping(job)
    world.advance(minutes(5))
    for job in jobs:
        world.expect_page("ana", about=job)
    return jobs


def changes(world, job):
    return [(line.text, line.actor) for line in world.alert(job).timeline.filter(kind="rule_changed")]


def test_a_policy_that_is_changed_is_named_once_in_the_timeline_with_who_changed_it(world, team, policy, olga):
    (job,) = silent(world, recipient_groups=[team], escalation_policy=policy)
    for repeats in (1, 2):
        update_policy(policy, actor=olga, now=world.now, repeats=repeats)
    said = "The policy “100 % Nights” was changed by Olga; this escalation goes on as it began (version 3)."
    assert changes(world, job) == [(said, olga)]
    update_policy(policy, actor=olga, now=world.now, enabled=False)
    assert [text.split(" by ")[0] for text, _ in changes(world, job)] == [
        "The policy “100 % Nights” was changed",
        "The policy “100 % Nights” was disabled",
    ]
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()
    update_policy(policy, actor=olga, now=world.now, repeats=0)
    assert len(changes(world, job)) == 2, "what has ended is not said to go on"


def test_a_policy_or_play_that_is_deleted_and_one_that_is_taken_off(world, team, policy, olga):
    play = create_play(
        world.organization, name="Drill", tiers=[TierRule(0, groups=[team]), TierRule(60, groups=[team])]
    )
    (first,) = silent(world, "backup", recipient_groups=[team], escalation_policy=policy)
    other = world.policy(name="Days")
    update_heartbeat(first, actor=olga, now=world.now, escalation_policy=other)
    delete_policy(policy, actor=olga, now=world.now)
    goes_on = "this escalation goes on as it began"
    nights = "“100 % Nights”"
    assert [text for text, _ in changes(world, first)] == [
        f"The integration was given “Days” instead of {nights} by Olga; {goes_on} ({nights}, version 3).",
        "The policy “100 % Nights” was deleted by Olga; this escalation goes on as it began (version 3).",
    ]
    second = world.heartbeat("import", every=minutes(1), response_play=play)
    world.advance(minutes(1))
    update_heartbeat(second, actor=olga, now=world.now, response_play=None, escalation_policy=other)
    update_play(play, actor=olga, now=world.now, tiers=[TierRule(0, groups=[team])])
    delete_play(play, actor=olga, now=world.now)
    assert [text.partition(" by ")[0] for text, _ in changes(world, second)] == [
        "The integration was given “Days” instead of “Drill”",
        "The response play “Drill” was changed",
        "The response play “Drill” was deleted",
    ]


def test_recipients_that_change_are_said_and_other_edits_are_not(world, team, policy, olga):
    (job,) = silent(world, recipient_groups=[team], escalation_policy=policy)
    update_heartbeat(job, actor=olga, now=world.now, interval_minutes=7, recipient_groups=[team])
    assert changes(world, job) == []
    update_heartbeat(job, actor=olga, now=world.now, recipient_users=[world.person("zoe")])
    said = "The recipients of the integration were changed by Olga; this escalation goes on as it began"
    assert changes(world, job) == [(f"{said} (“100 % Nights”, version 3).", olga)]


def test_escalations_that_are_stopped_notify_nobody_any_more(world, team, policy, olga):
    other = world.heartbeat("other", every=minutes(5), recipient_groups=[team], escalation_policy=world.policy())
    jobs = silent(world, "backup", "import", recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=other)
    assert count_running(policy) == 2
    update_policy(policy, actor=olga, now=world.now, enabled=False, stop_running=True)
    assert count_running(policy) == 0
    for job in jobs:
        line = world.alert(job).timeline.get(kind="escalation_ended")
        assert line.actor == olga
        assert line.text == (
            "The policy “100 % Nights” was disabled and its escalations stopped by Olga: this one notifies nobody "
            "any more, not even the Owner and App Admins."
        )
        assert changes(world, job) == []
        run = EscalationRun.objects.get(alert=world.alert(job))
        position = walk.Position.load(run.position)
        assert (run.next_step_at, position.next_at, position.stopped) == (None, None, True)
        assert world.alert(job).status == "open"
    GroupMember.objects.create(group=team, user=world.person("zoe"), role="primary", position=1)
    world.advance(minutes(600))
    world.expect_page("zoe", about=other)  # a hand-off
    world.expect_page("sam", about=other)
    world.expect_nothing_else()


def test_messages_that_wait_are_put_away_and_one_that_fails_later_brings_no_last_resort(world, team, policy, olga):
    world.away = {"delivery"}
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
    world.ping(job)
    world.advance(minutes(5))
    alert = world.alert(job)
    assert alert.notifications.get().status == "pending"
    update_policy(policy, actor=olga, now=world.now, enabled=False, stop_running=True)
    assert alert.notifications.get().status == "superseded"
    world.away = set()
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_what_was_stopped_can_be_begun_anew_and_helped_with(world, team, policy, olga):
    update_policy(policy, actor=olga, now=world.now, repeats=2)
    policy.refresh_from_db()
    (job,) = silent(world, recipient_groups=[team], escalation_policy=policy)
    update_policy(policy, actor=olga, now=world.now, enabled=False, stop_running=True)
    play = create_play(
        world.organization,
        name="Help",
        tiers=[TierRule(0, users=[world.person("pia")]), TierRule(2, users=[world.person("quinn")])],
    )
    add_responders(world.alert(job), via=CONSOLE, actor=olga, now=world.now, response_play=play)
    world.work("delivery")
    world.expect_page("pia", about=job)
    world.advance(minutes(2))
    world.expect_page("quinn", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()
    alert = reassign(world.alert(job), via=CONSOLE, actor=olga, escalation_policy=world.policy(), now=world.now)
    world.advance(minutes(1))
    world.expect_page("ana", about=job)
    escalate(alert, actor=olga, now=world.now)
    world.advance(minutes(1))
    world.expect_page("sam", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_only_what_is_disabled_can_be_stopped(world, team, policy, olga):
    (job,) = silent(world, recipient_groups=[team], escalation_policy=policy)
    with pytest.raises(FieldError, match="only together with disabling"):
        update_policy(policy, actor=olga, now=world.now, repeats=1, stop_running=True)
    assert changes(world, job) == []
    update_policy(policy, actor=olga, now=world.now, enabled=False)
    update_policy(policy, actor=olga, now=world.now, stop_running=True)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_the_number_of_statements_does_not_depend_on_how_many_run(world, team, policy, olga):
    def edit(**fields):
        with CaptureQueriesContext(connection) as queries:
            update_policy(policy, actor=olga, now=world.now, **fields)
        return len(queries)

    silent(world, "one", recipient_groups=[team], escalation_policy=policy)
    few = edit(repeats=1)
    for number in range(5):
        world.heartbeat(f"more {number}", every=minutes(1), recipient_groups=[team], escalation_policy=policy)
    world.advance(minutes(1))
    assert count_running(policy) == 6
    assert edit(repeats=2) == few
    assert edit(enabled=False, stop_running=True) == few + 1
