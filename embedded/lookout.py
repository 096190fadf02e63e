"""The supervisor's own watch: asks the web server whether the work goes on, and mails the operator if not."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import urlsplit

from embedded.console import Console
from embedded.folders import DataFolder, give
from embedded.options import Options
from embedded.process import EmbeddedError
from heartbeat_project.bounded import Bounded
from heartbeat_project.disk import no_room
from heartbeat_project.operator_mail import (
    FILE,
    STANDSTILL_SECONDS,
    FileStore,
    MailServer,
    MemoryStore,
    OperatorMail,
    Standstill,
    Store,
)

# Between two looks. The web server and both workers look as well; this one is for when none of them runs.
LOOK_SECONDS: Final = 20.0
# The web server answers within 4 s, whatever the database does.
ANSWER_SECONDS: Final = 6.0
LONGEST_ANSWER: Final = 65_536  # bytes
LONGEST_LIMIT: Final = 86_400.0  # seconds


class Lookout:
    """Reads `/readyz` every few seconds in its own thread, and mails the operator when the work stands still.

    `settings` are the application's variables; `crashes` returns a sentence about children that keep crashing.
    """

    def __init__(
        self, options: Options, store: Store, settings: Mapping[str, str], *, crashes: Callable[[], str]
    ) -> None:
        self._folder = options.data
        self._probe = options.probe
        self._host = urlsplit(options.base_url).netloc
        self._crashes = crashes
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._mail = OperatorMail(
            store,
            server=MailServer.from_url(settings.get("EMAIL_URL", "")),
            sender=settings.get("HEARTBEAT_FROM_EMAIL")
            or f"Heartbeat <heartbeat@{urlsplit(options.base_url).hostname}>",
            base_url=options.base_url,
            say=self._lines.put,
            address=settings.get("HEARTBEAT_OPERATOR_EMAIL", ""),
            in_memory_instead=True,
        )
        limit = _limit(settings.get("HEARTBEAT_STANDSTILL_SECONDS") or str(STANDSTILL_SECONDS))
        self._every = min(LOOK_SECONDS, limit / 6)
        self._standstill = Standstill(limit=limit, every=self._every)
        self._answers: Bounded[str] = Bounded("look at the web server", seconds=ANSWER_SECONDS)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="lookout", daemon=True).start()

    def stop(self) -> None:
        """Stop looking and mailing: a person who stops Heartbeat knows that it stands still."""
        self._stopped.set()

    def lines(self) -> Iterator[str]:
        """Yield the lines for the console, which only the main thread may use."""
        with contextlib.suppress(Empty):
            while True:
                yield self._lines.get_nowait()

    def look(self, *, now: float) -> None:
        """Look once, and mail what is due; `now` is in seconds since 1970."""
        trouble = self._trouble()
        if self._standstill.note(trouble, at=time.monotonic()) or not trouble:
            self._mail.report(trouble, lasted=self._standstill.seconds, now=now)

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            self.look(now=time.time())  # noqa: TID251 - the kernel's clock belongs to the application

    def _trouble(self) -> str:
        """Return what prevents the work, with likely causes; empty while the web server says that the work goes on."""
        try:
            trouble = self._answers.run(self._ask)
        except Exception as error:  # noqa: BLE001 - any error means that there is no usable answer
            trouble = f"The web server does not answer ({type(error).__name__}: {error})."
        if not trouble:
            return ""
        causes = (no_room(self._folder), self._crashes())
        return " ".join([trouble, *(cause for cause in causes if cause and cause not in trouble)])

    def _ask(self) -> str:
        connection = http.client.HTTPConnection(*self._probe, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", "/readyz", headers={"Host": self._host})
            answer = json.loads(connection.getresponse().read(LONGEST_ANSWER))
        finally:
            connection.close()
        failures = [str(check.get("detail") or name) for name, check in answer["checks"].items() if not check["ok"]]
        if failures:
            return f"The web server cannot receive pings: {'; '.join(failures)}."
        return str(answer["standstill"])


def _limit(text: str) -> float:
    """Return the value of HEARTBEAT_STANDSTILL_SECONDS. Raises EmbeddedError if it is not a number in range."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= LONGEST_LIMIT:
        raise EmbeddedError(
            f"HEARTBEAT_STANDSTILL_SECONDS must be a number from 1 to {LONGEST_LIMIT:.0f}, not {text!r}."
        )
    return seconds


def open_state(data: DataFolder, console: Console) -> Store:
    """Return the store in the file that all processes share, else one in memory.

    The file is created at the start, before the disk can be full.
    """
    path = data.path / FILE
    try:
        store = FileStore(path)
        give(store.descriptor, data.account)
    except OSError as error:
        console.say(
            f"{path} cannot be used ({error.strerror}): of all processes, only the supervisor mails the operator."
        )
        return MemoryStore()
    return store
