"""Read something from an address that a user gave: within bounds of size and time, never from our own network."""

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Final
from urllib.parse import urljoin, urlsplit

from django.conf import settings

from heartbeat_project.kernel.addresses import is_public

MOST_REDIRECTS: Final = 3
_CHUNK: Final = 64 * 1024
_REDIRECTS: Final = {301, 302, 303, 307, 308}


class NotFetched(Exception):
    """The address gave nothing; the message says why, for people."""


def fetch(url: str, *, most_bytes: int, seconds: float) -> bytes:
    """Return what the address answers, following a few redirects. Raises NotFetched."""
    deadline = time.monotonic() + seconds
    for _ in range(MOST_REDIRECTS + 1):
        try:
            answer = _get(url, most_bytes=most_bytes, deadline=deadline)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NotFetched(f"The calendar's server cannot be reached: {error or type(error).__name__}.") from error
        if isinstance(answer, bytes):
            return answer
        url = urljoin(url, answer)
    raise NotFetched("The address leads from one address to the next too often.")


def _get(url: str, *, most_bytes: int, deadline: float) -> bytes | str:
    """Return the body of a 200, or the address that the answer redirects to."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise NotFetched("The address must begin with https:// or http://.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(parts.hostname, port, timeout=_left(deadline))
    # Connected here, to the very address that was looked at: a name could mean another one a moment later.
    sock = _connected(parts.hostname, port, timeout=_left(deadline))
    # A time-out of the socket alone counts from the last byte: who sends one now and then would hold us for ever.
    handle = sock.dup()  # TLS takes the socket itself over
    hang_up = threading.Timer(_left(deadline), _hang_up, [handle])
    hang_up.start()
    try:
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        connection.sock = tls.wrap_socket(sock, server_hostname=parts.hostname) if tls else sock
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "text/calendar, */*;q=0.1", "User-Agent": "Heartbeat"})
        answer = connection.getresponse()
        if answer.status in _REDIRECTS and (location := answer.getheader("Location")):
            return location
        if answer.status != http.HTTPStatus.OK:
            raise NotFetched(f"The calendar's server answered {answer.status} {answer.reason}.")
        body = bytearray()
        while chunk := answer.read1(_CHUNK):
            body += chunk
            if len(body) > most_bytes:
                raise NotFetched(f"The calendar is larger than {most_bytes // 1024} KiB.")
        _left(deadline)
        if answer.length:
            raise NotFetched("The calendar's server broke off in the middle.")
        return bytes(body)
    except (OSError, http.client.HTTPException):
        _left(deadline)
        raise
    finally:
        hang_up.cancel()
        connection.close()
        sock.close()
        handle.close()


def _hang_up(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _connected(host: str, port: int, *, timeout: float) -> socket.socket:
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in addresses:
        if not is_public(address, allowed=settings.OUTGOING_ALLOW):
            raise NotFetched(
                f"{host} lies in a private network ({address}). Whoever runs this installation can permit that with "
                "HEARTBEAT_OUTGOING_ALLOW."
            )
    return socket.create_connection((addresses[0], port), timeout=timeout)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise NotFetched("The calendar's server is too slow.")
    return left
