"""Requests that are sent one after the other without waiting: each is answered in its turn, by what belongs to it.

Each connection has heartbeats of its own, whose intervals differ, so an answer says by its deadline whose it is.
"""

import os
import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from tests.faults.wire import connect, ping, request
from tests.figures import record_figure

pytestmark = pytest.mark.serial

SEED = os.environ.get("FUZZ_SEED") or str(random.SystemRandom().randrange(10**9))
CLIENTS, EACH = 8, 20  # heartbeats of each client; the last is disabled
LARGE = 1024 * 1024 + 1


@dataclass(frozen=True)
class Ask:
    """A request, the status that it must get, and the heartbeat whose ping it is, if it is one."""

    raw: bytes
    status: int
    number: int = 0
    has_body: bool = True  # of the answer
    ends: bool = False  # the server cannot know where the next request begins


def head(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line + b" HTTP/1.1", b"Host: localhost", *headers]) + b"\r\n\r\n" + body


def drawn(pick: random.Random, number: int) -> Ask:
    """Return a request about this heartbeat after which the connection goes on."""
    path = b"/Heartbeat/bench-%d" % number
    kinds = [
        Ask(request(number), 200, number),
        Ask(request(number, body=pick.randbytes(pick.randint(1, 3_000))), 200, number),
        Ask(request(number, body=request(number + 1)), 200, number),  # a ping in a ping's body is no ping
        Ask(head(b"POST " + path, b"Content-Length: 0"), 200, number),
        Ask(head(b"POST " + path), 200, number),
        Ask(head(b"POST " + path.lower() + b"/?a=b", b"Content-Length: 1", body=b"x"), 200, number),
        Ask(head(b"POST " + path.replace(b"bench", b"%62enc%68")), 200, number),
        Ask(head(b"POST http://localhost" + path, b"Content-Length: 2", body=b"{}"), 200, number),
        Ask(head(b"POST " + path, b"Transfer-Encoding: chunked", body=chunked(pick)), 200, number),
        Ask(head(b"POST " + path, b"Expect: 100-continue", b"Content-Length: 2", body=b"{}"), 200, number),
        Ask(head(b"GET " + path), 405),
        Ask(head(b"PUT " + path, b"Content-Length: 2", body=b"{}"), 405),
        Ask(head(b"HEAD " + path), 405, has_body=False),
        Ask(head(b"POST /Heartbeat/nobody's", b"Content-Length: 2", body=b"{}"), 404),
        Ask(head(b"POST " + path + b"%00"), 404),
        Ask(head(b"GET /healthz"), 200),
        Ask(head(b"HEAD /healthz"), 200, has_body=False),
    ]
    if pick.random() < 0.02:
        return Ask(request(number, body=b"x" * LARGE), 413)
    return pick.choice(kinds)


