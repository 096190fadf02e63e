"""Passes complete requests to Django, and refuses those that are too large, too slow, broken off or unreadable.

Django alone would wait forever for the rest of a body, write an endless one to the disk, and not report one that broke
off. Pings do not come this way: the ping lane reads theirs.
"""

import json
from collections.abc import Collection, Iterable, MutableMapping
from typing import Any, Final

from heartbeat_project.event_requests import is_event, readable
from heartbeat_project.kernel.problems import problem
from integrations.ping_lane.answers import RawResponse
from integrations.ping_lane.lane import (
    DROP_SECONDS,
    Application,
    BrokenOff,
    Receive,
    Scope,
    Send,
    body_length,
    drop_rest,
    respond,
)
from integrations.ping_lane.shared_timeout import SharedTimeout

BODY_SECONDS: Final = 30.0  # for one body
# Of all incomplete bodies of a process. Beyond it, the body that has taken longest is refused: an honest sender needs
# only moments.
MAX_HELD_BYTES: Final = 64 * 1024 * 1024
# Bytes of a body at a path in `cut`, of which only the beginning is kept.
MAX_CUT_BYTES: Final = 32 * 1024 * 1024
# Django's parser takes quadratic time for Content-Type: 60 KB of semicolons after a quote took 4 s.
MAX_TYPE_BYTES: Final = 256
_MIB: Final = 1024 * 1024


def _refusal(status: int, detail: str, code: str) -> RawResponse:
    return RawResponse(status, json.dumps(problem(status, detail=detail, code=code)).encode())


BROKEN_OFF: Final = _refusal(400, "The body of the request broke off, or its chunks are malformed.", "broken_off")
NO_TYPE: Final = _refusal(400, "Content-Type has an encoded parameter (NAME*=). Send it unencoded.", "no_type")
LONG_TYPE: Final = _refusal(400, f"Content-Type may have at most {MAX_TYPE_BYTES} bytes.", "no_type")
NO_TEXT: Final = _refusal(400, "The address contains a NUL character (%00). Remove it.", "no_text")
TOO_SLOW: Final = _refusal(408, "The body of the request did not arrive in time. Send it again.", "too_slow")


class TooLarge(Exception):
    """The body has more bytes than are accepted."""


class WholeRequests:
    """Passes each request to `inner` with its complete body, of at most `max_body_bytes`.

    At the paths in `cut`, a longer body is cut to that length: of a mail with a photo, the beginning is enough.
    """

    def __init__(self, inner: Application, *, max_body_bytes: int, cut: Collection[str] = ()) -> None:
        self.inner = inner
        self.max_body_bytes = max_body_bytes
        self.cut = frozenset(cut)
        limit = f"{max_body_bytes / _MIB:g} MiB ({max_body_bytes:,} bytes)"
        self.too_large = _refusal(413, f"The body of a request may have at most {limit}.", "too_large")
        self._held = 0
        self._timeout = SharedTimeout(BODY_SECONDS)
        self._drop_timeout = SharedTimeout(DROP_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        if is_event(scope):
            scope = readable(scope)
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            # Neither PostgreSQL's text nor a file name can contain NUL: every use of it would raise an error.
            await respond(NO_TEXT, scope, send)
        elif (type_error := _content_type_error(scope)) is not None:
            await respond(type_error, scope, send)
        else:
            await self._pass_on({**scope, "headers": plain_cookies(scope["headers"])}, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request once its body is complete, or refuse it."""
        if body_length(scope) == 0:
            await self.inner(scope, receive, send)
        else:
            try:
                body = await self._timeout.run(self._body(scope, receive))
            except TooLarge:
                await drop_rest(scope, receive, timeout=self._drop_timeout)
                await respond(self.too_large, scope, send)
            except TimeoutError:
                await respond(TOO_SLOW, scope, send)
            except BrokenOff:
                await respond(BROKEN_OFF, scope, send)
            else:
                await self.inner(scope, _once(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the body, cut to `max_body_bytes` at a path in `cut`. Raises BrokenOff or TooLarge."""
        limit = MAX_CUT_BYTES if scope["path"] in self.cut else self.max_body_bytes
        if (body_length(scope) or 0) > limit:
            raise TooLarge
        parts: list[bytes] = []
        size, held, more = 0, 0, True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BrokenOff
                part = message.get("body", b"")
                more = message.get("more_body", False)
                size += len(part)
                if size > limit:
                    raise TooLarge
                if part := part[: self.max_body_bytes - held]:
                    parts.append(part)
                    self._held, held = self._held + len(part), held + len(part)
                    if more and self._held > MAX_HELD_BYTES:
                        self._timeout.end_oldest()
        finally:
            self._held -= held
        return b"".join(parts)


def _content_type_error(scope: Scope) -> RawResponse | None:
    """Return the response to a Content-Type that must not reach Django, else None.

    Repeated headers count together, because Django joins them.
    """
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    if sum(map(len, types)) > MAX_TYPE_BYTES:
        return LONG_TYPE
    # Django decodes an encoded parameter from any encoding that it names; no error handler catches an error there.
    return NO_TYPE if any(b"*" in value.partition(b";")[2] for value in types) else None


def plain_cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers without the cookies that contain a backslash; none of ours does.

    Python unescapes a quoted cookie in quadratic time: 60 KB of backslashes took 9 s.
    """
    return [(name, _without_backslashes(value) if name == b"cookie" else value) for name, value in headers]


def _without_backslashes(cookies: bytes) -> bytes:
    if b"\\" not in cookies:
        return cookies
    return b";".join(cookie for cookie in cookies.split(b";") if b"\\" not in cookie)


def _once(body: bytes, receive: Receive) -> Receive:
    """Return a callable that returns the complete body once, and then what `receive` returns: the disconnect."""
    is_received = False

    async def receive_whole() -> MutableMapping[str, Any]:
        nonlocal is_received
        if is_received:
            return await receive()
        is_received = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_whole
