"""The walk of an escalation: who is notified when, whatever the plan."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from escalation.engine import walk
from escalation.engine.plan import Plan, Stage, Target, Track

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def everybody(_person, _stage):
    return True


def at_once(reachable):
    """Return when people count as reached: those who are reachable at once, the others never."""
    return lambda person, stage: 0.0 if reachable(person, stage) else None


def members_of(target):
    """A group's members are numbered after it: group 3 has 30, 31, 32."""
    return [target.id] if target.kind == "user" else [target.id * 10 + index for index in range(3)]


def stage(label, *people, **rule):
    return Stage(label, tuple(Target("user", person) for person in people), **rule)


def play_out(plan, *, people=members_of, reachable=everybody, late=timedelta(), most=10_000):
    """Return [(seconds after the start, [persons]), ...] and all gaps, with a worker that comes `late`."""
    position, notified, skipped = walk.start(plan, START), [], []
    for _ in range(most):
        next_at = position.next_at
        if next_at is None:
            return notified, skipped, position
        now = next_at + late
        step = walk.advance(plan, position, now=now, people=people, first_use=at_once(reachable))
        skipped += step.skipped
        if step.pages:
            notified.append(((now - START).total_seconds(), [page.person for page in step.pages]))
        position = walk.Position.load(json.loads(json.dumps(step.position.dump())))
    raise AssertionError("the walk does not end")


def policy(*stages, **more):
    return Plan((Track(stages),), **more)


def test_roles_follow_each_other_after_their_waits():
    plan = policy(stage("Primary", 1, 2), stage("Secondary", 3, wait=300), stage("Manager", 4, wait=300))
    assert play_out(plan)[0] == [(0, [1, 2]), (300, [3]), (600, [4])]


def test_members_in_turn_come_one_after_another_and_the_next_role_waits_for_the_last():
    plan = policy(stage("Primary", 1, 2, 3, between=60), stage("Secondary", 4, wait=300))
    assert play_out(plan)[0] == [(0, [1]), (60, [2]), (120, [3]), (420, [4])]


def test_each_member_has_retries_from_their_own_first_time_while_later_roles_begin():
    plan = policy(stage("Primary", 1, 2, between=60, retries=2, retry_gap=90), stage("Secondary", 3, wait=60))
    assert play_out(plan)[0] == [(0, [1]), (60, [2]), (90, [1]), (120, [3]), (150, [2]), (180, [1]), (240, [2])]


def test_retries_are_counted_as_retries():
    plan = policy(stage("Primary", 1, retries=2, retry_gap=60))
    position, rounds = walk.start(plan, START), []
    while position.next_at:
        step = walk.advance(plan, position, now=position.next_at, people=members_of, first_use=at_once(everybody))
        rounds += [page.retry for page in step.pages]
        position = step.position
    assert rounds == [0, 1, 2]


def test_tracks_go_side_by_side_and_notify_a_person_once_in_a_step():
    plan = Plan((Track((stage("A", 1, 2),)), Track((stage("B", 2, 3), stage("C", 1, wait=60)))))
    assert play_out(plan)[0] == [(0, [1, 2, 3]), (60, [1])]


def test_two_paths_of_one_step_use_the_contact_methods_of_both():
    def merged(first, second):
        a = stage("A", 1, labels=first, centralized=True)
        plan = Plan((Track((a,)), Track((stage("B", 1, labels=second, centralized=True),))))
        step = walk.advance(plan, walk.start(plan, START), now=START, people=members_of, first_use=at_once(everybody))
        (page,) = step.pages
        return page.labels

    assert merged(("Email",), ("SMS", "Email")) == ("Email", "SMS")
    assert merged(("Email",), ()) == ()


def test_a_role_that_reaches_nobody_is_passed_over_at_once_and_says_so():
    plan = policy(stage("Primary", 1), stage("Secondary", 2, wait=300), stage("Manager", 3, wait=300))
    notified, skipped, _ = play_out(plan, reachable=lambda person, _stage: person != 2)
    assert notified == [(0, [1]), (300, [3])]
    assert [str(stage_skipped) for stage_skipped in skipped] == [
        "Secondary: nobody can be reached. Going on to Manager at once."
    ]


def test_a_role_without_anybody_in_it_says_that_nobody_is_there():
    plan = policy(Stage("Primary", ()), stage("Secondary", 2, wait=300))
    notified, skipped, _ = play_out(plan)
    assert notified == [(0, [2])]
    assert str(skipped[0]) == "Primary: nobody is there. Going on to Secondary at once."


def test_a_member_in_turn_who_cannot_be_reached_any_more_loses_the_turn_to_the_next_at_once():
    plan = policy(stage("Primary", 1, 2, 3, between=60))
    away = set()
    position = walk.start(plan, START)
    position = walk.advance(
        plan, position, now=START, people=members_of, first_use=at_once(lambda person, _: person not in away)
    ).position
    away.add(2)
    later = START + timedelta(seconds=60)
    step = walk.advance(
        plan, position, now=later, people=members_of, first_use=at_once(lambda person, _: person not in away)
    )
    assert [page.person for page in step.pages] == [3]


