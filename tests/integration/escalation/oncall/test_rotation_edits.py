"""The running turn of a rotation stays with its person through every change of people, groups and accounts."""

import random
from datetime import time, timedelta

import pytest

from accounts.services.groups import Member, update_group
from accounts.services.members import add_member, move_member, remove_member
from accounts.services.users import deactivate_user, reactivate_user
from escalation.oncall.rotas import group_rotas
from escalation.oncall.shifts import PersonRule, WindowRule, update_shift
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_rotation
from tests.world import minutes

pytestmark = pytest.mark.django_db
DAY, WEEK = timedelta(days=1), timedelta(days=7)


@pytest.fixture
def admin():
    return factories.UserFactory(organization=factories.OrganizationFactory(), name="Admin", roles=["App Admin"])


@pytest.fixture
def people(admin):
    return [factories.UserFactory(organization=admin.organization, name=name) for name in ("Ana", "Ben", "Cem", "Dee")]


def on_call(group, at):
    return [one.role_holder.user for one in group_rotas([group.pk], starts_at=at)[group.pk].on_call(at).on]


def role_holders_from(group, at, *, count=4, every=WEEK):
    return [on_call(group, at + number * every)[0] for number in range(count)]


@pytest.fixture
def rotation(admin, people):
    """A weekly rotation of Ana and Ben; at WHEN it is Ben's second day."""
    ana, ben, cem, _ = people
    group = factories.GroupFactory(organization=admin.organization, primary=[ana, ben, cem])
    shift = make_rotation(group, primary=[ana, ben], first="2026-02-22")
    assert on_call(group, WHEN) == [ben.pk]
    return shift


def test_when_somebody_is_added_the_turn_stays_and_then_the_new_order_counts(rotation, admin, people):
    ana, ben, cem, _ = people
    named = [PersonRule(user=user.pk) for user in (ana, ben, cem)]
    shift = update_shift(rotation, actor=admin, now=WHEN, people=named)
    assert role_holders_from(shift.group, WHEN) == [ben.pk, cem.pk, ana.pk, ben.pk]
    update_shift(shift, actor=admin, now=WHEN + WEEK, people=[named[2], named[0], named[1]])
    assert role_holders_from(shift.group, WHEN + WEEK) == [cem.pk, ana.pk, ben.pk, cem.pk]


def test_when_who_has_the_turn_is_taken_off_the_next_one_has_it(rotation, admin, people):
    ana, ben, cem, _ = people
    named = {user: PersonRule(user=user.pk) for user in (ana, ben, cem)}
    update_shift(rotation, actor=admin, now=WHEN, people=[named[ana], named[ben], named[cem]])
    shift = update_shift(rotation, actor=admin, now=WHEN, people=[named[ana], named[cem]])
    assert role_holders_from(shift.group, WHEN, count=3) == [cem.pk, ana.pk, cem.pk]


def test_deactivating_who_is_not_on_call_moves_nobodys_turn_nor_does_their_return(rotation, admin, people):
    ana, ben, cem, _ = people
    group = rotation.group
    named = [PersonRule(user=user.pk) for user in (ana, ben, cem)]
    update_shift(rotation, actor=admin, now=WHEN, people=named)
    deactivate_user(ana, actor=admin, now=WHEN)
    assert role_holders_from(group, WHEN) == [ben.pk, cem.pk, ben.pk, cem.pk]
    reactivate_user(ana, actor=admin, now=WHEN + WEEK)
    assert role_holders_from(group, WHEN + WEEK) == [cem.pk, ana.pk, ben.pk, cem.pk]


def test_who_returns_in_their_own_turn_does_not_take_it_from_who_has_it_now(rotation, admin, people):
    ana, ben, *_ = people
    deactivate_user(ben, actor=admin, now=WHEN)
    assert on_call(rotation.group, WHEN) == [ana.pk]
    reactivate_user(ben, actor=admin, now=WHEN + DAY)
    assert on_call(rotation.group, WHEN + DAY) == [ana.pk]
    assert role_holders_from(rotation.group, WHEN + WEEK, count=2) == [ben.pk, ana.pk]


def test_members_who_leave_move_or_come_move_nobodys_turn(rotation, admin, people):
    ana, ben, cem, dee = people
    group = rotation.group
    update_shift(rotation, actor=admin, now=WHEN, people=[PersonRule(user=user.pk) for user in (ana, ben, cem)])
    named = {"actor": admin, "now": WHEN}
    for act in (
        lambda: move_member(group, **named, user_id=ben.pk, role="primary", by=1),
        lambda: remove_member(group, **named, user_id=ana.pk, role="primary"),
        lambda: add_member(group, **named, user=dee, role="primary"),
        lambda: update_group(group, **named, members=[Member(user=ben.pk), Member(user=cem.pk)]),
        lambda: add_member(group, **named, user=ana, role="secondary"),
    ):
        act()
        assert on_call(group, WHEN) == [ben.pk]
    assert role_holders_from(group, WHEN) == [ben.pk, cem.pk, ana.pk, ben.pk]


