"""A mail server on loopback that takes every mail, and shows it as a mail program would."""

import email
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from functools import cached_property
from typing import BinaryIO


@dataclass(frozen=True)
class Arrived:
    """A mail that arrived; it has the names of Django's EmailMessage, which tests without a server read.

    `to` are the recipients of RCPT, `raw` the bytes of DATA.
    """

    to: list[str]
    raw: bytes

    def message(self) -> EmailMessage:
        """Return the mail as Python's parser reads it."""
        return email.message_from_bytes(self.raw, policy=default)

    @cached_property
    def subject(self) -> str:
        return str(self.message()["Subject"]).strip()

    @cached_property
    def body(self) -> str:
        """Return the text part."""
        part = self.message().get_body(("plain",))
        assert isinstance(part, EmailMessage)
        return str(part.get_content()).replace("\r\n", "\n")

    @property
    def reply_to(self) -> list[str]:
        return [str(address) for address in self.message().get_all("Reply-To", [])]

    @property
    def extra_headers(self) -> Mapping[str, str]:
        return {name: str(text).strip() for name, text in self.message().items()}


@dataclass
class Mailbox:
    """Give every mail to `keep`; an address in `refusals` is refused at RCPT, with the code and text there."""

    keep: Callable[[Arrived], None]
    refusals: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Wakes the thread that waits in accept().
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[peer], daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with peer, peer.makefile("rb") as lines:
                self._talk(peer, lines)
        except OSError:
            return

    def _talk(self, peer: socket.socket, lines: BinaryIO) -> None:
        recipients: list[str] = []
        peer.sendall(b"220 here\r\n")
        for line in lines:
            verb = line[:4].upper()
            answer = b"250 yes"
            if verb == b"QUIT":
                return
            if verb == b"EHLO":
                answer = b"250-here\r\n250 8BITMIME"
            elif verb in {b"MAIL", b"RSET"}:
                recipients = []
            elif verb == b"RCPT":
                address = line.decode().partition("<")[2].partition(">")[0]
                if refusal := self.refusals.get(address):
                    answer = b"%d %s" % refusal
                else:
                    recipients = [*recipients, address]
            elif verb == b"DATA":
                peer.sendall(b"354 go on\r\n")
                raw = bytearray()
                while (text := lines.readline()) != b".\r\n":
                    if not text:  # the sender is gone in the middle of its mail
                        return
                    # A line that begins with a dot was sent with one more (RFC 5321, 4.5.2).
                    raw += text.removeprefix(b".")
                # Before the answer: the sender looks for the mail once it has that.
                self.keep(Arrived(recipients, bytes(raw)))
            peer.sendall(answer + b"\r\n")
