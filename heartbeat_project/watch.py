"""Watches in each process whether Heartbeat works: mails the operator if it stands still, pings a watchdog if not."""

import hashlib
import http.client
import logging
import os
import stat
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError

from escalation.notifications.notices.operator import ask_about_standstills, operator_address
from heartbeat_project.bounded import Bounded
from heartbeat_project.condition import Condition, condition, first_line, in_time
from heartbeat_project.disk import no_room
from heartbeat_project.kernel import clock
from heartbeat_project.operator_mail import MailServer, MemoryStore, OperatorMail, Standstill, open_store
from integrations.ping_lane.health import PROCESS_HEALTH

log = logging.getLogger(__name__)

# Between two looks at the condition. Web and both workers look, each at its own time.
LOOK_SECONDS: Final = 20.0
WELL_SECONDS: Final = 30.0  # for which a look counts that found all well
PING_SECONDS: Final = 60.0  # between two pings to the watchdog
PING_LIMIT: Final = 5.0  # seconds for one ping in all
ADDRESS_SECONDS: Final = 60.0  # between two reads of the operator's address


class Watch:
    """Checks every few seconds whether the work goes on, and reports to `mail`; None if another process mails.

    `limit` and `every` are in seconds.
    """

    def __init__(
        self,
        mail: OperatorMail | None,
        *,
        limit: float,
        every: float = LOOK_SECONDS,
        look: Callable[..., Condition] = condition,
    ) -> None:
        self.mail = mail
        self.every = every
        self._look = look
        self._standstill = Standstill(limit=limit, every=every)
        self._well_at: float | None = None
        self._address_at: float | None = None

    def look(self, *, now: datetime) -> None:
        """Check once. Raises no error of the database."""
        try:
            current = in_time(lambda: self._look(now=now))
            trouble = current.standstill or PROCESS_HEALTH.trouble(now=now)
        except (DatabaseError, TimeoutError) as error:
            current = Condition("", watchdog=False)
            trouble = (
                f"The database cannot be used: {first_line(error)}. Check that it runs. {no_room(settings.DATA_DIR)}"
            )
        at = time.monotonic()
        self._well_at = at if current.watchdog and not trouble else None
        lasted = self._standstill.note(trouble, at=at)
        if self.mail is not None and (lasted or not trouble):
            self.mail.report(trouble, lasted=self._standstill.seconds, now=now.timestamp())
        if self.mail is not None and not trouble and (self._address_at is None or at >= self._address_at):
            self._keep_address(self.mail)
            self._address_at = at + ADDRESS_SECONDS

    def is_well(self) -> bool:
        """Return whether the last look was recent and found everything well enough to ping the watchdog."""
        return self._well_at is not None and time.monotonic() - self._well_at <= min(3 * self.every, WELL_SECONDS)

    def _keep_address(self, mail: OperatorMail) -> None:
        """Store the operator's address for the time when the database cannot be asked."""
        try:
            mail.keep_address(in_time(operator_address))
        except (DatabaseError, TimeoutError) as error:
            log.warning("the operator's address cannot be read: %s", first_line(error))


class Watchdog:
    """Pings the operator's own monitoring, which raises an alarm if the pings stop."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._pings: Bounded[None] = Bounded("ping to the watchdog", seconds=PING_LIMIT)

    def ping(self) -> bool:
        """Ping once, within 5 s in all; return whether it was accepted, and log the reason if not."""
        try:
            self._pings.run(self._request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The whole URL is a secret: anyone who knows it can ping in our place.
            log.warning("the watchdog at %s accepted no ping: %s", urlsplit(self.url).hostname, error)
            return False
        return True

    def _request(self) -> None:
        status = self._send("POST")
        if status == http.HTTPStatus.METHOD_NOT_ALLOWED:
            status = self._send("GET")
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise OSError(f"it answered {status}")

    def _send(self, method: str) -> int:
        """Send one request and return the status of the response."""
        body = b"{}" if method == "POST" else None
        headers = {"User-Agent": "Heartbeat", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url, data=body, headers=headers, method=method)  # noqa: S310 - see settings
        try:
            with urllib.request.urlopen(request, timeout=PING_LIMIT) as answer:  # noqa: S310
                answer.read(1024)
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code


def start(process: str) -> Callable[[], None]:
    """Start the threads that watch, and return a function that stops them. Only `process` "web" pings the watchdog."""
    stopped = threading.Event()
    every = min(LOOK_SECONDS, settings.STANDSTILL_SECONDS / 6)
    mail = _operator_mail()
    if mail is not None:
        ask_about_standstills(lambda: mail.store.read().mailed_at)
    watch = Watch(mail, limit=settings.STANDSTILL_SECONDS, every=every)
    threading.Thread(target=_watch, args=(watch, stopped), name="watch", daemon=True).start()
    if settings.WATCHDOG_URL and process == "web":
        arguments = (Watchdog(settings.WATCHDOG_URL), watch, stopped)
        threading.Thread(target=_ping_on, args=arguments, name="watchdog", daemon=True).start()
    return stopped.set


def _watch(watch: Watch, stopped: threading.Event) -> None:
    while not stopped.wait(watch.every):
        try:
            watch.look(now=clock.now())
        except Exception:
            log.exception("the check of the work failed")


def _ping_on(watchdog: Watchdog, watch: Watch, stopped: threading.Event) -> None:
    pause = 1.0
    while not stopped.wait(pause):
        is_well = watch.is_well()
        if is_well:
            watchdog.ping()
        pause = PING_SECONDS if is_well else 1.0


def _operator_mail() -> OperatorMail | None:
    """Return the sender of operator mail of this process; None if only the supervisor can use the shared file."""
    folder = Path(settings.DATA_DIR) if settings.DATA_DIR else None
    fallback = None if settings.SUPERVISED else _folder_of_our_own()
    store = open_store(folder, fallback=fallback)
    if store is None and settings.SUPERVISED:
        log.warning("the state file of operator mail cannot be used: only the supervisor mails the operator")
        return None
    return OperatorMail(
        store or MemoryStore(),
        server=MailServer.from_url(settings.EMAIL_URL),
        sender=settings.DEFAULT_FROM_EMAIL,
        base_url=settings.BASE_URL,
        say=log.critical,
        address=settings.OPERATOR_EMAIL,
    )


def _folder_of_our_own() -> Path | None:
    """Return a private temporary folder that outlives a restarted process; None if there can be none.

    Its name is derived from the base URL, so that all processes of an installation share it. A folder that belongs to
    another user, or that others can read, is not used.
    """
    digest = hashlib.sha256(settings.BASE_URL.encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"heartbeat-watch-{digest}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError:
        return None
    is_private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return path if is_private and not status.st_mode & 0o077 else None