def chunked(pick: random.Random) -> bytes:
    parts = [pick.randbytes(pick.randint(1, 200)) for _ in range(pick.randint(0, 5))]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def broken(pick: random.Random, number: int) -> Ask:
    """Return a request after which nothing more is read."""
    path = b"POST /Heartbeat/bench-%d" % number
    kinds = [
        head(path, b"Content-Length: two", body=b"{}"),
        head(path, b"Content-Length: -2", body=b"{}"),
        head(path, b"Content-Length: 2", b"Content-Length: 3", body=b"{}"),
        head(path, b"Content-Length: 99999999999999999999999", body=b"{}"),
        head(path, b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
        head(path, b"Transfer-Encoding: gzip", body=b"{}"),
        head(path + b"\0", b"Content-Length: 2", body=b"{}"),
        head(path, b"A header without a colon", b"Content-Length: 2", body=b"{}"),
        b"\0" * 20,
    ]
    return Ask(pick.choice(kinds), 400, ends=True)


def send(connection: socket.socket, whole: bytes, pick: random.Random) -> None:
    """Send it in one part or in several, which end anywhere."""
    cuts = sorted(pick.sample(range(len(whole)), min(len(whole), pick.choice([0, 0, 1, 5, 20]))))
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        connection.sendall(whole[start:end])
        if cuts:
            time.sleep(0.001)


def answers(connection: socket.socket, asked: list[Ask]) -> list[tuple[int, bytes]]:
    """Read as many answers as were asked for; return the status and body of each."""
    found: list[tuple[int, bytes]] = []
    with connection.makefile("rb") as stream:
        for ask in asked:
            while (line := stream.readline()).startswith(b"HTTP/1.1 100 "):
                assert stream.readline() == b"\r\n"
            assert line.startswith(b"HTTP/1.1 "), (line, ask.raw[:200])
            length = 0
            while (header := stream.readline()) not in {b"\r\n", b""}:
                if header.lower().startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            found.append((int(line[9:12]), stream.read(length) if ask.has_body else b""))
        if asked[-1].ends:
            assert stream.read() == b"", "something was answered after what could not be read"
    return found


def minutes_of(number: int) -> int:
    return 60 + number


def talk(port: int, client: int, seed: str) -> tuple[list[Ask], list[tuple[int, datetime]]]:
    """Carry one conversation out; return what was asked, and the heartbeat and time of each ping that was answered."""
    pick = random.Random(seed)
    own = range(client * EACH + 1, client * EACH + EACH + 1)
    asked = [drawn(pick, pick.choice(own)) for _ in range(pick.randint(1, 30))]
    more: list[Ask] = []
    if pick.random() < 0.3:
        asked.append(broken(pick, pick.choice(own)))
        more = [drawn(pick, pick.choice(own)) for _ in range(3)]  # never read
    with connect(port) as connection:
        try:
            send(connection, b"".join(ask.raw for ask in (*asked, *more)), pick)
        except OSError:
            assert more, seed
        try:
            said = answers(connection, asked)
        except ConnectionResetError:
            assert more, seed  # the server closes while there is something that it will not read
            raise
    assert [status for status, _ in said] == [ask.status for ask in asked], seed
    stored = []
    for ask, (_, body) in zip(asked, said, strict=True):
        if ask.number:
            stored.append((ask.number, received_at(ask.number, body, disabled=ask.number == own[-1])))
    assert [at for _, at in stored] == sorted(at for _, at in stored), seed
    return asked, stored


def received_at(number: int, body: bytes, *, disabled: bool) -> datetime:
    """Return when the ping was received, and expect its deadline to be this heartbeat's."""
    words = body.decode().split('"')
    at, deadline = words[7], words[11] if len(words) > 11 else None
    assert words[3] == ("disabled" if disabled else "ok"), body
    received = datetime.fromisoformat(at)
    assert disabled == (deadline is None), body
    if deadline is not None:
        assert datetime.fromisoformat(deadline) - received == timedelta(minutes=minutes_of(number)), (number, body)
    return received


@pytest.fixture
def heartbeats(ground):
    ground.sql("TRUNCATE integrations_ping")
    numbers = list(range(1, CLIENTS * EACH + 1))
    # Armed long ago, so that each ping sets its own deadline.
    ground.sql(
        "UPDATE integrations_heartbeat SET interval_minutes = 60 + integration_id, armed_at = now() - interval '1 day',"
        " deadline_at = now() + interval '1 day', last_ping_at = now() - interval '1 day', ping_count = 1"
        " WHERE integration_id = ANY(%s)",
        [numbers],
    )
    disabled = [number for number in numbers if number % EACH == 0]
    off = "UPDATE integrations_heartbeat SET state = %s, armed_at = NULL, deadline_at = NULL WHERE integration_id = ANY(%s)"
    ground.sql(off, ["disabled", disabled])
    yield ground
    ground.sql(
        "UPDATE integrations_heartbeat SET interval_minutes = 60, state = 'healthy', armed_at = last_ping_at,"
        " deadline_at = last_ping_at + interval '1 hour' WHERE integration_id = ANY(%s)",
        [numbers],
    )


@pytest.mark.parametrize(
    ("loop", "seconds"),
    [
        ("uvloop", 3),
        pytest.param("uvloop", 60, marks=pytest.mark.long),
        pytest.param("asyncio", 30, marks=pytest.mark.long),
    ],
)
def test_each_request_of_a_pipeline_gets_its_own_answer(heartbeats, loop, seconds):
    with heartbeats.web(options=("--loop", loop)) as web:
        before = web.pids()
        end = time.monotonic() + seconds

        def talk_on(client: int) -> tuple[int, Counter[tuple[int, datetime]]]:
            number, asked, stored = 0, 0, Counter[tuple[int, datetime]]()
            while time.monotonic() < end:
                said, pings = talk(web.port, client, f"{SEED}-{client}-{number}")
                number += 1
                asked += len(said)
                stored.update(pings)
            return asked, stored

        with ThreadPoolExecutor(CLIENTS) as pool:
            done = list(pool.map(talk_on, range(CLIENTS)))
        assert ping(web.port, 2_000).status == 200
        assert web.pids() == before

    answered = sum((pings for _, pings in done), Counter[tuple[int, datetime]]())
    rows = Counter(
        heartbeats.sql("SELECT integration_id, received_at FROM integrations_ping WHERE integration_id < 2000")
    )
    assert answered.total() > 100
    assert rows == answered, f"FUZZ_SEED={SEED}"
    fault = f"{sum(asked for asked, _ in done):,} requests in pipelines on {loop}"
    record_figure(fault, f"answers that were not their own, {rows.total():,} pings stored", 0, unit="", at_most=0)
