"""What a pulse vouches for when it is committed, and which outages it ends."""

import asyncio
import contextlib

import psycopg
import pytest
from django.db import connection

from heartbeat_project.kernel import clock
from integrations.heartbeats.detection import detect_misses
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import FormerToken
from integrations.models.outages import IngestProcess, IngestState, Outage
from integrations.ping_lane.batch import Arrival, RefusedPings
from integrations.ping_lane.committer import Committer, Full, StoreUnavailable
from tests.contract.test_ping_endpoints import conninfo
from tests.factories import HeartbeatFactory
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db(transaction=True)


@contextlib.asynccontextmanager
async def process(**database):
    """A web process's committer, while it runs."""
    committer = Committer(database or conninfo(), max_waiting=10)
    running = asyncio.create_task(committer.run())
    try:
        yield committer
    finally:
        committer.close()
        await running


def test_a_pulse_is_committed_after_all_that_came_before_it(now):
    """Else a ping that came in time and waits for its batch would be judged as silence, and somebody would be woken."""
    first, second = HeartbeatFactory(now=now), HeartbeatFactory(now=now)

    async def pulse_between_two_batches(other):
        async with process() as committer:
            committing = asyncio.create_task(committer.record(Arrival(first.token, now + seconds(4))))
            await asyncio.sleep(0.3)
            waiting = asyncio.create_task(committer.record(Arrival(second.token, now + seconds(4))))
            await asyncio.sleep(0.1)
            pulse = asyncio.create_task(committer.pulse(sent_at=now + seconds(3), first_sent_at=now))
            await asyncio.sleep(0.3)
            assert not pulse.done()
            other.rollback()
            other.execute(
                "SELECT * FROM integrations_heartbeat WHERE integration_id = %s FOR UPDATE NOWAIT", [second.pk]
            )
            await committing
            await asyncio.sleep(0.3)
            assert not pulse.done()
            assert not await asyncio.to_thread(in_a_thread, IngestState.objects.exists)
            other.rollback()
            await asyncio.gather(pulse, waiting)

    with psycopg.connect(**conninfo()) as other:
        other.execute("SELECT * FROM integrations_heartbeat FOR UPDATE")
        asyncio.run(pulse_between_two_batches(other))

    assert IngestState.objects.get().stored_until == now + seconds(3)
    assert set(Heartbeat.objects.values_list("ping_count", flat=True)) == {1}


@pytest.mark.parametrize(("seconds_later", "opened"), [(5, 0), (7, 1)], ids=["late", "gone"])
def test_a_web_process_whose_pings_wait_for_their_commit_is_waited_for_while_it_lives(now, seconds_later, opened):
    """Another process's pulse must not have a ping judged that came in time and waits behind somebody's lock."""
    held, backup = HeartbeatFactory(now=now - minutes(1)), HeartbeatFactory(now=now)
    deadline = now + minutes(5)
    start = deadline - seconds(1)

    async def two_processes(other):
        async with process() as busy, process() as idle:
            await busy.pulse(sent_at=start, first_sent_at=start)
            other.execute("SELECT * FROM integrations_heartbeat WHERE integration_id = %s FOR UPDATE", [held.pk])
            committing = [asyncio.create_task(busy.record(Arrival(held.token, deadline - seconds(0.5))))]
            await asyncio.sleep(0.3)
            committing.append(asyncio.create_task(busy.record(Arrival(backup.token, deadline - seconds(0.1)))))
            for second in range(1, seconds_later + 1):
                await idle.pulse(sent_at=start + seconds(second), first_sent_at=start)
            found = await asyncio.to_thread(in_a_thread, detect_misses, now=start + seconds(seconds_later))
            other.rollback()
            await asyncio.gather(*committing)
        return found

    with psycopg.connect(**conninfo()) as other:
        assert asyncio.run(two_processes(other)) == opened
    assert not Outage.objects.exists()


def in_a_thread(call, **arguments):
    try:
        return call(**arguments)
    finally:
        connection.close()


def test_a_pulse_says_which_deadline_comes_next(now):
    for number in (3, 5):
        HeartbeatFactory(now=now - minutes(number))

    async def pulses():
        async with process() as committer:
            moments = [now + minutes(number) for number in (-1, 0, 3)]
            return [await committer.pulse(sent_at=at, first_sent_at=at) for at in moments]

    assert asyncio.run(pulses()) == [now, now + minutes(2), None]


def test_a_process_that_ends_is_not_waited_for(now):
    async def ends():
        async with process() as committer:
            await committer.pulse(sent_at=now, first_sent_at=now)
            assert await asyncio.to_thread(in_a_thread, IngestProcess.objects.count) == 1

    asyncio.run(ends())
    assert not IngestProcess.objects.exists()
    assert IngestState.objects.get().stored_until == now


def test_time_in_which_pings_were_refused_is_an_outage_though_the_pulses_were_a_second_apart(now, monkeypatch):
    """The database was away for half a second: a sender that does not retry has lost its ping."""
    backup = HeartbeatFactory(now=now)
    # A pulse that took long to come back: the ping may have been refused after it was sent.
    monkeypatch.setattr(clock, "now", lambda: now + seconds(1.4))

    async def away_for_a_moment():
        async with process() as committer:
            await committer.pulse(sent_at=now, first_sent_at=now)
            await refuse(committer, backup.token)
            for second in (1, 2):
                await committer.pulse(sent_at=now + seconds(second), first_sent_at=now)

    asyncio.run(away_for_a_moment())
    assert list(Outage.objects.values_list("started_at", "ended_at", "refused_pings")) == [(now, now + seconds(1.4), 1)]


