"""Text that fits a mail."""

from hypothesis import given
from hypothesis import strategies as st

from escalation.wording import WIDTH, folded

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
