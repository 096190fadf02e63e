"""Text that fits a mail."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.engine.next_step_text import what_next
from escalation.engine.walk import Coming
from heartbeat_project.kernel.wording import WIDTH, folded, silent_since

AT = datetime(2026, 3, 3, 0, 0, tzinfo=UTC)
ISTANBUL = ZoneInfo("Europe/Istanbul")
MINUTE = timedelta(minutes=1)
ADDRESS = "https://heartbeat.example.org/r/" + "x" * 80


def test_long_lines_are_folded_and_what_belongs_to_an_item_is_indented():
    lines = folded("Why: " + "nobody is there. " * 12 + "\n1. " + "a long name " * 10).split("\n")
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].startswith("Why: ")
    assert lines[1].startswith("   nobody")
    assert not folded("plain words " * 12).split("\n")[1].startswith(" ")


def test_an_address_stays_whole_and_beside_its_label():
    assert folded(f"Assign to me: {ADDRESS}") == f"Assign to me: {ADDRESS}"
    assert ADDRESS in folded("many words before it " * 5 + ADDRESS).split()
    assert folded(f"   {ADDRESS}") == f"   {ADDRESS}"


def test_a_time_stays_in_one_piece():
    lines = folded("x" * 60 + " at Mon 2 Mar 2026, 12:05:00 UTC. And so on, for some more words.").split("\n")
    assert lines[1].startswith("Mon 2 Mar 2026, 12:05:00 UTC.")


@given(st.text(alphabet="ab:. \n-1h", max_size=400))
def test_folding_loses_no_word_and_short_lines_stay_as_they_are(text):
    assert folded(text).split() == text.split()
    assert all(line in folded(text).split("\n") for line in text.split("\n") if len(line) <= WIDTH)


@pytest.mark.parametrize(
    ("last", "late", "said"),
    [
        (AT - 60 * MINUTE, timedelta(0), "Silent since 02:00:00 (expected by 03:00:00)."),
        (AT - 60 * MINUTE, 5 * MINUTE, "Silent since 02:00:00 (expected by 03:00:00, 5 minutes ago)."),
        (AT - 300 * MINUTE, 59 * MINUTE, "Silent since 2 Mar 22:00 (expected by 3 Mar 03:00, 59 minutes ago)."),
        (None, timedelta(seconds=9), "It has never pinged (expected by 03:00:00)."),
    ],
)
def test_a_silence_is_said_with_its_times_where_the_reader_is_and_never_as_no_seconds_overdue(last, late, said):
    assert silent_since(last, expected_at=AT, at=AT + late, zone=ISTANBUL) == said


def test_what_comes_next_says_when_and_to_who_may_not_answer_that_there_is_nothing_to_do():
    coming = Coming(AT + 5 * MINUTE, "Secondary of Database")
    to_both = (
        "If nobody takes it, Secondary of Database will be notified in 5 minutes, at Tue 3 Mar 2026, 00:05:00 UTC."
    )
    how = {"ends_when": "the signal comes back", "at": AT, "zone": UTC}
    assert what_next(coming, **how) == to_both
    nothing = "You need not do anything: this is for your information."
    assert what_next(coming, **how, may_answer=False) == f"{nothing} {to_both}"
    assert what_next(None, **how, may_answer=False).startswith(f"{nothing} Nobody else will be notified.")