async def refuse(committer, token):
    """Let a ping come while the store is away."""
    with contextlib.suppress(StoreUnavailable):
        committer._away_until = asyncio.get_running_loop().time() + 60
        await committer.record(Arrival(token, clock.now()))
    committer._away_until = 0.0


def test_a_stranger_whose_requests_are_refused_makes_no_outage(now):
    """Else anybody could put off every deadline for as long as they like."""
    HeartbeatFactory(now=now)

    async def strangers():
        async with process() as committer:
            await committer.pulse(sent_at=now, first_sent_at=now)
            for number in range(2_000):
                await refuse(committer, f"stranger-{number}")
            for token in ("nul\0", "lone\ud800", "x" * 70_000, '"},{'):
                await refuse(committer, token)
            await committer.pulse(sent_at=now + seconds(1), first_sent_at=now)

    asyncio.run(strangers())
    assert not Outage.objects.exists()


@pytest.mark.parametrize(("still_works", "outages"), [(minutes(5), 1), (-minutes(5), 0)])
def test_a_refused_ping_with_a_rotated_token_is_an_outage_while_the_token_works(now, still_works, outages):
    FormerToken.objects.create(token="former", integration=HeartbeatFactory(now=now), ends_at=now + still_works)

    async def away():
        async with process() as committer:
            await committer.pulse(sent_at=now, first_sent_at=now)
            await refuse(committer, "former")
            await committer.pulse(sent_at=now + seconds(1), first_sent_at=now)

    asyncio.run(away())
    assert Outage.objects.count() == outages


def test_requests_with_any_token_leave_half_of_the_places_to_heartbeats_that_have_pinged(now):
    backup = HeartbeatFactory(now=now)

    async def flood():
        async with process() as committer:
            await committer.record(Arrival(backup.token, now))
            async with committer._one_at_a_time:  # nothing is committed meanwhile
                tokens = [f"stranger-{number}" for number in range(12)] + [backup.token] * 6
                asked = [asyncio.create_task(committer.record(Arrival(token, now))) for token in tokens]
                await asyncio.sleep(0.1)
            return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(flood())
    # One more than wait, for the batch that is being committed.
    assert [isinstance(answer, Full) for answer in answers[:12]] == [False] * 5 + [True] * 7
    assert [isinstance(answer, Full) for answer in answers[12:]] == [False] * 5 + [True]


def test_whoever_has_one_url_keeps_nobody_elses_ping_away_and_makes_no_outage(now):
    own, backup = HeartbeatFactory(now=now), HeartbeatFactory(now=now)

    async def flood():
        async with process() as committer:
            await committer.pulse(sent_at=now, first_sent_at=now)
            for each in (own, backup):
                await committer.record(Arrival(each.token, now))
            committer.max_waiting = 100
            async with committer._one_at_a_time:  # nothing is committed meanwhile
                tokens = [own.token] * 200 + [backup.token] * 5
                asked = [asyncio.create_task(committer.record(Arrival(token, now))) for token in tokens]
                await asyncio.sleep(0.1)
            answers = await asyncio.gather(*asked, return_exceptions=True)
            await committer.pulse(sent_at=now + seconds(1), first_sent_at=now)
            return answers

    answers = asyncio.run(flood())
    assert [isinstance(answer, Full) for answer in answers[:200]] == [False] * 60 + [True] * 140
    assert not any(isinstance(answer, Full) for answer in answers[200:])
    assert not Outage.objects.exists()


def test_a_refused_ping_among_many_strangers_is_seen_and_what_is_not_committed_is_kept():
    arrivals = [Arrival(f"token-{number}", None) for number in range(5_000)]
    refused = RefusedPings()
    for arrival in arrivals[:3_000]:
        refused.add(arrival)
    later = RefusedPings()
    for arrival in arrivals[3_000:]:
        later.add(arrival)
    both = refused.and_then(later)
    assert both.count == 5_000
    assert len(both.tokens) == len(set(both.tokens)) == 1_000
    assert {int(token[6:]) // 1_000 for token in both.tokens} == {0, 1, 2, 3, 4}


def test_two_processes_that_refused_pings_do_not_count_one_outage_twice(now, monkeypatch):
    backup = HeartbeatFactory(now=now)
    moment = now
    monkeypatch.setattr(clock, "now", lambda: moment)

    async def both_away():
        nonlocal moment
        async with process() as one, process() as other:
            for committer in (one, other):
                await committer.pulse(sent_at=now, first_sent_at=now)
                await refuse(committer, backup.token)
            for committer, at in ((one, 9), (other, 9.5)):
                moment = now + seconds(at)
                await committer.pulse(sent_at=moment, first_sent_at=now)

    asyncio.run(both_away())
    rota_periods = list(Outage.objects.order_by("id").values_list("started_at", "ended_at"))
    assert rota_periods == [(now, now + seconds(9)), (now + seconds(9), now + seconds(9.5))]


def test_a_ping_that_the_store_will_never_take_is_no_outage(now):
    """A single row that cannot be written must not put off every deadline for ever."""
    backup = HeartbeatFactory(now=now)

    async def one_is_wrong():
        async with process() as committer:
            await committer.pulse(sent_at=now, first_sent_at=now)
            with contextlib.suppress(StoreUnavailable):
                await committer.record(Arrival(backup.token, now, method="much too long a method"))
            await committer.pulse(sent_at=now + seconds(1), first_sent_at=now)

    asyncio.run(one_is_wrong())
    assert not Outage.objects.exists()


def test_where_no_more_pings_may_wait_no_pulse_counts_either(now):
    async def full():
        async with process() as committer:
            committer.max_waiting = 0
            with pytest.raises(Full):
                await committer.pulse(sent_at=now, first_sent_at=now)

    asyncio.run(full())