def group_rota(plan, members, *, changes):
    """Return what `play_out` does where the targets stand for `members` by id, which `changes` replace from a time on."""

    def people(target):
        return members[target.id]

    position, notified, skipped = walk.start(plan, START), [], []
    while position.next_at is not None:
        seconds = (position.next_at - START).total_seconds()
        members = members | {key: value for at, key, value in changes if at <= seconds}
        step = walk.advance(plan, position, now=position.next_at, people=people, first_use=at_once(everybody))
        notified += [(seconds, page.person, page.retry) for page in step.pages]
        skipped += map(str, step.skipped)
        position = walk.Position.load(json.loads(json.dumps(step.position.dump())))
    return notified, skipped


def group(label, number, **rule):
    return Stage(label, (Target("group", number),), **rule)


def test_after_a_hand_off_the_retries_go_to_who_took_over():
    plan = policy(group("Primary", 1, retries=3, retry_gap=60), group("Secondary", 2, wait=300))
    notified, skipped = group_rota(plan, {1: [10, 11], 2: [20]}, changes=[(100, 1, [12, 11])])
    assert notified == [
        *((0, 10, 0), (0, 11, 0), (60, 10, 1), (60, 11, 1)),
        *((120, 12, 2), (120, 11, 2), (180, 12, 3), (180, 11, 3), (300, 20, 0)),
    ]
    assert skipped == []


def test_whoever_left_is_not_replaced_by_those_who_are_notified_again_themselves():
    plan = policy(group("Primary", 1, retries=2, retry_gap=60))
    notified, skipped = group_rota(plan, {1: [10, 11, 12]}, changes=[(60, 1, [12])])
    assert notified == [(0, 10, 0), (0, 11, 0), (0, 12, 0), (60, 12, 1), (120, 12, 2)]
    assert skipped == []


def test_a_retry_that_finds_nobody_any_more_lets_the_next_stage_come_at_once_and_says_so_once():
    plan = policy(group("Primary", 1, retries=5, retry_gap=60), group("Secondary", 2, wait=1_800))
    notified, skipped = group_rota(plan, {1: [10, 11], 2: [20]}, changes=[(60, 1, [])])
    assert notified == [(0, 10, 0), (0, 11, 0), (60, 20, 0)]
    assert skipped == ["Primary: nobody else is there. Going on to Secondary at once."]


def test_a_retry_that_finds_nobody_leaves_a_later_stage_its_time():
    plan = policy(
        group("Primary", 1, retries=2, retry_gap=100), group("Secondary", 2, wait=60), group("Manager", 3, wait=600)
    )
    notified, skipped = group_rota(plan, {1: [10], 2: [20], 3: [30]}, changes=[(90, 1, [])])
    assert notified == [(0, 10, 0), (60, 20, 0), (660, 30, 0)]
    assert skipped == []


def test_turns_go_to_whoever_is_there_by_then_and_nobody_has_two():
    plan = policy(group("Primary", 1, between=60), group("Secondary", 2, wait=300))
    notified, skipped = group_rota(plan, {1: [10, 11, 12], 2: [20]}, changes=[(60, 1, [10, 13, 12])])
    assert notified == [(0, 10, 0), (60, 13, 0), (120, 12, 0), (420, 20, 0)]
    assert skipped == []


def test_a_turn_for_which_nobody_is_left_lets_the_next_stage_come_at_once_and_says_so():
    plan = policy(group("Primary", 1, between=60), group("Secondary", 2, wait=300))
    notified, skipped = group_rota(plan, {1: [10, 11], 2: [20]}, changes=[(60, 1, [10])])
    assert notified == [(0, 10, 0), (60, 20, 0)]
    assert skipped == ["Primary: nobody else can be reached. Going on to Secondary at once."]


def test_where_a_person_in_turn_left_before_their_retry_the_next_turn_comes_at_once():
    plan = policy(group("Primary", 1, between=600, retries=1, retry_gap=60))
    notified, skipped = group_rota(plan, {1: [10, 11, 12]}, changes=[(60, 1, [11, 12])])
    assert notified == [(0, 10, 0), (60, 11, 0), (120, 11, 1), (660, 12, 0), (720, 12, 1)]
    assert skipped == []


def test_who_took_over_from_several_is_notified_once_and_has_the_retries_of_one():
    plan = policy(group("Primary", 1, between=60, retries=1, retry_gap=300))
    notified, skipped = group_rota(plan, {1: [10, 11, 12]}, changes=[(200, 1, [13])])
    assert notified == [(0, 10, 0), (60, 11, 0), (120, 12, 0), (300, 13, 1)]
    assert skipped == []


def test_whoever_had_all_their_retries_gets_none_of_somebody_who_left():
    plan = policy(group("Primary", 1, between=60, retries=1, retry_gap=60))
    notified, skipped = group_rota(plan, {1: [10, 11]}, changes=[(90, 1, [10])])
    assert notified == [(0, 10, 0), (60, 11, 0), (60, 10, 1)]
    assert skipped == []


def test_a_moment_in_which_nobody_is_there_does_not_end_the_retries():
    plan = policy(group("Primary", 1, retries=3, retry_gap=300))
    notified, skipped = group_rota(plan, {1: [10]}, changes=[(200, 1, []), (500, 1, [11])])
    assert notified == [(0, 10, 0), (600, 11, 2), (900, 11, 3)]
    assert skipped == []


def test_a_moment_in_which_nobody_is_there_does_not_end_the_retries_of_a_stage_in_turn():
    plan = policy(group("Primary", 1, between=600, retries=2, retry_gap=60))
    notified, _ = group_rota(plan, {1: [10, 11]}, changes=[(50, 1, []), (100, 1, [12])])
    assert notified == [(0, 10, 0), (120, 12, 2)]


