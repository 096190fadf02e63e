"""A delivery worker that dies where it is asked to: `Mortal` gives orders to the program that this module also is.

The program loads Django once, and does each order in a child of its own, as a worker's pool does. A child counts the
statements it sends to the database, and kills itself with SIGKILL before or after the one that the order names.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class End:
    """How a worker ended: killed, or with its work done; `at` is the statement at which it killed itself."""

    killed: bool
    at: str = ""


class Mortal:
    """The program, run beside the tests."""

    def __init__(self, process: subprocess.Popen[str], log: Path, *, database: str) -> None:
        self._process, self._log, self._database = process, log, database
        self._pid = 0
        self._working = threading.Event()

    def work(
        self,
        *,
        now: datetime,
        place: int = 0,
        side: str = BEFORE,
        work: str = "escalation.notifications.deliver.deliver_due",
        **settings,
    ) -> End:
        """Send what is due in a child, which dies before or after statement number `place` (0: nowhere).

        `work` is another service's work, as module and function.
        """
        order = {
            "work": work,
            "now": now.isoformat(),
            "place": place,
            "side": side,
            "database": self._database,
            "settings": settings,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._pid = self._hear()["pid"]
        self._working.set()
        at, said = "", self._hear()
        if "at" in said:
            at, said = said["at"], self._hear()
        self._working.clear()
        assert said["signal"] in {0, signal.SIGKILL}, self._log.read_text()
        assert said["code"] == 0, self._log.read_text()
        return End(killed=said["signal"] == signal.SIGKILL, at=at)

    def kill(self) -> None:
        """Kill the child at work, whatever it is doing."""
        assert self._working.wait(20)
        os.kill(self._pid, signal.SIGKILL)

    def _hear(self) -> dict:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        return json.loads(line)


@contextlib.contextmanager
def mortal(*, database: str, **env: str) -> Iterator[Mortal]:
    """Run the program on this database, configured by these variables."""
    with tempfile.TemporaryDirectory(prefix="hb-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                cwd=ROOT,
                env=os.environ | {"REDIS_URL": "redis://127.0.0.1:1/0"} | env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            with process:
                try:
                    yield Mortal(process, log, database=database)
                finally:
                    assert process.stdin
                    process.stdin.close()
                    process.wait(20)


# -- the program
# --------------------------------------------------------------------------------------------------------
def main() -> None:
    """Do one order after the other, each in a child."""
    import django

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(**words) -> None:
        answers.write(json.dumps(words) + "\n")

    django.setup()
    _warm_up()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                say(pid=os.getpid())
                _work(json.loads(line), say=say)
                code = 0
            except Exception as error:  # noqa: BLE001 - whoever gave the order reads it in the log
                traceback.print_exception(error)
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status)
        say(signal=os.WTERMSIG(status) if killed else 0, code=0 if killed else os.WEXITSTATUS(status))


def _warm_up() -> None:
    """Import once what each child would import by itself."""
    import psycopg_pool  # noqa: F401
    from celery import current_app
    from django.template.loader import get_template

    import escalation.notifications.deliver  # noqa: F401

    for name in ("mail/page.txt", "mail/page.html"):
        get_template(name)
    current_app.connection_for_write()
    current_app.amqp.router  # noqa: B018 - made when it is first asked for


def _work(order: dict, *, say) -> None:
    from django.conf import settings
    from django.db.backends.signals import connection_created

    settings.DATABASES["default"]["NAME"] = order["database"]
    for name, value in order["settings"].items():
        setattr(settings, name, value)
    numbers, lock = itertools.count(1), threading.Lock()

    def die(sql) -> None:
        say(at=f"{order['side']} statement {order['place']}: {str(sql)[:200]}")
        os.kill(os.getpid(), signal.SIGKILL)

    def counted(execute, sql, *rest):
        with lock:
            here = next(numbers) == order["place"]
        if here and order["side"] == BEFORE:
            die(sql)
        result = execute(sql, *rest)
        if here:
            die(sql)
        return result

    def count(*, connection, **_) -> None:
        # Each line of a channel has a thread with a connection of its own.
        if counted not in connection.execute_wrappers:
            connection.execute_wrappers.append(counted)

    connection_created.connect(count)
    module, _, function = order["work"].rpartition(".")
    getattr(import_module(module), function)(now=datetime.fromisoformat(order["now"]))


if __name__ == "__main__":
    main()
