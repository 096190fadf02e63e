"""Two people release a restored installation at the same moment; with real connections."""

import pytest

from accounts.models.installation import Restore
from accounts.services.restores import hold
from integrations.models.outages import Outage
from integrations.upkeep import release as releasing
from integrations.upkeep.release import release
from tests.concurrency.test_detectors import at_once
from tests.factories import WHEN
from tests.world import minutes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


@pytest.mark.parametrize("_", range(3))
def test_one_of_them_records_the_outage(close_connections, _):
    hold(taken_at=WHEN - minutes(10), now=WHEN)
    done = []
    raised = at_once(*[lambda: done.append(release(by=None, now=WHEN + minutes(1)))] * 3)
    assert raised == []
    assert sum(restore is not None for restore in done) == 1
    assert Outage.objects.count() == 1


def test_without_the_lock_both_would(close_connections, monkeypatch):
    hold(taken_at=WHEN - minutes(10), now=WHEN)
    restore = Restore.objects.get()
    monkeypatch.setattr(releasing, "mark_released", lambda **_: restore)
    monkeypatch.setattr(Outage.objects, "filter", Outage.objects.none().filter)
    at_once(*[lambda: release(by=None, now=WHEN + minutes(1))] * 2)
    assert Outage.objects.count() == 2