def test_where_nobody_is_there_until_the_last_retry_that_is_said():
    plan = policy(group("Primary", 1, retries=3, retry_gap=300))
    notified, skipped = group_rota(plan, {1: [10, 11]}, changes=[(200, 1, [])])
    assert notified == [(0, 10, 0), (0, 11, 0)]
    assert skipped == ["Primary: nobody else is there, and no further step follows."]


def test_a_position_that_was_kept_before_turns_were_remembered_gives_everybody_a_turn():
    plan = policy(group("Primary", 1, between=60), group("Secondary", 2, wait=300))
    at = (START + timedelta(seconds=60)).isoformat()
    position = walk.Position.load({"cursors": [[1, at, [11]]], "retries": [], "repeat": 0, "notified": True})
    notified, people = [], {1: [10, 11], 2: [20]}
    while position.next_at:
        step = walk.advance(
            plan, position, now=position.next_at, people=lambda target: people[target.id], first_use=at_once(everybody)
        )
        notified += [page.person for page in step.pages]
        position = step.position
    assert notified == [10, 11, 20]


def groups_in_turn(*numbers, wait):
    return Plan(
        tuple(
            Track((role("Primary", number, wait=index * wait), role("Manager", number, wait=60)))
            for index, number in enumerate(numbers)
        )
    )


def test_where_a_group_reaches_nobody_the_next_group_comes_at_once():
    notified, skipped, _ = play_out(groups_in_turn(1, 2, 3, wait=1_800), reachable=lambda person, _: person >= 20)
    assert notified == [(0, [20, 21, 22]), (60, [20, 21, 22]), (3_600, [30, 31, 32]), (3_660, [30, 31, 32])]
    assert [str(stage_skipped) for stage_skipped in skipped] == [
        "Primary: nobody can be reached. Going on to Manager at once.",
        "Manager: nobody can be reached. Going on to Primary at once.",
    ]


def test_where_no_group_reaches_anybody_the_walk_ends_at_once():
    notified, skipped, _ = play_out(groups_in_turn(1, 2, 3, wait=1_800), reachable=lambda *_: False)
    assert notified == []
    assert str(skipped[-1]) == "Manager: nobody can be reached, and no further step follows."


def test_where_somebody_else_is_notified_in_the_same_step_the_next_group_keeps_its_time():
    named = Track((stage("Recipients named directly", 5),))
    plan = Plan((named, *groups_in_turn(1, 2, wait=1_800).tracks))
    notified, _, _ = play_out(plan, reachable=lambda person, _: person not in {10, 11, 12})
    assert notified == [(0, [5]), (1_800, [20, 21, 22]), (1_860, [20, 21, 22])]


def test_a_repeat_that_ended_with_nobody_does_not_bring_the_next_repeat_on():
    plan = policy(stage("Primary", 1), stage("Manager", 2, wait=60), repeats=1, repeat_wait=300)
    assert play_out(plan, reachable=lambda person, _: person == 1)[0] == [(0, [1]), (360, [1])]


def test_people_are_asked_for_when_the_stage_is_entered():
    plan = policy(stage("Primary", 1), Stage("Secondary", (Target("group", 7, "secondary"),), wait=300))
    members = {7: [70]}
    position = walk.advance(
        plan, walk.start(plan, START), now=START, people=members_of, first_use=at_once(everybody)
    ).position
    members[7] = [71]
    step = walk.advance(
        plan, position, now=position.next_at, people=lambda t: members[t.id], first_use=at_once(everybody)
    )
    assert [page.person for page in step.pages] == [71]


def test_a_late_worker_never_notifies_two_roles_together():
    plan = policy(stage("Primary", 1), stage("Secondary", 2, wait=300), stage("Manager", 3, wait=300))
    assert play_out(plan, late=timedelta(hours=1))[0] == [(3600, [1]), (7500, [2]), (11400, [3])]


def test_the_walk_repeats_and_its_first_role_does_not_come_together_with_the_last():
    plan = policy(stage("Primary", 1), stage("Secondary", 2, wait=300), repeats=2, repeat_wait=300)
    assert play_out(plan)[0] == [(0, [1]), (300, [2]), (600, [1]), (900, [2]), (1200, [1]), (1500, [2])]


def test_a_walk_that_reaches_nobody_is_not_repeated():
    notified, skipped, _ = play_out(policy(stage("Primary", 1, wait=60), repeats=50), reachable=lambda *_: False)
    assert notified == []
    assert len(skipped) == 1


def test_repeats_without_any_wait_end_in_one_step():
    assert play_out(policy(stage("Primary", 1), repeats=100))[0] == [(0, [1])]


def test_in_turn_the_first_of_a_repeat_waits_as_long_as_everybody_else():
    plan = policy(stage("Primary", 1, 2, between=60), repeats=2)
    assert play_out(plan)[0] == [(0, [1]), (60, [2]), (120, [1]), (180, [2]), (240, [1]), (300, [2])]


def test_a_repeat_waits_after_the_last_in_turn_though_a_role_that_comes_with_them_is_empty():
    plan = policy(stage("Primary", 1, 2, between=60), Stage("Manager", ()), repeats=1)
    assert play_out(plan)[0] == [(0, [1]), (60, [2]), (120, [1]), (180, [2])]


def test_a_person_alone_in_turn_is_notified_in_each_repeat():
    assert play_out(policy(stage("Primary", 1, between=60), repeats=2))[0] == [(0, [1]), (60, [1]), (120, [1])]


