"""Pings are answered alike by the lane and by the view: the same requests through both doors."""

import asyncio
import threading
import time
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client

from heartbeat_project import asgi
from heartbeat_project.kernel import clock
from integrations.ingest import answers, lane
from integrations.ingest import committer as committer_module
from integrations.ingest.committer import Away, Committer, Full
from integrations.ingest.lane import PingLane
from integrations.ingest.record import Arrival
from integrations.models import Heartbeat, Ping
from tests.factories import HeartbeatFactory
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 1024 * 1024


@dataclass
class Heard:
    status: int
    body: bytes
    content_type: str
    allow: str | None
    retry_after: str | None


def conninfo(**more):
    parameters = connection.get_connection_params()
    return {
        name: value for name, value in parameters.items() if name not in {"pool", "cursor_factory", "context"}
    } | more


async def not_ours(scope, receive, send):
    await send({"type": "http.response.start", "status": 299, "headers": [(b"content-type", b"-")]})
    await send({"type": "http.response.body", "body": b"inner"})


def through_view(method, path, body=b"", **headers):
    answer = Client(raise_request_exception=False).generic(
        method, path, data=body, content_type=headers.get("content_type", "application/json"), REMOTE_ADDR="192.0.2.7"
    )
    return Heard(
        answer.status_code, answer.content, answer["Content-Type"], answer.get("Allow"), answer.get("Retry-After")
    )


def through_lane(method, path, body=b"", *, database=None, max_waiting=10, **headers):
    async def ask():
        committer = Committer(database or conninfo(), max_waiting=max_waiting)
        running = asyncio.create_task(committer.run())
        lane = PingLane(not_ours, committer, max_body_bytes=LIMIT)
        transport = httpx.ASGITransport(app=lane, client=("192.0.2.7", 123))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            content_type = headers.get("content_type", "application/json")
            answer = await client.request(method, path, content=body, headers={"Content-Type": content_type})
        committer.close()
        await running
        return answer

    answer = asyncio.run(ask())
    return Heard(
        answer.status_code,
        answer.content,
        answer.headers["content-type"],
        answer.headers.get("allow"),
        answer.headers.get("retry-after"),
    )


@pytest.fixture(params=[through_view, through_lane], ids=["view", "lane"])
def door(request, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    return request.param


@pytest.fixture
def backup(db):
    return HeartbeatFactory(name="backup")


def test_a_ping_is_stored_and_answered(door, backup, now):
    heard = door("POST", f"/Heartbeat/{backup.token}", b"{}")

    assert heard.status == 200
    assert heard.content_type == "application/json"
    assert heard.body == (b'{"status":"ok","received_at":"2026-03-02T12:00:00Z","deadline_at":"2026-03-02T12:05:00Z"}')
    row = Heartbeat.objects.get(pk=backup.pk)
    assert (row.last_ping_at, row.deadline_at, row.state, row.ping_count) == (now, now + minutes(5), "healthy", 1)
    assert list(Ping.objects.values_list("integration_id", "received_at", "method", "source_ip")) == [
        (backup.pk, now, "POST", "192.0.2.7")
    ]


def test_a_ping_counts_from_when_its_request_reached_us(door, backup, now, monkeypatch):
    reached, *later = [now + seconds(second) for second in range(20)]
    clocked = iter([reached, *later])
    monkeypatch.setattr(clock, "now", lambda: next(clocked))

    door("POST", f"/Heartbeat/{backup.token}", b"x" * 1000)

    assert Heartbeat.objects.get().last_ping_at == reached


def test_answers_of_the_lane_are_in_utc_whatever_time_zone_the_store_prefers(backup, now, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: now)
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_database())")
        [database] = cursor.fetchone()
        cursor.execute(f"ALTER DATABASE {database} SET TimeZone TO 'Asia/Kathmandu'")
        try:
            heard = through_lane("POST", f"/Heartbeat/{backup.token}", database=asgi.conninfo())
        finally:
            cursor.execute(f"ALTER DATABASE {database} RESET TimeZone")

    assert heard.body == b'{"status":"ok","received_at":"2026-03-02T12:00:00Z","deadline_at":"2026-03-02T12:05:00Z"}'


@pytest.mark.parametrize("spelling", ["/Heartbeat/{}/", "/heartbeat/{}", "/heartbeat/{}/"])
def test_every_spelling_of_the_path(door, backup, spelling):
    assert door("POST", spelling.format(backup.token)).status == 200


