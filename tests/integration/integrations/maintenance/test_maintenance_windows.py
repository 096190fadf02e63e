"""Maintenance windows that overlap, change and end: which heartbeats they hold, and until when."""

from datetime import UTC, datetime

import pytest

from heartbeat_project.kernel.errors import FieldError
from integrations.heartbeats.edits import update_heartbeat
from integrations.maintenance.windows import create_window, delete_window, suspend_heartbeats, update_window
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from tests import factories
from tests.world import minutes

pytestmark = pytest.mark.django_db


@pytest.fixture
def backup(organization, now):
    return factories.HeartbeatFactory(organization=organization, name="backup", now=now)


@pytest.fixture
def window(organization, now):
    """Return a function that plans a window by minutes from now."""

    def plan(integrations=(), *, starts=0, ends=60, of=None, **more):
        return create_window(
            of or organization,
            name="Upgrade",
            starts_at=now + minutes(starts),
            ends_at=now + minutes(ends),
            integrations=integrations,
            now=now,
            **more,
        )

    return plan


def row_of(integration):
    return Heartbeat.objects.get(pk=integration.pk)


def test_a_window_that_has_begun_takes_hold_at_once_and_says_so_once(backup, window, now):
    window([backup])
    suspend_heartbeats(now=now)
    assert row_of(backup).suspended_until == now + minutes(60)
    assert (row_of(backup).armed_at, row_of(backup).deadline_at) == (now + minutes(60), now + minutes(65))
    [event] = HeartbeatEvent.objects.filter(kind="maintenance")
    assert event.text == "Maintenance “Upgrade” until 2026-03-02 13:00 UTC."


def test_a_window_that_is_still_to_come_holds_nothing(backup, window, now):
    window([backup], starts=1)
    assert (row_of(backup).suspended_until, row_of(backup).deadline_at) == (None, now + minutes(5))
    update_heartbeat(backup, actor=None, now=now, enabled=False)
    update_heartbeat(backup, actor=None, now=now, enabled=True)
    assert row_of(backup).deadline_at == now + minutes(5)


def test_the_later_end_of_two_windows_holds_whichever_came_first(organization, window, now):
    for first, second in ((60, 30), (30, 60)):
        backup = factories.HeartbeatFactory(organization=organization, now=now)
        window([backup], ends=first)
        window([backup], ends=second)
        row = row_of(backup)
        assert row.suspended_until == now + minutes(60)
        assert (row.armed_at, row.deadline_at) == (now + minutes(60), now + minutes(65))


def test_only_timers_that_run_are_armed_at_the_end(organization, window, now):
    missed, waiting, off = (
        factories.HeartbeatFactory(organization=organization, now=now, **fields)
        for fields in ({}, {"start_timer": "first_ping"}, {"enabled": False})
    )
    Heartbeat.objects.filter(pk=missed.pk).update(state="missed")
    window(all_integrations=True)
    assert row_of(missed).deadline_at == now + minutes(5)
    assert row_of(waiting).deadline_at is None
    assert row_of(off).deadline_at is None


def test_a_window_holds_those_it_names_and_nobody_elses(organization, backup, window, now):
    report = factories.HeartbeatFactory(organization=organization, now=now)
    theirs = factories.HeartbeatFactory(now=now)
    window([backup])
    assert row_of(report).suspended_until is None
    window(all_integrations=True)
    assert row_of(report).suspended_until == now + minutes(60)
    assert row_of(theirs).suspended_until is None


def test_what_is_enabled_inside_a_window_waits_for_its_end_if_it_is_its_window(organization, backup, window, now):
    report = factories.HeartbeatFactory(organization=organization, now=now)
    window(of=factories.OrganizationFactory(), all_integrations=True, ends=90)
    window([backup])
    window([backup], starts=-60, ends=-30)
    for integration in (backup, report):
        update_heartbeat(integration, actor=None, now=now, enabled=False)
        update_heartbeat(integration, actor=None, now=now, enabled=True)
    assert row_of(backup).deadline_at == now + minutes(65)
    assert (row_of(report).suspended_until, row_of(report).deadline_at) == (None, now + minutes(5))


def test_enabling_after_a_window_knows_nothing_of_it(backup, window, now):
    window([backup], ends=1)
    later = now + minutes(2)
    update_heartbeat(backup, actor=None, now=later, enabled=False)
    update_heartbeat(backup, actor=None, now=later, enabled=True)
    assert (row_of(backup).suspended_until, row_of(backup).deadline_at) == (None, later + minutes(5))


def test_a_window_that_is_shortened_lets_go_earlier_and_a_longer_one_later(backup, window, now):
    planned = window([backup])
    update_window(planned, now=now, ends_at=now + minutes(20))
    assert row_of(backup).deadline_at == now + minutes(25)
    update_window(planned, now=now, ends_at=now + minutes(90))
    assert row_of(backup).deadline_at == now + minutes(95)
    update_window(planned, now=now, starts_at=now + minutes(30))
    assert (row_of(backup).suspended_until, row_of(backup).deadline_at) == (None, now + minutes(5))


def test_another_window_takes_hold_again_of_what_one_lets_go(backup, window, now):
    window([backup], ends=30)
    long = window([backup], ends=60)
    delete_window(long, now=now)
    suspend_heartbeats(now=now)
    assert (row_of(backup).suspended_until, row_of(backup).deadline_at) == (now + minutes(30), now + minutes(35))


def test_deleting_a_window_that_is_over_leaves_running_timers_alone(backup, window, now):
    planned = window([backup], ends=1)
    delete_window(planned, now=now + minutes(3))
    assert row_of(backup).deadline_at == now + minutes(6)


def test_deleting_a_window_that_had_not_begun_leaves_running_timers_alone(backup, window, now):
    planned = window([backup], starts=2)
    delete_window(planned, now=now + minutes(1))
    assert row_of(backup).deadline_at == now + minutes(5)


def test_a_missed_heartbeat_stays_missed_when_its_window_is_deleted(backup, window, now):
    planned = window([backup])
    Heartbeat.objects.update(state="missed")
    before = row_of(backup).deadline_at
    delete_window(planned, now=now)
    assert (row_of(backup).state, row_of(backup).deadline_at) == ("missed", before)


def test_a_window_that_makes_no_sense_is_refused(backup, window, now):
    theirs = factories.HeartbeatFactory()
    for field, plan in (
        ("ends_at", lambda: window([backup], ends=0)),
        ("ends_at", lambda: update_window(window([backup]), now=now, ends_at=datetime(9999, 12, 31, tzinfo=UTC))),
        ("integrations", lambda: window([])),
        ("integrations", lambda: window([theirs])),
        ("integrations", lambda: update_window(window([backup]), now=now, integrations=[theirs])),
    ):
        with pytest.raises(FieldError) as raised:
            plan()
        assert raised.value.field == field
    assert row_of(theirs).suspended_until is None