def test_a_repeat_comes_a_retry_interval_after_the_last_retry():
    plan = policy(stage("Primary", 1, retries=1, retry_gap=60), repeats=1)
    assert play_out(plan)[0] == [(0, [1]), (60, [1]), (120, [1]), (180, [1])]
    plan = policy(stage("Primary", 1, 2, between=60, retries=1, retry_gap=90), repeats=1)
    assert play_out(plan)[0] == [
        *((0, [1]), (60, [2]), (90, [1]), (150, [2])),
        *((240, [1]), (300, [2]), (330, [1]), (390, [2])),
    ]


def test_group_after_group_the_first_waits_in_a_repeat_as_the_next_does():
    tracks = tuple(Track((stage("Primary", group, wait=wait),)) for group, wait in ((1, 0), (2, 300), (3, 600)))
    assert play_out(Plan(tracks, repeats=1))[0] == [
        *((0, [1]), (300, [2]), (600, [3])),
        *((900, [1]), (1_200, [2]), (1_500, [3])),
    ]


def test_whoever_is_last_in_turn_counts_when_used_before_the_repeat_as_the_others_before_the_next_turn():
    plan = policy(stage("Primary", 1, 2, between=60), repeats=1)
    position = walk.Position(cursors=(walk.TrackCursor(1, START, in_turn=True),), notified=True, reached=((0, 0, 1),))
    step = walk.advance(plan, position, now=START, people=members_of, first_use=lambda *_: 30.0)
    assert [(page.person, page.counts, page.within) for page in step.pages] == [(2, True, 60.0)]
    assert step.skipped == ()


def test_an_empty_plan_has_ended():
    assert walk.start(Plan(), START).next_at is None
    assert walk.coming(Plan(), walk.start(Plan(), START)) is None


def test_expedite_brings_the_next_stage_now_and_leaves_the_retries_alone():
    plan = policy(stage("Primary", 1, retries=1, retry_gap=100), stage("Secondary", 2, wait=300))
    position = walk.advance(
        plan, walk.start(plan, START), now=START, people=members_of, first_use=at_once(everybody)
    ).position
    now = START + timedelta(seconds=10)
    step = walk.advance(plan, walk.expedite(position, now), now=now, people=members_of, first_use=at_once(everybody))
    assert [page.person for page in step.pages] == [2]
    assert step.position.next_at == START + timedelta(seconds=100)


def test_expedite_brings_the_next_member_in_turn_and_the_others_follow_from_there():
    plan = policy(stage("Primary", 1, 2, 3, between=60))
    position = walk.advance(
        plan, walk.start(plan, START), now=START, people=members_of, first_use=at_once(everybody)
    ).position
    assert walk.coming(plan, position) == walk.Coming(START + timedelta(seconds=60), "the next Primary")
    now = START + timedelta(seconds=10)
    step = walk.advance(plan, walk.expedite(position, now), now=now, people=members_of, first_use=at_once(everybody))
    assert [page.person for page in step.pages] == [2]
    assert step.position.next_at == now + timedelta(seconds=60)


def test_expedite_leaves_an_ended_walk_and_what_is_overdue_as_they_are():
    plan = policy(stage("Primary", 1))
    begun = walk.start(plan, START)
    assert walk.expedite(begun, START + timedelta(hours=1)) == begun
    ended = walk.advance(plan, begun, now=START, people=members_of, first_use=at_once(everybody)).position
    assert walk.expedite(ended, START) == ended


def groups_notified(plan, *, reachable=everybody):
    """Return [(seconds after the start, [groups whose contacts are notified]), ...], leaving out moments without any."""
    position, found = walk.start(plan, START), []
    while position.next_at is not None:
        now = position.next_at
        step = walk.advance(plan, position, now=now, people=members_of, first_use=at_once(reachable))
        if step.groups:
            found.append(((now - START).total_seconds(), list(step.groups)))
        position = step.position
    return found


def role(label, group, **rule):
    return Stage(label, (Target("group", group, label.lower()),), **rule)


def test_a_groups_contacts_are_notified_once_with_its_first_role_and_by_no_retry():
    plan = policy(role("Primary", 1, wait=60, retries=3, retry_gap=10), role("Secondary", 1, wait=300))
    assert groups_notified(plan) == [(60, [1])]


def test_a_groups_contacts_are_notified_though_nobody_of_its_first_role_can_be_reached():
    plan = policy(role("Primary", 1), role("Secondary", 1, wait=300))
    assert groups_notified(plan, reachable=lambda *_: False) == [(0, [1])]


def test_a_groups_contacts_are_notified_again_with_each_repeat_of_the_walk():
    plan = policy(role("Primary", 1), role("Secondary", 1, wait=300), repeats=1, repeat_wait=300)
    assert groups_notified(plan) == [(0, [1]), (600, [1])]


def test_a_group_that_is_notified_as_a_whole_has_its_contacts_notified_with_each_stage():
    tiers = [Stage(f"Tier {number}", (Target("group", 1), Target("user", 5)), wait=300) for number in (1, 2)]
    named = Stage("Named", (Target("group", 1), Target("group", 2)), wait=300)
    assert groups_notified(Plan((Track((named,)), Track(tuple(tiers))))) == [(300, [1, 2]), (600, [1])]


