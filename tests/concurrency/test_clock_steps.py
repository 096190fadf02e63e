"""A step of the database's clock with many processes at work, over real connections."""

import threading

import pytest

from heartbeat_project.kernel import clock
from integrations.heartbeats import clock_steps
from integrations.heartbeats.clock_steps import claim_step, move_back, watch_clock
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import ClockStep, DatabaseClock
from integrations.ping_lane.batch import Arrival, record_pings
from tests.concurrency.test_detectors import at_once, silent_heartbeats
from tests.world import minutes, seconds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]

HOURS = minutes(120)


def test_of_many_engines_that_see_one_step_one_claims_it(now):
    watch_clock(now=now)

    assert at_once(*[lambda: claim_step(now=now - HOURS) for _ in range(6)]) == []

    assert ClockStep.objects.get().set_back == HOURS
    assert DatabaseClock.objects.get().set_back == HOURS


def test_without_the_lock_on_the_row_several_would_claim_it(now, monkeypatch):
    """The negative control: each asks before any of them has written."""
    watch_clock(now=now)
    read = clock_steps._read_clock

    def read_together(**how):
        reading = read(**how)
        barrier.wait(10)
        return reading

    barrier = threading.Barrier(3)
    monkeypatch.setattr(clock_steps, "_read_clock", read_together)
    monkeypatch.setattr("django.db.models.query.QuerySet.select_for_update", lambda self, **_: self)

    assert at_once(*[lambda: claim_step(now=now - HOURS) for _ in range(3)]) == []

    assert ClockStep.objects.count() == 3


def test_pings_and_ticks_during_the_moving_leave_each_timer_moved_once(now, monkeypatch):
    """Some processes know of the step and some do not yet; whichever comes first, each row ends by the new time."""
    jobs = silent_heartbeats(120, now=now + minutes(5))
    watch_clock(now=now)
    claim_step(now=now - HOURS)
    new = now - HOURS
    Heartbeat.objects.update(deadline_at=now + minutes(4), armed_at=now - minutes(1), last_ping_at=now - minutes(1))
    monkeypatch.setattr(clock, "_setting", clock.Setting(new, 0.0, HOURS, HOURS))

    def ping(some, at, *, set_back):
        for job in some:
            record_pings([Arrival(job.token, at, set_back=set_back)])

    raised = at_once(
        *[lambda: move_back(now=new, limit=3) for _ in range(2)],
        lambda: ping(jobs[:40], new + seconds(1), set_back=HOURS),
        lambda: ping(jobs[30:70], now + seconds(2), set_back=seconds(0)),
    )
    while not move_back(now=new):
        pass

    assert raised == []
    length = {job.pk: minutes(float(job.heartbeat.interval_minutes)) for job in jobs}
    for heartbeat in Heartbeat.objects.all():
        index = [job.pk for job in jobs].index(heartbeat.pk)
        pinged = new + (seconds(2) if 30 <= index < 70 else seconds(1))
        expected = pinged + length[heartbeat.pk] if index < 70 else new + minutes(4)
        assert heartbeat.deadline_at == expected, index
        assert heartbeat.set_back == HOURS
