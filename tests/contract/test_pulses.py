"""The pulse of a web process: what it vouches for, and when it comes."""

import asyncio
from datetime import timedelta

import psycopg
import pytest
from django.db import connection

from heartbeat_project.kernel import clock
from integrations.ingest import lane as lane_module
from integrations.ingest.committer import Committer
from integrations.ingest.hearing import Hearing
from integrations.ingest.lane import PingLane
from integrations.ingest.record import Arrival
from integrations.models import Heartbeat, Listening
from integrations.services.misses import detect_misses
from tests.contract.test_ping_doors import conninfo
from tests.factories import HeartbeatFactory
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_pulse_does_not_vouch_for_pings_that_are_not_stored_yet(now):
    """Else a ping that came in time and waits for its batch would be judged as silence, and somebody would be woken."""
    first, second = HeartbeatFactory(now=now), HeartbeatFactory(now=now)

    async def pulse_between_two_batches(other):
        committer = Committer(conninfo(), max_waiting=10)
        running = asyncio.create_task(committer.run())
        committing = asyncio.create_task(committer.record(Arrival(first.token, now + seconds(1))))
        await asyncio.sleep(0.3)
        pulse = asyncio.create_task(committer.pulse(now=now + seconds(3)))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(committer.record(Arrival(second.token, now + seconds(2))))
        await asyncio.sleep(0.1)
        other.rollback()
        await asyncio.gather(committing, pulse, waiting)
        committer.close()
        await running

    with psycopg.connect(**conninfo()) as other:
        other.execute("SELECT * FROM integrations_heartbeat FOR UPDATE")
        asyncio.run(pulse_between_two_batches(other))

    assert Listening.objects.get().heard_until == now + seconds(2)
    assert set(Heartbeat.objects.values_list("ping_count", flat=True)) == {1}


@pytest.mark.parametrize(("seconds_later", "opened"), [(1, 0), (3, 1)], ids=["late", "gone"])
def test_a_web_process_whose_pings_wait_for_their_commit_is_waited_for_while_it_lives(now, seconds_later, opened):
    """Another process's pulse must not have a ping judged that came in time and waits behind somebody's lock."""
    held, backup = HeartbeatFactory(now=now - minutes(1)), HeartbeatFactory(now=now)
    deadline = now + minutes(5)

    async def two_processes(other):
        busy, idle = (Committer(conninfo(), max_waiting=10) for _ in range(2))
        running = [asyncio.create_task(each.run()) for each in (busy, idle)]
        await busy.pulse(now=deadline - seconds(1))
        other.execute("SELECT * FROM integrations_heartbeat WHERE integration_id = %s FOR UPDATE", [held.pk])
        committing = [asyncio.create_task(busy.record(Arrival(held.token, deadline - seconds(0.5))))]
        await asyncio.sleep(0.3)
        committing.append(asyncio.create_task(busy.record(Arrival(backup.token, deadline - seconds(0.1)))))
        await idle.pulse(now=deadline + seconds(seconds_later - 1))
        found = await asyncio.to_thread(in_a_thread, detect_misses, now=deadline + seconds(seconds_later - 1))
        other.rollback()
        await asyncio.gather(*committing)
        for each in (busy, idle):
            each.close()
        await asyncio.gather(*running)
        return found

    with psycopg.connect(**conninfo()) as other:
        assert asyncio.run(two_processes(other)) == opened


def in_a_thread(call, **arguments):
    try:
        return call(**arguments)
    finally:
        connection.close()


def test_a_pulse_says_which_deadline_comes_next(now):
    for number in (3, 5):
        HeartbeatFactory(now=now - minutes(number))

    async def pulses():
        committer = Committer(conninfo(), max_waiting=10)
        running = asyncio.create_task(committer.run())
        heard = [await committer.pulse(now=now + minutes(number)) for number in (-1, 0, 3)]
        committer.close()
        await running
        return heard

    assert asyncio.run(pulses()) == [now, now + minutes(2), None]


class Store:
    """Stands for the committer: keeps when the pulses came, and always knows of the same deadline."""

    def __init__(self, deadline):
        self.deadline = deadline
        self.pulses = []
        self.ended = asyncio.Event()

    async def run(self):
        await self.ended.wait()

    def close(self):
        self.ended.set()

    async def pulse(self, *, now):
        self.pulses.append(now)
        return self.deadline if self.deadline and self.deadline > now else None


def pulses_of(deadline, *, during):
    """Let a lane live for so many seconds; return when its pulses came."""

    async def live():
        store = Store(deadline)
        lane = PingLane(None, store, max_body_bytes=10, hearing=Hearing())

        async def receive():
            await asyncio.sleep(during if store.pulses else 0)
            return {"type": "lifespan"}

        async def send(message):
            pass

        await lane({"type": "lifespan"}, receive, send)
        return store.pulses

    return asyncio.run(live())


def test_a_pulse_follows_each_deadline_and_many_deadlines_share_one(monkeypatch):
    monkeypatch.setattr(lane_module, "learn_to_ring", lambda: None)
    monkeypatch.setattr(lane_module, "PULSE_SECONDS", 30.0)
    deadline = clock.now() + timedelta(seconds=0.5)
    pulses = pulses_of(deadline, during=1.0)
    assert len(pulses) == 2
    assert timedelta(0) <= pulses[1] - deadline <= timedelta(seconds=0.4)

    monkeypatch.setattr(lane_module, "BETWEEN_SECONDS", 0.3)
    began = clock.now()
    pulses = pulses_of(began + timedelta(seconds=0.05), during=0.8)
    assert len(pulses) == 2
    assert pulses[1] - pulses[0] >= timedelta(seconds=0.3)
