"""A policy walks through the roles of the recipient groups (domain: who is paged, and when)."""

import pytest

from escalation.engine.advance import expedite
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
    assert ("escalation_ended", "No further step follows in “Escalate after 5 minutes, user preference”.") in timeline(
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
    job = silent(world, recipients=["ana"], escalation_policy=policy)
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
    job = silent(world, recipient_groups=[team], recipients=["zoe"])
    world.expect_page("ana", about=job)
    world.expect_page("zoe", about=job)
    world.expect_nothing_else()
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    world.expect_nothing_else()


def test_a_user_named_directly_is_notified_by_a_policy_without_primary_too(world):
    policy = world.policy(steps=[{"role": "manager", "wait_minutes": 5}])
    job = silent(world, recipients=["ana"], escalation_policy=policy)
    world.expect_page("ana", about=job)


def test_a_person_reached_by_two_paths_is_notified_once_in_a_step(world):
    first = world.team("First", primary=["ana"], managers=["ana"])
    second = world.team("Second", primary=["ana", "bob"])
    job = silent(world, recipient_groups=[first, second], recipients=["ana"])
    world.expect_page("ana", about=job)
    world.expect_page("bob", about=job)
    world.expect_nothing_else()


def test_a_stakeholder_receives(world):
    world.person("ana", kind="stakeholder")
    job = silent(world, recipients=["ana"])
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


def expect_in_this_order(world, job, *names, every):
    """Assert that these are paged one after another, each alone, and nobody afterwards."""
    for name in names:
        world.expect_page(name, about=job)
        world.expect_nothing_else()
        world.advance(minutes(every))
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_in_turn_with_repeats_no_two_ring_together(world):
    policy = world.policy(steps=[{"role": "primary", "between_members_minutes": 5}], repeats=2)
    job = silent(world, recipient_groups=[world.team("Database", primary=["ana", "ben"])], escalation_policy=policy)
    expect_in_this_order(world, job, "ana", "ben", "ana", "ben", "ana", "ben", every=5)


def test_a_group_of_one_in_turn_is_notified_in_each_repeat(world):
    policy = world.policy(steps=[{"role": "primary", "between_members_minutes": 5}], repeats=2)
    job = silent(world, recipient_groups=[world.team("Database", primary=["ana"])], escalation_policy=policy)
    expect_in_this_order(world, job, "ana", "ana", "ana", every=5)


def test_the_first_group_waits_for_a_repeat_as_the_next_group_does(world):
    # One group alone takes no time: that is what the retries of the Manager, who is not there, allow to be saved.
    steps = [{"role": "primary"}, {"role": "manager", "retries": 1, "retry_interval_minutes": 1}]
    policy = world.policy(steps=steps, next_group_wait_minutes=10, repeats=1)
    teams = [world.team("First", primary=["ana"]), world.team("Second", primary=["ben"])]
    job = silent(world, recipient_groups=teams, escalation_policy=policy)
    expect_in_this_order(world, job, "ana", "ben", "ana", "ben", every=10)


def test_a_repeat_comes_a_retry_interval_after_the_last_retry(world):
    policy = world.policy(steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 5}], repeats=1)
    job = silent(world, recipient_groups=[world.team("Database", primary=["ana"])], escalation_policy=policy)
    expect_in_this_order(world, job, "ana", "ana", "ana", "ana", every=5)


def test_people_named_directly_are_notified_in_each_repeat_of_a_policy_whose_times_are_its_managers(world):
    policy = world.policy(steps=[{"role": "manager", "between_members_minutes": 5}], repeats=1)
    job = silent(world, recipients=["ana"], escalation_policy=policy)
    expect_in_this_order(world, job, "ana", "ana", every=5)


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
    job = silent(world, recipients=["ana"])
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
    job = silent(world, recipients=["ana"], escalation_policy=policy)
    (notification,) = world.alert(job).notifications.all()
    assert (notification.label, notification.status) == ("Email-Personal", "accepted")


def test_a_run_follows_the_policy_as_it_was_when_the_alert_opened(world):
    from escalation.policies.policies import RoleRule, update_policy

    team = world.team("Database", primary=["ana"], secondary=["sam"])
    policy = world.policy()
    job = silent(world, recipient_groups=[team], escalation_policy=policy)
    world.expect_page("ana", about=job)
    update_policy(policy, actor=None, now=world.now, roles=[RoleRule("manager")])
    world.advance(minutes(5))
    world.expect_page("sam", about=job)
    assert world.alert(job).run.version == 1


def test_a_play_notifies_its_tiers_at_their_offsets_and_the_named_recipients_beside_the_first(world):
    play = factories.PlayFactory(organization=world.organization)
    team = world.team("On call", primary=["ana"], secondary=["sam"], managers=["mia"])
    for offset, names, groups in ((0, ["tia"], []), (5, [], [team]), (10, ["tia"], [])):
        tier = play.tiers.create(offset_minutes=offset)
        tier.users.set([world.person(name) for name in names])
        tier.groups.set(groups)
    job = silent(world, recipients=["zoe"], response_play=play)
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


def test_while_retries_and_a_repeat_are_left_the_page_announces_the_repeat(world):
    steps = [{"role": "primary", "retries": 1, "retry_interval_minutes": 2}]
    job = silent(world, recipients=["ana"], escalation_policy=world.policy(steps=steps, repeats=1))

    message = world.expect_page("ana", about=job)

    assert "Nobody else will be notified" not in message.body
    assert "will be notified in 4 minutes" in " ".join(message.body.split())


def test_to_escalate_while_retries_and_a_repeat_are_left_begins_the_repeat(world):
    world.person("olga", roles=["Owner"])
    steps = [{"role": "primary", "retries": 2, "retry_interval_minutes": 10}]
    job = silent(world, recipients=["ana"], escalation_policy=world.policy(steps=steps, repeats=1))
    world.expect_page("ana", about=job)

    expedite([world.alert(job).pk], now=world.now)
    world.advance(seconds(1))

    world.expect_page("ana", about=job)
    world.expect_nothing_else()
    assert "last_resort" not in [kind for kind, _ in timeline(world, job)]
