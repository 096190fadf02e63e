"""The event lane answers as Django's own handler does, with a few threads that keep their connections."""

import asyncio
import json
import threading

import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection

from heartbeat_project import event_lane
from heartbeat_project.event_lane import NOT_FOR_EVENTS, EventLane
from heartbeat_project.whole_requests import WholeRequests
from integrations.api.events import FLOOD
from integrations.models.events import InboundEvent
from tests import factories
from tests.processes import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop():
    return factories.ApiIntegrationFactory(name="Shop")


@pytest.fixture
def lane():
    lane = EventLane(get_asgi_application())
    yield lane
    lane.threads.idle_seconds = 0.0
    with lane.threads._some:
        lane.threads._some.notify_all()
    until(lambda: not lane.threads._threads, seconds=30, what="the threads end")


def ask(application, method, path, body=b"{}", query=b"", **headers):
    """Return status, headers and body of the answer of an ASGI application."""
    named = {"host": "localhost", "content-length": str(len(body)), **headers}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
    }
    sent = []

    async def send(message):
        sent.append(message)

    async def run():
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        over = asyncio.Event()

        async def receive():
            if messages:
                return messages.pop()
            await over.wait()
            return {"type": "http.disconnect"}

        await WholeRequests(application, max_body_bytes=1 << 20)(scope, receive, send)

    asyncio.run(run())
    start, *parts = sent
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], found, b"".join(part["body"] for part in parts)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/POSTAlert/{}", {}),
        ("POST", "/postalert/{}/Nagios/", {"content_type": "text/plain; charset=utf-7"}),
        ("POST", "/POSTAlert/{}/ü", {}),
        ("GET", "/POSTAlert/{}", {}),
        ("HEAD", "/POSTAlert/{}", {}),
        ("OPTIONS", "/POSTAlert/{}", {"webhook_request_origin": "sender.example"}),
        ("DELETE", "/POSTAlert/{}", {}),
        ("POST", "/POSTAlert/unknown", {}),
        ("POST", "/POSTAlert/{}/a/b", {}),
        ("POST", "/POSTAlert/{}", {"host": "elsewhere.example"}),
        ("POST", "/POSTAlert/{}", {"x_forwarded_proto": "https", "x_forwarded_for": "192.0.2.1"}),
    ],
)
def test_it_answers_as_django_does(lane, shop, method, path, headers):
    path = path.format(shop.token)
    by_lane = ask(lane, method, path, **headers)
    by_django = ask(lane.inner, method, path, **headers)
    # Django's own looks who is signed in. The number of the event may have another length.
    hidden = {"vary", "content-length"} if by_lane[0] == 200 else {"vary"}
    assert by_lane[0] == by_django[0]
    assert {name: value for name, value in by_lane[1].items() if name not in hidden} == {
        name: value for name, value in by_django[1].items() if name not in hidden
    }
    if method != "HEAD" and by_lane[0] != 200 and "html" not in by_lane[1]["content-type"]:
        assert by_lane[2] == by_django[2]


def test_every_middleware_that_it_leaves_out_exists():
    assert set(settings.MIDDLEWARE) > NOT_FOR_EVENTS


def test_a_query_that_is_no_text_is_no_reason_to_refuse_an_event(lane, shop):
    assert ask(lane, "POST", f"/POSTAlert/{shop.token}", query=b"severity=\xff\xfe&title=db1")[0] == 200
    assert InboundEvent.objects.get().query["title"] == "db1"


def test_a_thread_keeps_its_connection_for_the_next_event(lane, shop):
    backends = set()
    lane._handler._middleware_chain = _noting(lane._handler._middleware_chain, backends)
    for _ in range(3):
        assert ask(lane, "POST", f"/POSTAlert/{shop.token}")[0] == 200
    assert len(backends) == 1


def test_a_connection_that_was_ended_is_replaced(lane, shop, monkeypatch):
    monkeypatch.setattr(event_lane, "CHECKED_SECONDS", 0.0)
    backends = set()
    lane._handler._middleware_chain = _noting(lane._handler._middleware_chain, backends)
    assert ask(lane, "POST", f"/POSTAlert/{shop.token}")[0] == 200
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [*backends])
    assert ask(lane, "POST", f"/POSTAlert/{shop.token}")[0] == 200
    assert InboundEvent.objects.count() == 2


def _noting(handler, backends):
    def chain(request):
        response = handler(request)
        backends.add(connection.connection.info.backend_pid)
        return response

    return chain


def test_events_beyond_what_may_wait_are_refused_and_say_when_to_come_again(lane, shop, monkeypatch):
    monkeypatch.setattr(event_lane, "MAX_WAITING_BYTES", 10)
    status, headers, body = ask(lane, "POST", f"/POSTAlert/{shop.token}", b"x" * 11)
    assert (status, headers["retry-after"], json.loads(body)["code"]) == (503, "5", "too_much_at_once")
    assert InboundEvent.objects.count() == 0


def hold_events_of(lane, shop):
    """Occupy the turn of an integration, and return the event that frees it."""
    begun, gate = threading.Event(), threading.Event()

    def hold():
        begun.set()
        gate.wait()

    lane.threads.submit(("", shop.token), hold)
    assert begun.wait(30)
    return gate


def test_an_event_that_no_thread_begins_in_time_is_taken_back(lane, shop, monkeypatch):
    monkeypatch.setattr(event_lane, "WAIT_SECONDS", 0.1)
    gate = hold_events_of(lane, shop)
    try:
        assert ask(lane, "POST", f"/POSTAlert/{shop.token}")[0] == 503
    finally:
        gate.set()
    assert InboundEvent.objects.count() == 0
    assert ask(lane, "POST", f"/POSTAlert/{shop.token}")[0] == 200


def test_an_event_whose_sender_waits_no_more_is_carried_out(lane, shop):
    gate = hold_events_of(lane, shop)

    async def send_and_go() -> None:
        async def receive():
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message):
            raise AssertionError(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": f"/POSTAlert/{shop.token}",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-length", b"2")],
            "client": ("127.0.0.1", 50_000),
        }
        asked = asyncio.create_task(lane(scope, receive, send))
        while not lane.threads.waiting:
            await asyncio.sleep(0.001)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        gate.set()

    asyncio.run(send_and_go())
    until(lambda: InboundEvent.objects.count() == 1, seconds=30, what="the event is stored")


@pytest.fixture(autouse=True)
def no_flood():
    FLOOD._full_at.clear()
