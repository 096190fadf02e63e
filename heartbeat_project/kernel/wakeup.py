"""Wakes a worker now instead of at the next tick; a lost wake-up costs seconds, never work."""

import logging
import threading
import time
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from typing import Any, Final

from celery import current_app
from django.db import connections, transaction
from kombu import Connection
from kombu.pools import producers

log = logging.getLogger(__name__)

# After a failed wake-up, none is tried for this long: otherwise each of them would wait for a broker that is away.
QUIET_SECONDS: Final = 5.0
EXPIRES_SECONDS: Final = 30  # by then a tick has done the work
TIMEOUT_SECONDS: Final = 1.0  # for one answer of the broker
# Wake-ups in the queue of one process. Further ones are dropped: the next tick does their work.
MAX_WAITING: Final = 1_000
# The thread ends after this time without a wake-up; the next one starts it again.
IDLE_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WakeUp:
    """A task that a worker shall run now; `or_here`: this process runs it if the broker is away."""

    task_name: str
    queue: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    or_here: bool = False


def wake_on_commit(task_name: str, /, *, queue: str, or_here: bool = False, **kwargs: Any) -> None:
    """Send the task by name once the current transaction has committed; never wait and never raise.

    The message expires if no worker takes it within 30 seconds: by then a tick has done the work. Set `or_here` for
    work that no tick does: this process runs it while the broker is away.
    """
    wake_up = WakeUp(task_name=task_name, queue=queue, kwargs=kwargs, or_here=or_here)
    transaction.on_commit(lambda: WAKER.put(wake_up), robust=True)


def wake_now(task_name: str, /, *, queue: str, **kwargs: Any) -> None:
    """Send the task by name as `wake_on_commit` does, for work that is committed already.

    Uses no database connection.
    """
    WAKER.put(WakeUp(task_name=task_name, queue=queue, kwargs=kwargs))


def warm_up() -> None:
    """Load what the first wake-up needs, unless the broker is away, so that the first one is as fast as the others."""
    try:
        with producers[broker_connection()].acquire(block=True, timeout=TIMEOUT_SECONDS):
            pass
    except Exception as error:  # noqa: BLE001 - as for a wake-up
        WAKER.be_quiet()
        log.warning("the broker cannot be reached at the start: %s", error)


class Waker:
    """Sends wake-ups one after the other in its own thread, so that a broker that hangs blocks no caller.

    After a wake-up that failed or took too long, those of the next five seconds are dropped. A wake-up that equals a
    waiting one is dropped as well.
    """

    def __init__(self) -> None:
        self._waiting: Queue[WakeUp] = Queue(maxsize=MAX_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._quiet_until = 0.0

    def put(self, wake_up: WakeUp) -> None:
        """Hand a wake-up to the thread, which is started unless it runs; return at once."""
        if self.is_quiet() and not wake_up.or_here:
            return
        with self._lock:
            with self._waiting.mutex:
                if wake_up in self._waiting.queue:
                    return
            try:
                self._waiting.put_nowait(wake_up)
            except Full:
                return
            # The thread is not copied into a forked process, and it ends when it is idle.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="wakeup", daemon=True)
                self._thread.start()

    def is_quiet(self) -> bool:
        """Return whether wake-ups are dropped now because one failed within the last five seconds."""
        return time.monotonic() < self._quiet_until

    def be_quiet(self) -> None:
        """Drop the wake-ups of the next five seconds and those that wait."""
        self._quiet_until = time.monotonic() + QUIET_SECONDS

    def _run(self) -> None:
        while (wake_up := self._next()) is not None:
            is_sent = False
            try:
                if not self.is_quiet():
                    send(wake_up)
                    is_sent = True
            except Exception as error:  # noqa: BLE001 - the work is committed, and a tick does what the wake-up was for
                runner = "this process" if wake_up.or_here else "the next tick"
                log.warning("the wake-up for %s was not sent; %s runs it: %s", wake_up.task_name, runner, error)
                self.be_quiet()
            if wake_up.or_here and not is_sent:
                run_here(wake_up)

    def _next(self) -> WakeUp | None:
        try:
            return self._waiting.get(timeout=IDLE_SECONDS)
        except Empty:
            with self._lock:
                if self._waiting.empty():
                    self._thread = None
                    return None
                return self._waiting.get_nowait()


WAKER: Final = Waker()


def run_here(wake_up: WakeUp) -> None:
    """Run the task in this process, without the broker; log any error."""
    try:
        # Only workers load the tasks at their start.
        current_app.loader.import_default_modules()
        current_app.tasks[wake_up.task_name].run(**wake_up.kwargs)
    except Exception:
        log.exception("%s failed", wake_up.task_name)
    finally:
        connections.close_all()


def send(wake_up: WakeUp) -> None:
    """Send the task's message. Raises the errors of the broker's client, after a few seconds at most."""
    with producers[broker_connection()].acquire(block=True, timeout=TIMEOUT_SECONDS) as producer:
        options: dict[str, Any] = {"queue": wake_up.queue, "expires": EXPIRES_SECONDS, "ignore_result": True}
        current_app.send_task(wake_up.task_name, kwargs=wake_up.kwargs, producer=producer, retry=False, **options)


def broker_connection() -> Connection:
    """Return the connection that is the key of the pool of producers; it fails at once instead of retrying."""
    timeout = {"max_retries": 0, "socket_connect_timeout": TIMEOUT_SECONDS, "socket_timeout": TIMEOUT_SECONDS}
    return current_app.connection_for_write(
        transport_options={**current_app.conf.broker_transport_options, **timeout},
    )
