"""When a web process sends its pulses, which of them count, and that nobody else knows them."""

import asyncio
import contextlib
import socket
from datetime import timedelta

import pytest

from heartbeat_project.kernel import clock
from integrations.ping_lane import lane as lane_module
from integrations.ping_lane import own_address as listening_module
from integrations.ping_lane import pulse as pulse_module
from integrations.ping_lane.health import ProcessHealth
from integrations.ping_lane.lane import PingLane
from integrations.ping_lane.own_address import OwnAddress
from integrations.ping_lane.pulse import GAP, InARow
from tests.conftest import NOON
from tests.world import seconds


def counted(*pulses):
    """Return which pulses count of (sent, back), in seconds from noon on, as they come back."""
    in_a_row = InARow()
    return [in_a_row.counts(NOON + seconds(sent), now=NOON + seconds(back)) for sent, back in pulses]


def test_at_the_start_and_after_a_gap_two_in_a_row_are_needed():
    assert counted((0, 0.01), (0.02, 0.03), (1, 1.01)) == [False, True, True]
    assert counted((0, 0), (1, 1), (2.9, 2.9), (4.9, 4.9), (5, 5)) == [False, True, True, False, True]
    assert seconds(2) == GAP


def test_after_a_gap_none_counts_that_was_sent_before_the_first_was_back():
    """Those read the same turn of the event loop: an older connection may still wait there."""
    assert counted((0, 0), (1, 1), (9, 12), (10, 12.1), (11, 12.2), (12, 12.3), (12.1, 12.4))[2:] == [
        False,
        False,
        False,
        True,
        True,
    ]


def test_slow_answers_are_no_gap():
    pulses = [(second, second + 3) for second in range(8)]
    assert counted(*pulses) == [False, False, False, True, True, True, True, True]


def test_a_clock_that_is_set_is_a_gap():
    assert counted((0, 0), (1, 1), (3600, 3600), (3601, 3601))[2:] == [False, True]
    assert counted((3600, 3600), (3601, 3601), (0, 0), (1, 1))[2:] == [False, True]


class Store:
    """Stands for the committer: keeps when the pulses came, and always knows of the same deadline."""

    def __init__(self, deadline=None):
        self.deadline = deadline
        self.pulses = []
        self.ended = asyncio.Event()

    async def run(self):
        await self.ended.wait()

    def close(self):
        self.ended.set()

    async def keep_time(self):
        """Leave the machine's clock as it is."""

    async def pulse(self, *, sent_at, first_sent_at):
        self.pulses.append(sent_at)
        return self.deadline if self.deadline and self.deadline > sent_at else None


def pulses_of(deadline, *, during):
    """Let a lane live for so many seconds; return when the pulses were sent that count."""

    async def live():
        store = Store(deadline)
        lane = PingLane(None, store, max_body_bytes=10, health=ProcessHealth())

        async def receive():
            await asyncio.sleep(during if store.pulses or lane.pulse._under_way else 0)
            return {"type": "lifespan"}

        async def send(message):
            pass

        await lane({"type": "lifespan"}, receive, send)
        return store.pulses

    return asyncio.run(live())


def test_a_pulse_follows_each_deadline_and_many_deadlines_share_one(monkeypatch):
    monkeypatch.setattr(lane_module, "warm_up", lambda: None)
    monkeypatch.setattr(pulse_module, "PULSE_SECONDS", 30.0)
    deadline = clock.now() + timedelta(seconds=0.5)
    pulses = pulses_of(deadline, during=1.0)
    assert len(pulses) == 2
    assert timedelta(0) <= pulses[1] - deadline <= timedelta(seconds=0.4)

    monkeypatch.setattr(pulse_module, "BETWEEN_SECONDS", 0.3)
    began = clock.now()
    pulses = pulses_of(began + timedelta(seconds=0.05), during=0.8)
    assert len(pulses) == 2
    assert pulses[1] - pulses[0] >= timedelta(seconds=0.3)


@pytest.mark.parametrize(
    ("listening", "reached"),
    [
        (("0.0.0.0", 80), ("127.0.0.1", 80)),
        (("::", 81), ("::1", 81)),
        (("10.1.2.3", 82), ("10.1.2.3", 82)),
        (None, None),
    ],
)
def test_before_a_process_listens_it_is_where_its_environment_says(monkeypatch, listening, reached):
    monkeypatch.setattr(listening_module, "_listening", list)
    assert OwnAddress(listening)() == reached


