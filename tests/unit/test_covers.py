"""Out of office: who stands in, and that it never goes round in circles."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from escalation.rota.covers import Absence, leads_back, stand_in

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def out(user, cover, *, group=None, starts=0, ends=10):
    return Absence(user, cover, NOON + starts * HOUR, NOON + ends * HOUR, group)


def way(person, *absences, group=7, unavailable=()):
    return stand_in(person, group, absences=absences, available=lambda user: user not in unavailable)


def test_the_cover_is_told_and_a_cover_who_is_out_is_followed():
    assert way(1) == [1]
    assert way(1, out(1, 2)) == [1, 2]
    assert way(1, out(1, 2), out(2, 3)) == [1, 2, 3]


def test_an_entry_for_one_group_counts_in_that_group_alone():
    entry = out(1, 2, group=7)
    assert way(1, entry) == [1, 2]
    assert way(1, entry, group=8) == [1]
    assert way(1, entry, group=None) == [1]
    assert way(1, out(1, 2), group=None) == [1, 2]


def test_who_cannot_be_told_stands_in_for_nobody():
    assert way(1, out(1, 2), out(2, 3), unavailable={3}) == [1, 2]
    assert way(1, out(1, 2), unavailable={2}) == [1]
    assert way(1, out(1, 2), unavailable={1, 2}) == [1]


def test_a_circle_still_ends_with_somebody():
    assert way(1, out(1, 2), out(2, 1)) == [1, 2]
    assert way(1, out(1, 2), out(2, 3), out(3, 2)) == [1, 2, 3]


def test_a_circle_is_seen_only_where_times_and_groups_meet():
    assert leads_back(out(1, 2), [out(2, 1)])
    assert leads_back(out(1, 2), [out(2, 3), out(3, 1)])
    assert leads_back(out(1, 2, ends=5), [out(2, 1, starts=5)]) is None
    assert leads_back(out(1, 2, group=7), [out(2, 1, group=8)]) is None
    assert leads_back(out(1, 2), [out(2, 3, group=7), out(3, 1, group=8)]) is None
    assert leads_back(out(1, 2), [out(2, 3, group=7), out(3, 1, group=7)])
    assert leads_back(out(1, 2), [out(2, 3, starts=0, ends=5), out(3, 1, starts=5, ends=10)]) is None


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
        if entry.user != entry.cover and not same and leads_back(entry, kept) is None:
            kept.append(entry)
    at = NOON + hour * HOUR
    now = [entry for entry in kept if entry.starts_at <= at < entry.ends_at]
    last = stand_in(person, group, absences=now, available=lambda _: True)[-1]
    assert not [entry for entry in now if entry.user == last and entry.group in {None, group}]
