"""Mails the operator directly over SMTP while Heartbeat itself stands still; needs no database and no Django.

All processes of an installation share one small file, so that together they send one mail when an incident begins, at
most one an hour for all incidents, and one when it is over. The file has its full size from the start, so that it can
be written on a full disk.
"""

import contextlib
import fcntl
import json
import os
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from pathlib import Path
from typing import Final, Protocol, Self
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from heartbeat_project.bounded import Bounded
from heartbeat_project.variables import MAIL_PORTS, TRUE

FILE: Final = "operator-mail"
SIZE: Final = 4096  # bytes; one block of most file systems
LONGEST_TEXT: Final = 500  # characters; with all fields escaped, the state still fits into SIZE
BETWEEN_MAILS: Final = 3600.0  # seconds between the first mails of two incidents
# Seconds between two tries if the mail server refuses, and between two lines in the log if no mail can be sent.
BETWEEN_TRIES: Final = 60.0
# Sends of a mail whose fate is unknown, because the process died or the server stopped answering.
MAX_TRIES: Final = 3
SEND_SECONDS: Final = 20.0  # for one mail in all
STANDSTILL_SECONDS: Final = 120.0  # of trouble before the operator is mailed, by default


class Standstill:
    """Measures how long a standstill has been observed by repeated looks (`limit` and `every` in seconds).

    Only observed time counts: while the process was stopped or the machine slept, nothing was observed.
    """

    def __init__(self, *, limit: float, every: float) -> None:
        self.limit: Final = limit
        self.every: Final = every
        self.seconds = 0.0
        self._looked_at: float | None = None

    def note(self, trouble: str, *, at: float) -> bool:
        """Note the result of a look at the time.monotonic() `at`; return whether the trouble has reached the limit."""
        if not trouble:
            self.seconds, self._looked_at = 0.0, None
            return False
        if self._looked_at is not None:
            self.seconds += min(at - self._looked_at, 3 * self.every)
        self._looked_at = at
        return self.seconds >= self.limit


@dataclass(frozen=True, slots=True)
class State:
    """The state that all processes share: the operator's address, the incident that was mailed, the tries.

    `incident` is the text of the mailed incident until its end was mailed as well. Times are seconds since 1970.
    """

    address: str = ""
    incident: str = ""
    began_at: float = 0.0
    mailed_at: float = 0.0
    tried_at: float = 0.0
    tries: int = 0

    def next_mail(self, trouble: str, *, now: float) -> str:
        """Return the mail that is due now: "begin", "over" or "" for none. `trouble` is empty if all is well."""
        if _within(BETWEEN_TRIES, self.tried_at, now) or bool(trouble) == bool(self.incident):
            return ""
        if not trouble:
            return "over"
        return "" if _within(BETWEEN_MAILS, self.mailed_at, now) else "begin"


class Busy(Exception):
    """Another process is sending now."""


class Store(Protocol):
    """Keeps the state."""

    def read(self) -> State:
        """Return the state."""

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Lock the state for this process within the block. Raises Busy."""

    def write(self, state: State) -> None:
        """Write the state; the caller holds the lock. Raises OSError."""


class MemoryStore:
    """The state of a single process."""

    def __init__(self) -> None:
        self._state = State()

    def read(self) -> State:
        """Return the state."""
        return self._state

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Do nothing: no other process can write this state."""
        return contextlib.nullcontext()

    def write(self, state: State) -> None:
        """Write the state."""
        self._state = state


