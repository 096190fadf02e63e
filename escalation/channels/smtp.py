"""SMTP with one time limit for a whole mail, which a slow server cannot extend.

smtplib limits each wait on its socket, and a server that sends a byte each second begins a new one with every byte.
Here every wait ends with the deadline: looking the name up, connecting, TLS, reading and writing.
"""

import smtplib
import socket
import ssl
import time
from contextlib import suppress
from typing import Any, Final

import httpcore
from django.core.mail.backends.smtp import EmailBackend as DjangoBackend

from escalation.channels.send_deadline import SEND_SECONDS, seconds_left, send_deadline
from heartbeat_project.kernel.name_lookup import resolve

# Seconds for one address of the mail server; the next one is tried then.
CONNECT_SECONDS: Final = 10.0
# Seconds for the QUIT after the last mail; its answer is not waited for.
QUIT_SECONDS: Final = 0.5
# Bytes that are written before the deadline is looked at again.
CHUNK: Final = 16_384
NO_ANSWER: Final = f"no complete answer within {SEND_SECONDS:g} seconds"

# The stage at which a conversation broke off; before MAIL the server as a whole failed, or the network.
CONNECT, MAIL, RCPT, DATA, END_OF_DATA = "CONNECT", "MAIL", "RCPT", "DATA", "END OF DATA"
ABOUT_THE_MAIL: Final = frozenset({RCPT, DATA, END_OF_DATA})


class _Ends:
    """The end of the exchange."""

    def __init__(self) -> None:
        self.at = time.monotonic() + seconds_left()

    def left(self, at_most: float = SEND_SECONDS) -> float:
        """Return the seconds that are left; raise TimeoutError when none are."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError(NO_ANSWER)
        return min(left, at_most)


class _Reader:
    """Reads lines from a socket, each wait no longer than what is left."""

    def __init__(self, sock: socket.socket, smtp: "_Deadline") -> None:
        self._sock = sock
        self._smtp = smtp
        self._read = bytearray()

    def readline(self, limit: int = -1) -> bytes:
        """Return a line with its line end, at most `limit` bytes of it; less if the connection ended."""
        while (end := self._read.find(b"\n") + 1) == 0 and not 0 <= limit <= len(self._read):
            self._sock.settimeout(self._smtp.ends.left())
            try:
                chunk = self._sock.recv(CHUNK)
            except TimeoutError:
                raise TimeoutError(NO_ANSWER) from None
            if not chunk:
                end = len(self._read)
                break
            self._read += chunk
        length = min(end or limit, limit) if limit >= 0 else end
        line = bytes(self._read[:length])
        del self._read[:length]
        return line

    def close(self) -> None:
        """Do nothing: the socket belongs to the connection."""


class _Deadline(smtplib.SMTP):
    """A connection to the mail server whose every wait ends with the deadline; `stage` is the last command sent."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.ends = _Ends()
        self.stage = CONNECT
        super().__init__(*arguments, **options)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002 - smtplib's
        failure: Exception = OSError(f"{host} has no address")
        try:
            addresses = resolve(host, port, seconds=self.ends.left())
        except httpcore.ConnectTimeout as error:
            raise TimeoutError(str(error)) from error
        except httpcore.ConnectError as error:
            raise OSError(str(error)) from error
        for address in addresses:
            try:
                return socket.create_connection((address, port), self.ends.left(CONNECT_SECONDS), self.source_address)
            except OSError as error:
                failure = error
        raise failure

    def begin_mail(self) -> None:
        """Start a new time limit for the next mail over this connection."""
        self.ends = _Ends()
        self.stage = MAIL

    def starttls(self, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        """Start TLS within the time that is left."""
        if self.sock is not None:
            self.sock.settimeout(self.ends.left())
        return super().starttls(*arguments, **options)

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer within the time that is left."""
        if self.file is None and self.sock is not None:
            self.file = _Reader(self.sock, self)
        return super().getreply()

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command, and remember it as the stage."""
        super().putcmd(cmd, args)
        verb = cmd.split(maxsplit=1)[0].upper()
        # smtplib sends RSET after a refusal; the stage stays that of the refusal.
        self.stage = self.stage if verb == "RSET" else verb

    def send(self, s: Any) -> None:
        """Write within the time that is left."""
        if self.stage == DATA:
            self.stage = END_OF_DATA
        data = s.encode(self.command_encoding) if isinstance(s, str) else bytes(s)
        try:
            for begin in range(0, len(data), CHUNK):
                if self.sock is not None:
                    self.sock.settimeout(self.ends.left())
                super().send(data[begin : begin + CHUNK])
        except TimeoutError as error:
            self.close()
            raise smtplib.SMTPServerDisconnected(str(error)) from error

    def leave(self) -> None:
        """Send QUIT and close, without waiting for the answer, which says nothing about any mail."""
        if self.sock is not None and self.stage != CONNECT:
            with suppress(OSError, ValueError):
                self.sock.settimeout(QUIT_SECONDS)
                self.sock.sendall(b"QUIT\r\n")
        self.close()


class _DeadlineTLS(_Deadline):
    """The same over TLS from the first byte."""

    def __init__(self, *arguments: Any, context: ssl.SSLContext | None = None, **options: Any) -> None:
        self._context = context or ssl.create_default_context()
        super().__init__(*arguments, **options)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = super()._get_socket(host, port, timeout)
        plain.settimeout(self.ends.left())
        return self._context.wrap_socket(plain, server_hostname=self._host)  # type: ignore[attr-defined]  # smtplib's


class EmailBackend(DjangoBackend):
    """Django's SMTP backend with one limit for a mail, connecting included."""

    connection: _Deadline | None
    _partial_connection: _Deadline | None  # while it connects and signs in

    @property
    def connection_class(self) -> type[_Deadline]:
        """Return the class of connections."""
        return _DeadlineTLS if self.use_ssl else _Deadline

    @property
    def stage(self) -> str:
        """Return the last command of a conversation that broke off, or CONNECT."""
        connection = self.connection or self._partial_connection
        return connection.stage if connection is not None else CONNECT

    def send_messages(self, email_messages: Any) -> int:
        """Send mails; the limit is for all of them together, unless the caller set one."""
        with send_deadline(seconds_left()):
            if self.connection is not None:
                self.connection.begin_mail()
            return super().send_messages(email_messages) or 0

    def _close_connection(self, connection: _Deadline) -> None:
        connection.leave()
