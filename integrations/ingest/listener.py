"""The web process's outermost layer: while the process listens, it commits a pulse every second."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError, close_old_connections

from heartbeat_project.kernel import clock
from integrations.ingest.record import record_pulse

log = logging.getLogger(__name__)

PULSE_SECONDS = 1.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Listener:
    """An ASGI application around `inner` that answers the lifespan and keeps the pulse going."""

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests on; start and stop the pulse with the server."""
        if scope["type"] != "lifespan":
            await self.inner(scope, receive, send)
            return
        await receive()  # lifespan.startup
        pulse = asyncio.create_task(keep_pulse())
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        pulse.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pulse
        await send({"type": "lifespan.shutdown.complete"})


async def keep_pulse() -> None:
    """Commit a pulse each second, through the path that pings take; a store that is away ends nothing."""
    heard = True
    while True:
        try:
            await sync_to_async(_pulse, thread_sensitive=False)()
            heard = True
        except DatabaseError as error:
            if heard:
                log.warning("no pulse, the store is away: %s", error)
            heard = False
        except Exception:
            log.exception("no pulse")
        await asyncio.sleep(PULSE_SECONDS)


def _pulse() -> None:
    try:
        record_pulse(now=clock.now())
    finally:
        close_old_connections()
