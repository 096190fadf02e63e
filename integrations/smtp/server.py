"""SMTP for mails to integrations: aiosmtpd with limits around it. 250 is answered only once a mail is committed."""

import asyncio
import logging
import signal
import socket
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiosmtpd.smtp import SMTP

from integrations.smtp.config import Config
from integrations.smtp.store import MAX_MAIL, Away, Full, Recipient, Store, is_own

log = logging.getLogger("integrations.smtp")
# aiosmtpd logs what clients send, which has the secret addresses.
logging.getLogger("mail.log").setLevel(logging.ERROR)

MAX_LINE: Final = 65_536
# Calls of one command over one connection; a mail server in front brings many mails over it.
CALLS: Final = {"MAIL": 10_000, "RCPT": 100_000, "DATA": 10_000, "RSET": 10_000, "NOOP": 1_000, "*": 20}
# Addresses of clients whose mails are counted; beyond it, those that were quiet for longest are forgotten.
MAX_COUNTED: Final = 10_000
_PRINTABLE_SENDER: Final = 320
_AWAY: Final = "451 4.3.0 Mails cannot be stored now, try again later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may use, and all together; `seconds` is for a command or a line, `mail_seconds` for a mail."""

    connections: int = 100
    of_address: int = 10
    seconds: float = 60.0
    mail_seconds: float = 600.0
    size: int = 10 * 1024 * 1024
    recipients: int = 20
    wrong_recipients: int = 5
    mails_per_minute: int = 60