waits = st.sampled_from([0.0, 6.0, 60.0, 300.0])
targets = st.one_of(
    st.builds(Target, kind=st.just("user"), id=st.integers(0, 9)),
    st.builds(Target, kind=st.just("group"), id=st.integers(1, 4), role=st.sampled_from([None, "primary"])),
)
stages = st.builds(
    Stage,
    label=st.sampled_from(["Primary", "Secondary", "Tier 1"]),
    targets=st.lists(targets, max_size=3).map(tuple),
    wait=waits,
    between=waits,
    retries=st.integers(0, 3),
    retry_gap=st.sampled_from([6.0, 60.0]),
    labels=st.sampled_from([(), ("Email-Official",)]),
    centralized=st.booleans(),
)
plans = st.builds(
    Plan,
    tracks=st.lists(st.builds(Track, st.lists(stages, max_size=4).map(tuple)), max_size=3).map(tuple),
    repeats=st.integers(0, 3),
    repeat_wait=waits,
)
lateness = st.sampled_from([timedelta(), timedelta(seconds=1), timedelta(minutes=7)])


everyone = st.integers(0, 45)


def named_in(plan):
    """Return everybody whom the plan's stages name, once for each stage."""
    return [
        person
        for track in plan.tracks
        for each in track.stages
        for person in {person for target in each.targets for person in members_of(target)}
    ]


def all_but(absent):
    return lambda person, _stage: person not in absent


def troubled(plan, moves, *, most=5_000):
    """Yield (now, step) of a walk in which each moment has its own trouble: (how late, who is away, hurried after)."""
    position, now, moment = walk.start(plan, START), START, 0
    while position.next_at is not None:
        assert moment < most, "the walk does not end"
        late, away, expedited_after = moves[moment % len(moves)]
        if expedited_after is not None:
            now += expedited_after
            position = walk.expedite(position, now)
        now = max(now, position.next_at or now) + late
        step = walk.advance(plan, position, now=now, people=members_of, first_use=at_once(all_but(away)))
        yield now, step
        position, moment = step.position, moment + 1


troubles = st.lists(
    st.tuples(
        lateness,
        st.sets(everyone, max_size=10),
        st.sampled_from([None, None, timedelta(), timedelta(seconds=3), timedelta(minutes=4)]),
    ),
    min_size=1,
    max_size=5,
)


@given(plan=plans, absent=st.sets(everyone), late=lateness)
def test_every_walk_ends_and_notifies_nobody_more_often_than_its_retries_and_repeats_allow(plan, absent, late):
    notified, _, position = play_out(plan, reachable=lambda person, _: person not in absent, late=late)
    assert position.next_at is None
    most = (plan.repeats + 1) * (1 + max((each.retries for track in plan.tracks for each in track.stages), default=0))
    times_named = {person: named_in(plan).count(person) for person in named_in(plan)}
    times_notified = [person for _, people in notified for person in people]
    assert all(times_notified.count(person) <= most * times_named[person] for person in times_notified)


in_turn = st.builds(
    Stage,
    label=st.just("Primary"),
    targets=st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True).map(
        lambda people: tuple(Target("user", person) for person in people)
    ),
    wait=waits,
    between=waits,
    retries=st.integers(0, 2),
    retry_gap=st.sampled_from([6.0, 60.0, 300.0]),
)


@given(only=in_turn, repeats=st.integers(1, 3), repeat_wait=waits)
def test_each_repeat_of_a_role_is_the_first_walk_again_and_waits_as_its_members_and_retries_do(
    only, repeats, repeat_wait
):
    once, _, _ = play_out(policy(only))
    notified, _, _ = play_out(policy(only, repeats=repeats, repeat_wait=repeat_wait))
    pause = max(only.wait, only.between, only.retry_gap if only.retries else 0, repeat_wait)
    if not pause:
        assert notified == once
        return
    lasts = once[-1][0] - once[0][0] + pause
    assert notified == [(at + repeat * lasts, people) for repeat in range(repeats + 1) for at, people in once]


@given(plan=plans, moves=troubles)
def test_every_walk_ends_whoever_comes_and_goes_and_however_often_it_is_expedited(plan, moves):
    steps = list(troubled(plan, moves))
    assert not steps or steps[-1][1].position.next_at is None


@given(plan=plans, moves=troubles)
def test_no_steps_time_goes_back_and_none_leaves_anything_due(plan, moves):
    before = START
    for now, step in troubled(plan, moves):
        assert now >= before
        before = now
        assert step.position.next_at is None or step.position.next_at > now
        assert all(cursor.due_at is None or cursor.due_at > now for cursor in step.position.cursors)
        assert all(retry.at > now for retry in step.position.retries)


@given(plan=plans, moves=troubles)
def test_nobody_is_notified_twice_in_one_step_and_nobody_who_is_away(plan, moves):
    for moment, (_, step) in enumerate(troubled(plan, moves)):
        notified = [page.person for page in step.pages]
        assert len(notified) == len(set(notified))
        assert not set(notified) & moves[moment % len(moves)][1]


@given(plan=plans, absent=st.sets(everyone), late=lateness)
def test_whoever_can_be_reached_is_reached_and_each_stage_that_reaches_nobody_is_named(plan, absent, late):
    notified, skipped, _ = play_out(plan, reachable=lambda person, _: person not in absent, late=late)
    assert {person for _, people in notified for person in people} == set(named_in(plan)) - absent
    empty = [
        each.label
        for track in plan.tracks
        for each in track.stages
        if {person for target in each.targets for person in members_of(target)} <= absent
    ]
    # Each repeat names them again; a repeat that notified nobody is the last one.
    assert sorted(set(empty)) == sorted({stage_skipped.stage for stage_skipped in skipped})
    assert len(skipped) % max(1, len(empty)) == 0


