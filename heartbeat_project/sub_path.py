"""Serves the product below a path of a host, such as https://example.org/heartbeat, behind a proxy.

The proxy may pass each request on as it is, or remove the path; what comes without it, such as probes and pulses, is
taken as well. The ping lane sees paths without it, Django sees all with it.
"""

from typing import Any

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage
from django.http import HttpResponse

from integrations.ping_lane.lane import Application, Receive, Scope, Send
from integrations.ping_lane.pulse import PATH as PULSE_PATH


def without_path(inner: Application, base_path: str) -> Application:
    """Return an application that passes requests to `inner` without `base_path` at the beginning of their path."""
    if not base_path:
        return inner

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": shortened(scope["path"], base_path)}
        await inner(scope, receive, send)

    return application


def with_path(inner: Application, base_path: str) -> Application:
    """Return an application that passes requests to `inner` with `base_path` at the beginning of their path."""
    if not base_path:
        return inner

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": base_path + scope["path"]}
        await inner(scope, receive, send)

    return application


def shortened(path: str, base_path: str) -> str:
    """Return a request's path without `base_path` at its beginning.

    Pulses come without it, also if it is /Heartbeat, with which their path begins.
    """
    if path == base_path:
        return "/"
    if path.startswith(f"{base_path}/") and not path.startswith(PULSE_PATH):
        return path[len(base_path) :]
    return path


class _CookieStorage(CookieStorage):
    def _update_cookie(self, encoded_data: str, response: HttpResponse) -> None:
        super()._update_cookie(encoded_data, response)  # type: ignore[misc] # the stubs leave it out
        # Django writes it for the whole host.
        response.cookies[self.cookie_name]["path"] = settings.SESSION_COOKIE_PATH


class Messages(FallbackStorage):
    """The messages that the next page shows: in a cookie for our path only, or in the session if they are too long."""

    storage_classes: Any = (_CookieStorage, SessionStorage)
