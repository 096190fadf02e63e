"""The clock of a web process: a wrong one stamps no ping, and a step that nobody has seen yet stamps by the time before."""

import asyncio
from datetime import datetime, timedelta

import pytest

from heartbeat_project.kernel import clock
from integrations.heartbeats import clock_steps
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import ClockStep, DatabaseClock
from integrations.ping_lane.batch import Arrival
from integrations.ping_lane.committer import Committer, StoreUnavailable
from tests.contract.test_ping_endpoints import conninfo
from tests.factories import HeartbeatFactory
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db(transaction=True)

HOURS = minutes(120)


def run(*steps):
    """Run these with one committer, one after the other; return what each answered, or raised as Away."""

    async def live():
        committer = Committer(conninfo(), max_waiting=10)
        running = asyncio.create_task(committer.run())
        answers = []
        for one in steps:
            try:
                answers.append(await one(committer))
            except StoreUnavailable as error:
                answers.append(error)
        committer.close()
        await running
        return answers

    return asyncio.run(live())


def keep_time(committer):
    return committer.keep_time()


def ping(backup):
    def record(committer):
        setting = clock.setting()
        arrival = Arrival(backup.token, clock.now(), set_back=setting.set_back if setting else None)
        return committer.record(arrival)

    return record


def at(receipt) -> datetime:
    return datetime.fromisoformat(receipt.received_at)


@pytest.mark.parametrize("ahead", [HOURS, -HOURS], ids=["ahead", "behind"])
def test_a_web_process_with_a_wrong_clock_stamps_its_pings_right(monkeypatch, ahead):
    true = clock.machine_now
    backup = HeartbeatFactory(now=true())
    monkeypatch.setattr(clock, "machine_now", lambda: true() + ahead)

    early, _, late = run(ping(backup), keep_time, ping(backup))

    assert isinstance(early, StoreUnavailable), "stamped before anybody knew"
    assert abs(at(late) - true()) < seconds(5)
    heartbeat = Heartbeat.objects.get()
    assert (heartbeat.ping_count, heartbeat.last_ping_at) == (1, at(late))


def test_until_a_step_back_is_claimed_pings_are_stamped_by_the_time_before_and_no_pulse_is_sent(monkeypatch):
    backup = HeartbeatFactory(now=clock.now())
    clock_steps.keep_time()
    moved = timedelta()
    monkeypatch.setattr(clock, "database_offset", lambda: moved)

    def step(committer):
        nonlocal moved
        moved = -HOURS
        return asyncio.sleep(0)

    def claim(committer):
        return asyncio.to_thread(in_a_thread)

    def in_a_thread():
        clock_steps.claim_step()
        clock_steps.connection.close()

    _, _, before, no_pulse, _, _, after = run(keep_time, step, ping(backup), keep_time, claim, keep_time, ping(backup))

    assert isinstance(no_pulse, StoreUnavailable)
    assert ClockStep.objects.get().set_back >= HOURS - seconds(2)
    assert at(before) - at(after) > HOURS - seconds(5)
    heartbeat = Heartbeat.objects.get()
    assert heartbeat.last_ping_at == at(after)
    assert heartbeat.deadline_at == at(after) + minutes(5)
    assert heartbeat.set_back == DatabaseClock.objects.get().set_back
