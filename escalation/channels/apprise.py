"""Apprise: services that have no channel of their own here, each named by an Apprise URL.

Apprise itself reads the URL, and each option that it found is compared with those that are known to be harmless: a
parser of ours might read the URL differently. Apprise brings its own HTTP client, to which the limits of ours do not
apply. So an audit hook of Python watches the thread that sends: it is called before each connection, file and program,
stops those that are not permitted, and connections are cut at the deadline. No error text repeats Apprise's own log
lines, because they name files and hosts.
"""

import logging
import os
import re
import socket
import sys
import sysconfig
import threading
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from escalation.channels import message_text
from escalation.channels.base import DeliveryError, Message
from escalation.channels.http_client import PASSING
from escalation.channels.send_deadline import seconds_left
from heartbeat_project.kernel.addresses import is_public
from heartbeat_project.kernel.database import release_connection

# Options with these types cannot hold the name of a file. Options with text are permitted one by one: for each the
# code of the service was read, which only passes it on.
PLAIN_TYPES: Final = ("bool", "int", "float", "choice")
PERMITTED_TEXTS: Final = frozenset(
    {
        *("actions", "alias", "avatar_url", "channel", "channels", "class", "click", "dedup", "delay", "email"),
        *("entity", "from", "group", "href", "icon_url", "key", "name", "path", "ping", "sound", "tags", "thread"),
        *("to", "topic", "url", "url_title", "xtags"),
    }
)
# Options that these services read without declaring them, and only pass on; Apprise's own pages recommend some of them.
UNDECLARED: Final = {
    "NotifyDiscord": {"botname"},
    "NotifyGoogleChat": {"threadkey"},
    "NotifyMatrix": {"v"},
    "NotifyNtfy": {"tags"},
    "NotifyOpsgenie": {"apikey"},
    "NotifyPagerDuty": {"apikey", "component", "integrationkey", "source"},
}
# Options that are refused because this module sets them: time limits, retries, and that certificates are verified.
OURS: Final = frozenset({"verify", "retry", "wait", "rto", "cto"})
# Options that repeat a part of the URL before the question mark; every service takes them.
URL_PARTS: Final = frozenset({"user", "pass", "password", "port"})
# Groups of options with free names that services pass on as facts of the alert; other groups set headers and templates.
PERMITTED_PREFIXES: Final = frozenset({"details"})
# Log lines of requests and urllib3, which Apprise uses, that say that no connection was made.
NEVER_CONNECTED: Final = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|Failed to establish a new connection"
    r"|CERTIFICATE_VERIFY_FAILED"
)
MAX_LOG_LENGTH: Final = 10_000  # letters of Apprise's log of one message that are searched for a status
MAX_STATUSES: Final = 5  # in an error text; one URL may name several recipients, and each answers
_PROGRAMS: Final = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")
_thread = threading.local()


class AppriseChannel:
    """Send through the service that the URL names."""

    def send(self, message: Message) -> str:
        """Send the message and return our own id: Apprise gives none."""
        plugin = service(message.address)
        plugin.socket_connect_timeout = plugin.socket_read_timeout = seconds_left(
            min(5.0, settings.OUTGOING_TIMEOUT_SECONDS)
        )
        body, title = f"{message_text.long(message)}\n{message_text.link(message)}", message_text.title(message)
        release_connection()
        with _watched() as watch, _listening() as log_lines:
            try:
                accepted = plugin.notify(body=body, title=title)
            except Exception as error:
                raise DeliveryError(f"{plugin.service_name}: The message was not taken.", uncertain=True) from error
        if not accepted and watch.refused:
            raise DeliveryError(watch.refused, permanent=True)
        if watch.over:  # also for what Apprise took for a success: the answer was cut off
            raise DeliveryError(f"{plugin.service_name}: No answer in time", uncertain=True)
        if not accepted:
            raise _delivery_error(str(plugin.service_name), log_lines.warnings, asked=not log_lines.never_connected)
        return str(message.id)

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def service(url: str) -> Any:
    """Return Apprise's object for the URL; raise DeliveryError if the URL or its service is not permitted.

    The error has `bad_address`: an address that was stored when it was still permitted is marked as failing.
    """
    import apprise  # noqa: PLC0415 - a hundred modules, which most installations never need

    scheme = url.partition("://")[0].lower()
    if scheme not in settings.APPRISE_SERVICES:
        raise DeliveryError(
            f"The service “{scheme[:40]}” is not permitted here. Use another one, or ask the operator.",
            bad_address=True,
        )
    incomplete = DeliveryError(
        f"This is not a complete URL of the service “{scheme}”. Enter it again.", bad_address=True
    )
    plugins = apprise.plugins.N_MGR
    if scheme not in plugins:  # Apprise would take it for a web address and offer it to each service
        raise incomplete
    with _watched(), _listening():
        read = apprise.plugins.url_to_dict(url)  # type: ignore[no-untyped-call]  # of the library
        if not read or str(read.get("schema", "")).lower() not in settings.APPRISE_SERVICES:
            raise incomplete
        for option in sorted(read.get("qsd", {})):
            if option and not _is_permitted(option, plugins[read["schema"]]):
                raise DeliveryError(
                    f"“{option[:40]}” is not permitted in the URL of this service. Remove it from the URL.",
                    bad_address=True,
                )
        asset = apprise.AppriseAsset(
            app_id="Heartbeat",
            app_desc="Heartbeat",
            app_url=settings.BASE_URL,
            async_mode=False,
            storage_mode=apprise.PersistentStoreMode.MEMORY,
        )
        plugin = apprise.Apprise.instantiate(read, asset=asset)
    if plugin is None:
        raise incomplete
    return plugin