@pytest.mark.parametrize("body", [b"", b"[1,", b"\xff\x00", b"plain"])
def test_any_body(door, backup, body):
    assert door("POST", f"/Heartbeat/{backup.token}", body, content_type="text/nonsense").status == 200


def test_an_unknown_token(door, backup):
    for token in ("nope", "%00", "caf%C3%A9", "%FF", "x" * 3000):
        heard = door("POST", f"/Heartbeat/{token}")
        assert (heard.status, heard.content_type) == (404, "application/problem+json"), token
        assert b'"code":"not_found"' in heard.body
    assert not Ping.objects.exists()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_a_wrong_method(door, backup, method):
    heard = door(method, f"/Heartbeat/{backup.token}")

    assert (heard.status, heard.allow) == (405, "POST")
    assert not Ping.objects.exists()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_a_wrong_method_where_get_is_accepted(door, backup, method):
    Heartbeat.objects.update(allow_get=True)

    assert door(method, f"/Heartbeat/{backup.token}").status == 405
    assert not Ping.objects.exists()


def test_get_and_head_where_they_are_accepted(door, backup):
    Heartbeat.objects.update(allow_get=True)

    assert door("GET", f"/Heartbeat/{backup.token}").status == 200
    heard = door("HEAD", f"/Heartbeat/{backup.token}")
    assert (heard.status, heard.body) == (200, b"")
    assert Ping.objects.count() == 2


def test_a_large_body(door, backup):
    assert door("POST", f"/Heartbeat/{backup.token}", b"x" * LIMIT).status == 200
    heard = door("POST", f"/Heartbeat/{backup.token}", b"x" * (LIMIT + 1))
    assert (heard.status, heard.content_type) == (413, "application/problem+json")
    assert Ping.objects.count() == 1


def test_a_disabled_heartbeat(door, backup):
    Heartbeat.objects.update(state="disabled", armed_at=None, deadline_at=None)

    heard = door("POST", f"/Heartbeat/{backup.token}")

    assert heard.body == b'{"status":"disabled","received_at":"2026-03-02T12:00:00Z","deadline_at":null}'
    assert Ping.objects.count() == 1


def test_both_doors_say_the_same_to_the_byte(backup, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    for method, path in (("POST", backup.token), ("POST", "nope"), ("GET", backup.token), ("PUT", backup.token)):
        view, lane = (door(method, f"/Heartbeat/{path}") for door in (through_view, through_lane))
        assert (view.status, view.body, view.content_type) == (lane.status, lane.body, lane.content_type)


def test_other_paths_are_none_of_the_lanes_business():
    for path in ("/", "/Heartbeat", "/Heartbeat/", "/Heartbeat/a/b", "/heartbeats/1/", "/HEARTBEAT/x"):
        assert through_lane("GET", path).status == 299, path


def test_a_store_that_is_away_is_a_503_and_never_a_2xx(backup):
    nowhere = conninfo(host="/nonexistent", connect_timeout=1)
    heard = through_lane("POST", f"/Heartbeat/{backup.token}", database=nowhere)

    assert (heard.status, heard.retry_after, heard.content_type) == (503, "5", "application/problem+json")
    assert not Ping.objects.exists()


def test_a_store_that_goes_away_is_the_same_503_from_the_view(backup, monkeypatch):
    def away(_):
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("integrations.api.ping.record_pings", away)
    heard = through_view("POST", f"/Heartbeat/{backup.token}")

    assert (heard.status, heard.retry_after, heard.content_type) == (503, "5", "application/problem+json")


def committed(*steps, **options):
    """Take `steps` (coroutine functions of a running committer) in turn; return what each returned or raised."""

    async def take():
        committer = Committer(options.get("database") or conninfo(), max_waiting=100)
        running = asyncio.create_task(committer.run())
        heard = []
        for step in steps:
            heard += await asyncio.gather(step(committer), return_exceptions=True)
        committer.close()
        await running
        return heard

    return asyncio.run(take())


def test_one_arrival_that_cannot_be_stored_spoils_no_batch(backup, now):
    def batch(committer):
        arrivals = [Arrival(backup.token, now, source_ip=ip) for ip in ("192.0.2.7", "nonsense", None)]
        return asyncio.gather(*map(committer.record, arrivals), return_exceptions=True)

    [[first, bad, last]] = committed(batch)

    assert (first.status, last.status) == ("ok", "ok")
    assert isinstance(bad, Exception)
    assert Ping.objects.count() == 2


def test_a_connection_that_broke_is_replaced(backup, now):
    async def ping(committer):
        return await committer.record(Arrival(backup.token, now))

    async def break_it(committer):
        await committer._connection.execute("SET idle_session_timeout = '20ms'")
        await asyncio.sleep(0.2)

    first, _, broken, again = committed(ping, break_it, ping, ping)

    assert (first.status, again.status) == ("ok", "ok")
    assert isinstance(broken, Away)


def test_while_the_store_is_away_it_is_not_asked_again_for_each_ping(backup, now, monkeypatch):
    tried = []

    async def refuse(**_):
        tried.append(1)
        raise psycopg.OperationalError("connection refused")

    async def ping(committer):
        return await committer.record(Arrival(backup.token, now))

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refuse)

    assert [type(heard) for heard in committed(ping, ping, ping)] == [Away] * 3
    assert len(tried) == 1


