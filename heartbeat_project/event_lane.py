"""The event lane: carries out the events of API integrations in a few threads of their own, in front of Django's pages.

Django's ASGI handler starts a thread for each request, and a request changes threads several times; each change waits
for the interpreter, which pings need meanwhile. Here, one thread does all of an event, with the same middleware as far
as an event needs it. Events of one integration come one after the other, so none waits in the database for another.
"""

import asyncio
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from io import BytesIO
from typing import Any, Final, cast

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.utils import load_backend
from django.http import HttpResponse
from django.urls import set_script_prefix
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from accounts.request_queue import RETRY_AFTER_SECONDS, WAIT_SECONDS
from heartbeat_project.event_requests import is_event
from heartbeat_project.kernel.fair_queue import Full
from heartbeat_project.kernel.fair_threads import FairThreads
from heartbeat_project.kernel.problems import problem
from integrations.api.events import HAS_A_THREAD, ORGANIZATION
from integrations.inbound.flood import BURST
from integrations.ping_lane.answers import RawResponse
from integrations.ping_lane.lane import Application, Receive, Scope, Send, respond

# Most of its time, an event waits for its commit to be on the disk, and those of several threads are written together.
THREADS: Final = 6
MAX_WAITING_OF_ONE: Final = BURST  # events of one address
MAX_WAITING: Final = 400
# Of the bodies of all events that wait.
MAX_WAITING_BYTES: Final = 64 << 20
# A thread that had no event for so long ends, and closes its connection to the database.
IDLE_SECONDS: Final = 5.0
# A connection that served an event within this time is not checked before the next one.
CHECKED_SECONDS: Final = 1.0
MAX_TOKEN: Final = 64  # letters
# Tokens whose organization is remembered. Events to all others share the turns of one organization.
MAX_KNOWN: Final = 100_000
# What pages and the API need and events do not: who is signed in, forms, files, messages and compressed answers.
NOT_FOR_EVENTS: Final = frozenset(
    {
        "heartbeat_project.middleware.Probes",
        "heartbeat_project.middleware.CompressedApi",
        "heartbeat_project.static_files.StaticFiles",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "heartbeat_project.middleware.FormsOfStrangers",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "heartbeat_project.middleware.AuditActor",
        "heartbeat_project.middleware.Turns",
        "heartbeat_project.middleware.ReaderTimeZone",
        "django.contrib.messages.middleware.MessageMiddleware",
    }
)
_ADDRESS: Final = re.compile(r"/postalert/([^/]+)(?:/.*)?", re.IGNORECASE | re.DOTALL)


BUSY: Final = RawResponse(
    503,
    json.dumps(
        problem(
            503,
            detail="More events come in than can be carried out. This one was not stored. Send it again.",
            code="too_much_at_once",
        )
    ).encode(),
    headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
)


class EventHandler(BaseHandler):
    """Django's handler for one thread, with the middleware that an event needs."""

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002 - Django's signature
        """Build the chain of middleware, in the order of the settings."""
        self._view_middleware: list[Callable[..., Any]] = []
        self._template_response_middleware: list[Callable[..., Any]] = []
        self._exception_middleware: list[Callable[..., Any]] = []
        handler = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined] # not in the stubs
        for path in reversed(settings.MIDDLEWARE):
            if path not in NOT_FOR_EVENTS:
                middleware = import_string(path)(handler)
                if hasattr(middleware, "process_view"):
                    self._view_middleware.insert(0, middleware.process_view)
                if hasattr(middleware, "process_exception"):
                    self._exception_middleware.append(middleware.process_exception)
                handler = convert_exception_to_response(middleware)
        self._middleware_chain = handler


class EventLane:
    """Answers requests at the addresses of API integrations, and passes all others to `inner`.

    It gets each request with its complete body, and without the path of the base URL.
    """

    def __init__(self, inner: Application) -> None:
        self.inner = inner
        self.threads = FairThreads(
            THREADS,
            name="events",
            per_source=MAX_WAITING_OF_ONE,
            in_all=MAX_WAITING,
            idle_seconds=IDLE_SECONDS,
            at_end=connections.close_all,
        )
        self._waiting_bytes = 0
        self._organizations: OrderedDict[str, str] = OrderedDict()  # by token
        self._thread = threading.local()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        address = _ADDRESS.fullmatch(scope["path"]) if scope["type"] == "http" and is_event(scope) else None
        if address is None:
            await self.inner(scope, receive, send)
            return
        body = await _body(receive)
        token = address[1][:MAX_TOKEN]
        self._waiting_bytes += len(body)
        try:
            response = await self._answered(token, scope, body)
        except Full:
            await respond(BUSY, scope, send)
            return
        finally:
            self._waiting_bytes -= len(body)
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
        content = b"" if scope["method"] == "HEAD" else response.content
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answered(self, token: str, scope: Scope, body: bytes) -> HttpResponse:
        """Wait for the answer of a thread. Raises Full if too much waits, or no thread has begun after WAIT_SECONDS."""
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise Full
        source = (self._organizations.get(token, ""), token)
        job = self.threads.submit(source, partial(self._answer, token, scope, body))
        answer = asyncio.wrap_future(job.future)
        done, _ = await asyncio.wait({answer}, timeout=WAIT_SECONDS)
        if not done and self.threads.give_up(job):
            raise Full
        return await answer

    def _answer(self, token: str, scope: Scope, body: bytes) -> HttpResponse:
        """Answer one request in a thread, which keeps its connection to the database for the next ones."""
        scope = {**scope, "path": f"{settings.BASE_PATH}{scope['path']}"}
        set_script_prefix(get_script_prefix(scope))
        request = ASGIRequest(scope, BytesIO(body))
        request.META[HAS_A_THREAD] = True
        if not hasattr(self._thread, "checked_until"):
            _connect_outside_the_pool()
            self._thread.checked_until = 0.0
        connection.health_check_done = time.monotonic() < self._thread.checked_until  # type: ignore[attr-defined]
        try:
            response = self._handler.get_response(request)
        finally:
            connection.close_if_unusable_or_obsolete()
            self._thread.checked_until = time.monotonic() + CHECKED_SECONDS
        if organization := request.META.get(ORGANIZATION):
            self._organizations[token] = str(organization)
            if len(self._organizations) > MAX_KNOWN:
                self._organizations.popitem(last=False)
        return cast("HttpResponse", response)

    @cached_property
    def _handler(self) -> EventHandler:
        """Django's handler, which is loaded with the first event: many installations have no API integration."""
        handler = EventHandler()
        handler.load_middleware()
        return handler


def _connect_outside_the_pool() -> None:
    """Give this thread a connection that it keeps, so that pages need not wait for events."""
    own = deepcopy(connections.settings[DEFAULT_DB_ALIAS])
    own["OPTIONS"].pop("pool", None)
    own["CONN_MAX_AGE"] = None
    connections[DEFAULT_DB_ALIAS] = load_backend(own["ENGINE"]).DatabaseWrapper(own, DEFAULT_DB_ALIAS)


async def _body(receive: Receive) -> bytes:
    """Return the body of a request, which is complete."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)