@given(plan=plans, absent=st.sets(everyone), late=lateness)
def test_contacts_of_groups_change_nothing_about_who_is_notified_and_when(plan, absent, late):
    """A stage with a group in it is walked as if its members were named one by one."""

    def by_name(target):
        return tuple(Target("user", person) for person in members_of(target))

    tracks = tuple(
        Track(tuple(replace(each, targets=tuple(chain(*map(by_name, each.targets)))) for each in track.stages))
        for track in plan.tracks
    )
    reached = all_but(absent)
    assert play_out(plan, reachable=reached, late=late) == play_out(
        replace(plan, tracks=tracks), reachable=reached, late=late
    )


@given(plan=plans, moves=troubles)
def test_each_group_that_a_walk_comes_to_has_its_contacts_notified_in_each_repeat_and_once_in_a_step(plan, moves):
    steps = [step for _, step in troubled(plan, moves)]
    repeats = 1 + (steps[-1].position.repeat if steps else 0)
    notified = [group for step in steps for group in step.groups]
    meant = [
        {target.id for target in each.targets if target.kind == "group" and (number == 0 or target.role is None)}
        for track in plan.tracks
        for number, each in enumerate(track.stages)
    ]
    assert all(len(step.groups) == len(set(step.groups)) for step in steps)
    assert set(notified) == set().union(*meant)
    for group in set(notified):
        assert notified.count(group) <= repeats * sum(group in groups for groups in meant)


def begun_alone(tracks, now):
    """Return the position of these tracks alone after their first moment."""
    alone = Plan(tuple(tracks))
    return walk.advance(
        alone, walk.start(alone, now), now=now, people=members_of, first_use=at_once(everybody)
    ).position


def play_on(plan, position):
    """Return [(seconds after the start, person), ...] of the rest of a walk."""
    notified = []
    while position.next_at is not None:
        now = position.next_at
        step = walk.advance(plan, position, now=now, people=members_of, first_use=at_once(everybody))
        notified += [((now - START).total_seconds(), page.person) for page in step.pages]
        position = walk.Position.load(json.loads(json.dumps(step.position.dump())))
    return notified


def test_further_tracks_go_beside_what_the_walk_does_anyway():
    plan = policy(stage("Primary", 1), stage("Secondary", 2, wait=300))
    position = begun_alone(plan.tracks, START)
    later = START + timedelta(seconds=60)
    more = [Track((stage("Tier 1", 7), stage("Tier 2", 8, wait=30))), Track((stage("Added", 9),))]
    assert play_on(*walk.add_tracks(plan, position, more, begun_alone(more, later))) == [(90, 8), (300, 2)]


def test_further_tracks_do_not_repeat_a_walk_that_had_ended():
    plan = policy(stage("Primary", 1), repeats=3, repeat_wait=300)
    nobody = walk.advance(
        plan, walk.start(plan, START), now=START, people=members_of, first_use=at_once(lambda *_: False)
    ).position
    more = [Track((stage("Tier 1", 7), stage("Tier 2", 8, wait=30)))]
    assert play_on(*walk.add_tracks(plan, nobody, more, begun_alone(more, START))) == [(30, 8)]


def test_further_tracks_are_repeated_with_a_walk_that_goes_on():
    plan = policy(stage("Primary", 1), stage("Secondary", 2, wait=60), repeats=1, repeat_wait=300)
    more = [Track((stage("Added", 7),))]
    joined = walk.add_tracks(plan, begun_alone(plan.tracks, START), more, begun_alone(more, START))
    assert play_on(*joined) == [(60, 2), (360, 1), (360, 7), (420, 2)]


@given(plan=plans, more=plans, at=st.integers(0, 900))
def test_further_tracks_change_nothing_about_the_others_and_keep_their_own_times(plan, more, at):
    # A stage that reaches nobody brings on another track; that is a test of its own.
    plan, more = (
        Plan(tuple(Track(tuple(each for each in track.stages if each.targets)) for track in each.tracks))
        for each in (plan, more)
    )
    position, now = walk.start(plan, START), START + timedelta(seconds=at)
    while position.next_at is not None and position.next_at <= now:
        step = walk.advance(plan, position, now=position.next_at, people=members_of, first_use=at_once(everybody))
        position = step.position
    begun = begun_alone(more.tracks, now)
    joined = walk.add_tracks(plan, position, more.tracks, begun)
    apart = play_on(plan, position) + play_on(more, begun)
    # Who is reached by both in the same moment is notified once.
    assert sorted(set(play_on(*joined))) == sorted(set(apart))


def test_those_in_charge_are_in_the_stages_that_were_left():
    plan = policy(group("Primary", 1), group("Secondary", 2, wait=300, between=60), group("Manager", 3, wait=300))
    members = {1: [10], 2: [20, 21], 3: [30]}

    def asked(position, **more):
        found = walk.in_charge(
            plan, position, **{"now": START, "people": people, "first_use": at_once(everybody)} | more
        )
        return {person: each.page.stage for person, each in found.items()}

    def people(target):
        return members[target.id]

    def go_on(position):
        return walk.advance(plan, position, now=position.next_at, people=people, first_use=at_once(everybody)).position

    position = walk.start(plan, START)
    assert asked(position) == {}
    position = go_on(position)
    assert asked(position) == {10: "Primary"}
    members[1] = [11, 12]
    assert asked(position) == {11: "Primary", 12: "Primary"}
    assert asked(position, first_use=at_once(lambda person, _: person != 11)) == {12: "Primary"}
    position = go_on(position)
    assert asked(position) == {11: "Primary", 12: "Primary"}  # turns of the Secondary are still to come
    position = go_on(position)
    assert asked(position) == {11: "Primary", 12: "Primary", 20: "Secondary", 21: "Secondary"}