def test_a_store_that_takes_a_statement_and_says_nothing_is_given_up_and_asked_anew(backup, now, monkeypatch):
    monkeypatch.setattr(committer_module, "STORE_SECONDS", 0.3)
    monkeypatch.setattr(committer_module, "AWAY_SECONDS", 0.0)
    with psycopg.connect(**conninfo()) as other:
        other.execute("SELECT * FROM integrations_heartbeat FOR UPDATE")

        async def ping(committer):
            started = time.monotonic()
            with pytest.raises(Away):
                await committer.record(Arrival(backup.token, now))
            return time.monotonic() - started

        async def pulse(committer):
            await committer.pulse(now=now)

        async def thaw(_):
            other.rollback()

        async def again(committer):
            return await committer.record(Arrival(backup.token, now))

        took, _, _, receipt = committed(ping, pulse, thaw, again)

    assert took < 2
    assert receipt.status == "ok"


def test_all_that_wait_on_a_store_that_says_nothing_are_refused_together(backup, now, monkeypatch):
    monkeypatch.setattr(committer_module, "MAX_BATCH", 2)
    monkeypatch.setattr(committer_module, "STORE_SECONDS", 0.3)
    with psycopg.connect(**conninfo()) as other:
        other.execute("SELECT * FROM integrations_heartbeat FOR UPDATE")

        async def pings(committer):
            started = time.monotonic()
            heard = await asyncio.gather(
                *[committer.record(Arrival(backup.token, now)) for _ in range(20)], return_exceptions=True
            )
            return time.monotonic() - started, heard

        [(took, heard)] = committed(pings)

    assert [type(one) for one in heard] == [Away] * 20
    assert took < 1


def test_a_pulse_that_is_cancelled_leaves_nothing_running_on_the_connection_of_the_pings(backup, now):
    with psycopg.connect(**conninfo()) as other:
        other.execute("INSERT INTO integrations_listening (id, heard_until) VALUES (1, %s)", [now])

        async def cancel_a_pulse(committer):
            pulse = asyncio.create_task(committer.pulse(now=now))
            await asyncio.sleep(0.3)
            pulse.cancel()
            return await asyncio.wait_for(committer.record(Arrival(backup.token, now)), timeout=5)

        [receipt] = committed(cancel_a_pulse)

    assert receipt.status == "ok"


def test_a_store_that_takes_no_writes_is_a_503_from_both_doors(door, backup, monkeypatch):
    """A standby after a failover: reachable, and of no use."""
    if door is through_lane:
        read_only = conninfo(options="-c default_transaction_read_only=on")
        heard = through_lane("POST", f"/Heartbeat/{backup.token}", database=read_only)
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
        try:
            heard = through_view("POST", f"/Heartbeat/{backup.token}")
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET default_transaction_read_only")

    assert (heard.status, heard.retry_after, heard.content_type) == (503, "5", "application/problem+json")
    assert not Ping.objects.exists()


