"""A whole night at once.

Nobody who is to know is left out, nobody is phoned to hear that all is well, and how much it is.
"""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.stories.night import ALERTS, PEOPLE, RECOVERIES, Night, live_through, plan_the_night
from tests.world import World

pytestmark = pytest.mark.django_db

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
WRITE = "HEARTBEAT_WRITE_NIGHT"
BEGIN, END = "<!-- night: written by tests/stories/test_generated_night.py -->", "<!-- /night -->"

EVENING = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)
# What one person gets at most in this night: calls, and messages of all kinds with them.
MAX_CALLS = 70
MAX_MESSAGES = 300


def test_the_night_is_always_the_same():
    night = plan_the_night()
    assert night == plan_the_night()
    assert len(night) == ALERTS
    assert [incident.then for incident in night].count("recovers") == RECOVERIES


@pytest.mark.slow
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 8])
def test_in_a_night_of_200_alerts_nobody_is_left_out_or_woken_for_good_news(transactional_db_or_db, monkeypatch, every):
    night = live_through(World(now=EVENING), monkeypatch, every=every)
    assert night.unmentioned() == []
    assert night.wrong_recoveries() == []
    for person in PEOPLE:
        assert night.count(person, "voice", why=["recovery"]) == 0
        assert night.count(person, "voice") <= MAX_CALLS, night.table()
        assert sum(sent.person == person for sent in night.sent) <= MAX_MESSAGES, night.table()
    if every == 1:
        check_the_page(night)


def check_the_page(night: Night) -> None:
    """Compare the night with the table of docs/reliability.md, or write that anew."""
    page = PAGE.read_text("utf-8")
    beginning, before, end = re.split(f"({re.escape(BEGIN)}.*?{re.escape(END)})", page, flags=re.DOTALL)
    if os.environ.get(WRITE):
        PAGE.write_text(f"{beginning}{BEGIN}\n\n{night.table()}\n\n{END}{end}", "utf-8")
        return
    numbers = [[int(number) for number in re.findall(r"\d+", line)] for line in before.splitlines() if ", " in line]
    for stated, counted in zip(numbers, night.counts().values(), strict=True):
        # What goes out together depends a little on the order in which a claim finds it.
        close = [abs(one - other) <= max(2, other / 20) for one, other in zip(stated, counted, strict=True)]
        assert all(close), f"Not so any more; write it anew with {WRITE}=1:\n{night.table()}"