def test_two_at_once_stay_together_when_somebody_comes_between_them(rotation, admin, people):
    ana, ben, cem, dee = people
    named = [PersonRule(user=user.pk) for user in (ana, ben, cem)]
    shift = update_shift(rotation, actor=admin, now=WHEN, people=named, people_at_once=2)
    pair = set(on_call(shift.group, WHEN))
    assert len(pair) == 2
    add_member(shift.group, actor=admin, now=WHEN, user=dee, role="primary")
    for index in range(4):
        update_shift(shift, actor=admin, now=WHEN, people=[*named[:index], PersonRule(user=dee.pk), *named[index:]])
        assert set(on_call(shift.group, WHEN)) == pair


def test_a_new_name_moves_nothing_and_a_new_first_day_begins_with_the_first_person(rotation, admin, people):
    ana, ben, *_ = people
    shift = update_shift(rotation, actor=admin, now=WHEN, name="Weeks")
    assert role_holders_from(shift.group, WHEN) == [ben.pk, ana.pk, ben.pk, ana.pk]
    shift = update_shift(shift, actor=admin, now=WHEN, people=[PersonRule(user=user.pk) for user in (ben, ana)])
    assert role_holders_from(shift.group, WHEN, count=2) == [ben.pk, ana.pk]
    shift = update_shift(shift, actor=admin, now=WHEN, first_handoff_on=(WHEN - DAY).date())
    assert shift.group.shifts.get().turn_number == 0
    assert role_holders_from(shift.group, WHEN, count=2) == [ben.pk, ana.pk]


def test_new_windows_and_lengths_of_turns_leave_the_turn_with_whoever_has_it(admin, people):
    ana, ben, cem, _ = people
    group = factories.GroupFactory(organization=admin.organization, primary=[ana, ben, cem])
    shift = make_rotation(group, primary=[ana, ben, cem], rotates_every="day", first="2026-02-03")
    (before,) = on_call(group, WHEN)
    days = ["monday", "tuesday", "wednesday", "thursday", "friday"]
    weekdays = WindowRule(days=days, starts=time(8), ends=time(20))
    for fields in ({"windows": [weekdays]}, {"rotates_every": "week"}, {"rotates_count": 2}, {"windows": []}):
        update_shift(shift, actor=admin, now=WHEN, **fields)
        assert on_call(group, WHEN) == [before]


def test_before_the_first_hand_off_a_change_leaves_the_first_turn_to_the_first_person(admin, people):
    ana, ben, cem, _ = people
    group = factories.GroupFactory(organization=admin.organization, primary=[ana, ben, cem])
    shift = make_rotation(group, primary=[ana, ben], first="2026-03-08")
    before = on_call(group, WHEN)
    update_shift(shift, actor=admin, now=WHEN, people=[PersonRule(user=user.pk) for user in (ana, ben, cem)])
    assert on_call(group, WHEN) == before
    assert role_holders_from(group, WHEN + WEEK) == [ana.pk, ben.pk, cem.pk, ana.pk]


@pytest.mark.parametrize("seed", range(6))
def test_no_edit_changes_who_is_on_call_at_this_instant_unless_that_person_left(admin, seed):
    """Forty edits each, of people, members and accounts, while time goes on."""
    choose = random.Random(seed)
    users = [factories.UserFactory(organization=admin.organization, name=name) for name in "ABCDEF"]
    group = factories.GroupFactory(organization=admin.organization, primary=users)
    shift = make_rotation(
        group,
        primary=users[:3],
        secondary=users[2:5],
        rotates_every=choose.choice(["day", "week", "month"]),
        people_at_once=choose.choice([1, 1, 2]),
        first="2026-01-07",
        windows=choose.choice([(), [(["monday", "wednesday", "friday"], "08:00", "20:00")]]),
    )
    now = WHEN
    for _ in range(40):
        now += minutes(choose.choice([1, 700, 5_000, 30_000]))
        before = _holders(shift, now)
        what = choose.choice(["people", "members", "off", "on"])
        user = choose.choice(users)
        user.refresh_from_db()
        members = set(group.members.values_list("user_id", flat=True))
        if what == "people":
            here = [other for other in users if other.pk in members]
            picked = [
                PersonRule(user=other.pk, role=role)
                for role in ("primary", "secondary")
                for other in choose.sample(here, k=choose.randint(0, len(here)))
            ]
            if not picked:
                continue
            update_shift(shift, actor=admin, now=now, people=picked)
        elif what == "members":
            left = choose.sample(users, k=choose.randint(2, 6))
            update_group(group, actor=admin, now=now, members=[Member(user=other.pk) for other in left])
        else:
            (deactivate_user if what == "off" else reactivate_user)(user, actor=admin, now=now)
        after = _holders(shift, now)
        still = _able(shift)
        for role, holders in before.items():
            staying = [person for person in holders if (person, role) in still]
            assert after.get(role, [])[: len(staying)] == staying, (what, role)


def _able(shift):
    members = set(shift.group.members.filter(user__is_active=True).values_list("user_id", flat=True))
    return {(user, role) for user, role in shift.people.values_list("user_id", "role") if user in members}


def _holders(shift, at):
    """Return who has the turn in each role, windows or not."""
    (pure,) = (one for one in group_rotas([shift.group_id], starts_at=at)[shift.group_id].shifts if one.id == shift.pk)
    found: dict[str, list[int]] = {}
    for role_holder in pure.rotation.on(pure.role_holders, pure.rotation.turn(at, pure.zone)):
        found.setdefault(role_holder.role, []).append(role_holder.user)
    return found
