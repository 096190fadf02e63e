"""A client that speaks in bytes."""

import socket
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """What came back: the bytes, and whether the server had ended the connection."""

    raw: bytes
    closed: bool
    seconds: float = 0.0

    @property
    def status(self) -> int:
        """Return the first answer's status, or 0 when there was none."""
        return int(self.raw[9:12]) if self.raw.startswith(b"HTTP/1.") else 0


def request(number: int = 1, *, head: bytes = b"", body: bytes = b"{}") -> bytes:
    """Return an ordinary ping."""
    return b"POST /Heartbeat/bench-%d HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s" % (
        number,
        head,
        len(body),
        body,
    )


def connect(port: int, *, seconds: float = 10.0, source: str = "") -> socket.socket:
    """Connect from `source`, one of loopback's sixteen million addresses on Linux, or from any."""
    return socket.create_connection(
        ("127.0.0.1", port), timeout=seconds, source_address=(source, 0) if source else None
    )


def loopback(number: int) -> str:
    """Return an address for connection `number`, by which the rows of its pings are known."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


def heard(connection: socket.socket, *, seconds: float) -> Said:
    """Read until an answer and a short silence, the end of the connection, or the timeout."""
    started, raw = time.monotonic(), b""
    connection.settimeout(seconds)
    try:
        while part := connection.recv(65536):
            raw += part
            connection.settimeout(0.05)
        return Said(raw, closed=True, seconds=time.monotonic() - started)
    except (TimeoutError, BlockingIOError):
        return Said(raw, closed=False, seconds=time.monotonic() - started)
    except OSError:
        return Said(raw, closed=True, seconds=time.monotonic() - started)


def ping(port: int, number: int = 1, *, seconds: float = 30.0) -> Said:
    """Ping as a job does, over a connection of its own."""
    try:
        with connect(port) as connection:
            connection.sendall(request(number))
            return heard(connection, seconds=seconds)
    except OSError:
        return Said(b"", closed=True)
