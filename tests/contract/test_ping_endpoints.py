"""Pings are answered alike by the lane and by the view: the same requests through both endpoints."""

import asyncio
import ipaddress
import threading
import time
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client, override_settings

from heartbeat_project import asgi
from heartbeat_project.kernel import clock, wakeup
from heartbeat_project.kernel.sql import statement
from integrations.models.heartbeats import Heartbeat
from integrations.models.history import Ping
from integrations.ping_lane import answers, lane
from integrations.ping_lane import committer as committer_module
from integrations.ping_lane.batch import Arrival
from integrations.ping_lane.committer import Committer, Full, StoreUnavailable
from integrations.ping_lane.lane import PingLane
from tests.factories import HeartbeatFactory
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 1024 * 1024


@dataclass
class LaneResponse:
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
    return LaneResponse(
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
    return LaneResponse(
        answer.status_code,
        answer.content,
        answer.headers["content-type"],
        answer.headers.get("allow"),
        answer.headers.get("retry-after"),
    )


@pytest.fixture(params=[through_view, through_lane], ids=["view", "lane"])
def endpoint(request, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    return request.param


@pytest.fixture
def backup(db):
    return HeartbeatFactory(name="backup")


def test_a_ping_is_stored_and_answered(endpoint, backup, now):
    heard = endpoint("POST", f"/Heartbeat/{backup.token}", b"{}")

    assert heard.status == 200
    assert heard.content_type == "application/json"
    assert heard.body == (b'{"status":"ok","received_at":"2026-03-02T12:00:00Z","deadline_at":"2026-03-02T12:05:00Z"}')
    row = Heartbeat.objects.get(pk=backup.pk)
    assert (row.last_ping_at, row.deadline_at, row.state, row.ping_count) == (now, now + minutes(5), "healthy", 1)
    assert list(Ping.objects.values_list("integration_id", "received_at", "method", "source_ip")) == [
        (backup.pk, now, "POST", "192.0.2.7")
    ]


def test_a_ping_counts_from_when_its_request_reached_us(endpoint, backup, now, monkeypatch):
    reached, *later = [now + seconds(second) for second in range(20)]
    clocked = iter([reached, *later])
    monkeypatch.setattr(clock, "now", lambda: next(clocked))

    endpoint("POST", f"/Heartbeat/{backup.token}", b"x" * 1000)

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
def test_every_spelling_of_the_path(endpoint, backup, spelling):
    assert endpoint("POST", spelling.format(backup.token)).status == 200


@pytest.mark.parametrize("body", [b"", b"[1,", b"\xff\x00", b"plain"])
def test_any_body(endpoint, backup, body):
    assert endpoint("POST", f"/Heartbeat/{backup.token}", body, content_type="text/nonsense").status == 200


def test_an_unknown_token(endpoint, backup):
    for token in ("nope", "%00", "caf%C3%A9", "%FF", "x" * 3000):
        heard = endpoint("POST", f"/Heartbeat/{token}")
        assert (heard.status, heard.content_type) == (404, "application/problem+json"), token
        assert b'"code":"not_found"' in heard.body
    assert not Ping.objects.exists()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_a_wrong_method(endpoint, backup, method):
    heard = endpoint(method, f"/Heartbeat/{backup.token}")

    assert (heard.status, heard.allow) == (405, "POST")
    assert not Ping.objects.exists()


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_a_wrong_method_where_get_is_accepted(endpoint, backup, method):
    Heartbeat.objects.update(allow_get=True)

    heard = endpoint(method, f"/Heartbeat/{backup.token}")

    assert (heard.status, heard.allow) == (405, "POST, GET, HEAD")
    assert not Ping.objects.exists()


def test_get_and_head_where_they_are_accepted(endpoint, backup):
    Heartbeat.objects.update(allow_get=True)

    assert endpoint("GET", f"/Heartbeat/{backup.token}").status == 200
    heard = endpoint("HEAD", f"/Heartbeat/{backup.token}")
    assert (heard.status, heard.body) == (200, b"")
    assert Ping.objects.count() == 2


def test_a_large_body(endpoint, backup):
    assert endpoint("POST", f"/Heartbeat/{backup.token}", b"x" * LIMIT).status == 200
    heard = endpoint("POST", f"/Heartbeat/{backup.token}", b"x" * (LIMIT + 1))
    assert (heard.status, heard.content_type) == (413, "application/problem+json")
    assert Ping.objects.count() == 1


def test_a_disabled_heartbeat(endpoint, backup):
    Heartbeat.objects.update(state="disabled", armed_at=None, deadline_at=None)

    heard = endpoint("POST", f"/Heartbeat/{backup.token}")

    assert heard.body == b'{"status":"disabled","received_at":"2026-03-02T12:00:00Z","deadline_at":null}'
    assert Ping.objects.count() == 1


def test_both_endpoints_say_the_same_to_the_byte(backup, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    for method, path in (("POST", backup.token), ("POST", "nope"), ("GET", backup.token), ("PUT", backup.token)):
        view, lane = (endpoint(method, f"/Heartbeat/{path}") for endpoint in (through_view, through_lane))
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

    monkeypatch.setattr("integrations.api.pings.record_pings", away)
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
    assert isinstance(broken, StoreUnavailable)


def test_statements_are_prepared_once_for_each_connection(backup, now):
    async def ping(committer):
        return await committer.record(Arrival(backup.token, now))

    async def pulse(committer):
        await committer.pulse(sent_at=now, first_sent_at=now)

    async def prepared(committer):
        asked = await committer._connection.execute(
            "SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements ORDER BY prepare_time"
        )
        return await asked.fetchall()

    *_, statements = committed(*[ping, pulse] * 3, prepared)

    used = {
        name: count
        for text, count in statements
        for name in ("read_clock", "record_pings", "record_pulse")
        if text.startswith(statement("integrations", name)[:40])
    }
    assert used["record_pings"] == 3
    assert used["record_pulse"] == 3


def test_a_plan_that_was_made_for_few_heartbeats_is_not_kept_when_there_are_many(backup, now, monkeypatch):
    monkeypatch.setattr(committer_module, "PLAN_SECONDS", 0.0)

    async def ping(committer):
        return await committer.record(Arrival(backup.token, now))

    async def plan(committer):
        found = await committer._connection.execute(
            "SELECT name, cardinality(parameter_types) FROM pg_prepared_statements WHERE statement LIKE 'WITH arrived%'"
        )
        [(name, count)] = await found.fetchall()
        found = await committer._connection.execute(
            f'EXPLAIN (COSTS OFF) EXECUTE "{name}"({", ".join(["NULL"] * count)})'
        )
        return "\n".join(line for (line,) in await found.fetchall())

    async def many(_):
        with psycopg.connect(**conninfo()) as other:
            other.execute(
                "INSERT INTO integrations_inboundintegration (organization_id, type, name, token, escalation_policy_id,"
                " enabled, created_at) SELECT organization_id, type, 'job ' || n, 'token' || n, escalation_policy_id,"
                " enabled, created_at FROM integrations_inboundintegration, generate_series(1, 20000) AS n"
            )
            other.execute(
                "INSERT INTO integrations_heartbeat (integration_id, interval_minutes, grace_minutes, start_timer,"
                " allow_get, state, ping_count, armed_at, deadline_at, error)"
                " SELECT id, 5, 0, 'when_enabled', false, 'healthy', 0, created_at, created_at, ''"
                " FROM integrations_inboundintegration WHERE token LIKE 'token%'"
            )
            # As autovacuum does in time; whether it has come by now must not decide.
            other.execute("ANALYZE integrations_inboundintegration, integrations_heartbeat")

    _, few, _, _, later = committed(ping, plan, many, ping, plan, database=asgi.conninfo())

    assert few != later
    assert "Seq Scan on integrations_" not in later
    assert "Join Filter" not in later


def test_while_the_store_is_away_it_is_not_asked_again_for_each_ping(backup, now, monkeypatch):
    tried = []

    async def refuse(**_):
        tried.append(1)
        raise psycopg.OperationalError("connection refused")

    async def ping(committer):
        return await committer.record(Arrival(backup.token, now))

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refuse)

    assert [type(heard) for heard in committed(ping, ping, ping)] == [StoreUnavailable] * 3
    assert len(tried) == 1


def test_a_store_that_takes_a_statement_and_says_nothing_is_given_up_and_asked_anew(backup, now, monkeypatch):
    monkeypatch.setattr(committer_module, "STORE_SECONDS", 0.3)
    monkeypatch.setattr(committer_module, "AWAY_SECONDS", 0.0)
    with psycopg.connect(**conninfo()) as other:
        other.execute("SELECT * FROM integrations_heartbeat FOR UPDATE")

        async def ping(committer):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await committer.record(Arrival(backup.token, now))
            return time.monotonic() - started

        async def pulse(committer):
            await committer.pulse(sent_at=now, first_sent_at=now)

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

    assert [type(one) for one in heard] == [StoreUnavailable] * 20
    assert took < 1


def test_a_pulse_that_is_cancelled_leaves_nothing_running_on_the_connection_of_the_pings(backup, now):
    with psycopg.connect(**conninfo()) as other:
        other.execute("INSERT INTO integrations_ingeststate (id, stored_until) VALUES (1, %s)", [now])

        async def cancel_a_pulse(committer):
            pulse = asyncio.create_task(committer.pulse(sent_at=now, first_sent_at=now))
            await asyncio.sleep(0.3)
            pulse.cancel()
            return await asyncio.wait_for(committer.record(Arrival(backup.token, now)), timeout=5)

        [receipt] = committed(cancel_a_pulse)

    assert receipt.status == "ok"


def test_a_store_that_takes_no_writes_is_a_503_from_both_endpoints(endpoint, backup, monkeypatch):
    """A standby after a failover: reachable, and of no use."""
    if endpoint is through_lane:
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


FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'could not extend file "base/5/16384": No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON integrations_ping FOR EACH ROW EXECUTE FUNCTION full_disk()
"""


@pytest.fixture
def full_disk(backup):
    """Let the database answer as it does when the ping's table cannot grow; it is there again after `full_disk()`."""

    def make_room():
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION IF EXISTS full_disk CASCADE")

    with connection.cursor() as cursor:
        cursor.execute(FULL_DISK)
    yield make_room
    make_room()


def test_a_full_disk_is_a_503_until_there_is_room_and_nothing_is_stored_meanwhile(endpoint, backup, full_disk):
    """The database's answer is real, and only its reason is not; a real full disk: faults/test_operator_is_mailed.py."""
    before = Heartbeat.objects.get(pk=backup.pk)
    for _ in range(2):
        heard = endpoint("POST", f"/Heartbeat/{backup.token}")
        assert (heard.status, heard.retry_after, heard.content_type) == (503, "5", "application/problem+json")
    assert not Ping.objects.exists()
    assert Heartbeat.objects.get(pk=backup.pk).deadline_at == before.deadline_at

    full_disk()
    assert endpoint("POST", f"/Heartbeat/{backup.token}").status == 200
    assert Ping.objects.count() == 1


def test_a_store_that_takes_no_writes_is_left_and_not_asked_ping_by_ping(backup, now, caplog):
    async def batch(committer):
        arrivals = [Arrival(backup.token, now) for _ in range(5)]
        return await asyncio.gather(*map(committer.record, arrivals), return_exceptions=True)

    async def connection_left(committer):
        return committer._connection

    heard, left = committed(batch, connection_left, database=conninfo(options="-c default_transaction_read_only=on"))

    assert [type(one) for one in heard] == [StoreUnavailable] * 5
    assert left is None
    assert "trying each" not in caplog.text


def test_a_broker_that_hangs_delays_no_ping_and_takes_one_thread_and_no_connection(now, monkeypatch):
    made = [HeartbeatFactory() for _ in range(5)]
    Heartbeat.objects.update(state="missed")
    woken, threads, released, all_woken = [], set(), threading.Event(), threading.Event()

    def hang(wake_up):
        woken.extend(wake_up.kwargs["integration_ids"])
        threads.add(threading.get_ident())
        if len(woken) == len(made):
            all_woken.set()
        released.wait(20)

    def connect(self):
        raise AssertionError("a wake-up needs no database")

    monkeypatch.setattr(wakeup, "WAKER", wakeup.Waker())
    monkeypatch.setattr(wakeup, "send", hang)

    async def ping_them(committer):
        monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", connect)
        receipts = [await asyncio.wait_for(committer.record(Arrival(one.token, now)), timeout=5) for one in made]
        hung = list(woken)
        released.set()
        return receipts, hung

    [(receipts, hung)] = committed(ping_them)
    assert all_woken.wait(20)
    monkeypatch.undo()

    assert [receipt.status for receipt in receipts] == ["ok"] * 5
    # All were recorded while the first wake-up hung. Those after it may have been sent together.
    assert hung in ([], [made[0].pk])
    assert woken == [one.pk for one in made]
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
        committer = Committer(conninfo(), max_waiting=10)  # half of it for heartbeats that have pinged
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


def said_by_lane(path, *messages, content_length=None, client=None, headers=None, http_version="1.1"):
    """Speak ASGI to the lane.

    What it is sent, message by message, and the status it answers (None: it said nothing).
    """

    async def ask():
        committer = Committer(conninfo(), max_waiting=10)
        running = asyncio.create_task(committer.run())
        left, said = list(messages), []

        async def receive():
            return left.pop(0) if left else await asyncio.Event().wait()

        async def send(message):
            said.append(message)

        length = (b"transfer-encoding", b"chunked") if content_length is None else (b"content-length", content_length)
        scope = {
            "type": "http",
            "http_version": http_version,
            "method": "POST",
            "path": path,
            "headers": [length] if headers is None else headers,
            "client": client,
        }
        await PingLane(not_ours, committer, max_body_bytes=LIMIT)(scope, receive, send)
        committer.close()
        await running
        return said[0]["status"] if said else None

    return asyncio.run(ask())


def part(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.fixture
def drops(monkeypatch):
    """Let what is dropped of a large body be waited for only a moment."""
    monkeypatch.setattr(lane, "DROP_SECONDS", 0.05)


def test_of_a_body_that_is_too_large_eight_mebibytes_are_dropped_before_the_answer(backup, now):
    parts_read, block = 0, LIMIT // 16

    async def ask():
        sent = []

        async def receive():
            nonlocal parts_read
            parts_read += 1
            return part(b"x" * block, more=True)

        async def send(message):
            sent.append(message)

        chunked = [(b"transfer-encoding", b"chunked")]
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "headers": chunked, "client": None}
        scope["path"] = f"/Heartbeat/{backup.token}"
        await PingLane(not_ours, Committer(conninfo(), max_waiting=10), max_body_bytes=LIMIT)(scope, receive, send)
        return sent[0]["status"]

    assert asyncio.run(ask()) == 413
    assert parts_read == (16 + 1) + (8 * 16 + 1)


def test_a_large_body_of_unsaid_length_is_refused_when_it_passes_the_limit(backup, now, drops):
    path, half = f"/Heartbeat/{backup.token}", b"x" * (LIMIT // 2)

    assert said_by_lane(path, part(half, more=True), part(half, more=False)) == 200
    assert said_by_lane(path, part(half, more=True), part(half, more=True), part(b"x", more=False)) == 413
    assert said_by_lane(path, *[part(half, more=True)] * 4) == 413
    assert Ping.objects.count() == 1


def test_a_body_that_says_it_is_too_large_is_refused_at_once_and_an_empty_one_is_not_waited_for(backup, now, drops):
    path = f"/Heartbeat/{backup.token}"

    assert said_by_lane(path, content_length=str(LIMIT + 1).encode()) == 413
    assert said_by_lane(path, content_length=b"0") == 200


@pytest.mark.parametrize(
    ("address", "kept"), [("", None), ("unix:", None), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")]
)
def test_a_senders_strange_address_never_loses_a_ping(backup, now, address, kept):
    assert said_by_lane(f"/Heartbeat/{backup.token}", content_length=b"0", client=(address, 0)) == 200
    assert Ping.objects.get().source_ip == kept


@pytest.mark.parametrize(("http_version", "status"), [("1.0", 200), ("1.1", 200), ("2", 408)])
def test_a_ping_without_a_body_is_not_waited_for_where_http_says_that_none_comes(
    backup, now, monkeypatch, http_version, status
):
    monkeypatch.setattr(lane, "BODY_SECONDS", 0.05)

    assert said_by_lane(f"/Heartbeat/{backup.token}", headers=[], http_version=http_version) == status


PROXIES = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "fd00::/8")))


def lane_hears(path, *, peer, headers, trusted):
    """Send a ping through the lane as a proxy or a stranger would."""

    async def ask():
        committer = Committer(conninfo(), max_waiting=10)
        running = asyncio.create_task(committer.run())
        lane = PingLane(not_ours, committer, max_body_bytes=LIMIT, trusted_proxies=trusted)
        said = []

        async def send(message):
            said.append(message)

        encoded = [(b"content-length", b"0"), *((name.lower().encode(), value) for name, value in headers)]
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": path, "headers": encoded}
        scope["client"] = (peer, 1)
        await lane(scope, asyncio.Event().wait, send)
        committer.close()
        await running
        return said[0]["status"]

    return asyncio.run(ask())


def view_hears(path, *, peer, headers, trusted):
    """Send the same through the view, as an application server without ASGI would hand it on."""
    lines = {}
    for name, value in headers:
        key = "HTTP_" + name.upper().replace("-", "_")
        lines[key] = f"{lines[key]},{value.decode('latin-1')}" if key in lines else value.decode("latin-1")
    with override_settings(TRUSTED_PROXIES=trusted):
        return Client(raise_request_exception=False).post(path, REMOTE_ADDR=peer, **lines).status_code


@pytest.fixture(params=[view_hears, lane_hears], ids=["view", "lane"])
def hears(request):
    return request.param


FOR = "X-Forwarded-For"


@pytest.mark.parametrize(
    ("peer", "headers", "kept"),
    [
        ("10.0.0.9", [(FOR, b"203.0.113.66, 198.51.100.4")], "198.51.100.4"),
        ("10.0.0.9", [(FOR, b"203.0.113.66"), (FOR, b"198.51.100.4")], "198.51.100.4"),
        ("10.0.0.9", [(FOR, b"198.51.100.4, 10.0.0.7")], "198.51.100.4"),
        ("fd00::1", [(FOR, b"2001:db8::7")], "2001:db8::7"),
        ("10.0.0.9", [], "10.0.0.9"),
        ("192.0.2.7", [(FOR, b"198.51.100.4")], "192.0.2.7"),  # no proxy of ours
        ("10.0.0.9", [("X_Forwarded_For", b"203.0.113.66"), (FOR, b"198.51.100.4")], "198.51.100.4"),
        ("10.0.0.9", [(FOR, b"not an address, 10.0.0.1")], "10.0.0.1"),
        ("10.0.0.9", [(FOR, b"\xff\xfe, \x00")], "10.0.0.9"),
        ("10.0.0.9", [(FOR, b"1," * 30_000 + b"198.51.100.4")], "198.51.100.4"),
        ("unix:", [(FOR, b"198.51.100.4")], None),
    ],
)
def test_the_sender_of_a_ping_is_who_a_trusted_proxy_says_it_is(hears, backup, peer, headers, kept):
    if hears is view_hears:
        headers = [pair for pair in headers if "_" not in pair[0]]  # an ASGI server's business

    assert hears(f"/Heartbeat/{backup.token}", peer=peer, headers=headers, trusted=PROXIES) == 200
    assert Ping.objects.get().source_ip == kept


def test_without_named_proxies_nobody_is_believed(hears, backup):
    headers = [(FOR, b"198.51.100.4"), ("Forwarded", b"for=198.51.100.4"), ("X-Real-IP", b"198.51.100.4")]

    assert hears(f"/Heartbeat/{backup.token}", peer="10.0.0.9", headers=headers, trusted=()) == 200
    assert Ping.objects.get().source_ip == "10.0.0.9"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"curl/8.14.1", "curl/8.14.1"),
        (b"", None),
        (b"   ", None),
        (b"back\\slash \"quoted\" {a,b} 'NULL'", "back\\slash \"quoted\" {a,b} 'NULL'"),
        (b"NULL", "NULL"),
        ("Zürich ☎".encode(), "Zürich ☎"),
        (b"a\x00b\x1b[31mred\x7f\r\n", "a\ufffdb\ufffd[31mred\ufffd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("\u202eright to\u2028left".encode(), "\ufffdright to\ufffdleft"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"x" * 60_000, "x" * 200),
        (b"x" * 199 + "é".encode(), "x" * 199 + "\ufffd"),
    ],
)
def test_the_user_agent_of_a_ping_is_kept_cut_and_clean(hears, backup, sent, kept):
    assert hears(f"/Heartbeat/{backup.token}", peer="192.0.2.7", headers=[("User-Agent", sent)], trusted=()) == 200
    assert Ping.objects.get().user_agent == kept