def test_who_gets_the_retry_of_somebody_gone_within_a_minute_is_not_in_charge_before():
    plan = policy(group("Primary", 1, retries=1, retry_gap=300))
    position = begun_alone(plan.tracks, START)
    there: list[int] = []
    for seconds, people, found in ((239, [77], [77]), (240, [77], []), (240, [10, 77], [10, 77])):
        there[:] = people
        asked = walk.in_charge(
            plan,
            replace(position, retries=position.retries[:1]),
            now=START + timedelta(seconds=seconds),
            people=lambda _: there,
            first_use=at_once(everybody),
        )
        assert list(asked) == found


@given(plan=plans, moves=troubles)
def test_whoever_was_notified_and_is_still_there_is_in_charge_of_a_walk_that_has_ended(plan, moves):
    notified, position = set(), None
    for _, step in troubled(replace(plan, repeats=0), moves):
        notified |= {page.person for page in step.pages}
        position = step.position
    if position is not None:
        assert position.next_at is None
        found = walk.in_charge(plan, position, now=START, people=members_of, first_use=at_once(everybody))
        assert notified <= set(found) == set(named_in(plan))


@given(plan=plans)
def test_plans_and_positions_survive_being_stored(plan):
    assert Plan.load(json.loads(json.dumps(plan.dump()))) == plan
    position = walk.start(plan, START)
    for _ in range(5):
        assert walk.Position.load(json.loads(json.dumps(position.dump()))) == position
        if position.next_at is None:
            break
        position = walk.advance(
            plan, position, now=position.next_at, people=members_of, first_use=at_once(everybody)
        ).position


@given(plan=plans, at=st.integers(0, 900))
def test_expedite_never_delays_anything(plan, at):
    position = walk.start(plan, START)
    if position.next_at is not None:
        step = walk.advance(plan, position, now=position.next_at, people=members_of, first_use=at_once(everybody))
        now = position.next_at + timedelta(seconds=at)
        expedited = walk.expedite(step.position, now)
        for before, after in zip(step.position.cursors, expedited.cursors, strict=True):
            assert (before.due_at is None) == (after.due_at is None)
            assert before.due_at is None or after.due_at <= before.due_at
        assert expedited.retries == step.position.retries


@given(plan=plans)
def test_what_comes_next_is_what_is_notified_next(plan):
    position = walk.start(plan, START)
    coming = walk.coming(plan, position)
    assert (coming is None) == (position.next_at is None)
    if coming:
        assert coming.at == position.next_at


def by_night(plan, sleepers, *, begins, ends):
    """Return [(seconds after the start, [persons]), ...] and the gaps where these people sleep between two seconds."""
    plan = replace(plan, low_waits_until="07:00")
    position, notified, skipped, waits = walk.start(plan, START), [], [], []
    for _ in range(10_000):
        if position.next_at is None:
            return notified, skipped, waits
        now = position.next_at
        passed = (now - START).total_seconds()

        def night(person, _stage, passed=passed):
            return ends - passed if begins <= passed < ends and sleepers(person) else 0.0

        step = walk.advance(
            plan, position, now=now, people=members_of, first_use=at_once(lambda person, _: person % 3), night=night
        )
        skipped += step.skipped
        waits += [step.waits] if step.waits else []
        if step.pages:
            notified.append((passed, [page.person for page in step.pages]))
        position = walk.Position.load(json.loads(json.dumps(step.position.dump())))
    raise AssertionError("the walk does not end")


@given(plan=plans, begins=st.integers(0, 900), lasts=st.integers(1, 2_000), some=st.booleans())
def test_a_night_delays_people_and_passes_over_nobody(plan, begins, lasts, some):
    ends = begins + lasts
    notified, skipped, waits = by_night(plan, lambda person: person % 2 or not some, begins=begins, ends=ends)
    by_day, day_gaps, _ = by_night(plan, lambda _: False, begins=begins, ends=ends)
    assert {person for _, people in notified for person in people} == {
        person for _, people in by_day for person in people
    }
    assert {stage_skipped.stage for stage_skipped in skipped} == {stage_skipped.stage for stage_skipped in day_gaps}
    assert len(waits) <= 1  # it is said once
    if not some:
        assert not [passed for passed, _ in notified if begins <= passed < ends]


def test_whoever_sleeps_is_waited_for_only_where_nobody_is_awake():
    plan = policy(stage("Primary", 1, 2, retries=1, retry_gap=60), stage("Secondary", 5, wait=300))
    asleep = {"begins": 0, "ends": 3_600}
    # Who sleeps is notified in the morning by what is written now; the retry comes after that.
    assert by_night(plan, lambda person: person == 1, **asleep)[0] == [(0, [1, 2]), (60, [2]), (300, [5]), (3_660, [1])]
    assert by_night(plan, lambda person: person < 3, **asleep)[0] == [(3_600, [1, 2]), (3_660, [1, 2]), (3_900, [5])]
    assert by_night(plan, lambda person: person == 5, **asleep)[0] == [(0, [1, 2]), (60, [1, 2]), (3_600, [5])]
    turns = policy(stage("Primary", 1, 2, 4, between=60))
    assert by_night(turns, lambda person: person == 2, **asleep)[0] == [(0, [1]), (60, [2, 4])]
    assert by_night(turns, lambda person: person > 1, **asleep)[0] == [(0, [1]), (3_600, [2]), (3_660, [4])]


