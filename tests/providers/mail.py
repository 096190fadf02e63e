"""A mail server on loopback that is slow in the ways in which mail servers are."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# Where it does that: after the connection, or instead of the answer to a verb; END is the end of the mail itself.
VERBS: Final = ("BANNER", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "END", "QUIT")
ALLOWED_ACTIONS: Final = {"STARTTLS": b"250-STARTTLS\r\n", "AUTH": b"250-AUTH PLAIN\r\n"}


@dataclass
class MailServer:
    """Take mails; hang, close the connection or answer 451 at a verb, drip a byte each `drip` s, answer after `pause` s.

    `is_slow` says for which recipients; for all, unless given. It is asked at RCPT, and holds for the rest of that mail.
    With a `certificate` it speaks TLS from the first byte.
    """

    hang_at: str = ""
    drop_at: str = ""
    refuse_at: str = ""
    certificate: Path | None = None
    drip: float = 0.0
    pause: float = 0.0
    is_slow: Callable[[str], bool] | None = None
    taken: list[tuple[str, float]] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self.port = 0
        self.listen()

    def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=500)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._socket], daemon=True).start()

    def refuse_connections(self) -> None:
        """Stop listening until `listen` is called."""
        # Without this the thread in `accept` would take one more connection.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def close(self) -> None:
        self._over.set()
        self._socket.close()

    def arrived(self, address: str) -> float | None:
        """Return when a mail to this address was taken, in seconds of time.monotonic()."""
        return next((at for to, at in list(self.taken) if to == address), None)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=[peer], daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            with peer:
                if self.certificate is not None:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(self.certificate)
                    peer = context.wrap_socket(peer, server_side=True)
                with peer, peer.makefile("rb") as lines:
                    self._talk(peer, lines)
        except OSError:
            return

    def _talk(self, peer: socket.socket, lines) -> None:
        slow = self.is_slow is None
        self._answer(peer, "BANNER", b"220 here", slow=slow)
        to = ""
        for line in lines:
            verb = line.split(b" ")[0].strip().decode().upper()
            if verb == "RCPT":
                to = line.decode().partition("<")[2].partition(">")[0]
                slow = self.is_slow is None or self.is_slow(to)
            if verb in {"EHLO", "HELO"}:
                troubled_verb = self.hang_at or self.drop_at or self.refuse_at
                offer = ALLOWED_ACTIONS.get(troubled_verb, b"") if verb == "EHLO" else b""
                self._answer(peer, "EHLO", b"250-here\r\n" + offer + b"250 8BITMIME", slow=slow)
            elif verb == "DATA":
                if not self._answer(peer, "DATA", b"354 go on", slow=slow):
                    continue
                while lines.readline() not in {b".\r\n", b""}:
                    pass
                if not slow or "END" not in {self.hang_at, self.drop_at, self.refuse_at}:
                    self.taken.append((to, time.monotonic()))  # before the answer: whoever has that looks here
                self._answer(peer, "END", b"250 kept", slow=slow)
                slow = self.is_slow is None
            elif verb == "QUIT":
                self._answer(peer, "QUIT", b"221 bye", slow=slow)
                return
            else:
                self._answer(peer, verb, b"250 yes", slow=slow)

    def _answer(self, peer: socket.socket, verb: str, said: bytes, *, slow: bool) -> bool:
        """Answer, and return whether that was the good answer."""
        if slow and verb == self.hang_at:
            self._over.wait()
        if slow and verb == self.drop_at:
            raise ConnectionAbortedError
        is_refused = slow and verb == self.refuse_at
        if is_refused:
            said = b"451 4.3.0 try again later"
        if slow and self.pause:
            self._over.wait(self.pause)
        if slow and self.drip:
            for byte in said + b"\r\n":
                peer.sendall(bytes([byte]))
                self._over.wait(self.drip)
        else:
            peer.sendall(said + b"\r\n")
        return not is_refused


def deaf_port() -> tuple[int, list[socket.socket]]:
    """Return a port that answers no TCP connection any more, and the sockets that keep it so."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    kept = [listening]
    for _ in range(8):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(listening.getsockname())
        kept.append(one)
    return listening.getsockname()[1], kept