def test_a_ping_without_a_user_agent_has_none(hears, backup):
    assert hears(f"/Heartbeat/{backup.token}", peer="192.0.2.7", headers=[], trusted=()) == 200
    assert Ping.objects.get().user_agent is None


def test_a_body_that_does_not_come_is_a_408(backup, now, monkeypatch):
    monkeypatch.setattr(lane, "BODY_SECONDS", 0.05)

    assert said_by_lane(f"/Heartbeat/{backup.token}", part(b"x", more=True)) == 408
    assert not Ping.objects.exists()


@pytest.mark.parametrize(
    ("content_length", "messages", "status"),
    [
        (b"2", [b"{}"], 200),
        (b"2", [b"{", b"}"], 200),
        (b"3", [b"{}"], 408),
        (None, [b"{}"], 408),  # in chunks: only the last one says that it is the last
        (b"no number", [b"{}"], 408),
    ],
)
def test_a_body_that_has_all_bytes_it_declared_is_complete_and_no_more_is_awaited(
    backup, now, monkeypatch, content_length, messages, status
):
    monkeypatch.setattr(lane, "BODY_SECONDS", 0.05)
    parts = [part(body, more=True) for body in messages]

    assert said_by_lane(f"/Heartbeat/{backup.token}", *parts, content_length=content_length) == status
    assert Ping.objects.count() == (status == 200)


def test_a_length_beside_chunks_does_not_count(backup, now, monkeypatch):
    monkeypatch.setattr(lane, "BODY_SECONDS", 0.05)
    headers = [(b"content-length", b"2"), (b"transfer-encoding", b"chunked")]

    assert said_by_lane(f"/Heartbeat/{backup.token}", part(b"{}", more=True), headers=headers) == 408
    headers.reverse()
    assert said_by_lane(f"/Heartbeat/{backup.token}", part(b"{}", more=True), headers=headers) == 408


def test_a_slow_sender_that_has_passed_the_limit_gets_that_answer_and_not_that_it_is_slow(
    backup, now, monkeypatch, drops
):
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


def test_a_ping_that_ends_a_silence_through_the_lane_wakes_workers_for_the_recovery(backup, now, monkeypatch):
    woken = []
    monkeypatch.setattr(
        "integrations.ping_lane.committer.wake_now", lambda name, **kwargs: woken.append((name, kwargs))
    )
    Heartbeat.objects.update(state="missed")

    assert through_lane("POST", f"/Heartbeat/{backup.token}").status == 200

    assert woken == [("integrations.close_recovered", {"queue": "engine", "integration_ids": [backup.pk]})]
