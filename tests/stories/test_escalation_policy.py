"""A policy walks through the roles of the recipient groups (domain: who is paged, and when)."""

import pytest

from tests import factories
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


def silent(world, **fields):
    """Return a heartbeat that has just been missed; from then on time goes in long steps, and nobody pings."""
    job = world.heartbeat("backup", every=minutes(0.1), **fields)
    world.ping(job)
    world.advance(minutes(0.1))
    world.listening = False
    world.step = seconds(30)
    return job


def timeline(world, job):
    return list(world.alert(job).timeline.values_list("kind", "text"))


def test_primary_at_once_then_secondary_then_manager_in_five_minute_steps(world):
    team = world.team("Database", primary=["ana", "bob"], secondary=["sam"], managers=["mia"])
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    world.expect_page("bob", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("mia", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
    assert ("walk_ended", "No further step follows in “Escalate after 5 minutes, user preference”.") in timeline(
        world, job
    )


def test_members_in_turn(world):
    policy = world.policy(
        steps=[{"role": "primary", "between_members_minutes": 2}, {"role": "manager", "wait_minutes": 5}],
    )
    team = world.team("Database", primary=["ana", "bob", "cy"], managers=["mia"])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    for name in ("ana", "bob", "cy"):
        world.expect_page(name, about=job)
        world.expect_nothing_else()
        world.advance(minutes(2))
    world.advance(minutes(3))
    world.expect_page("mia", about=job)
    world.expect_nothing_else()


def test_n_retries_make_n_plus_one_notifications(world):
    policy = world.policy(steps=[{"role": "primary", "retries": 2, "retry_interval_minutes": 1}])
    job = silent(world, tell=["ana"], escalation_policy=policy)
    for _ in range(3):
        world.expect_page("ana", about=job)
        world.expect_nothing_else()
        world.advance(minutes(1))
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_the_next_group_waits_for_its_turn(world):
    policy = world.policy(steps=[{"role": "primary"}], next_group_wait_minutes=10)
    first, second = world.team("First", primary=["ana"]), world.team("Second", primary=["bob"])
    job = silent(world, recipient_groups=[first, second], escalation_policy=policy)
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    world.advance(minutes(10))
    world.expect_page("bob", about=job)
    world.expect_nothing_else()


def test_all_groups_at_once_without_such_a_wait(world):
    first, second = world.team("First", primary=["ana"]), world.team("Second", primary=["bob"])
    job = silent(world, recipient_groups=[first, second])
    world.expect_page("ana", about=job)
    world.expect_page("bob", about=job)


def test_groups_and_users_are_additive_and_a_user_counts_as_primary_at_minute_0(world):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    job = silent(world, recipient_groups=[team], tell=["zoe"])
    world.expect_page("ana", about=job)
    world.expect_page("zoe", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_a_user_named_directly_is_told_by_a_policy_without_primary_too(world):
    policy = world.policy(steps=[{"role": "manager", "wait_minutes": 5}])
    job = silent(world, tell=["ana"], escalation_policy=policy)
    world.expect_page("ana", about=job)


def test_a_person_reached_by_two_paths_is_told_once_in_a_step(world):
    first = world.team("First", primary=["ana"], managers=["ana"])
    second = world.team("Second", primary=["ana", "bob"])
    job = silent(world, recipient_groups=[first, second], tell=["ana"])
    world.expect_page("ana", about=job)
    world.expect_page("bob", about=job)
    world.expect_nothing_else()


def test_a_stakeholder_receives(world):
    world.person("ana", kind="stakeholder")
    job = silent(world, tell=["ana"])
    world.expect_page("ana", about=job)


def test_the_walk_is_repeated_as_often_as_the_policy_says(world):
    policy = world.policy(steps=[{"role": "primary"}, {"role": "manager", "wait_minutes": 5}], repeats=1)
    team = world.team("Database", primary=["ana"], managers=["mia"])
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    for name in ("ana", "mia", "ana", "mia"):
        world.expect_page(name, about=job)
        world.expect_nothing_else()
        world.advance(minutes(5))
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_each_contact_method_of_a_person_has_its_own_delay(world):
    ana = world.person("ana")
    ana.contact_methods.create(
        label="Email-Personal",
        address="ana@home.example.com",
        position=1,
        delay_minutes=3,
        verified_at=world.now,
    )
    ana.contact_methods.create(label="Email-Unverified", address="ana@nowhere.example.com", position=2)
    ana.contact_methods.create(
        label="Email-Off", address="off@example.com", position=3, enabled=False, verified_at=world.now
    )
    job = silent(world, tell=["ana"])
    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    world.advance(minutes(3))
    assert world.alert(job).notifications.get(label="Email-Personal").status == "accepted"
    assert set(world.alert(job).notifications.values_list("label", flat=True)) == {"Email-Official", "Email-Personal"}


def test_a_centralized_policy_uses_its_labels_and_not_the_persons_preferences(world):
    ana = world.person("ana")
    ana.contact_methods.create(
        label="Email-Personal",
        address="ana@home.example.com",
        delay_minutes=30,
        enabled=False,
        verified_at=world.now,
    )
    policy = world.policy(notify_using="centralized", steps=[{"role": "primary", "contact_labels": ["email-personal"]}])
    job = silent(world, tell=["ana"], escalation_policy=policy)
    (notification,) = world.alert(job).notifications.all()
    assert (notification.label, notification.status) == ("Email-Personal", "accepted")


def test_a_run_follows_the_policy_as_it_was_when_the_alert_opened(world):
    from escalation.services.policies import RoleRule, update_policy

    team = world.team("Database", primary=["ana"], secondary=["sam"])
    policy = world.policy()
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    update_policy(policy, actor=None, now=world.now, roles=[RoleRule("manager")])
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    assert world.alert(job).run.version == 1


def test_a_play_tells_its_tiers_at_their_offsets_and_the_named_recipients_beside_the_first(world):
    play = factories.PlayFactory(organization=world.organization)
    team = world.team("On call", primary=["ana"], secondary=["sam"], managers=["mia"])
    for offset, names, groups in ((0, ["tia"], []), (5, [], [team]), (10, ["tia"], [])):
        tier = play.tiers.create(offset_minutes=offset)
        tier.users.set([world.person(name) for name in names])
        tier.groups.set(groups)
    job = silent(world, tell=["zoe"], response_play=play)
    world.expect_page("tia", about=job)
    world.expect_page("zoe", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    for name in ("ana", "sam", "mia"):
        world.expect_page(name, about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("tia", about=job)
    world.expect_nothing_else()