class Clients:
    """Counts the connections of each address, and its mails of the last minute."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._connections: Counter[str] = Counter()
        self._mails: dict[str, deque[float]] = {}

    def connect(self, address: str) -> bool:
        """Count a connection; return whether it may stay."""
        self._connections[address] += 1
        return (
            self._connections.total() <= self._limits.connections
            and self._connections[address] <= self._limits.of_address
        )

    def disconnect(self, address: str) -> None:
        """Count a connection that has ended."""
        self._connections[address] -= 1
        if self._connections[address] <= 0:
            del self._connections[address]

    def may_send(self, address: str, *, at: float) -> bool:
        """Count a mail, at a time in seconds, unless the address has sent too many within a minute."""
        times = self._mails.pop(address, deque())
        self._mails[address] = times  # as the newest
        while times and times[0] <= at - 60:
            times.popleft()
        while len(self._mails) > MAX_COUNTED:
            del self._mails[next(iter(self._mails))]
        if len(times) >= self._limits.mails_per_minute:
            return False
        times.append(at)
        return True


class Hooks:
    """What aiosmtpd asks for each command: an answer, after a look into the database."""

    def __init__(self, config: Config, store: Store, clients: Clients, limits: Limits) -> None:
        self._config, self._store, self._clients, self._limits = config, store, clients, limits

    async def handle_MAIL(  # noqa: N802 - the name that aiosmtpd looks for
        self, server: "Connection", _session: Any, mail: Any, address: str, options: list[str]
    ) -> str:
        """Begin a mail, unless the client has sent too many."""
        if not self._clients.may_send(server.address, at=time.monotonic()):
            return "451 4.7.1 Too many mails from your address in a minute, try again later"
        mail.mail_from = address
        mail.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - as above
        self, server: "Connection", _session: Any, mail: Any, address: str, _options: list[str]
    ) -> str:
        """Accept a recipient if it is one of ours."""
        if len(mail.rcpt_tos) >= self._limits.recipients:
            return f"452 4.5.3 A mail may have {self._limits.recipients} recipients, send the others in another"
        try:
            recipient = await self._store.recipient(address)
        except Away:
            return _AWAY
        if recipient is None:
            server.wrong_recipients += 1
            if server.wrong_recipients >= self._limits.wrong_recipients:
                return "421 4.7.0 Too many unknown recipients"
            if is_own(address, self._config):
                return "550 5.1.1 There is no such address here"
            return "550 5.7.1 Mails for this domain are not taken here"
        mail.rcpt_tos.append(address)
        server.taken_by.append(recipient)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: "Connection", _session: Any, mail: Any) -> str:  # noqa: N802 - as above
        """Store the mail for all of its recipients, or for none."""
        try:
            await self._store.store(mail.content, server.taken_by, sender=_sender(mail.mail_from))
        except Away:
            return _AWAY
        except Full:
            return "451 4.3.1 Too many mails wait to be read, try again later"
        return "250 2.0.0 The mail is stored"

    async def handle_EHLO(  # noqa: N802 - as above
        self, _server: "Connection", session: Any, _mail: Any, name: str, answers: list[str]
    ) -> list[str]:
        """Return the extensions, without AUTH: there are no accounts here."""
        session.host_name = name
        return [answer for answer in answers if not answer.upper().startswith(("250-AUTH", "250 AUTH"))]

    async def handle_exception(self, error: Exception) -> str:
        """Log a fault of ours, of which a client learns nothing."""
        log.error("a mail could not be taken", exc_info=error)
        return "451 4.3.0 Something went wrong here, try again later"


class Connection(SMTP):
    """One connection of a client."""

    line_length_limit = MAX_LINE

    def __init__(self, hooks: Hooks, clients: Clients, limits: Limits, **options: Any) -> None:
        super().__init__(
            hooks,
            data_size_limit=limits.size,
            enable_SMTPUTF8=True,
            ident="Heartbeat",
            timeout=limits.seconds,
            command_call_limit=dict(CALLS),
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            **options,
        )
        self._clients, self._limits = clients, limits
        self.address = ""
        self.taken_by: list[Recipient] = []
        self.wrong_recipients = 0
        self._is_counted = self._is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and close it if there are too many. After STARTTLS it is called again."""
        if self._is_counted:
            super().connection_made(transport)
            return
        peer = transport.get_extra_info("peername")
        self.address, self._is_counted = str(peer[0]) if peer else "", True
        if self._clients.connect(self.address):
            super().connection_made(transport)
            return
        self._is_refused = True
        transport.write(b"421 4.7.0 Too many connections, try again later\r\n")  # type: ignore[attr-defined]
        transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Count the connection as ended."""
        if self._is_counted:
            self._is_counted = False
            self._clients.disconnect(self.address)
        if not self._is_refused:
            super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Drop what a client sends that was refused."""
        if not self._is_refused:
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """Let the connection end."""
        return False if self._is_refused else super().eof_received()

    def _set_post_data_state(self) -> None:
        """Forget the mail; RSET, HELO and STARTTLS do so, too."""
        super()._set_post_data_state()  # type: ignore[no-untyped-call]
        self.taken_by = []

    async def push(self, status: Any) -> None:
        """Send an answer; after 421 the connection is closed."""
        await super().push(status)
        if str(status).startswith("421") and self.transport is not None:
            self.transport.close()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        """Read a mail, and answer for it.

        aiosmtpd's own method keeps all of a mail; this one keeps what is stored. A line ends at CR LF alone, and the
        mail at a dot alone between two of them: whatever else a client sends is a part of the mail, so that none can
        be smuggled in behind it.
        """
        if await self.check_helo_needed():
            return
        if not self.taken_by:
            await self.push("503 5.5.1 RCPT comes before DATA")
            return
        if arg:
            await self.push("501 5.5.4 DATA has no argument")
            return
        await self.push("354 End the mail with a dot on a line of its own")
        try:
            async with asyncio.timeout(self._limits.mail_seconds):
                content, refusal = await self._read_mail()
        except TimeoutError:
            await self.push("421 4.4.2 The mail took too long")
            return
        # The hook gets it as aiosmtpd's own method would give it.
        self.envelope.content = self.envelope.original_content = content  # type: ignore[union-attr]
        answer = refusal or await self._call_handler_hook("DATA")
        self._reset_timeout()
        self._set_post_data_state()
        await self.push(answer)

    async def _read_mail(self) -> tuple[bytes, str]:
        """Return the beginning of a mail, and the answer if it is refused; "" if it is not.

        It is read in pieces of up to MAX_LINE bytes: millions of empty lines cost no more than long ones. Each piece,
        and the end, comes within the limit of seconds.
        """
        # As if a line had ended before it, so that a dot in its first line ends it as well.
        self._reader._buffer[:0] = b"\r\n"  # type: ignore[attr-defined] # noqa: SLF001 - asyncio has no other way
        kept, size, lines, refusal = bytearray(), -2, _LineLengths(), ""
        is_end = False
        while not is_end:
            self._reset_timeout()
            try:
                piece = await self._reader.readuntil(b"\r\n.\r\n")
            except asyncio.LimitOverrunError as error:
                piece = await self._reader.read(error.consumed)
            else:
                piece, is_end = piece[:-3], True
            size += len(piece)
            if lines.longest_with(piece) > MAX_LINE:
                refusal = refusal or f"500 5.5.2 A line may have {MAX_LINE:,} bytes"
            if size > self._limits.size:
                refusal = refusal or "552 5.3.4 The mail is too large"
            if size > 2 * self._limits.size:
                # The client does not look at our limit, so it is not read to its end.
                self._writer.close()
                raise asyncio.CancelledError
            if not refusal:
                kept += piece[: MAX_MAIL + 2 - len(kept)]
        # A dot was set before each line that begins with one.
        return bytes(kept).replace(b"\r\n.", b"\r\n")[2:], refusal


