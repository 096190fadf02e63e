"""The ping lane: an ASGI application in front of Django's that takes `/Heartbeat/` only.

Requests wait in memory for the batch that is forming; one statement commits the batch, and then every request in it is
answered. It needs PostgreSQL and nothing else.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from heartbeat_project.kernel import clock
from heartbeat_project.kernel.doorbell import learn_to_ring
from integrations.ingest import answers
from integrations.ingest.answers import Answer, answer_to
from integrations.ingest.committer import Away, Committer, Full
from integrations.ingest.hearing import HERE, Hearing
from integrations.ingest.patience import Patience
from integrations.ingest.record import Arrival, ip

log = logging.getLogger(__name__)

PULSE_SECONDS: Final = 1.0
# A deadline is judged by the pulse after it. That pulse comes a moment later, so that what another web process heard in
# time is stored by then; many deadlines in a row share one.
DEADLINE_SECONDS, BETWEEN_SECONDS = 0.05, 0.1
BODY_SECONDS: Final = 10.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class BrokenOff(Exception):
    """The request ended before it was whole; the client may still listen."""


class PingLane:
    """Pings to `committer`, all else to `inner`; while the server lives, a pulse each second and after a deadline."""

    def __init__(
        self, inner: Application, committer: Committer, *, max_body_bytes: int, hearing: Hearing = HERE
    ) -> None:
        self.inner = inner
        self.committer = committer
        self.hearing = hearing
        self.max_body_bytes = max_body_bytes
        self._patience = Patience(BODY_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and (token := token_in(scope["path"])) is not None:
            await self._ping(token, scope, receive, send)
        else:
            await self.inner(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        running = asyncio.create_task(self.committer.run())
        pulse = asyncio.create_task(self._keep_pulse())
        await send({"type": "lifespan.startup.complete"})
        await asyncio.to_thread(learn_to_ring)
        await receive()  # lifespan.shutdown
        pulse.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pulse
        self.hearing.pulse_at = None
        self.committer.close()
        await running
        await send({"type": "lifespan.shutdown.complete"})

    async def _keep_pulse(self) -> None:
        """Commit pulses, through the path that pings take; a store that is away ends nothing."""
        heard = True
        self.hearing.pulsed(clock.now())
        while True:
            now, wait = clock.now(), PULSE_SECONDS
            try:
                deadline = await self.committer.pulse(now=now)
                if deadline is not None:
                    coming = (deadline - clock.now()).total_seconds() + DEADLINE_SECONDS
                    wait = min(PULSE_SECONDS, max(BETWEEN_SECONDS, coming))
                self.hearing.pulsed(now)
                heard = True
            except Away as error:
                if heard:
                    log.warning("no pulse, the store is away: %s", error.__cause__)
                heard = False
            except Exception:
                log.exception("no pulse")
            await asyncio.sleep(wait)

    async def _ping(self, token: str, scope: Scope, receive: Receive, send: Send) -> None:
        received_at = clock.now()
        method = scope["method"]
        if method not in {"POST", "GET", "HEAD"}:
            await respond(answers.WRONG_METHOD, scope, send)
            return
        try:
            if await self._patience.bear(self._body_is_too_large(scope, receive)):
                answer = answers.TOO_LARGE
            else:
                client = scope.get("client")
                arrival = Arrival(token, received_at, method, ip(client[0]) if client else None)
                receipt = await self.committer.record(arrival)
                if receipt is not None:
                    self.hearing.stored()
                answer = answer_to(receipt)
        except TimeoutError:
            answer = answers.TOO_SLOW
        except Full:
            answer = answers.BUSY
        except Away as error:
            self.hearing.refused(received_at, why=str(error))
            answer = answers.AWAY
        except BrokenOff:
            # Said even to a client that may be gone: for an application that says nothing the server says 500.
            answer = answers.BROKEN_OFF
        await respond(answer, scope, send)

    async def _body_is_too_large(self, scope: Scope, receive: Receive) -> bool:
        """Take the body in without keeping it; it is read to its end or to the limit. Raises BrokenOff."""
        for name, value in scope["headers"]:
            if name == b"content-length":
                if value == b"0":
                    return False
                if value.isdigit() and int(value) > self.max_body_bytes:
                    return True
        size, more = 0, True
        while more and size <= self.max_body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BrokenOff
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        return size > self.max_body_bytes


def token_in(path: str) -> str | None:
    """Return the token of a ping's path, or None when the path is another page's.

    `/heartbeat/<token>` and a trailing slash mean the same as `/Heartbeat/<token>`.
    """
    if path[1:11] not in {"Heartbeat/", "heartbeat/"}:
        return None
    token = path[11:].removesuffix("/")
    return token if token and "/" not in token else None


async def respond(answer: Answer, scope: Scope, send: Send) -> None:
    """Send an answer; HEAD gets its headers only."""
    content = answer.content
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(content))]
    headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})
