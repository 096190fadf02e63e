"""Apprise: services that have no channel of their own here, each named by an Apprise URL.

Apprise brings its own HTTP client, which knows nothing of our door. So the thread that sends is watched: Python tells
an audit hook each address that a socket is about to connect to, and the hook stops what is not permitted; what it lets
through is cut off at the deadline.
"""

import logging
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings

from escalation.channels import texts
from escalation.channels.base import DeliveryError, Message, let_go_of_the_database
from escalation.channels.outgoing import PASSING
from heartbeat_project.kernel.addresses import is_public

# Parameters by which some services read files of this machine, or wait and try again by themselves.
REFUSED: Final = frozenset({"template", "attach", "keyfile", "subfile", "retry", "wait", "rto", "cto", "verify"})
_thread = threading.local()


class AppriseChannel:
    """Send through the service that the URL names."""

    def send(self, message: Message) -> str:
        """Send the message and return our own id: Apprise gives none."""
        plugin = service(message.address)
        plugin.socket_connect_timeout = plugin.socket_read_timeout = min(5.0, settings.OUTGOING_TIMEOUT_SECONDS)
        body, title = f"{texts.long(message)}\n{texts.link(message)}", texts.title(message)
        let_go_of_the_database()
        with _watched() as watch, _listening() as said:
            try:
                taken = plugin.notify(body=body, title=title)
            except Exception as error:
                raise DeliveryError(f"{plugin.service_name}: {error}", uncertain=True) from error
        if not taken and watch.refused:
            raise DeliveryError(watch.refused, permanent=True)
        if watch.over:  # also for what Apprise took for a success: the answer was cut off
            raise DeliveryError(f"{plugin.service_name}: No answer in time", uncertain=True)
        if not taken:
            raise _understood(str(plugin.service_name), said)
        return str(message.id)

    def close(self) -> None:
        """Have nothing to let go of."""


def service(url: str) -> Any:
    """Return Apprise's object for the URL; raise DeliveryError when the URL or its service is not permitted."""
    import apprise  # noqa: PLC0415 - a hundred modules, which most installations never need

    scheme = url.partition("://")[0].lower()
    if scheme not in settings.APPRISE_SERVICES:
        raise DeliveryError(f"The service “{scheme}” is not permitted here.", permanent=True)
    given = {name.strip().lower() for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    if given & REFUSED:
        raise DeliveryError(f"“{min(given & REFUSED)}” is not permitted in the URL.", permanent=True)
    asset = apprise.AppriseAsset(
        app_id="Heartbeat",
        app_desc="Heartbeat",
        app_url=settings.BASE_URL,
        async_mode=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    found = apprise.Apprise.instantiate(url, asset=asset)
    if found is None:
        raise DeliveryError(f"This is not a complete URL of the service “{scheme}”.", permanent=True)
    return found


class _Watch:
    """What one thread may connect to, and until when; at the end its connections are cut."""

    def __init__(self) -> None:
        self.refused = ""
        self.over = False
        self._sockets: list[socket.socket] = []

    def look(self, connecting: socket.socket, address: Any) -> None:
        """Stop a connection that is not permitted, as if the network had: the socket is closed, the next one tried."""
        if self.over:
            raise TimeoutError("the time for this message is over")
        if isinstance(address, tuple) and is_public(str(address[0]), allowed=settings.OUTGOING_ALLOW):
            # A second handle: TLS takes the first one over.
            self._sockets.append(connecting.dup())
            return
        where = address[0] if isinstance(address, tuple) else "a socket of this machine"
        self.refused = f"The URL leads to {where}, which is not a public address."
        raise PermissionError(self.refused)

    def cut(self) -> None:
        """End whatever still waits for an answer."""
        self.over = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the handles."""
        for one in self._sockets:
            one.close()


@contextmanager
def _watched() -> Iterator[_Watch]:
    """Watch the connections of this thread, and cut them at the deadline."""
    _watch_connections()
    watch = _Watch()
    timer = threading.Timer(settings.OUTGOING_TIMEOUT_SECONDS, watch.cut)
    timer.daemon = True
    timer.start()
    _thread.watch = watch
    try:
        yield watch
    finally:
        _thread.watch = None
        timer.cancel()
        timer.join()
        watch.close()


def _watch_connections() -> None:
    """Begin to watch, once for the process: a hook cannot be taken away again."""
    global _watching  # noqa: PLW0603 - the process has one list of hooks
    if not _watching:
        _watching = True
        sys.addaudithook(_look)


_watching = False


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    watch: _Watch | None = getattr(_thread, "watch", None)
    if event == "socket.connect" and watch is not None:
        watch.look(*arguments)


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect what Apprise logs in this thread: it says nowhere else why it failed."""
    said: list[str] = []
    me = threading.get_ident()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == me:
                said.append(record.getMessage())

    ear, logger = Ear(logging.WARNING), logging.getLogger("apprise")
    logger.addHandler(ear)
    try:
        yield said
    finally:
        logger.removeHandler(ear)


def _understood(name: str, said: list[str]) -> DeliveryError:
    """Return what the failure means; Apprise's words end in the HTTP status where there was one."""
    words = " ".join(" ".join(said).split()) or "it was not taken"
    statuses = [int(found) for found in re.findall(r"error[ =]*(\d{3})\b", words)]
    permanent = bool(statuses) and all(400 <= status < 500 and status not in PASSING for status in statuses)
    gone = bool(statuses) and all(status == HTTPStatus.GONE for status in statuses)
    return DeliveryError(f"{name}: {words[:500]}", permanent=permanent, uncertain=not statuses, bad_address=gone)
