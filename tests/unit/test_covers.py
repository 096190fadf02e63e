"""Out of office: who covers, and that it never goes round in circles."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from escalation.oncall.rota.covers import Absence, Reach, covered_by, find_cycle, resolve_cover
from escalation.oncall.rota.shifts import RoleHolder, RotaShift
from escalation.oncall.rota.who_is_on_call import periods, rota_periods

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def out(user, cover, *, group=None, starts=0, ends=10):
    return Absence(user, cover, NOON + starts * HOUR, NOON + ends * HOUR, group)


def path(person, *absences, group=7, unavailable=()):
    return resolve_cover(person, group, absences=absences, available=lambda user: user not in unavailable)


def test_the_cover_is_notified_and_a_cover_who_is_out_is_followed():
    assert path(1) == [1]
    assert path(1, out(1, 2)) == [1, 2]
    assert path(1, out(1, 2), out(2, 3)) == [1, 2, 3]


def test_an_entry_for_one_group_counts_in_that_group_alone():
    entry = out(1, 2, group=7)
    assert path(1, entry) == [1, 2]
    assert path(1, entry, group=8) == [1]
    assert path(1, entry, group=None) == [1]
    assert path(1, out(1, 2), group=None) == [1, 2]


def test_who_cannot_be_notified_covers_nobody():
    assert path(1, out(1, 2), out(2, 3), unavailable={3}) == [1, 2]
    assert path(1, out(1, 2), unavailable={2}) == [1]
    assert path(1, out(1, 2), unavailable={1, 2}) == [1]


def test_a_circle_still_ends_with_somebody():
    assert path(1, out(1, 2), out(2, 1)) == [1, 2]
    assert path(1, out(1, 2), out(2, 3), out(3, 2)) == [1, 2, 3]


def test_a_circle_is_seen_only_where_times_and_groups_meet():
    assert find_cycle(out(1, 2), [out(2, 1)])
    assert find_cycle(out(1, 2), [out(2, 3), out(3, 1)])
    assert find_cycle(out(1, 2, ends=5), [out(2, 1, starts=5)]) is None
    assert find_cycle(out(1, 2, group=7), [out(2, 1, group=8)]) is None
    assert find_cycle(out(1, 2), [out(2, 3, group=7), out(3, 1, group=8)]) is None
    assert find_cycle(out(1, 2), [out(2, 3, group=7), out(3, 1, group=7)])
    assert find_cycle(out(1, 2), [out(2, 3, starts=0, ends=5), out(3, 1, starts=5, ends=10)]) is None


# -- over a time ------------------------------------------------------------------------------------------------------
def notified(person, group, starts_at, ends_at, *, absences, unavailable=()):
    """Return when who is notified for a person who is on call in a group all the time."""
    always = RotaShift(1, "always", UTC, (RoleHolder(person, "primary"),))
    reach = Reach(group, absences, available=set(range(20)) - set(unavailable))
    found = periods(rota_periods([always], starts_at, ends_at, reach=reach))
    assert all(part.covering == (person if part.person != person else None) for part in found)
    return found


def parts(person, *absences, group=7, starts=0, ends=10, unavailable=()):
    """Return who is distinguished from which hour to which."""
    of = {entry.user: [other for other in absences if other.user == entry.user] for entry in absences}
    found = notified(person, group, NOON + starts * HOUR, NOON + ends * HOUR, absences=of, unavailable=unavailable)
    return [(part.person, (part.starts_at - NOON) // HOUR, (part.ends_at - NOON) // HOUR) for part in found]


def test_a_turn_is_split_at_the_borders_of_an_absence_within_it():
    assert parts(1) == [(1, 0, 10)]
    assert parts(1, out(1, 2, starts=3, ends=6)) == [(1, 0, 3), (2, 3, 6), (1, 6, 10)]
    assert parts(1, out(1, 2, starts=-5, ends=6)) == [(2, 0, 6), (1, 6, 10)]
    assert parts(1, out(1, 2, starts=6, ends=99)) == [(1, 0, 6), (2, 6, 10)]
    assert parts(1, out(1, 2, starts=0, ends=10)) == [(2, 0, 10)]
    assert parts(1, out(1, 2, starts=-5, ends=0), out(1, 2, starts=10, ends=11)) == [(1, 0, 10)]


def test_a_cover_who_goes_on_through_two_absences_has_one_time():
    assert parts(1, out(1, 2, starts=0, ends=3), out(1, 2, starts=3, ends=6)) == [(2, 0, 6), (1, 6, 10)]


def test_a_chain_is_followed_only_while_the_cover_is_out_too():
    chain = (out(1, 2, starts=2, ends=8), out(2, 3, starts=4, ends=6))
    assert parts(1, *chain) == [(1, 0, 2), (2, 2, 4), (3, 4, 6), (2, 6, 8), (1, 8, 10)]
    assert parts(1, *chain, unavailable={3}) == [(1, 0, 2), (2, 2, 8), (1, 8, 10)]
    assert parts(1, *chain, unavailable={2, 3}) == [(1, 0, 10)]
    assert parts(1, *chain, unavailable={2}) == [(1, 0, 4), (3, 4, 6), (1, 6, 10)]


def test_an_absence_from_one_group_leaves_turns_in_others_whole():
    assert parts(1, out(1, 2, group=7, starts=3, ends=6)) == [(1, 0, 3), (2, 3, 6), (1, 6, 10)]
    assert parts(1, out(1, 2, group=8, starts=3, ends=6)) == [(1, 0, 10)]


def test_everybody_behind_a_cover_is_found_over_other_covers_and_in_circles():
    entries = [out(1, 2), out(2, 3), out(4, 5)]
    assert covered_by([3], entries) == {1, 2, 3}
    assert covered_by([1, 5], entries) == {1, 4, 5}
    assert covered_by([1], [out(1, 2), out(2, 1)]) == {1, 2}
    assert covered_by([], entries) == set()


entries = st.builds(
    out,
    st.integers(1, 5),
    st.integers(1, 5),
    group=st.sampled_from([None, 7, 8]),
    starts=st.integers(0, 5),
    ends=st.integers(6, 10),
)


@given(st.lists(entries, max_size=8), st.integers(1, 5), st.sampled_from([None, 7, 8]), st.integers(0, 9))
def test_where_every_entry_was_checked_the_way_ends_with_somebody_in_office(made, person, group, hour):
    kept = []
    for entry in made:
        same = [
            other
            for other in kept
            if other.user == entry.user and (None in {other.group, entry.group} or other.group == entry.group)
        ]
        if entry.user != entry.cover and not same and find_cycle(entry, kept) is None:
            kept.append(entry)
    at = NOON + hour * HOUR
    now = [entry for entry in kept if entry.starts_at <= at < entry.ends_at]
    last = resolve_cover(person, group, absences=now, available=lambda _: True)[-1]
    assert not [entry for entry in now if entry.user == last and entry.group in {None, group}]


@given(st.lists(entries, max_size=8), st.integers(1, 5), st.sampled_from([7, 8]), st.sets(st.integers(1, 5)))
def test_at_each_instant_of_a_turn_who_is_notified_is_who_covers(made, person, group, unavailable):
    """Also where entries overlap or lead in circles, which the database refuses."""
    absences = {user: [entry for entry in made if entry.user == user] for user in range(1, 6)}
    starts_at, ends_at = NOON + 2 * HOUR, NOON + 8 * HOUR
    found = notified(person, group, starts_at, ends_at, absences=absences, unavailable=unavailable)
    assert (found[0].starts_at, found[-1].ends_at) == (starts_at, ends_at)
    assert all(one.ends_at == other.starts_at and one.person != other.person for one, other in pairwise(found))
    for part in found:
        assert part.starts_at < part.ends_at
        assert person in covered_by([part.person], made)
    for half_hour in range(4, 16):
        at = NOON + half_hour * HOUR / 2
        (holding,) = [part.person for part in found if part.starts_at <= at < part.ends_at]
        now = [
            entry for entries_of in absences.values() for entry in entries_of if entry.starts_at <= at < entry.ends_at
        ]
        path = resolve_cover(person, group, absences=now, available=lambda user: user not in unavailable)
        assert holding == path[-1]
