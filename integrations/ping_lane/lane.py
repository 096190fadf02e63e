"""The ping lane: an ASGI application in front of Django's that takes `/Heartbeat/` only.

Requests wait in memory for the batch that is forming; one statement commits the batch, and then every request in it is
answered. It needs PostgreSQL and nothing else.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from heartbeat_project.kernel import clock, proxies
from heartbeat_project.kernel.wakeup import warm_up
from integrations.ping_lane import answers
from integrations.ping_lane.answers import RawResponse, answer_to
from integrations.ping_lane.batch import MAX_AGENT, Arrival, agent, ip
from integrations.ping_lane.committer import Committer, Full, Refused, StoreUnavailable
from integrations.ping_lane.health import PROCESS_HEALTH, ProcessHealth
from integrations.ping_lane.own_address import Address
from integrations.ping_lane.pulse import PATH as PULSE_PATH
from integrations.ping_lane.pulse import Pulse
from integrations.ping_lane.shared_timeout import SharedTimeout

BODY_SECONDS: Final = 10.0  # for the body of one ping
# Of a body that is too large, so much more is read and dropped before the answer, for so long: a client that is still
# sending when the connection closes (Python's http.client, wget) never reads the answer.
MAX_DROPPED_BYTES: Final = 8 * 1024 * 1024
DROP_SECONDS: Final = 10.0
# Of request line and headers. The web server counts what it happens to have read, so it stops somewhere between this
# and twice as much; the lane holds all requests to the same limit.
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_LENGTH_DIGITS: Final = 20  # of Content-Length; Python reads no number of more than some thousand digits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class BrokenOff(Exception):
    """The request ended before its body was complete; the client may still read the answer."""


class PingLane:
    """Passes pings to `committer` and all other requests to `inner`, and runs the pulse while the server runs.

    `address` returns the address of this process for its pulses, `turns_away` if it drops connections, see `Pulse`.
    `begin` is called when the server starts, and the function that it returns when the server ends. The sender of a
    ping is read from `X-Forwarded-For` if one of `trusted_proxies` passed it on.
    """

    def __init__(
        self,
        inner: Application,
        committer: Committer,
        *,
        max_body_bytes: int,
        address: Callable[[], Address | None] = lambda: None,
        begin: Callable[[], Callable[[], None]] = lambda: lambda: None,
        turns_away: Callable[[], bool] = lambda: False,
        health: ProcessHealth = PROCESS_HEALTH,
        trusted_proxies: proxies.Networks = (),
    ) -> None:
        self.inner = inner
        self.committer = committer
        self.health = health
        self.pulse = Pulse(committer, address, health=health, turns_away=turns_away)
        self.max_body_bytes = max_body_bytes
        self._begin = begin
        self.trusted_proxies = trusted_proxies
        self._timeout = SharedTimeout(BODY_SECONDS)
        self._drop_timeout = SharedTimeout(DROP_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run from the server's startup to its shutdown."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and head_bytes(scope) > MAX_HEAD_BYTES:
            await respond(answers.HEAD_TOO_LARGE, scope, send)
        elif scope["type"] == "http" and (token := token_in(scope["path"])) is not None:
            await self._ping(token, scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(PULSE_PATH):
            await self._take_pulse(scope, receive, send)
        else:
            await self.inner(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        with contextlib.ExitStack() as at_the_end:
            at_the_end.callback(self._begin())
            await receive()  # lifespan.startup
            running = asyncio.create_task(self.committer.run())
            # Before the first ping, which would otherwise be stamped by a clock that may be wrong.
            with contextlib.suppress(StoreUnavailable):
                await self.committer.keep_time()
            pulse = asyncio.create_task(self.pulse.run())
            await send({"type": "lifespan.startup.complete"})
            await asyncio.to_thread(warm_up)
            await receive()  # lifespan.shutdown
            pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pulse
            self.health.ends()
            self.committer.close()
            await running
            await send({"type": "lifespan.shutdown.complete"})

    async def _take_pulse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a pulse of this process, whose body is read as a ping's is; answer 404 to any other request."""
        answer = answers.UNKNOWN
        if self.pulse.is_own(scope["path"]):
            with contextlib.suppress(BrokenOff):
                await self._body_is_too_large(body_length(scope), receive)
                answer = answers.PULSE
        await respond(answer, scope, send)

    async def _ping(self, token: str, scope: Scope, receive: Receive, send: Send) -> None:
        received_at, setting = clock.now(), clock.setting()
        try:
            length = body_length(scope)
            if length != 0 and await self._timeout.run(self._body_is_too_large(length, receive)):
                await drop_rest(scope, receive, timeout=self._drop_timeout)
                answer = answers.TOO_LARGE
            else:
                set_back = setting.set_back if setting else None
                arrival = Arrival(token, received_at, scope["method"], self._sender(scope), set_back, _agent(scope))
                receipt = await self.committer.record(arrival)
                if receipt is not None:
                    self.health.stored()
                answer = answer_to(receipt)
        except TimeoutError:
            answer = answers.TOO_SLOW
        except Full:
            answer = answers.BUSY
        except StoreUnavailable as error:
            self.health.refused(received_at, why=str(error), was_reached=isinstance(error, Refused))
            answer = answers.AWAY
        except BrokenOff:
            # The client may be gone, but if the application sends no answer, the server sends a 500.
            answer = answers.BROKEN_OFF
        await respond(answer, scope, send)

    def _sender(self, scope: Scope) -> str | None:
        """Return the IP address that sent the ping."""
        client = scope.get("client")
        peer: str | None = client[0] if client else None
        if peer and self.trusted_proxies and proxies.is_trusted(peer, self.trusted_proxies):
            lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
            peer, _ = proxies.sender(peer, ",".join(lines), self.trusted_proxies)
        return ip(peer)

    async def _body_is_too_large(self, length: int | None, receive: Receive) -> bool:
        """Read a body to its end or to the limit, without keeping it. Raises BrokenOff.

        `length` is what `body_length` returned. A body that has all of its bytes is complete: granian says so only with
        another, empty message, and each message costs a change of threads.
        """
        if length is not None and length > self.max_body_bytes:
            return True
        size, more = 0, True
        while more and size != length and size <= self.max_body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BrokenOff
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        return size > self.max_body_bytes