@given(plan=plans, steps=st.lists(st.timedeltas(timedelta(), timedelta(days=2)), min_size=1, max_size=4))
def test_a_walk_in_which_the_clock_is_set_back_goes_on_as_without_it(plan, steps):
    """Who is notified when, by a clock that never steps, is the same however often the other one was set back."""
    notified, _, _ = play_out(plan)
    position, set_back, found, moment = walk.start(plan, START), timedelta(), [], 0
    while position.next_at is not None:
        by = steps[moment % len(steps)]
        position, set_back, moment = walk.moved_back(position, by), set_back + by, moment + 1
        assert position == walk.Position.load(position.dump())
        now = position.next_at
        step = walk.advance(plan, position, now=now, people=members_of, first_use=at_once(everybody))
        if step.pages:
            found.append(((now + set_back - START).total_seconds(), sorted(page.person for page in step.pages)))
        position = step.position
    assert found == [(at, sorted(people)) for at, people in notified if people]


def test_a_morning_that_a_walk_waits_for_stays_one_when_the_clock_is_set_back():
    morning = START + timedelta(hours=10)
    waiting = walk.Position(cursors=(walk.TrackCursor(0, morning), walk.TrackCursor(1, START)), waits_until=morning)
    moved = walk.moved_back(waiting, timedelta(hours=2))
    assert [cursor.due_at for cursor in moved.cursors] == [morning, START - timedelta(hours=2)]


def test_before_a_repeat_it_is_not_said_that_no_step_follows():
    plan = policy(stage("Primary", 1), stage("Manager", 2, wait=60), repeats=1, repeat_wait=300)
    notified, skipped, _ = play_out(plan, reachable=lambda person, _: person == 1)
    assert notified == [(0, [1]), (360, [1])]
    assert [str(stage_skipped) for stage_skipped in skipped] == [
        "Manager: nobody can be reached. The escalation is repeated.",
        "Manager: nobody can be reached, and no further step follows.",
    ]


def test_before_other_steps_it_is_not_said_that_no_step_follows():
    first = Track((stage("Primary", 1), stage("Manager", 2, wait=60)))
    second = Track((stage("Tier 1", 3), stage("Tier 2", 4, wait=600)))
    notified, skipped, _ = play_out(Plan((first, second)), reachable=lambda person, _: person != 2)
    assert notified == [(0, [1, 3]), (600, [4])]
    assert [str(stage_skipped) for stage_skipped in skipped] == [
        "Manager: nobody can be reached. The escalation goes on with its other steps."
    ]


def test_while_only_retries_are_left_the_repeat_after_them_is_what_comes():
    plan = policy(stage("Primary", 1, retries=2, retry_gap=60), repeats=1, repeat_wait=300)
    position = first_step(plan)
    assert walk.coming(plan, position) is None
    assert walk.coming_or_repeat(plan, position) == walk.Coming(START + timedelta(seconds=420), "Primary")
    notified, _, last = play_out(plan)
    assert [at for at, _ in notified] == [0, 60, 120, 420, 480, 540]
    assert walk.coming_or_repeat(plan, last) is None


@given(only=in_turn, repeats=st.integers(1, 3), repeat_wait=waits)
def test_a_repeat_comes_when_it_is_said_to_come(only, repeats, repeat_wait):
    plan = policy(only, repeats=repeats, repeat_wait=repeat_wait)
    position, announced = walk.start(plan, START), None
    while position.next_at is not None:
        now = position.next_at
        step = walk.advance(plan, position, now=now, people=members_of, first_use=at_once(everybody))
        if step.position.repeat > position.repeat and announced is not None and announced.at > now:
            assert walk.coming(plan, step.position) == announced
        position, announced = step.position, walk.coming_repeat(plan, step.position)


def test_a_repeat_that_begins_now_takes_the_place_of_the_retries_that_are_left():
    plan = policy(stage("Primary", 1, wait=60, retries=3, retry_gap=60), stage("Manager", 2, wait=30), repeats=1)
    position = walk.start(plan, START)
    for _ in range(2):
        now = position.next_at
        step = walk.advance(plan, position, now=now, people=members_of, first_use=at_once(everybody))
        position = step.position
    assert walk.coming_repeat(plan, position)

    begins_at = START + timedelta(seconds=95)
    position = walk.repeat_now(plan, position, begins_at)

    notified = []
    while position.next_at is not None:
        step = walk.advance(plan, position, now=position.next_at, people=members_of, first_use=at_once(everybody))
        notified += [((position.next_at - begins_at).total_seconds(), page.person) for page in step.pages]
        position = step.position
    assert notified == [(0, 1), (30, 2), (60, 1), (120, 1), (180, 1)]


def first_step(plan):
    """Return the position after the walk's first step."""
    begun = walk.start(plan, START)
    return walk.advance(plan, begun, now=begun.next_at, people=members_of, first_use=at_once(everybody)).position
