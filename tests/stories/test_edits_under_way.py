"""Whatever is edited while an escalation runs, the escalation goes on as it began."""

import pytest

from escalation.models.policies import EscalationPolicy
from escalation.policies.clone import clone_policy
from escalation.policies.plays import TierRule, create_play, delete_play, update_play
from escalation.policies.policies import RoleRule, delete_policy, update_policy
from integrations.heartbeats.edits import update_heartbeat
from tests import factories
from tests.factories import WHEN
from tests.world import minutes

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(world):
    return world.team("Database", primary=["ana"], secondary=["sam"], managers=["mia"])


def silent(world, **fields):
    """Return a heartbeat that has just been missed, of whose alert Ana was notified."""
    job = world.heartbeat("backup", every=minutes(5), **fields)
    world.ping(job)
    world.advance(minutes(5))
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    return job


def goes_on(world, job, *rest):
    """Expect the walk's other people, five minutes apart, and then nobody."""
    for who in rest:
        world.advance(minutes(5))
        world.expect_page(who, about=job)
        world.expect_nothing_else()
    world.advance(minutes(120))
    world.expect_nothing_else()
    run = world.alert(job).run
    assert (run.version, run.error) == (1, "")


EDITS = {
    "other roles": lambda policy: update_policy(policy, actor=None, now=WHEN, roles=[RoleRule("manager", retries=5)]),
    "other times": lambda policy: update_policy(
        policy,
        actor=None,
        now=WHEN,
        roles=[RoleRule(role, wait_minutes=60) for role in ("primary", "secondary", "manager")],
    ),
    "centralized over a label that nobody has": lambda policy: update_policy(
        policy,
        actor=None,
        now=WHEN,
        notify_using="centralized",
        roles=[RoleRule("secondary", contact_labels=("Pager",))],
    ),
    "repeated": lambda policy: update_policy(policy, actor=None, now=WHEN, repeats=9),
    "disabled": lambda policy: update_policy(policy, actor=None, now=WHEN, enabled=False),
    "renamed": lambda policy: update_policy(policy, actor=None, now=WHEN, name="Another", priority="low"),
    "cloned": clone_policy,
    "edited five times": lambda policy: [
        update_policy(policy, actor=None, now=WHEN, description=str(time)) for time in range(5)
    ],
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_policy_that_is_edited(world, team, edit):
    policy = world.policy()
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    EDITS[edit](policy)
    goes_on(world, job, "sam", "mia")


def test_a_policy_that_is_deleted(world, team):
    policy = world.policy(name="Old")
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    update_heartbeat(job, actor=None, now=world.now, escalation_policy=world.policy(steps=[{"role": "manager"}]))
    delete_policy(policy, actor=None, now=WHEN)
    assert not EscalationPolicy.objects.filter(name="Old").exists()
    goes_on(world, job, "sam", "mia")
    assert "Old" in world.alert(job).timeline.get(kind="escalation_ended").text


def test_a_play_that_is_edited_and_deleted(world):
    ana, sam, mia = (world.person(name) for name in ("ana", "sam", "mia"))
    tiers = [TierRule(offset, users=[user]) for offset, user in ((0, ana), (5, sam), (10, mia))]
    play = create_play(world.organization, name="Drill", tiers=tiers)
    job = silent(world, response_play=play)
    play = update_play(play, actor=None, now=WHEN, tiers=tiers[:1], enabled=False)
    update_heartbeat(job, actor=None, now=world.now, response_play=None, escalation_policy=world.policy())
    delete_play(play, actor=None, now=WHEN)
    goes_on(world, job, "sam", "mia")


def test_a_group_that_is_deleted_is_passed_over_and_the_walk_goes_on(world, team):
    other = world.team("Network", primary=["nina"])
    policy = world.policy(steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 5}])
    policy.next_group_wait_minutes = 10
    policy.save()
    job = silent(world, recipient_groups=[team, other], escalation_policy=policy)
    team.delete()
    world.advance(minutes(10))
    world.expect_page("nina", about=job)
    world.expect_nothing_else()
    skipped = list(world.alert(job).timeline.filter(kind="skipped").values_list("text", flat=True))
    assert skipped[0].startswith("Secondary of Database: nobody is there")


def test_what_messages_offer_is_what_the_policy_said_when_the_alert_opened(world, team, client_for):
    policy = world.policy()
    update_policy(policy, actor=None, now=WHEN, allowed_actions={"email": ["assign", "close"]})
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    update_policy(policy, actor=None, now=WHEN, allowed_actions={"email": []})
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    owner = client_for(factories.UserFactory(organization=world.organization, roles=["Owner"]))
    notifications = owner.get(f"/api/v1/alerts/{world.alert(job).pk}/notifications/").json()["results"]
    assert [notification["allowed_actions"] for notification in notifications] == [["assign", "close"]] * 2