def head_bytes(scope: Scope) -> int:
    """Return the bytes of request line and headers, as HTTP/1.1 writes them."""
    path = scope.get("raw_path") or scope["path"]
    size = len(scope["method"]) + len(path) + len(scope.get("query_string", b"")) + len("  HTTP/1.1\r\n\r\n")
    for name, value in scope["headers"]:
        size += len(name) + len(value) + 4
    return size


def body_length(scope: Scope) -> int | None:
    """Return how many bytes of body follow, None if only its end will say so (RFC 9112, 6.3)."""
    length: int | None = 0 if scope["http_version"].startswith("1") else None
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None  # a length beside it does not count
        if name == b"content-length":
            length = int(value[:MAX_LENGTH_DIGITS]) if value.isdigit() else None
    return length


def expects_continue(scope: Scope) -> bool:
    """Return whether the client waits for 100 Continue before it sends its body."""
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"])


def token_in(path: str) -> str | None:
    """Return the token of a ping's path, or None when the path is another page's.

    `/heartbeat/<token>` and a trailing slash mean the same as `/Heartbeat/<token>`.
    """
    if path[1:11] not in {"Heartbeat/", "heartbeat/"}:
        return None
    token = path[11:].removesuffix("/")
    return token if token and "/" not in token else None


def _agent(scope: Scope) -> str | None:
    """Return the user agent that sent the ping, cut to the length that is kept."""
    for name, value in scope["headers"]:
        if name == b"user-agent":
            return agent(value[:MAX_AGENT])
    return None


async def drop_rest(scope: Scope, receive: Receive, *, timeout: SharedTimeout) -> None:
    """Read and drop what still comes of a body that is too large, so that its sender reads the answer.

    Nothing is read of a body that says it is longer than can be dropped, or that its sender has not begun because it
    waits for 100 Continue.
    """
    declared = body_length(scope) or 0
    if declared <= MAX_DROPPED_BYTES and not (declared and expects_continue(scope)):
        with contextlib.suppress(TimeoutError):
            await timeout.run(_drop(receive))


async def _drop(receive: Receive) -> None:
    size, more = 0, True
    while more and size <= MAX_DROPPED_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)


async def respond(answer: RawResponse, scope: Scope, send: Send) -> None:
    """Send an answer; HEAD gets its headers only."""
    content = answer.content
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(content))]
    if answer.headers:
        headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})
