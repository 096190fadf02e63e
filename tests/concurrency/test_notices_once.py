"""Two workers look at the same moment for what people are to hear of; with real connections."""

from datetime import timedelta

import pytest

from escalation.models.notifications import Notification
from escalation.models.on_call import Shift
from escalation.notifications.notices.operator import notify_operator
from escalation.notifications.notices.shift_changes import send_shift_notices
from escalation.notifications.notices.unreadable_calendars import report_unreadable_calendars
from integrations.coverage import watch
from integrations.coverage.watch import watch_coverage
from integrations.models.mails import CoverageWatch
from tests.concurrency.test_detectors import at_once
from tests.factories import WHEN, GroupFactory, HeartbeatFactory, UserFactory
from tests.factories.shifts import make_shift
from tests.world import minutes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


@pytest.fixture
def team(organization):
    ana, mia = UserFactory(organization=organization), UserFactory(organization=organization)
    return GroupFactory(organization=organization, primary=[ana], managers=[mia])


@pytest.mark.parametrize("_", range(3))
def test_a_gap_is_mailed_once(organization, close_connections, _):
    UserFactory(organization=organization, roles=["Owner"])
    HeartbeatFactory(organization=organization)
    watch_coverage(now=WHEN)
    CoverageWatch.objects.update(due_at=WHEN)
    raised = at_once(*[lambda: watch_coverage(now=WHEN + minutes(20))] * 2)
    assert raised == []
    assert Notification.objects.filter(kind="notice").count() == 1


def test_without_the_claim_a_second_look_writes_no_second_mail_either(organization, close_connections, monkeypatch):
    """Looks that overlap, because one took longer than the pause between them, are decided by the row."""
    UserFactory(organization=organization, roles=["Owner"])
    HeartbeatFactory(organization=organization)
    watch_coverage(now=WHEN)
    monkeypatch.setattr(watch, "LOOK_EVERY", timedelta(0))
    CoverageWatch.objects.update(due_at=WHEN)
    at_once(*[lambda: watch_coverage(now=WHEN + minutes(20), limit=1)] * 2)
    assert Notification.objects.filter(kind="notice").count() == 1


@pytest.mark.parametrize("_", range(3))
def test_being_put_on_a_shift_is_written_once(team, close_connections, _):
    make_shift(team, primary=[team.members.get(role="primary").user])
    at_once(*[lambda: send_shift_notices(now=WHEN + minutes(6))] * 2)
    assert Notification.objects.filter(kind="notice").count() == 1


@pytest.mark.parametrize("_", range(3))
def test_a_calendar_is_reported_once(team, close_connections, _):
    make_shift(team, kind="calendar", calendar_url="https://example.com/x.ics")
    Shift.objects.update(calendar_failing_since=WHEN)
    at_once(*[lambda: report_unreadable_calendars(now=WHEN + minutes(31))] * 2)
    assert Notification.objects.filter(kind="notice").count() == 1


@pytest.mark.parametrize("_", range(3))
def test_the_operator_is_notified_of_an_incident_once(organization, close_connections, _):
    UserFactory(organization=organization, roles=["Owner"])
    raised = at_once(*[lambda: notify_operator("broker", subject="Away", text="Look", now=WHEN)] * 3)
    assert raised == []
    assert Notification.objects.filter(kind="notice").count() == 1
