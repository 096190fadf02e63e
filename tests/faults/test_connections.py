"""Connections that say nothing, or half of it, on a real server: they end, and where they are too many it is seen."""

import contextlib
import json
import socket
import time
from functools import partial
from pathlib import Path

import pytest

from heartbeat_project.kernel.connections import RESERVED
from integrations.ping_lane.own_address import UNREAD_SECONDS, ListeningSockets
from integrations.ping_lane.pulse import ANSWER_SECONDS
from tests.faults.wire import connect, heard, ping, request
from tests.processes import until

pytestmark = pytest.mark.serial


def test_connections_that_say_nothing_or_half_a_head_or_nothing_more_are_closed(ground):
    with ground.web(options=("--http1-header-read-timeout", "1000")) as web, contextlib.ExitStack() as stack:
        silent, half, idle = (stack.enter_context(connect(web.port)) for _ in range(3))
        half.sendall(request()[:40])
        idle.sendall(request())
        assert heard(idle, seconds=10).status == 200
        ended = [heard(one, seconds=10) for one in (silent, half, idle)]
        # One that goes on saying something is not cut short.
        with connect(web.port) as slow:
            whole = request()
            for at in range(0, len(whole), 20):
                slow.sendall(whole[at : at + 20])
                time.sleep(0.05)
            taken = heard(slow, seconds=10)

    assert [one.closed for one in ended] == [True] * 3
    assert max(one.seconds for one in ended) < 4
    assert taken.status == 200


@contextlib.contextmanager
def crowd(port: int, count: int):
    """Hold so many connections that say nothing; further ones wait to be taken."""
    held = []
    try:
        for _ in range(count):
            one = socket.socket()
            one.setblocking(False)
            held.append(one)
            one.connect_ex(("127.0.0.1", port))
        time.sleep(0.5)
        yield
    finally:
        for one in held:
            one.close()


def readyz(connection: socket.socket) -> dict:
    connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return json.loads(heard(connection, seconds=10).raw.partition(b"\r\n\r\n")[2])


@pytest.mark.long
def test_connections_that_take_all_places_are_seen_as_an_outage_and_said(ground):
    ground.sql("DELETE FROM integrations_outage")
    places = 300
    with ground.web(files=places + RESERVED) as web, connect(web.port) as kept:
        assert ping(web.port).status == 200
        kept.sendall(request())
        assert heard(kept, seconds=10).status == 200
        with crowd(web.port, places + 100):
            assert ping(web.port, seconds=1).status == 0, "there was a place left"
            said = until(
                lambda: "taken" in (answer := readyz(kept))["parts"].get("listening", "") and answer,
                seconds=20,
                what="/readyz says it",
            )
            # What came in before is served as ever.
            kept.sendall(request())
            assert heard(kept, seconds=10).status == 200
            # Pulses that are still waited for come back late, as pings do, and then nothing was lost.
            time.sleep(ANSWER_SECONDS)
        until(lambda: ping(web.port, seconds=2).status == 200, seconds=10, what="pings come in again")
        # What waited in the queue at its end was taken then, and is no outage. A short one may be of the server's
        # start.
        query = "SELECT 1 FROM integrations_outage WHERE ended_at - started_at >= interval '2 seconds'"
        until(partial(ground.sql, query), seconds=10, what="the outage is recorded")

    assert said["status"] == "degraded"
    assert "all 300 connections" in said["parts"]["listening"]


def test_a_queue_that_drops_connections_is_noticed_and_what_nobody_reads_ends():
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2))
        found = ListeningSockets()

        assert not found.turn_away()
        for _ in range(5):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        until(found.turn_away, seconds=5, what="the queue is full")

        taken, _ = listener.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNREAD_SECONDS * 1000
        assert not found.turn_away()


@pytest.mark.long
def test_a_client_that_does_not_read_its_answer_is_let_go(ground):
    with ground.web() as web, connect(web.port) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        large = b"/static/admin/js/vendor/xregexp/xregexp.js"
        deaf.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % large * 40)
        time.sleep(2)
        pid = web.pids()[0]

        def connections() -> int:
            lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
            mine = f":{web.port:04X}"
            return sum(line[1].endswith(mine) and line[3] == "01" for line in lines)

        assert connections() == 1
        until(lambda: connections() == 0, seconds=UNREAD_SECONDS * 2, what="it is let go", every=1)
