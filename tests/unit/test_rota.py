"""Who is on call, whatever the shifts and however the clocks change."""

import itertools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from escalation.oncall.rota.covers import Absence, Reach
from escalation.oncall.rota.shifts import Period, RoleHolder, RotaShift, Rotation, handoff_days, order_from_now
from escalation.oncall.rota.who_is_on_call import common_gaps, end_of, gaps, on_call, periods, rota_periods
from heartbeat_project.kernel.local_time import instant, local_time
from heartbeat_project.kernel.weekly import WeeklyWindow

# Each with the days around changes of its clocks (none in Kathmandu; Casablanca goes back for Ramadan).
CHANGES = {
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "Asia/Kathmandu": (date(2026, 3, 29), date(2026, 10, 25)),
    "Africa/Casablanca": (date(2026, 2, 15), date(2026, 3, 22)),
}
BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = frozenset(range(7))
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ANA, BOB, CY, DEE = (RoleHolder(number, "primary") for number in (1, 2, 3, 4))

zones = st.sampled_from(sorted(CHANGES)).map(ZoneInfo)
times = st.integers(0, 24 * 12 - 1).map(lambda step: time(step // 12, step % 12 * 5))


def utc(*parts: int) -> datetime:
    year, month, day, *clock = parts
    return datetime.combine(date(year, month, day), time(*clock), tzinfo=UTC)


def local(*parts: int) -> datetime:
    return utc(*parts).replace(tzinfo=None)


@st.composite
def around_changes(draw, zone):
    """An instant within three days of a change of the zone's clocks."""
    day = draw(st.sampled_from(CHANGES[zone.key]))
    return datetime.combine(day, time(), tzinfo=UTC) + MINUTE * draw(st.integers(-3 * 1440, 4 * 1440))


@st.composite
def windows(draw):
    starts, ends = draw(times), draw(times)
    later = draw(st.integers(0, 3))
    return WeeklyWindow(
        draw(st.frozensets(st.integers(0, 6), min_size=1)), starts, ends, later or (0 if ends > starts else 1)
    )


@st.composite
def rotations(draw):
    return Rotation(
        draw(st.sampled_from(["day", "week", "month"])),
        draw(st.integers(1, 4)),
        draw(st.dates(date(2025, 1, 1), date(2027, 1, 1))),
        draw(times),
        draw(st.integers(1, 3)),
    )


@st.composite
def shifts(draw, number=1, zone=None):
    zone = zone or draw(zones)
    people = draw(st.lists(st.sampled_from([ANA, BOB, CY, DEE, RoleHolder(5, "secondary")]), min_size=1, unique=True))
    return RotaShift(
        id=number,
        name=f"shift {number}",
        zone=zone,
        role_holders=tuple(people),
        windows=tuple(draw(st.lists(windows(), max_size=2))),
        rotation=draw(st.none() | rotations()),
    )


@st.composite
def rotas(draw):
    """Some shifts in one zone, and an instant near a change of its clocks."""
    zone = draw(zones)
    made = [draw(shifts(number=number, zone=zone)) for number in range(1, draw(st.integers(1, 4)) + 1)]
    return made, draw(around_changes(zone))


# -- clocks -----------------------------------------------------------------------------------------------------------
@given(st.data(), zones)
def test_a_local_time_is_the_first_instant_at_which_clocks_show_it_or_later(data, zone):
    at = data.draw(around_changes(zone))
    local = local_time(at, zone)
    found = instant(local, zone)
    assert local_time(found, zone) >= local
    assert all(local_time(found - MINUTE * ago, zone) < local for ago in range(1, 200))
    assert found <= at


@given(st.data(), zones)
def test_the_order_of_local_times_is_the_order_of_instants(data, zone):
    first = local_time(data.draw(around_changes(zone)), zone)
    second = first + MINUTE * data.draw(st.integers(0, 300))
    assert instant(first, zone) <= instant(second, zone)


def test_a_time_that_clocks_pass_over_is_the_instant_of_the_change_and_one_shown_twice_is_the_first():
    assert instant(local(2026, 3, 29, 2, 30), BERLIN) == utc(2026, 3, 29, 1, 0)
    assert instant(local(2026, 10, 25, 2, 30), BERLIN) == utc(2026, 10, 25, 0, 30)
    assert instant(local(2026, 10, 4, 2, 10), ZoneInfo("Australia/Lord_Howe")) == utc(2026, 10, 3, 15, 30)
    assert instant(local(2011, 12, 30, 12, 0), ZoneInfo("Pacific/Apia")) == utc(2011, 12, 30, 10, 0)


# -- the answer -------------------------------------------------------------------------------------------------------
@given(rotas(), st.lists(st.integers(0, 10 * 1440), min_size=1, max_size=20))
def test_sampling_instants_agrees_with_the_rota_periods(rota, minutes):
    made, start = rota
    found = rota_periods(made, start, start + 10 * DAY)
    assert (found[0].starts_at, found[-1].ends_at) == (start, start + 10 * DAY)
    assert all(one.ends_at == other.starts_at for one, other in itertools.pairwise(found))
    edges = [rota_period.starts_at for rota_period in found] + [
        rota_period.ends_at - timedelta(microseconds=1) for rota_period in found
    ]
    for at in [*(start + MINUTE * minute for minute in minutes if minute < 14400), *edges]:
        (holding,) = [rota_period for rota_period in found if rota_period.starts_at <= at < rota_period.ends_at]
        answer = on_call(made, at)
        assert (answer.shift, answer.role_holders) == (holding.shift, holding.role_holders)


@given(rotas())
def test_who_is_on_is_what_the_rules_say_read_one_by_one(rota):
    """The oracle walks day by day and knows nothing of rota periods."""
    made, at = rota
    held = []
    for shift in made:
        for window in shift.windows:
            today = local_time(at, shift.zone).date()
            for back in range(-1, 10):
                day = today - back * DAY
                begins = instant(datetime.combine(day, window.starts), shift.zone)
                ends = instant(datetime.combine(day + window.days_later * DAY, window.ends), shift.zone)
                if day.weekday() in window.days and begins <= at < ends:
                    held.append((ends - begins, -begins.timestamp(), -shift.id, shift))
        if not shift.windows:
            held.append((100_000 * DAY, 0, -shift.id, shift))
    answer = on_call(made, at)
    if not held:
        assert answer.shift is None
        assert answer.role_holders == ()
    else:
        won = min(held, key=lambda found: found[:3])[3]
        assert answer.shift == won
        assert set(answer.role_holders) <= set(won.role_holders)
        assert answer.role_holders


@given(st.data(), zones, times, times)
def test_two_shifts_that_share_the_day_never_overlap_and_never_leave_a_gap(data, zone, morning, evening):
    assume(morning < evening)
    at = data.draw(around_changes(zone))
    day = RotaShift(1, "day", zone, (ANA,), (WeeklyWindow(EVERY_DAY, morning, evening),))
    night = RotaShift(2, "night", zone, (BOB,), (WeeklyWindow(EVERY_DAY, evening, morning, 1),))
    for start in (at, at + HOUR):
        assert gaps(rota_periods([day, night], start, start + 5 * DAY)) == []
        assert len(list(day.periods(start, start + MINUTE))) + len(list(night.periods(start, start + MINUTE))) <= 2
    both = [*day.periods(at, at + 5 * DAY), *night.periods(at, at + 5 * DAY)]
    both.sort(key=lambda period: (period.starts_at, period.ends_at))
    assert all(one.ends_at == other.starts_at for one, other in itertools.pairwise(both))


@given(rotas(), rotas(), st.integers(0, 5 * 1440 - 1))
def test_a_common_gap_is_where_nobody_is_on_call_anywhere(one, other, minute):
    start = one[1]
    found = common_gaps([rota_periods(made, start, start + 5 * DAY) for made in (one[0], other[0])])
    at = start + MINUTE * minute
    nobody = not on_call(one[0], at).role_holders and not on_call(other[0], at).role_holders
    assert any(gap.starts_at <= at < gap.ends_at for gap in found) == nobody


@given(st.data(), zones, rotations())
def test_each_instant_has_one_turn_and_turns_follow_each_other(data, zone, rotation):
    at = data.draw(around_changes(zone))
    turn = rotation.turn(at, zone)
    assert rotation.handoff(turn, zone) <= at < rotation.handoff(turn + 1, zone)
    following = rotation.handoff(turn + 1, zone)
    assert rotation.turn(following, zone) == turn + 1
    assert rotation.turn(following - timedelta(microseconds=1), zone) == turn
    assert local_time(following, zone).time() >= rotation.at


@given(rotations(), st.integers(1, 6), st.integers(-50, 50))
def test_in_a_rotation_everybody_has_as_many_turns(rotation, people, first):
    role_holders = tuple(RoleHolder(number, "primary") for number in range(people))
    turns = [role_holder for turn in range(people) for role_holder in rotation.on(role_holders, first + turn)]
    assert {turns.count(role_holder) for role_holder in role_holders} == {min(rotation.at_once, people)}
    assert all(len(set(rotation.on(role_holders, turn))) == min(rotation.at_once, people) for turn in range(5))


# -- by example -------------------------------------------------------------------------------------------------------
def test_standing_by_is_not_being_on_call():
    weekly = Rotation("week", 1, date(2026, 3, 2), time(9))
    shift = RotaShift(1, "weekly", BERLIN, (ANA, BOB, CY), rotation=weekly)
    assert on_call([shift], utc(2026, 3, 2, 7, 59)).role_holders == (CY,)
    assert on_call([shift], utc(2026, 3, 2, 8, 0)).role_holders == (ANA,)
    assert on_call([shift], utc(2026, 3, 9, 8, 0)).role_holders == (BOB,)
    # The clocks went forward on 29 March: still nine in the morning, in Berlin.
    assert on_call([shift], utc(2026, 3, 30, 6, 59)).role_holders == (ANA,)
    assert on_call([shift], utc(2026, 3, 30, 7, 0)).role_holders == (BOB,)


def test_each_role_rotates_among_its_own_people_and_two_can_be_on_at_once():
    backup = (RoleHolder(3, "secondary"), RoleHolder(1, "secondary"))
    daily = Rotation("day", 2, date(2026, 3, 2), time(0), at_once=1)
    shift = RotaShift(1, "daily", BERLIN, (ANA, BOB, *backup), rotation=daily)
    assert on_call([shift], utc(2026, 3, 3, 12)).role_holders == (ANA, backup[0])
    assert on_call([shift], utc(2026, 3, 4, 12)).role_holders == (BOB, backup[1])
    pairs = RotaShift(1, "pairs", BERLIN, (ANA, BOB, CY), rotation=Rotation("week", 1, date(2026, 3, 2), time(0), 2))
    assert [on_call([pairs], utc(2026, 3, day, 12)).role_holders for day in (2, 9, 16)] == [
        (ANA, BOB),
        (CY, ANA),
        (BOB, CY),
    ]


def test_a_monthly_hand_off_on_the_31st_comes_on_the_last_day_of_shorter_months():
    monthly = Rotation("month", 1, date(2026, 1, 31), time(8))
    assert [monthly.handoff(turn, UTC).date().isoformat() for turn in range(4)] == [
        "2026-01-31",
        "2026-02-28",
        "2026-03-31",
        "2026-04-30",
    ]


def test_the_shorter_shift_wins_and_then_the_longer_resumes():
    always = RotaShift(1, "always", BERLIN, (ANA,))
    override = RotaShift(2, "dentist", BERLIN, (BOB,), starts_at=utc(2026, 3, 2, 12), ends_at=utc(2026, 3, 2, 14))
    found = rota_periods([override, always], utc(2026, 3, 2, 11), utc(2026, 3, 2, 16))
    assert [
        (rota_period.starts_at.hour, rota_period.ends_at.hour, rota_period.shift.name, rota_period.role_holders)
        for rota_period in found
    ] == [
        (11, 12, "always", (ANA,)),
        (12, 14, "dentist", (BOB,)),
        (14, 16, "always", (ANA,)),
    ]


def test_of_equally_long_shifts_the_one_that_began_later_wins():
    early = RotaShift(1, "early", UTC, (ANA,), (WeeklyWindow(EVERY_DAY, time(6), time(14)),))
    late = RotaShift(2, "late", UTC, (BOB,), (WeeklyWindow(EVERY_DAY, time(13), time(21)),))
    for order in ([early, late], [late, early]):
        assert on_call(order, utc(2026, 3, 2, 13, 30)).shift is late
        assert on_call(order, utc(2026, 3, 2, 12, 59)).shift is early


def test_a_window_crosses_midnight_or_a_whole_weekend():
    night = RotaShift(1, "night", UTC, (ANA,), (WeeklyWindow(frozenset({4}), time(22), time(6), 1),))
    weekend = RotaShift(2, "weekend", UTC, (BOB,), (WeeklyWindow(frozenset({4}), time(18), time(8), 3),))
    friday = utc(2026, 3, 6)
    answers = [
        on_call([night, weekend], friday + timedelta(hours=hours)).role_holders
        for hours in (17, 18, 22, 29, 30, 79, 80)
    ]
    assert answers == [(), (BOB,), (ANA,), (ANA,), (BOB,), (BOB,), ()]


def test_gaps_are_shown():
    office = RotaShift(1, "office", UTC, (ANA,), (WeeklyWindow(frozenset(range(5)), time(9), time(17)),))
    friday = utc(2026, 3, 6, 12)
    assert gaps(rota_periods([office], friday, friday + 3 * DAY)) == [Period(utc(2026, 3, 6, 17), utc(2026, 3, 9, 9))]
    assert gaps(rota_periods([], friday, friday + DAY)) == [Period(friday, friday + DAY)]


def test_entries_of_a_calendar_say_when_and_who():
    def entry(role_holder, begins, ends):
        return Period(utc(2026, 3, 2, begins), utc(2026, 3, 2, ends), (role_holder,))

    shift = RotaShift(1, "calendar", UTC, entries=(entry(ANA, 8, 12), entry(BOB, 10, 14), entry(ANA, 14, 15)))
    found = rota_periods([shift], utc(2026, 3, 2, 7), utc(2026, 3, 2, 16))
    assert [
        (rota_period.starts_at.hour, {role_holder.user for role_holder in rota_period.role_holders})
        for rota_period in found
    ] == [
        (7, set()),
        (8, {1}),
        (10, {1, 2}),
        (12, {2}),
        (14, {1}),
        (15, set()),
    ]


@pytest.mark.parametrize("length", [365])
def test_a_year_of_spans_is_computed_in_order_and_whole(length):
    shift = RotaShift(
        1,
        "day",
        BERLIN,
        (ANA, BOB),
        (WeeklyWindow(EVERY_DAY, time(8), time(20)),),
        rotation=Rotation("day", 1, date(2026, 1, 1), time(8)),
    )
    start = utc(2026, 1, 1)
    found = rota_periods([shift], start, start + length * DAY)
    assert sum((rota_period.ends_at - rota_period.starts_at for rota_period in found), timedelta()) == length * DAY


# -- who cannot be reached
# ----------------------------------------------------------------------------------------------
def reaching(*people):
    """Only these can be reached; the others were deactivated."""
    numbers = {role_holder.user for role_holder in people}
    return Reach(7, active=numbers, available=numbers)


def test_a_shift_in_which_nobody_can_be_reached_does_not_hide_the_one_below():
    always = RotaShift(1, "always", UTC, (BOB,))
    day = RotaShift(2, "day", UTC, (ANA,), (WeeklyWindow(EVERY_DAY, time(8), time(17)),))
    noon = utc(2026, 3, 2, 12)
    assert on_call([always, day], noon).shift is day
    answer = on_call([always, day], noon, reach=reaching(BOB))
    assert (answer.shift, answer.role_holders, answer.passed_over, answer.reached) == (always, (BOB,), (day,), True)
    at_night = on_call([always, day], noon + 8 * HOUR, reach=reaching(BOB))
    assert (at_night.shift, at_night.passed_over) == (always, ())
    assert gaps(rota_periods([always, day], noon, noon + DAY, reach=reaching(BOB))) == []


def test_several_shifts_are_passed_over_one_after_the_other():
    made = [
        RotaShift(number, str(number), UTC, (who,), ends_at=utc(2026, 3, 2, 12 + number))
        for number, who in ((4, ANA), (3, BOB), (2, CY), (1, DEE))
    ]
    made = [
        RotaShift(one.id, one.name, UTC, one.role_holders, starts_at=utc(2026, 3, 2, 12), ends_at=one.ends_at)
        for one in made
    ]
    at = utc(2026, 3, 2, 12, 30)
    for reached, passed in ((DEE, 0), (CY, 1), (BOB, 2), (ANA, 3)):
        answer = on_call(made, at, reach=reaching(reached))
        assert (answer.role_holders, len(answer.passed_over)) == ((reached,), passed)


def test_where_nobody_at_all_can_be_reached_the_first_shift_with_somebody_counts_and_it_is_a_gap():
    always, day = (
        RotaShift(1, "always", UTC, (BOB,)),
        RotaShift(2, "day", UTC, (ANA,), (WeeklyWindow(EVERY_DAY, time(8), time(17)),)),
    )
    noon = utc(2026, 3, 2, 12)
    watching = Reach(7, active={1, 2}, available=set())
    answer = on_call([always, day], noon, reach=watching)
    assert (answer.shift, answer.role_holders, answer.passed_over, answer.reached) == (day, (ANA,), (), False)
    assert gaps(rota_periods([always, day], noon, noon + DAY, reach=watching)) == [Period(noon, noon + DAY)]
    everybody_left = on_call([day, always], noon, reach=reaching())
    assert (everybody_left.on, [one.role_holder for one in everybody_left.candidates]) == ((), [ANA])


def test_whose_cover_stands_in_is_reached_while_the_cover_does():
    always, day = (
        RotaShift(1, "always", UTC, (BOB,)),
        RotaShift(2, "day", UTC, (ANA,), (WeeklyWindow(EVERY_DAY, time(8), time(17)),)),
    )
    noon = utc(2026, 3, 2, 12)
    out = Absence(ANA.user, CY.user, noon, noon + HOUR)
    reach = Reach(7, {ANA.user: [out]}, active={2, 3}, available={2, 3})
    found = rota_periods([always, day], noon - HOUR, noon + 2 * HOUR, reach=reach)
    assert [
        (rota_period.starts_at.hour, rota_period.shift.name, [on.person for on in rota_period.on])
        for rota_period in found
    ] == [
        (11, "always", [BOB.user]),
        (12, "day", [CY.user]),
        (13, "always", [BOB.user]),
    ]
    assert [(one.person, one.covering) for one in periods(found)] == [(2, None), (3, 1), (2, None)]


# -- overrides
# ----------------------------------------------------------------------------------------------------------
def test_an_override_wins_over_every_ordinary_shift_however_long_and_the_shorter_of_two_wins():
    monday = utc(2026, 3, 2)
    day = RotaShift(1, "day", UTC, (ANA,), (WeeklyWindow(EVERY_DAY, time(9), time(17)),))
    week = RotaShift(2, "week", UTC, (BOB,), starts_at=monday, ends_at=monday + 7 * DAY, override=True)
    hour = RotaShift(3, "hour", UTC, (CY,), starts_at=monday + 12 * HOUR, ends_at=monday + 13 * HOUR)
    visit = RotaShift(4, "visit", UTC, (DEE,), starts_at=monday + 36 * HOUR, ends_at=monday + 37 * HOUR, override=True)
    found = rota_periods([day, week, hour, visit], monday, monday + 8 * DAY)
    assert [
        (rota_period.shift and rota_period.shift.name, (rota_period.starts_at - monday) / HOUR)
        for rota_period in found[:4]
    ] == [
        ("week", 0),
        ("visit", 36),
        ("week", 37),
        (None, 168),
    ]
    assert on_call([day, week], monday + 12 * HOUR, reach=reaching(ANA)).shift is day


# -- daily hand-offs count days that have a window
# -----------------------------------------------------------------------
WEEK_DAYS = frozenset(range(5))
OFFICE = (WeeklyWindow(WEEK_DAYS, time(9), time(17)),)


def daily(people, windows=OFFICE, *, at=time(9), count=1, first_on=date(2026, 3, 2), at_once=1):
    days = handoff_days(windows, at)
    rotation = Rotation("day", count, first_on, at, at_once, days)
    return RotaShift(1, "daily", BERLIN, people, windows, rotation=rotation)


def test_with_weekday_windows_seven_people_have_as_many_days_each():
    people = tuple(RoleHolder(number, "primary") for number in range(7))
    shift = daily(people)
    noons = [utc(2026, 3, 2, 12) + day * DAY for day in range(7 * 7)]
    on = [one.role_holders[0].user for one in (on_call([shift], at) for at in noons) if one.role_holders]
    assert on[:10] == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2]
    assert {on.count(number) for number in range(7)} == {5}


@pytest.mark.parametrize("people", [2, 3, 4])
def test_nobody_has_friday_and_monday_by_the_silent_turns_of_a_weekend(people):
    shift = daily(tuple(RoleHolder(number, "primary") for number in range(people)))
    for week in range(people * 5):
        friday = utc(2026, 3, 6, 12) + 7 * week * DAY
        assert on_call([shift], friday).role_holders != on_call([shift], friday + 3 * DAY).role_holders


@pytest.mark.parametrize(
    ("windows", "at", "expected"),
    [
        ((), time(9), (0, 1, 2, 3, 4, 5, 6)),
        (OFFICE, time(9), (0, 1, 2, 3, 4)),
        (OFFICE, time(0), (0, 1, 2, 3, 4)),
        ((WeeklyWindow(WEEK_DAYS, time(8), time(18)),), time(9), (0, 1, 2, 3, 4)),
        # A night belongs to the day on which it begins, unless the hand-off is in the middle of it.
        ((WeeklyWindow(WEEK_DAYS, time(22), time(6), 1),), time(9), (0, 1, 2, 3, 4)),
        ((WeeklyWindow(WEEK_DAYS, time(22), time(6), 1),), time(6), (0, 1, 2, 3, 4)),
        ((WeeklyWindow(WEEK_DAYS, time(22), time(6), 1),), time(3), (0, 1, 2, 3, 4, 5)),
        ((WeeklyWindow(frozenset({6}), time(22), time(6), 1),), time(9), (6,)),
        ((WeeklyWindow(frozenset({6}), time(22), time(6), 1),), time(3), (0, 6)),
        # A weekend in one piece is handed over within it.
        ((WeeklyWindow(frozenset({4}), time(18), time(8), 3),), time(9), (4, 5, 6)),
        ((WeeklyWindow(frozenset({0}), time(9), time(9), 7),), time(9), (0, 1, 2, 3, 4, 5, 6)),
        # Tuesday's is over before it could be handed over on that day, and nothing comes until Thursday.
        (
            (WeeklyWindow(frozenset({1}), time(0), time(8)), WeeklyWindow(frozenset({3}), time(10), time(12))),
            time(9),
            (3,),
        ),
    ],
)
def test_the_days_of_daily_hand_offs(windows, at, expected):
    assert handoff_days(windows, at) == expected


@given(
    st.lists(windows(), min_size=1, max_size=3), times, st.integers(1, 3), st.dates(date(2025, 1, 1), date(2027, 1, 1))
)
def test_no_daily_turn_passes_in_silence_and_everybody_has_turns(made, at, count, first_on):
    people = tuple(RoleHolder(number, "primary") for number in range(3))
    days = handoff_days(made, at)
    rotation = Rotation("day", count, first_on, at, days=days)
    shift = RotaShift(1, "daily", UTC, people, tuple(made), rotation=rotation)
    on = []
    for turn in range(-4, 5):
        begins, ends = rotation.handoff(turn, UTC), rotation.handoff(turn + 1, UTC)
        assert begins.weekday() in days
        assert rotation.turn(begins, UTC) == rotation.turn(ends - timedelta(microseconds=1), UTC) == turn
        found = [rota_period for rota_period in rota_periods([shift], begins, ends) if rota_period.role_holders]
        assert found
        assert {rota_period.role_holders for rota_period in found} == {(people[turn % 3],)}
        on += [people[turn % 3]]
    assert len(set(on)) == 3
    assert rotation.handoff(0, UTC).date() >= first_on > rotation.handoff(-1, UTC).date()


def test_a_turn_many_years_after_the_first_hand_off_is_found_at_once():
    far = Rotation("day", 1, date(2000, 1, 3), time(9), days=(0, 1, 2, 3, 4))
    assert far.turn(utc(2099, 1, 1, 12), UTC) == (date(2099, 1, 1) - date(2000, 1, 3)).days // 7 * 5 + 3


# -- the running turn
# ---------------------------------------------------------------------------------------------------
people_in_order = st.lists(st.integers(1, 6), min_size=1, unique=True).map(
    lambda numbers: tuple(RoleHolder(number, "primary") for number in numbers)
)


@given(rotations(), people_in_order, people_in_order, st.integers(-30, 30))
def test_whoever_has_the_turn_keeps_it_when_the_people_change_and_later_turns_follow_the_new_order(
    rotation, before, after, turn
):
    holders = rotation.on(before, turn)
    order = order_from_now(holders, after, before=before)
    assert sorted(role_holder.user for role_holder in order) == sorted(role_holder.user for role_holder in after)
    changed = Rotation(
        rotation.every, rotation.count, rotation.first_on, rotation.at, rotation.at_once, since=turn, order=tuple(order)
    )
    staying = [role_holder for role_holder in holders if role_holder in after]
    now = changed.on(after, turn)
    assert list(now[: len(staying)]) == staying
    if rotation.at_once == 1:
        rounds = [changed.on(after, turn + step)[0] for step in range(len(after))] if turn >= 0 else []
        assert not rounds or set(rounds) == set(after)
        for one, other in itertools.pairwise(rounds):
            assert after[(after.index(one) + 1) % len(after)] == other
        if not staying and any(role_holder in after for role_holder in before):
            following = before[before.index(holders[0]) :] + before[: before.index(holders[0])]
            assert now[0] == next(role_holder for role_holder in following if role_holder in after)


@given(rotations(), people_in_order, st.integers(0, 30), st.integers(0, 12))
def test_writing_down_the_running_turn_changes_nothing(rotation, people, turn, later):
    order = order_from_now(rotation.on(people, turn), people)
    kept = Rotation(
        rotation.every, rotation.count, rotation.first_on, rotation.at, rotation.at_once, since=turn, order=tuple(order)
    )
    assert kept.on(people, turn + later) == rotation.on(people, turn + later)


def test_the_first_hand_off_is_the_first_persons_also_where_people_came_before_it():
    weekly = Rotation("week", 1, date(2026, 3, 2), time(9), since=-1, order=(BOB, CY, ANA))
    assert [weekly.on((ANA, BOB, CY), turn)[0] for turn in (-1, 0, 1, 2)] == [BOB, ANA, BOB, CY]


# -- the end of a turn
# --------------------------------------------------------------------------------------------------
def end(shifts, person, at, **reach):
    def goes_on(rota_period):
        return any(on.person == person.user for on in rota_period.on)

    return end_of(goes_on, shifts, at, reach=Reach(7, **reach))


def test_what_has_no_end_has_none_and_what_has_one_is_found_however_late():
    at = utc(2026, 3, 2, 12)
    always = RotaShift(1, "always", UTC, (ANA,))
    assert end([always], ANA, at) is None
    assert end([RotaShift(1, "until", UTC, (ANA,), ends_at=utc(2041, 1, 1))], ANA, at) == utc(2041, 1, 1)
    alone = RotaShift(1, "alone", UTC, (ANA,), rotation=Rotation("week", 1, date(2026, 3, 2), time(9)))
    assert end([alone], ANA, at) is None
    rare = RotaShift(1, "rare", UTC, (ANA, BOB), rotation=Rotation("month", 120, date(2026, 1, 1), time(9)))
    assert end([rare], ANA, at) == utc(2036, 1, 1, 9)
    later = RotaShift(
        2, "later", UTC, (BOB,), (WeeklyWindow(frozenset({6}), time(9), time(10)),), starts_at=utc(2033, 1, 1)
    )
    assert end([always, later], ANA, at) == utc(2033, 1, 2, 9)
    assert end([always, later], ANA, at, active={1}, available={1}) is None
    out = Absence(ANA.user, CY.user, utc(2030, 1, 1), utc(2030, 2, 1))
    assert end([always], ANA, at, absences={ANA.user: [out]}) == utc(2030, 1, 1)


@given(rotas())
def test_the_end_of_who_is_on_call_is_where_somebody_else_begins(rota):
    made, at = rota
    first = on_call(made, at)
    until = end_of(first.same_people, made, at)
    if until is None:
        assert all(first.same_people(rota_period) for rota_period in rota_periods(made, at, at + 400 * DAY))
    else:
        assert not first.same_people(on_call(made, until))
        assert all(first.same_people(rota_period) for rota_period in rota_periods(made, at, until))