def test_a_store_that_takes_no_writes_is_left_and_not_asked_ping_by_ping(backup, now, caplog):
    async def batch(committer):
        arrivals = [Arrival(backup.token, now) for _ in range(5)]
        return await asyncio.gather(*map(committer.record, arrivals), return_exceptions=True)

    async def connection_left(committer):
        return committer._connection

    heard, left = committed(batch, connection_left, database=conninfo(options="-c default_transaction_read_only=on"))

    assert [type(one) for one in heard] == [Away] * 5
    assert left is None
    assert "trying each alone" not in caplog.text


def test_a_doorbell_that_hangs_delays_no_ping_and_takes_one_thread_and_no_connection(now, monkeypatch):
    made = [HeartbeatFactory() for _ in range(5)]
    Heartbeat.objects.update(state="missed")
    rung, threads, released = [], set(), threading.Event()

    def hang(name, *, queue, kwargs):
        rung.append(kwargs["integration_ids"])
        threads.add(threading.get_ident())
        released.wait(20)

    def connect(self):
        raise AssertionError("the doorbell needs no database")

    monkeypatch.setattr("heartbeat_project.kernel.doorbell._send", hang)

    async def ping_them(committer):
        monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", connect)
        receipts = [await asyncio.wait_for(committer.record(Arrival(one.token, now)), timeout=5) for one in made]
        hung = list(rung)
        released.set()
        return receipts, hung

    [(receipts, hung)] = committed(ping_them)
    monkeypatch.undo()

    assert [receipt.status for receipt in receipts] == ["ok"] * 5
    assert hung == [[made[0].pk]]
    assert rung == [[made[0].pk], sorted(one.pk for one in made[1:])]
    assert len(threads) == 1


def test_a_shutdown_with_several_batches_waiting_answers_them_all(backup, now, monkeypatch):
    monkeypatch.setattr(committer_module, "MAX_BATCH", 2)

    async def shut_down(committer):
        pings = [asyncio.create_task(committer.record(Arrival(backup.token, now))) for _ in range(5)]
        await asyncio.sleep(0)
        committer.close()
        return await asyncio.wait_for(asyncio.gather(*pings), timeout=20)

    [receipts] = committed(shut_down)

    assert [receipt.status for receipt in receipts] == ["ok"] * 5


def test_more_pings_than_may_wait_are_refused_and_the_others_are_kept(backup, now):
    async def storm():
        committer = Committer(conninfo(), max_waiting=5)
        lane = PingLane(not_ours, committer, max_body_bytes=LIMIT)
        transport = httpx.ASGITransport(app=lane)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            asked = [asyncio.create_task(client.post(f"/Heartbeat/{backup.token}")) for _ in range(12)]
            await asyncio.sleep(0.1)
            running = asyncio.create_task(committer.run())
            answers = await asyncio.gather(*asked)
        committer.close()
        await running
        return [answer.status_code for answer in answers]

    statuses = asyncio.run(storm())
    assert sorted(statuses) == [200] * 5 + [503] * 7
    assert Ping.objects.count() == 5


def said_by_lane(path, *messages, content_length=None, client=None):
    """Speak ASGI to the lane: what it is sent, message by message, and the status it answers (None: it said nothing)."""

    async def ask():
        committer = Committer(conninfo(), max_waiting=10)
        running = asyncio.create_task(committer.run())
        left, said = list(messages), []

        async def receive():
            return left.pop(0) if left else await asyncio.Event().wait()

        async def send(message):
            said.append(message)

        headers = [] if content_length is None else [(b"content-length", content_length)]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": client}
        await PingLane(not_ours, committer, max_body_bytes=LIMIT)(scope, receive, send)
        committer.close()
        await running
        return said[0]["status"] if said else None

    return asyncio.run(ask())