def _is_permitted(option: str, plugin: Any) -> bool:
    """Return whether the service declares this option and the option reads nothing on this machine."""
    if option in URL_PARTS or option in UNDECLARED.get(plugin.__name__, ()):
        return True
    if option[0] in "+-:":
        prefixes = {free["prefix"] for name, free in plugin.template_kwargs.items() if name in PERMITTED_PREFIXES}
        return option[0] in prefixes
    declared = plugin.template_args.get(option)
    if declared is None or option in OURS:
        return False
    alias = declared.get("alias_of")
    if alias is None:
        return option in PERMITTED_TEXTS or str(declared["type"]).startswith(PLAIN_TYPES)
    # Another name of parts of the URL, or of another option.
    names = {alias} if isinstance(alias, str) else set(alias)
    return all(name in plugin.template_tokens or _is_permitted(name, plugin) for name in names)


class _Watch:
    """What one thread may connect to, and until when; at the deadline its connections are cut."""

    def __init__(self) -> None:
        self.refused = ""
        self.over = False
        self._sockets: list[socket.socket] = []

    def look(self, connecting: socket.socket, address: Any) -> None:
        """Raise for a connection that is not permitted, as the network does; Apprise then tries its next address."""
        if self.over:
            raise TimeoutError("the time for this message is over")
        if address is None:  # sent over a connection that was permitted
            return
        if isinstance(address, tuple) and is_public(str(address[0]), allowed=settings.OUTGOING_ALLOW):
            # A second handle: TLS takes the first one over.
            self._sockets.append(connecting.dup())
            return
        self.refused = "The URL leads to an address that is not public."
        raise PermissionError(self.refused)

    def cut(self) -> None:
        """Close all connections that still wait for an answer."""
        self.over = True
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the handles."""
        for sock in self._sockets:
            sock.close()


@contextmanager
def _watched() -> Iterator[_Watch]:
    """Watch what this thread connects to, opens and runs, and cut its connections at the deadline."""
    _watch_this_process()
    watch = _Watch()
    timer = threading.Timer(seconds_left(settings.OUTGOING_TIMEOUT_SECONDS), watch.cut)
    timer.daemon = True
    timer.start()
    _thread.watch = watch
    try:
        yield watch
    finally:
        _thread.watch = None
        timer.cancel()
        timer.join()
        watch.close()


def _watch_this_process() -> None:
    """Add the audit hook, once for the process: a hook cannot be removed."""
    global _watching  # noqa: PLW0603 - the process has one list of hooks
    if not _watching:
        _watching = True
        sys.addaudithook(_look)


_watching = False


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    watch: _Watch | None = getattr(_thread, "watch", None)
    if watch is None:
        return
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        watch.look(*arguments)
    elif event == "open" and not _is_of_a_library(arguments[0]):
        raise PermissionError("no file of this machine is read for a message")
    elif event in _PROGRAMS:
        raise PermissionError("no program of this machine is run for a message")


def _is_of_a_library(path: Any) -> bool:
    """Return whether a file belongs to Python or its packages, which load parts of themselves late."""
    if not isinstance(path, str | bytes | os.PathLike):
        return True  # open already
    whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - asked within each opening of a file
    return whole.startswith(_libraries())


@cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [*(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")), *zoneinfo.TZPATH]
    both = {form for folder in folders for form in (folder, str(Path(folder).resolve()))}
    return tuple(f"{folder}{os.sep}" for folder in sorted(both))


@contextmanager
def _listening() -> Iterator["_ApprisesLog"]:
    """Collect what Apprise logs in this thread: nothing else says why it failed."""
    log_lines = _ApprisesLog()
    this_thread = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == this_thread:
                log_lines.add(record)

    collector, logger = Collector(logging.DEBUG), logging.getLogger("apprise")
    # Failed connections are logged at debug level only. Our own log says what came of the message.
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(collector)
    try:
        yield log_lines
    finally:
        logger.removeHandler(collector)


class _ApprisesLog:
    """What Apprise logged while it sent: its warnings, and whether no connection was made."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.never_connected = False

    def add(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())
        elif NEVER_CONNECTED.search(record.getMessage()):
            self.never_connected = True


def _delivery_error(name: str, log_lines: list[str], *, asked: bool) -> DeliveryError:
    """Return what the failure means; Apprise's log lines end in the HTTP status if there was one.

    Without a status nobody knows whether the message was taken, unless no connection was made (`asked` is false).
    """
    statuses = [int(code) for code in re.findall(r"error[ =]*(\d{3})\b", " ".join(log_lines)[:MAX_LOG_LENGTH])]
    permanent = bool(statuses) and all(400 <= status < 500 and status not in PASSING for status in statuses)
    gone = bool(statuses) and all(status == HTTPStatus.GONE for status in statuses)
    reason = "The connection failed"
    if statuses:
        reason = f"It answered {', '.join(_in_words(status) for status in dict.fromkeys(statuses[:MAX_STATUSES]))}"
    elif asked:
        reason = "The message was not taken"
    return DeliveryError(f"{name}: {reason}.", permanent=permanent, uncertain=asked and not statuses, bad_address=gone)


def _in_words(status: int) -> str:
    with suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return str(status)
