"""The pages about performance say what was measured, and the rows judge by their bounds."""

import socket
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.figures import figure
from benchmarks.report import between_marks, chart, pages, read_results, used_share
from benchmarks.rows import row


def test_the_pages_and_the_chart_say_what_was_measured():
    for path, text in pages(read_results(list(BENCHMARKS))).items():
        assert path.read_text() == text, f"{path.name} is not what was measured: run ./script/bench --report"


def test_nothing_that_was_measured_names_the_machine_or_a_folder():
    for result in read_results(list(BENCHMARKS)):
        said = str(result)
        assert socket.gethostname() not in said
        assert str(Path(__file__).resolve().parents[2]) not in said
        assert "/tmp/" not in said


@pytest.mark.parametrize(
    ("bounds", "reached", "share"),
    [
        ({"at_most": 2}, True, 0.75),
        ({"at_most": 1}, False, 1.5),
        ({"at_least": 3}, False, 2.0),
        ({"at_least": 1.2}, True, 0.8),
        ({"reference": 3, "at_most": 0.25}, False, 2.0),
        ({"reference": 3, "at_least": 0.25}, True, 0.5),
        ({}, True, None),
    ],
)
def test_a_row_is_judged_by_its_ratio_where_it_has_a_reference(bounds, reached, share):
    judged = row("something", 1.5, unit="s", **bounds)

    assert judged["reached"] is reached
    assert used_share(judged) == (pytest.approx(share) if share is not None else None)


def test_nothing_may_be_lost_at_all():
    assert row("lost", 0, unit="", at_most=0)["reached"]
    assert not row("lost", 1, unit="", at_most=0)["reached"]


def test_a_page_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="marks"):
        between_marks("# A page", "measured", "table")


def test_the_chart_marks_what_was_not_reached_and_escapes_what_it_says():
    rows = [row("a < b", 3, unit="s", at_most=2), row("fine", 1, unit="s", at_most=2), row("unbound", 1, unit="s")]
    drawn = chart([{"rows": rows}])

    assert drawn.count('class="bad"') == 1
    assert drawn.count('class="good"') == 1
    assert "a &lt; b" in drawn
    assert "unbound" not in drawn


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, ""), (3, "3"), (3629.5, "3,630"), (12.345, "12.3"), (0.3254, "0.33"), (0.00456, "0.0046"), (0.0, "0")],
)
def test_figures_keep_the_digits_that_say_something(value, said):
    assert figure(value) == said
