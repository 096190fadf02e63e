"""What an outage of ours makes of a running timer (domain 5.11)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.heartbeats.timing import MAX_TOLERANCE, Timer, after_outage
from tests.conftest import NOON
from tests.timers import rota_periods, timers
from tests.world import minutes, seconds

HOUR = minutes(60)
DAY = 24 * HOUR
lengths = rota_periods(timedelta(days=4), least=timedelta(milliseconds=1))


def pinged(*, gap, interval, last=NOON, **fields):
    """A timer that was armed by its last ping."""
    return Timer(armed_at=last, last_ping_at=last, last_gap=gap, interval=interval, **fields)


def after(timer, start, end):
    """Return the timer after an outage between two times from noon on."""
    return after_outage(timer, started_at=NOON + start, ended_at=NOON + end)


# -- for every timer and every outage --------------------------------------------------------------------------------
@given(timers(), lengths)
def test_no_deadline_comes_sooner_and_none_later_than_a_new_interval_from_the_end(timer, length):
    end = NOON + length
    found = after_outage(timer, started_at=NOON, ended_at=end)
    assert timer.deadline_at <= found.deadline_at <= max(timer.deadline_at, end + timer.interval + timer.grace)


@given(timers(), lengths)
def test_a_deadline_moves_at_least_by_what_the_timer_ran_through(timer, length):
    end = NOON + length
    found = after_outage(timer, started_at=NOON, ended_at=end)
    if timer.deadline_at > NOON:
        assert found.deadline_at - timer.deadline_at >= end - max(NOON, min(timer.armed_at, end))


@given(timers(), lengths)
def test_what_was_overdue_before_is_overdue(timer, length):
    if timer.deadline_at <= NOON:
        assert after_outage(timer, started_at=NOON, ended_at=NOON + length) == timer


@given(
    gap=st.integers(1, 44_640),
    offset=st.floats(-0.99, 0.99),
    length=st.floats(0.001, 2),
    rest=st.lists(st.floats(0, 0.2), min_size=8, max_size=8),
)
def test_one_expected_ping_gives_one_new_interval(gap, offset, length, rest):
    """Restarts in a row put off a deadline by their length, and no more."""
    gap = minutes(gap)
    tolerance = min(gap / 10, MAX_TOLERANCE)
    start = gap + tolerance * offset
    end = start + tolerance * length
    timer = once = after(pinged(gap=gap, interval=gap * 1.5), start, end)
    assert once.deadline_at == NOON + end + gap * 1.5
    down = timedelta()
    for share in rest:  # all of it is over before the next ping may be expected
        start = end + tolerance * share
        end = start + tolerance * share
        down += end - start
        if end >= 2 * gap - tolerance:
            break
        timer = after(timer, start, end)
        assert timer.deadline_at - once.deadline_at == down


@given(
    gap=st.integers(50, 99),
    interval=st.integers(1, 44_640),
    start=st.integers(0, 1_000),
    length=st.floats(0.001, 3),
)
def test_a_job_of_any_cadence_that_lost_its_pings_in_one_outage_is_not_missed(gap, interval, start, length):
    """It pings on at its cadence, and does not send again what was lost."""
    every = minutes(interval)
    cadence = every * gap / 100
    began = cadence * start / 1_000
    ended = began + every * length
    lost_up_to = int(ended / cadence)
    next_ping = cadence * (lost_up_to + 1)
    found = after(pinged(gap=cadence, interval=every), began, ended)
    assert found.deadline_at > NOON + next_ping or next_ping - cadence < began - cadence / 10


# -- by example ------------------------------------------------------------------------------------------------------
def test_a_ping_that_was_expected_in_it_gets_a_new_interval():
    found = after(pinged(gap=DAY, interval=DAY + HOUR), DAY - minutes(1), DAY + minutes(2))
    assert found.deadline_at == NOON + DAY + minutes(2) + DAY + HOUR
    assert found.excused_until == NOON + DAY


@pytest.mark.parametrize(
    ("gap", "start", "end", "expected"),
    [
        # a tenth of the gap on either side
        (minutes(10), minutes(11), minutes(12), True),
        (minutes(10), minutes(11.1), minutes(12), False),
        (minutes(10), minutes(8), minutes(9), True),
        (minutes(10), minutes(8), minutes(8.9), False),
        # and at most five minutes
        (HOUR * 10, HOUR * 10 + minutes(5), HOUR * 11, True),
        (HOUR * 10, HOUR * 10 + minutes(5.1), HOUR * 11, False),
        (HOUR * 10, HOUR * 9, HOUR * 10 - minutes(5.1), False),
    ],
)
def test_a_ping_may_come_a_little_earlier_or_later_than_the_gap_before(gap, start, end, expected):
    found = after(pinged(gap=gap, interval=12 * HOUR), start, end)
    if expected:
        assert found.armed_at == NOON + end
    else:
        assert found.armed_at == NOON + (end - start)


def test_without_history_its_interval_counts():
    waiting = Timer(armed_at=NOON, interval=HOUR, waiting=True)
    once = pinged(gap=None, interval=HOUR)
    slower = pinged(gap=HOUR * 30, interval=HOUR)
    twice_at_once = pinged(gap=timedelta(), interval=HOUR)
    for timer in (waiting, once, slower, twice_at_once):
        assert after(timer, minutes(50), minutes(56)).armed_at == NOON + minutes(56)
        assert after(timer, minutes(20), minutes(26)).armed_at == NOON + minutes(6)


def test_what_was_enabled_again_is_expected_from_then_on():
    timer = Timer(armed_at=NOON, interval=HOUR, waiting=True, last_ping_at=NOON - DAY, last_gap=DAY)
    assert after(timer, -minutes(1), minutes(1)).armed_at == NOON + minutes(1)
    assert after(timer, minutes(58), minutes(59)).armed_at == NOON + minutes(59)


def test_a_machine_that_restarts_all_the_time_still_notices_a_silence():
    timer = pinged(gap=DAY, interval=DAY)
    at, moved = DAY - minutes(4), timedelta()
    for _ in range(12):  # eight minutes, and all of them near the expected ping
        timer = after(timer, at, at + seconds(10))
        at += seconds(40)
        moved += seconds(10)
    assert timer.deadline_at == NOON + DAY - minutes(4) + seconds(10) + DAY + moved - seconds(10)


def test_the_next_expected_ping_is_another_one():
    timer = after(pinged(gap=HOUR, interval=HOUR * 1.5), minutes(58), minutes(62))
    again = after(timer, minutes(118), minutes(121))
    assert again.deadline_at == NOON + minutes(121) + HOUR * 1.5


def test_a_long_outage_that_swallowed_several_pings_gives_one_interval():
    timer = after(pinged(gap=minutes(5), interval=minutes(6)), minutes(4), minutes(23))
    assert timer.deadline_at == NOON + minutes(29)
    assert timer.excused_until == NOON + minutes(20)
