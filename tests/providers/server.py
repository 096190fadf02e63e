"""A server on loopback that keeps what it is sent and answers by a script."""

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    @property
    def json(self):
        return json.loads(self.body)


def answer(status=200, body=b"", **headers) -> bytes:
    """Return an answer as it goes over the wire; `retry_after="5"` becomes the header Retry-After."""
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


GARBAGE = b"\x00\xffwhat is this\r\n\r\n"
HALF = b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"half": '
HANG_UP = b""


class Silence:
    """Say nothing until the other side gives up."""


@dataclass
class Drip:
    """Send one byte at a time, forever: each one comes in time, the whole never does."""

    every: float = 0.02
    beginning: bytes = b"HTTP/1.1 200 OK\r\nX-Long: "


SILENCE = Silence()


@dataclass
class Provider:
    """`script` is what is answered in turn; when it is empty, `usual(request)` is."""

    usual: object = None
    script: list = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def answers(self, *script) -> None:
        self.script[:] = script

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._socket.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            request = read_request(connection)
            if request is None:
                return
            self.requests.append(request)
            said = self.script.pop(0) if self.script else self._usually(request)
            if isinstance(said, Silence):
                connection.recv(1)
            elif isinstance(said, Drip):
                connection.sendall(said.beginning)
                while not self._stop.wait(said.every):
                    connection.sendall(b"x")
            else:
                connection.sendall(said)

    def _usually(self, request: Request) -> bytes:
        return self.usual(request) if self.usual else answer(200)


def read_request(connection: socket.socket) -> Request | None:
    taken = b""
    while b"\r\n\r\n" not in taken:
        more = connection.recv(65_536)
        if not more:
            return None
        taken += more
    head, _, body = taken.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65_536)
    method, path, _ = first.split(" ", 2)
    return Request(method, path, headers, body)