def part(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_large_body_of_unsaid_length_is_refused_when_it_passes_the_limit(backup, now):
    path, half = f"/Heartbeat/{backup.token}", b"x" * (LIMIT // 2)

    assert said_by_lane(path, part(half, more=True), part(half, more=False)) == 200
    assert said_by_lane(path, part(half, more=True), part(half, more=True), part(b"x", more=False)) == 413
    assert said_by_lane(path, *[part(half, more=True)] * 4) == 413
    assert Ping.objects.count() == 1


def test_a_body_that_says_it_is_too_large_is_refused_unread_and_an_empty_one_is_not_waited_for(backup, now):
    path = f"/Heartbeat/{backup.token}"

    assert said_by_lane(path, content_length=str(LIMIT + 1).encode()) == 413
    assert said_by_lane(path, content_length=b"0") == 200


@pytest.mark.parametrize(
    ("address", "kept"), [("", None), ("unix:", None), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")]
)
def test_a_senders_strange_address_never_loses_a_ping(backup, now, address, kept):
    assert said_by_lane(f"/Heartbeat/{backup.token}", content_length=b"0", client=(address, 0)) == 200
    assert Ping.objects.get().source_ip == kept


def test_a_body_that_does_not_come_is_a_408(backup, now, monkeypatch):
    monkeypatch.setattr(lane, "BODY_SECONDS", 0.05)

    assert said_by_lane(f"/Heartbeat/{backup.token}", part(b"x", more=True)) == 408
    assert not Ping.objects.exists()


def test_a_slow_sender_that_has_passed_the_limit_is_told_so_and_not_that_it_is_slow(backup, now, monkeypatch):
    monkeypatch.setattr(lane, "BODY_SECONDS", 0.5)

    assert said_by_lane(f"/Heartbeat/{backup.token}", part(b"x" * (LIMIT + 1), more=True)) == 413


def test_a_request_that_ends_before_it_is_whole_is_no_ping_and_the_clients_fault(backup, now):
    path = f"/Heartbeat/{backup.token}"

    assert said_by_lane(path, part(b"x", more=True), {"type": "http.disconnect"}) == 400
    assert not Ping.objects.exists()


def test_head_gets_the_headers_that_get_would_and_no_body():
    said = []

    async def send(message):
        said.append(message)

    asyncio.run(lane.respond(answers.UNKNOWN, {"method": "HEAD"}, send))

    start, body = said
    assert (b"content-length", str(len(answers.UNKNOWN.content)).encode()) in start["headers"]
    assert body["body"] == b""


def test_what_comes_after_the_shutdown_is_refused_and_not_left_waiting(now):
    committer = Committer(conninfo(), max_waiting=10)
    committer.close()

    with pytest.raises(Full):
        asyncio.run(asyncio.wait_for(committer.record(Arrival(token="x", received_at=now)), timeout=5))


def test_a_client_that_hangs_up_takes_nothing_from_the_others(backup, now):
    async def hang_up():
        committer = Committer(conninfo(), max_waiting=100)
        lane = PingLane(not_ours, committer, max_body_bytes=LIMIT)
        transport = httpx.ASGITransport(app=lane)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            asked = [asyncio.create_task(client.post(f"/Heartbeat/{backup.token}")) for _ in range(6)]
            await asyncio.sleep(0.05)
            asked[2].cancel()
            running = asyncio.create_task(committer.run())
            answers = await asyncio.gather(*asked, return_exceptions=True)
        committer.close()
        await running
        return answers

    answers = asyncio.run(hang_up())
    assert [getattr(answer, "status_code", None) for answer in answers] == [200, 200, None, 200, 200, 200]


def test_what_was_accepted_before_the_shutdown_is_answered(backup, now):
    async def shut_down():
        committer = Committer(conninfo(), max_waiting=100)
        lane = PingLane(not_ours, committer, max_body_bytes=LIMIT)
        messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        said = []

        async def say(message):
            said.append(message["type"])

        await messages.put({"type": "lifespan.startup"})
        life = asyncio.create_task(lane({"type": "lifespan"}, messages.get, say))
        await asyncio.sleep(0.2)
        transport = httpx.ASGITransport(app=lane)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            asked = [asyncio.create_task(client.post(f"/Heartbeat/{backup.token}")) for _ in range(20)]
            await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            await messages.put({"type": "lifespan.shutdown"})
            answers = await asyncio.gather(*asked)
        await life
        return said, [answer.status_code for answer in answers]

    said, statuses = asyncio.run(shut_down())
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert statuses.count(200) == Ping.objects.count()
    assert set(statuses) <= {200, 503}


def test_a_ping_that_ends_a_silence_through_the_lane_rings_for_the_recovery(backup, now, monkeypatch):
    rung = []
    monkeypatch.setattr("integrations.ingest.committer.ring_now", lambda name, **kwargs: rung.append((name, kwargs)))
    Heartbeat.objects.update(state="missed")

    assert through_lane("POST", f"/Heartbeat/{backup.token}").status == 200

    assert rung == [("integrations.close_recovered", {"queue": "engine", "integration_ids": [backup.pk]})]
