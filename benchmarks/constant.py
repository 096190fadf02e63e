"""The reference application: the same server answers the same request with a constant, and stores nothing."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

BODY = b'{"status":"ok","received_at":"2026-03-02T12:00:00.000000Z","deadline_at":"2026-03-02T12:05:00.000000Z"}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
END = {"type": "http.response.body", "body": BODY}


async def application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Answer every request with the same response."""
    if scope["type"] != "http":
        return
    await receive()
    await send(START)
    await send(END)
