"""Two workers that are without the broker share the ticks; with real connections."""

import pytest

from integrations.models.outages import Tick
from integrations.upkeep import tick_log as book
from tests.concurrency.test_detectors import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


@pytest.mark.parametrize("_", range(3))
def test_a_tick_is_begun_once(close_connections, _):
    book.ages(["escalation.deliver_due"])
    begun = []
    raised = at_once(*[lambda: begun.append(book.claim("escalation.deliver_due", every=0.9))] * 4)
    assert raised == []
    assert sorted(begun) == [False, False, False, True]


def test_two_workers_that_begin_at_once_know_the_same_tasks(close_connections):
    raised = at_once(*[lambda: book.ages(["escalation.deliver_due", "escalation.read_calendars"])] * 4)
    assert raised == []
    assert Tick.objects.count() == 2