class _LineLengths:
    """The lengths of lines that come in pieces."""

    def __init__(self) -> None:
        self._open = 0  # bytes of the line that has not ended
        self._ends_with_cr = False

    def longest_with(self, piece: bytes) -> int:
        """Return the length of the longest line that a piece ends or goes on with."""
        if self._ends_with_cr and piece.startswith(b"\n"):
            self._open, piece = 0, piece[1:]
        lengths = [len(line) for line in piece.split(b"\r\n")]
        lengths[0] += self._open
        self._open, self._ends_with_cr = lengths[-1], piece.endswith(b"\r")
        return max(lengths)


def serve(config: Config, sockets: Sequence[socket.socket], *, limits: Limits | None = None) -> None:
    """Serve until the process is asked to stop."""
    asyncio.run(_serve(config, sockets, limits or Limits()))


async def _serve(config: Config, sockets: Sequence[socket.socket], limits: Limits) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    store = Store(config)
    factory = connection_factory(config, store, limits)
    servers = [await loop.create_server(factory, sock=each) for each in sockets]
    await stopped.wait()
    for server in servers:
        server.close()
    await store.close()


def connection_factory(config: Config, store: Store, limits: Limits) -> Callable[[], Connection]:
    """Return what makes a connection for each client."""
    clients, context = Clients(limits), tls_context(config)
    hooks = Hooks(config, store, clients, limits)
    loop = asyncio.get_running_loop()
    return lambda: Connection(hooks, clients, limits, hostname=config.domain, tls_context=context, loop=loop)


def tls_context(config: Config) -> ssl.SSLContext | None:
    """Return the certificate with which STARTTLS is offered; None without one, or if it cannot be read."""
    if not config.certificate:
        return None
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(config.certificate, config.key)
    except (OSError, ValueError) as error:
        log.warning("STARTTLS is not offered: HEARTBEAT_SMTP_CERTIFICATE or _KEY cannot be read: %s", error)
        return None
    return context


def _sender(address: str | None) -> str:
    """Return the sender of a mail as it is stored: "<>" for none."""
    text = "".join(letter for letter in address or "" if letter.isprintable())[:_PRINTABLE_SENDER]
    return text or "<>"
