"""What reaches Django is whole, small enough and readable; all else is a 4xx that says why."""

import asyncio
import json

import pytest

from heartbeat_project import whole_requests
from heartbeat_project.whole_requests import WholeRequests
from integrations.ping_lane import lane

LIMIT = 1_000


@pytest.fixture(autouse=True)
def drops(monkeypatch):
    """Let what is dropped of a large body be waited for only a moment."""
    monkeypatch.setattr(whole_requests, "DROP_SECONDS", 0.05)


def part(body: bytes, *, more: bool = False):
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


class Asked:
    """Requests to one endpoint: what is behind it keeps what it got, and each says what was answered."""

    def __init__(self) -> None:
        self.bodies = []
        self.left = []
        self.said = []
        self.endpoint = WholeRequests(self.inner, max_body_bytes=LIMIT, cut={"/mail/"})

    async def inner(self, scope, receive, send):
        self.bodies.append((await receive())["body"])
        self.then = await receive()
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(self, *messages, path="/api/v1/groups/", query=b"", headers=((b"transfer-encoding", b"chunked"),)):
        left, said = list(messages), []
        self.left, self.said = left, said

        async def receive():
            return left.pop(0) if left else await asyncio.Event().wait()

        async def send(message):
            said.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "query_string": query,
            "headers": list(headers),
        }
        await self.endpoint(scope, receive, send)
        if said[0]["status"] >= 400:
            assert (b"content-type", b"application/problem+json") in said[0]["headers"]
            assert json.loads(said[1]["body"])["status"] == said[0]["status"]
        return said[0]["status"]


def length(number: bytes):
    return ((b"content-length", number),)


def test_a_body_in_parts_comes_whole_and_after_it_that_the_client_has_gone():
    asked = Asked()

    assert asyncio.run(asked.ask(part(b"a" * 600, more=True), part(b"b" * 400), GONE)) == 299
    assert asked.bodies == [b"a" * 600 + b"b" * 400]
    assert asked.then == GONE


def test_a_request_without_a_body_is_not_waited_for():
    asked = Asked()

    assert asyncio.run(asked.ask(part(b""), GONE, headers=())) == 299
    assert asyncio.run(asked.ask(part(b""), GONE, headers=length(b"0"))) == 299


@pytest.mark.parametrize("headers", [((b"transfer-encoding", b"chunked"),), length(b"5000"), length(b"1001")])
def test_a_body_that_is_too_large_is_read_to_its_end_and_refused(headers):
    asked = Asked()
    parts = [part(b"x" * 500, more=True)] * 9

    assert asyncio.run(asked.ask(*parts, part(b"x" * 500), headers=headers)) == 413
    assert asked.bodies == []
    assert asked.left == []
    assert asked.endpoint._held == 0


@pytest.mark.parametrize("headers", [((b"transfer-encoding", b"chunked"),), length(b"5000"), length(b"1001")])
def test_of_a_long_mail_the_beginning_is_handed_on(headers):
    asked = Asked()
    parts = [part(b"%d" % number * 300, more=True) for number in range(9)]

    assert asyncio.run(asked.ask(*parts, part(b"x" * 500), GONE, path="/mail/", headers=headers)) == 299
    assert asked.bodies == [b"0" * 300 + b"1" * 300 + b"2" * 300 + b"3" * 100]
    assert asked.endpoint._held == 0


@pytest.mark.parametrize("path", ["/mail/", "/api/v1/groups/"])
@pytest.mark.parametrize("number", [b"99999999999999999999", b"9" * 5_000])
def test_a_body_that_says_it_is_endless_is_not_waited_for(number, path):
    assert asyncio.run(Asked().ask(headers=length(number), path=path)) == 413


@pytest.mark.parametrize("path", ["/mail/", "/api/v1/groups/"])
def test_an_endless_body_is_refused_after_so_much(monkeypatch, path):
    monkeypatch.setattr(whole_requests, "MAX_CUT_BYTES", 5_000)
    monkeypatch.setattr(lane, "MAX_DROPPED_BYTES", 5_000)
    asked = Asked()

    assert asyncio.run(asked.ask(*[part(b"x" * 500, more=True)] * 40, path=path)) == 413
    assert len(asked.left) >= 17, "it was read on and on"


@pytest.mark.parametrize("messages", [(GONE,), (part(b"{", more=True), GONE)])
def test_a_body_that_breaks_off_is_refused(messages):
    asked = Asked()

    assert asyncio.run(asked.ask(*messages)) == 400
    assert asked.bodies == []


def test_half_a_body_is_refused_in_time_and_lets_go_of_what_it_held(monkeypatch):
    monkeypatch.setattr(whole_requests, "BODY_SECONDS", 0.05)
    asked = Asked()

    assert asyncio.run(asked.ask(part(b"x" * 900, more=True))) == 408
    assert asked.endpoint._held == 0
    assert not asked.endpoint._timeout._since


def test_of_all_half_bodies_the_oldest_are_ended_where_they_hold_too_much(monkeypatch):
    monkeypatch.setattr(whole_requests, "MAX_HELD_BYTES", 5_000)
    asked = Asked()

    async def crowd():
        half = [asyncio.create_task(asked.ask(part(b"x" * 900, more=True))) for _ in range(8)]
        await asyncio.sleep(0.05)
        newcomer = await asked.ask(part(b"y" * 500, more=True), part(b"y" * 100), GONE)
        ended = [task.result() for task in half if task.done()]
        waiting = [number for number, task in enumerate(half) if not task.done()]
        for task in half:
            task.cancel()
        await asyncio.gather(*half, return_exceptions=True)
        return newcomer, ended, waiting

    newcomer, ended, waiting = asyncio.run(crowd())

    assert newcomer == 299
    assert set(ended) == {408}
    assert waiting == list(range(8 - len(waiting), 8)), "a younger one was ended before an older"
    assert len(waiting) * 900 <= 5_000
    assert asked.endpoint._held == 0


@pytest.mark.parametrize(("path", "query"), [("/alerts/\0/", b""), ("/", b"search=%00"), ("/admin/", b"a=1&b=x%00y")])
def test_a_nul_in_an_address_is_refused(path, query):
    asked = Asked()

    assert asyncio.run(asked.ask(part(b""), path=path, query=query)) == 400
    assert asked.bodies == []


def test_a_body_that_is_too_large_is_refused_before_it_is_sent_to_who_asks_first():
    asked = Asked()

    assert asyncio.run(asked.ask(headers=(*length(b"5000"), (b"expect", b"100-Continue")))) == 413
    assert (
        asyncio.run(asked.ask(part(b"x" * 900), GONE, headers=(*length(b"900"), (b"expect", b"100-continue")))) == 299
    )


@pytest.mark.parametrize(
    ("types", "status"), [([b"a/b;" + b"c" * 252], 299), ([b"a/b;" + b"c" * 253], 400), ([b"a" * 128, b"b" * 129], 400)]
)
def test_a_type_of_the_body_has_a_length(types, status):
    asked = Asked()

    assert asyncio.run(asked.ask(part(b""), GONE, headers=[(b"content-type", one) for one in types])) == status


def test_cookies_with_a_backslash_are_left_out_and_the_others_stay():
    headers = [(b"cookie", b'a=1; b="\\\\\\"; heartbeat_session=x'), (b"x", b"\\;"), (b"cookie", b"c=2")]

    assert whole_requests.plain_cookies(headers) == [
        (b"cookie", b"a=1; heartbeat_session=x"),
        (b"x", b"\\;"),
        (b"cookie", b"c=2"),
    ]