def test_a_process_reaches_itself_where_it_listens_whatever_its_environment_says():
    """A second web process may have been started on a port of its own with the first one's environment."""
    address = OwnAddress(("127.0.0.1", 1))
    with socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as mine:
        own = {server.getsockname() for server in (other, mine)}
        assert own <= set(listening_module._listening())
        assert OwnAddress(("0.0.0.0", mine.getsockname()[1]))() == mine.getsockname()
        assert address() != ("127.0.0.1", 1)


def answers_to(lane, path):
    """Return the status that the lane answers to a POST of `{}`."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": path, "headers": [], "client": None}
    asyncio.run(lane(scope, receive, send))
    return sent[0]["status"]


def test_only_the_process_itself_knows_its_pulse():
    lane, other = (PingLane(None, Store(), max_body_bytes=10, health=ProcessHealth()) for _ in range(2))
    assert answers_to(lane, lane.pulse._path) == 200
    for path in (
        other.pulse._path,
        pulse_module.PATH + "x",
        lane.pulse._path + "x",
        lane.pulse._path[:-1],
        "/Heartbeat/pulse/é",
    ):
        assert answers_to(lane, path) == 404, path


def sending(answer, *, tries_until=lambda store, sent: len(store.pulses) >= 2, health=None):
    """Send pulses to a server that answers the n-th one with `answer(n)`; return the store, and when they came."""

    async def go():
        store, sent, serving = Store(), [], set()

        async def serve(reader, writer):
            serving.add(asyncio.current_task())
            with contextlib.suppress(EOFError, OSError):
                await reader.readuntil(b"{}")
                sent.append(clock.now())
                status = await answer(len(sent))
                if status:
                    writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()[:2]
            pulse = pulse_module.Pulse(store, lambda: address, health=health or ProcessHealth())
            running = asyncio.create_task(pulse.run())
            async with asyncio.timeout(30):
                while not tries_until(store, sent):
                    await asyncio.sleep(0.01)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await asyncio.gather(*serving)
        return store, sent

    return asyncio.run(go())


def test_the_first_pulse_does_not_count_and_the_second_follows_at_once(monkeypatch):
    monkeypatch.setattr(pulse_module, "PULSE_SECONDS", 0.5)

    async def answer(number):
        return 200

    store, sent = sending(answer)
    assert len(sent) == 3
    assert store.pulses[1] - store.pulses[0] > timedelta(seconds=0.4)


def test_a_pulse_counts_for_when_it_was_sent_though_its_answer_takes_long(monkeypatch):
    """Where each answer takes two seconds a pulse is still sent each second, and there is no gap."""
    monkeypatch.setattr(pulse_module, "PULSE_SECONDS", 0.2)

    async def answer(number):
        await asyncio.sleep(0.5)
        return 200

    store, _ = sending(answer, tries_until=lambda store, sent: len(store.pulses) >= 4)
    apart = [later - earlier for earlier, later in zip(store.pulses, store.pulses[1:], strict=False)]
    assert max(apart) < timedelta(seconds=0.45), apart


def test_a_pulse_that_reaches_another_process_is_tried_again(monkeypatch):
    monkeypatch.setattr(pulse_module, "PULSE_SECONDS", 0.2)

    async def answer(number):
        return 200 if number % 3 == 0 else 404

    _, sent = sending(answer)
    assert len(sent) == 9


def test_pulses_that_do_not_come_back_are_said_and_do_not_count(monkeypatch, caplog):
    monkeypatch.setattr(pulse_module, "PULSE_SECONDS", 0.05)
    health = ProcessHealth()

    async def answer(number):
        return None

    store, _ = sending(answer, tries_until=lambda store, sent: len(sent) > 5 and caplog.records, health=health)
    assert store.pulses == []
    assert "HEARTBEAT_PORT" in health.degraded(now=clock.now() + seconds(6))
    assert health.trouble(now=clock.now() + seconds(6)) == ""
    assert len([record for record in caplog.records if "no pulse" in record.getMessage()]) == 1
