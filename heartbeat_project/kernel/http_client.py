"""The HTTP client for all outgoing requests: bounded in time and size, and closed towards private networks.

People enter addresses to which this machine then sends requests. So the check is made on the very address that is
connected to: a name is resolved once, it is refused if one of its addresses is not public (or allowed by
HEARTBEAT_OUTGOING_ALLOW), and the connection goes to an address of that look-up, with the name kept for TLS and the
Host header. There is no second look-up, which could give another answer. Redirects are followed on request alone, and
each is checked anew.
"""

import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import certifi
import httpcore
from django.conf import settings

from heartbeat_project.kernel.addresses import is_public
from heartbeat_project.kernel.name_lookup import resolve
from heartbeat_project.kernel.wording import clip

# Seconds for one address of a host; the next one is tried then.
CONNECT_SECONDS: Final = 5.0
# Bytes that are written before the deadline is looked at again.
WRITE_BYTES: Final = 16 * 1024
TALKING: Final = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.RemoteProtocolError, OSError)
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
HOST: Final = re.compile(r"[\w.:%-]+")


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What the other side answered; header names are in lower case. `is_cut`: the body is longer than was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool = False

    @property
    def text(self) -> str:
        """Return the body as text, whatever bytes it is made of."""
        return self.body.decode("utf-8", "replace")


class HttpError(Exception):
    """There is no answer; the message says why."""


class AddressRefused(HttpError):
    """No request is sent to this address, now or later: it is none, or it leads into a private network."""


class NoAnswer(HttpError):
    """The answer stayed away. `sent`: the request was on its way; `timed_out`: the time was over."""

    def __init__(self, message: str, *, sent: bool, timed_out: bool) -> None:
        super().__init__(message)
        self.sent = sent
        self.timed_out = timed_out


class TooManyRedirects(HttpError):
    """The server redirects too often."""


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float, max_bytes: int) -> HttpReply:
    """Send a POST and return the answer, whatever its status; redirects are not followed.

    `seconds` is the limit for the whole exchange; of the answer's body `max_bytes` are read. Raises HttpError.
    """
    _trust()  # read from files once: that time is not the other side's
    return _exchange("POST", url, body=body, headers=headers, deadline=_Deadline(seconds), max_bytes=max_bytes)


def get(url: str, *, headers: Mapping[str, str], seconds: float, max_bytes: int, max_redirects: int = 0) -> HttpReply:
    """Send a GET and return the answer, whatever its status, after at most `max_redirects` redirects.

    `seconds` is the limit for all requests together; of the answer's body `max_bytes` are read. Raises HttpError.
    """
    _trust()
    deadline = _Deadline(seconds)
    for _ in range(max_redirects + 1):
        reply = _exchange("GET", url, body=b"", headers=headers, deadline=deadline, max_bytes=max_bytes)
        location = reply.headers.get("location", "")
        if not max_redirects or reply.status not in REDIRECTS or not location:
            return reply
        try:
            url = urljoin(url, location)
        except ValueError as error:
            raise AddressRefused("The server redirects to something that is not an address.") from error
    raise TooManyRedirects("The server redirects too often.")


def _exchange(
    method: str, url: str, *, body: bytes, headers: Mapping[str, str], deadline: "_Deadline", max_bytes: int
) -> HttpReply:
    """Send one request and return the answer; raise HttpError without one."""
    backend = _GuardedBackend(deadline)
    try:
        return _send(method, url, body=body, headers=headers, backend=backend, max_bytes=max_bytes)
    except HttpError:
        raise
    except Exception as error:
        # What it means depends on where it was raised: what goes wrong once we talk may go better next time. The kind
        # does not say: an untrusted certificate is a ValueError and an OSError.
        if backend.sent or isinstance(error, TALKING):
            timed_out = isinstance(error, httpcore.TimeoutException | TimeoutError)
            raise NoAnswer(_error_text(error), sent=backend.sent, timed_out=timed_out) from error
        raise AddressRefused(f"No request can be sent to this address: {error}") from error


def _send(
    method: str, url: str, *, body: bytes, headers: Mapping[str, str], backend: "_GuardedBackend", max_bytes: int
) -> HttpReply:
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
    request_headers: dict[bytes | str, bytes | str] = {"User-Agent": "Heartbeat", **dict(headers.items())}
    timeout = {"connect": CONNECT_SECONDS, "read": backend.deadline.seconds, "write": backend.deadline.seconds}
    with (
        httpcore.ConnectionPool(ssl_context=_trust(), network_backend=backend) as pool,
        pool.stream(
            method,
            target,
            headers=request_headers,
            content=body if method == "POST" else None,
            extensions={"timeout": timeout},
        ) as response,
    ):
        received = bytearray()
        for chunk in response.iter_stream():
            received += chunk
            if len(received) > max_bytes:
                break
        return HttpReply(
            status=response.status,
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers},
            body=bytes(received[:max_bytes]),
            is_cut=len(received) > max_bytes,
        )


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
        self._backend.deadline.left(timeout)
        self._backend.sent = True
        # Piece by piece: whoever reads slowly would begin a new wait with each piece.
        for begin in range(0, len(buffer), WRITE_BYTES):
            self._stream.write(buffer[begin : begin + WRITE_BYTES], self._backend.deadline.left(timeout))

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
        """Connect to the first of the host's addresses that answers."""
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
    """Return the addresses of a host; raise AddressRefused if one of them is not public.

    One is enough: a host that has both kinds would be reached at either, as the network happens to be.
    """
    resolved = list(addresses)
    if not all(is_public(address, allowed=settings.OUTGOING_ALLOW) for address in resolved):
        raise AddressRefused(
            f"“{clip(host, 100)}” leads into a private network: it has an address that is not public. "
            "If it is meant to be reached, ask the operator to name that network in HEARTBEAT_OUTGOING_ALLOW."
        )
    return resolved


@cache
def _trust() -> ssl.SSLContext:
    """Return whom TLS trusts: the system's authorities, which may hold one's own, and the public ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _error_text(error: Exception) -> str:
    """Say what went wrong without an answer."""
    if isinstance(error, httpcore.TimeoutException | TimeoutError):
        return f"No answer in time{': ' + str(error) if str(error) else ''}"
    if isinstance(error, httpcore.ProtocolError):
        return f"The answer was not HTTP or broke off: {error}"
    return f"The connection failed: {error or type(error).__name__}"
