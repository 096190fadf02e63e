"""The one door for outgoing HTTP: bounded in time and size, and closed towards private networks.

People enter addresses to which this machine then sends requests. So the check is made on the very address that is
connected to: a name is resolved once, each address that is not public (or allowed by HEARTBEAT_OUTGOING_ALLOW) is left
out, and the connection goes to one of the others, with the name kept for TLS and the Host header. A second look-up,
which could give another answer, does not happen; redirects are not followed.
"""

import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import certifi
import httpcore
from django.conf import settings

from escalation.channels.base import DeliveryError, let_go_of_the_database
from heartbeat_project.kernel.addresses import is_public

CONNECT_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024
# 4xx that are about the moment, not about the request.
PASSING: Final = frozenset({408, 425, 429})
LONGEST_RETRY_AFTER: Final = timedelta(hours=1)
EXCERPT: Final = 200
HOST: Final = re.compile(r"[\w.:%-]+")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the other side answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text, whatever bytes it is made of."""
        return self.body.decode("utf-8", "replace")


class Refused(DeliveryError):
    """The other side answered, and it was no success; `reply` is its answer."""

    def __init__(self, reply: Reply, message: str, *, permanent: bool) -> None:
        super().__init__(message, permanent=permanent, retry_after=_retry_after(reply))
        self.reply = reply


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float | None = None) -> Reply:
    """Send a POST and return the answer if it is a 2xx; it may take so long in all, or as long as the settings say.

    Raises Refused for any other answer, and DeliveryError without one: `uncertain` once the request was on its way, and
    `permanent` for what will not be better next time, such as an address that is not public.
    """
    let_go_of_the_database()
    _trust()  # read from files once: that time is not the other side's
    backend = _GuardedBackend(_Deadline(settings.OUTGOING_TIMEOUT_SECONDS if seconds is None else seconds))
    try:
        reply = _exchange(url, body=body, headers=headers, backend=backend)
    except DeliveryError:
        raise
    except (httpcore.UnsupportedProtocol, httpcore.LocalProtocolError, UnicodeError, ValueError) as error:
        raise DeliveryError(f"No request can be sent to this address: {error}", permanent=True) from error
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise DeliveryError(_said(error), uncertain=backend.sent) from error
    if 200 <= reply.status < 300:
        return reply
    raise Refused(reply, _what(reply), permanent=300 <= reply.status < 500 and reply.status not in PASSING)


def _exchange(url: str, *, body: bytes, headers: Mapping[str, str], backend: "_GuardedBackend") -> Reply:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it does not begin with http:// or https://")
    if not HOST.fullmatch(parts.hostname):
        raise ValueError(f"{parts.hostname!r} is no name of a host")
    target = httpcore.URL(
        scheme=parts.scheme,
        # The Host header and TLS know a name outside ASCII in its encoded form only.
        host=parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode(),
        port=parts.port,
        target=f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}".encode("ascii"),
    )
    sent: dict[bytes | str, bytes | str] = {"User-Agent": "Heartbeat", **dict(headers.items())}
    patience = {"connect": CONNECT_SECONDS, "read": backend.deadline.seconds, "write": backend.deadline.seconds}
    with (
        httpcore.ConnectionPool(ssl_context=_trust(), network_backend=backend) as pool,
        pool.stream(
            "POST",
            target,
            headers=sent,
            content=body,
            extensions={"timeout": patience},
        ) as response,
    ):
        taken = bytearray()
        for chunk in response.iter_stream():
            taken += chunk
            if len(taken) > MAX_ANSWER_BYTES:
                break
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        return Reply(status=response.status, headers=found, body=bytes(taken[:MAX_ANSWER_BYTES]))


class _Deadline:
    """The end of the whole exchange, however often its parts begin anew."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, at_most: float | None = None) -> float:
        """Return the seconds that are left; raise ReadTimeout when none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout(f"no complete answer within {self.seconds:g} seconds")
        return left if at_most is None else min(left, at_most)


class _GuardedStream(httpcore.NetworkStream):
    """A connection whose every wait ends with the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, backend: "_GuardedBackend") -> None:
        self._stream = stream
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._backend.deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self._backend.deadline.left(timeout)
        self._backend.sent = True
        self._stream.write(buffer, left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._backend.deadline.left(timeout)
        return _GuardedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _GuardedBackend(httpcore.NetworkBackend):
    """Connections to addresses that may be reached, and to no other; one backend serves one exchange."""

    def __init__(self, deadline: _Deadline) -> None:
        self.deadline = deadline
        self.sent = False
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first of the host's permitted addresses that answers."""
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in permitted(host, resolve(host, port, seconds=self.deadline.left(timeout))):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, self.deadline.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _GuardedStream(stream, self)
        raise failure


def permitted(host: str, addresses: Iterable[str]) -> list[str]:
    """Return the addresses that may be connected to; raise DeliveryError when the host has none but others."""
    found = list(addresses)
    kept = [address for address in found if is_public(address, allowed=settings.OUTGOING_ALLOW)]
    if found and not kept:
        raise DeliveryError(
            f"{host} is at {found[0]}, which is not a public address. If it is meant to be reached, "
            "whoever runs this installation can name its network in HEARTBEAT_OUTGOING_ALLOW.",
            permanent=True,
        )
    return kept


def resolve(host: str, port: int, *, seconds: float) -> list[str]:
    """Return the addresses of a host, each once, in the system's order; raise ConnectError or ConnectTimeout.

    The system's look-up takes no time limit, so it runs in a thread that is left behind when it takes too long.
    """
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(row[4][0]) for row in rows)))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            answers.put(error)

    threading.Thread(target=look_up, daemon=True, name="resolve").start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"the address of {host} was not found within {seconds:.0f} seconds") from None
    if isinstance(answer, Exception):
        raise httpcore.ConnectError(f"the address of {host} was not found: {answer}") from answer
    return answer


@cache
def _trust() -> ssl.SSLContext:
    """Return whom TLS trusts: the system's authorities, which may hold one's own, and the public ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _what(reply: Reply) -> str:
    """Say what was answered, in one line."""
    try:
        phrase = f" {HTTPStatus(reply.status).phrase}"
    except ValueError:
        phrase = ""
    if 300 <= reply.status < 400:
        return f"{reply.status}{phrase}: redirects are not followed. Enter the address it leads to."
    said = " ".join(reply.text.split())[:EXCERPT]
    return f"{reply.status}{phrase}{': ' + said if said else ''}"


def _said(error: Exception) -> str:
    """Say what went wrong without an answer."""
    if isinstance(error, httpcore.TimeoutException | TimeoutError):
        return f"No answer in time{': ' + str(error) if str(error) else ''}"
    if isinstance(error, httpcore.ProtocolError):
        return f"The answer was not HTTP or broke off: {error}"
    return f"The connection failed: {error or type(error).__name__}"


def _retry_after(reply: Reply) -> timedelta | None:
    """Return how long the other side asks to be left alone, in whole seconds and at most an hour."""
    value = reply.headers.get("retry-after", "").strip()
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        return None
    return min(timedelta(seconds=int(value)), LONGEST_RETRY_AFTER)