class FileStore:
    """The state of all processes that can open the file, which is created unless it exists. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.descriptor: Final = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(self.descriptor).st_size != SIZE:
                os.ftruncate(self.descriptor, SIZE)
                self.write(State())
        except OSError:
            os.close(self.descriptor)
            raise

    def read(self) -> State:
        """Return the state; an empty one if the file cannot be read."""
        field_types: dict[str, type] = {name: type(value) for name, value in asdict(State()).items()}
        try:
            stored = json.loads(os.pread(self.descriptor, SIZE, 0))
            return State(**{name: convert(stored[name]) for name, convert in field_types.items() if name in stored})
        except (OSError, ValueError, TypeError, AttributeError):
            return State()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Lock the state until the block or the process ends. Raises Busy."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        try:
            yield
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def write(self, state: State) -> None:
        """Write in place, always SIZE bytes, so that no more space on the disk is needed."""
        text = json.dumps(asdict(state), ensure_ascii=False).encode("utf-8", "replace")
        os.pwrite(self.descriptor, text.ljust(SIZE)[:SIZE], 0)
        os.fsync(self.descriptor)


@dataclass(frozen=True, slots=True)
class MailServer:
    """The mail server of EMAIL_URL; `security` is "", "starttls" or "tls"."""

    host: str
    port: int
    user: str = ""
    password: str = ""
    security: str = ""

    @classmethod
    def from_url(cls, url: str) -> Self | None:
        """Return the server of an EMAIL_URL, or None if it does not name a mail server."""
        security = {"smtp": "", "smtps": "starttls", "smtp+tls": "starttls", "smtp+ssl": "tls"}
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return None
        if parts.scheme not in security or not parts.hostname:
            return None
        options = {name.upper() for name, value in parse_qsl(parts.query) if value.lower() in TRUE}
        by_option = "starttls" if "EMAIL_USE_TLS" in options else ""
        if "EMAIL_USE_SSL" in options:
            by_option = "tls"
        return cls(
            parts.hostname,
            port or MAIL_PORTS[parts.scheme],
            unquote_plus(parts.username or ""),
            unquote_plus(parts.password or ""),
            security[parts.scheme] or by_option,
        )

    def send(self, message: EmailMessage, *, handing_over: Callable[[], None]) -> None:
        """Send the message; once `handing_over` was called, it may arrive even if this raises."""
        # The time limit of one step. Bounded limits the whole to SEND_SECONDS.
        seconds = SEND_SECONDS / 2
        context = ssl.create_default_context()
        connection = (
            smtplib.SMTP_SSL(self.host, self.port, timeout=seconds, context=context)
            if self.security == "tls"
            else smtplib.SMTP(self.host, self.port, timeout=seconds)
        )
        try:
            if self.security == "starttls":
                connection.starttls(context=context)
            if self.user:
                connection.login(self.user, self.password)
            handing_over()
            connection.send_message(message)
            # The server has accepted the message, so an error at the goodbye does not matter.
            with contextlib.suppress(OSError, smtplib.SMTPException):
                connection.quit()
        finally:
            connection.close()


class OperatorMail:
    """Mails the operator that Heartbeat stands still, and later that it works again.

    `say` writes a line to the log. Without a mail server or an address, there is only a line a minute in the log.
    `address` and `sender` have the values of HEARTBEAT_OPERATOR_EMAIL and HEARTBEAT_FROM_EMAIL. With
    `in_memory_instead`, the state is kept in memory if the file cannot be written.
    """

    def __init__(
        self,
        store: Store,
        *,
        server: MailServer | None,
        sender: str,
        base_url: str,
        say: Callable[[str], None],
        address: str = "",
        in_memory_instead: bool = False,
    ) -> None:
        self.store = store
        self.server = server
        self.sender = sender
        self.base_url = base_url
        self.address = address
        self._say = say
        self._in_memory_instead = in_memory_instead
        self._said_at: float | None = None
        self._sending: Bounded[None] = Bounded("mail to the operator", seconds=SEND_SECONDS)

    def keep_address(self, address: str) -> None:
        """Store the operator's address for all processes, for the time when the database cannot be asked."""
        if address and address != self.store.read().address:
            with contextlib.suppress(Busy, OSError), self.store.held():
                self.store.write(replace(self.store.read(), address=address))

    def report(self, trouble: str, *, lasted: float, now: float) -> None:
        """Send the mail that is due: `trouble` has lasted for `lasted` seconds or, if it is empty, it is over.

        Raises nothing: errors are logged, at most once a minute.
        """
        trouble = " ".join(trouble.split())[:LONGEST_TEXT]
        try:
            state = self.store.read()
            address = self.address or state.address
            if trouble and (self.server is None or not address):
                missing = "EMAIL_URL is not set" if self.server is None else "no address is known"
                self._say_now_and_then(f"HEARTBEAT STANDS STILL, and nobody can be mailed ({missing}): {trouble}")
            elif self.server is not None and address and state.next_mail(trouble, now=now):
                self._mail(self.server, address, trouble, lasted=lasted, now=now)
        except Busy:
            return
        except Exception as error:  # noqa: BLE001 - a watch must go on
            self._say_now_and_then(f"the operator could not be mailed: {type(error).__name__}: {error}")

    def _mail(self, server: MailServer, address: str, trouble: str, *, lasted: float, now: float) -> None:
        with self.store.held():
            before = self.store.read()
            kind = before.next_mail(trouble, now=now)
            if not kind:
                return
            if before.tries < MAX_TRIES:
                # The try is written before the mail is sent: otherwise a process that dies in each send and is started
                # again would mail without end.
                self._write(replace(before, tried_at=now, tries=before.tries + 1))
                message = self._begun(trouble, now - lasted) if kind == "begin" else self._over(before, now)
                message["To"], message["From"] = address, self.sender
                message["Date"], message["Message-ID"] = formatdate(now), make_msgid(domain=self._domain())
                message["Auto-Submitted"] = "auto-generated"
                handed_over = threading.Event()
                try:
                    self._sending.run(lambda: server.send(message, handing_over=handed_over.set))
                except Exception as error:
                    refused = (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)
                    if not handed_over.is_set() or isinstance(error, refused):
                        # The mail certainly did not arrive: this try does not count.
                        self._write(replace(before, tried_at=now))
                    raise
                self._say(f"the operator ({address}) was mailed: {message['Subject']}")
            after = replace(before, tried_at=0.0, tries=0)
            if kind == "begin":
                self._write(replace(after, incident=trouble, began_at=now - lasted, mailed_at=now))
            else:
                self._write(replace(after, incident="", began_at=0.0))

    def _write(self, state: State) -> None:
        """Write the state; if the file cannot be written, keep it in memory from now on, if that is allowed."""
        try:
            self.store.write(state)
        except OSError as error:
            if not self._in_memory_instead:
                raise
            self._say(f"the state of operator mail cannot be written ({error}); it is kept in memory")
            self.store = MemoryStore()
            self.store.write(state)

    def _begun(self, trouble: str, since: float) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = "Heartbeat stands still: people may not be notified"
        message["Importance"] = "high"
        message.set_content(
            f"Heartbeat at {self.base_url} has not worked since {_moment(since)}.\n\n{trouble}\n\n"
            "While this lasts, silent jobs may go unnoticed, and alerts may reach nobody.\n"
            "Watch your important jobs in another way.\n\n"
            f"What to do: {self.base_url}/readyz and the log say what is wrong.\n"
            "Check the disk, the database and the processes web, engine and delivery; restart\n"
            "those that do not run.\n\n"
            "You get one mail for this and one when it is over; at most one such incident is\n"
            "reported per hour.\n"
        )
        return message

    def _over(self, state: State, now: float) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = "Heartbeat works again"
        message.set_content(
            f"Heartbeat at {self.base_url} works again: deadlines are judged, and messages are sent.\n\n"
            f"It stood still from {_moment(state.began_at)} until about {_moment(now)}:\n{state.incident}\n\n"
            "Time in which no pings could be received does not count as silence. Work that\n"
            "became due meanwhile is done now.\n"
        )
        return message

    def _domain(self) -> str:
        domain = parseaddr(self.sender)[1].rpartition("@")[2]
        return domain if domain.isascii() and domain else "heartbeat.invalid"

    def _say_now_and_then(self, text: str) -> None:
        at = time.monotonic()
        if self._said_at is None or at - self._said_at >= BETWEEN_TRIES:
            self._said_at = at
            self._say(text)


def open_store(folder: Path | None, *, fallback: Path | None = None) -> Store | None:
    """Return the store in `folder`, else the one in `fallback`; None if neither can be written."""
    for parent in (folder, fallback):
        if parent is not None:
            with contextlib.suppress(OSError):
                return FileStore(parent / FILE)
    return None


def _within(seconds: float, earlier: float, now: float) -> bool:
    """Return whether `earlier` is less than `seconds` ago; if it is in the future, the clock was set back: no."""
    return 0 <= now - earlier < seconds


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
