"""When a taken alert is looked at again, and until when a hold lasts."""

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.engine.review_times import REOPEN_AT_MOST_EVERY, Review, Taken, after_reminder, next_review
from escalation.responses.holds import HOUR, MORNING, TIME, choices, chosen

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
durations = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=3))


def taken(**fields) -> Taken:
    usual = {"stopped": True, "watched": True, "handed": False, "hold_until": None, "reopened_at": None}
    return Taken(**usual | {"remind_after": timedelta(hours=1)} | fields)


def test_what_comes_after_an_action():
    assert next_review(taken(), acted_at=NOON) == (Review.REMIND, NOON + timedelta(hours=1))
    assert next_review(taken(handed=True), acted_at=NOON) == (Review.HANDED, NOON + timedelta(minutes=10))
    end = NOON + timedelta(days=2)
    assert next_review(taken(hold_until=end, handed=True, watched=False), acted_at=NOON) == (Review.HOLD_ENDS, end)
    assert after_reminder(reminded_at=NOON, reopened_at=None) == (Review.REOPEN, NOON + timedelta(minutes=15))


@pytest.mark.parametrize("fields", [{"stopped": False}, {"watched": False}, {"remind_after": timedelta()}])
def test_where_nothing_comes_by_itself(fields):
    assert next_review(taken(**fields), acted_at=NOON) is None


def test_whom_it_was_assigned_to_is_asked_also_where_nobody_is_reminded():
    found = next_review(taken(handed=True, remind_after=timedelta()), acted_at=NOON)
    assert found == (Review.HANDED, NOON + timedelta(minutes=10))


@given(since=durations, after=durations)
def test_nothing_is_opened_again_within_an_hour(since, after):
    reopened_at = NOON - since
    found = [
        next_review(taken(handed=True, remind_after=after, reopened_at=reopened_at), acted_at=NOON),
        after_reminder(reminded_at=NOON + after, reopened_at=reopened_at),
    ]
    assert all(review and review[1] >= reopened_at + REOPEN_AT_MOST_EVERY for review in found)


@pytest.mark.parametrize(
    ("now", "morning", "words"),
    [
        (datetime(2026, 3, 2, 12, tzinfo=UTC), datetime(2026, 3, 3, 7, tzinfo=UTC), "Tomorrow at 08:00"),
        (datetime(2026, 3, 2, 2, tzinfo=UTC), datetime(2026, 3, 2, 7, tzinfo=UTC), "Today at 08:00"),
        # The night in which clocks go forward.
        (datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 3, 29, 6, tzinfo=UTC), "Tomorrow at 08:00"),
    ],
)
def test_the_next_morning_is_that_of_the_reader(now, morning, words):
    assert chosen(MORNING, "", now=now, zone=BERLIN) == morning
    assert dict(choices(now=now, zone=BERLIN))[MORNING] == words


def test_a_hold_lasts_an_hour_until_a_time_or_without_end():
    assert chosen(HOUR, "", now=NOON, zone=BERLIN) == NOON + timedelta(hours=1)
    assert dict(choices(now=NOON, zone=BERLIN))[HOUR] == "For 1 hour, until 14:00"
    clocks_go_forward = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert dict(choices(now=clocks_go_forward, zone=BERLIN))[HOUR] == "For 1 hour, until 03:30"
    assert chosen(TIME, "2026-03-02T18:30", now=NOON, zone=BERLIN) == datetime(2026, 3, 2, 17, 30, tzinfo=UTC)
    assert chosen("", "", now=NOON, zone=BERLIN) is None


@pytest.mark.parametrize(("choice", "at"), [("time", ""), ("time", "soon"), ("week", "")])
def test_what_is_no_time_is_refused(choice, at):
    with pytest.raises(ValueError, match=r".*"):
        chosen(choice, at, now=NOON, zone=BERLIN)
