"""Runs every task, whether Celery delivered it or the worker runs it by itself because the broker is away.

Beat's ticks come over the broker. If none has reached a worker for two seconds, its ticker runs the periodic tasks of
its queues by itself, in threads without a connection to the broker, in which the worker's own loop may hang.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import celery

log = logging.getLogger(__name__)

# All values are in seconds, except SHARED_GAP.
# Beat ticks every second: after this time without a tick, the worker runs the task by itself.
TICK_TIMEOUT: Final = 2.0
# At its start a worker first waits for the broker, and then for beat, which may still be starting.
TO_REACH_THE_BROKER: Final = 5.0
TO_HEAR_FROM_BEAT: Final = 10.0
# While all threads of the worker are busy, no tick counts as missed for this long.
TAKEN_SECONDS: Final = 10.0
# A worker that ran a tick by itself within this time is alone: for the log, and for the tasks of every minute.
ALONE_SECONDS: Final = 5.0
# Between two writes of the ticks into the database.
NOTE_SECONDS: Final = 10.0
# A longer gap between ticks, as a multiple of their period, means that another worker shares the queue. For
# SHARED_SECONDS, ticks are then written at once, so that neither worker runs what the other has run.
SHARED_GAP: Final = 1.5
SHARED_SECONDS: Final = 60.0
# Between two lines in the log while the worker is alone, between two lines with the counts of ticks, and from the first
# tick without the broker until the operator is mailed.
LINE_SECONDS: Final = 60.0
SUM_SECONDS: Final = 3600.0
NOTICE_AFTER: Final = 30.0


def run(name: str, body: Callable[[], object]) -> None:  # noqa: ARG001 - for a guard around all tasks
    """Run the body of the task with this name; every task runs through this function."""
    from integrations.heartbeats.clock_steps import keep_time  # noqa: PLC0415 - needs the app registry

    keep_time()
    body()


class Task(celery.Task):  # type: ignore[type-arg]  # generic for type checkers alone
    """The base class of our tasks: counts each run by Celery as a tick that has reached this process."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Run the task for Celery."""
        ticker = _current_ticker
        if ticker is None:
            run(self.name, lambda: self.run(*args, **kwargs))
        else:
            with ticker.woken(self.name):
                run(self.name, lambda: self.run(*args, **kwargs))


class Book(Protocol):
    """The record in which the workers of an installation share their ticks."""

    def ages(self, tasks: Sequence[str]) -> dict[str, float]:
        """Return, for each recorded task, the seconds since any worker began it."""

    def note(self, task: str, *, count: int, age: float) -> None:
        """Record `count` ticks by Celery, of which the newest began `age` seconds ago."""

    def claim(self, task: str, *, every: float) -> bool:
        """Record a tick without the broker and return True, unless any worker began one within `every` seconds."""


@dataclass(slots=True)
class Watched:
    """A periodic task of this worker: its period in seconds and its last tick; times are of time.monotonic().

    `by_itself` says whether the last tick came without the broker, `to_note` how many ticks by Celery are not yet
    recorded; `under_way` holds the starts of the ticks that the ticker is running.
    """

    every: float
    begun: float
    by_itself: bool = False
    to_note: int = 0
    under_way: list[float] = field(default_factory=list)


class Ticker:
    """Watches the ticks that reach this worker, and runs the missing ones by itself.

    `tasks` maps the periodic tasks of the worker's queues to their periods in seconds; `threads` is the number of tasks
    that the worker runs at once. `run_task` runs a task by name and is called in a new thread. `notice` is called once
    when the broker has been away for NOTICE_AFTER seconds, and `between` after each step, to release the database
    connection of the book. While the broker is away, the log gets a line every `line_seconds`.
    """

    def __init__(
        self,
        tasks: Mapping[str, float],
        *,
        book: Book,
        run_task: Callable[[str], None],
        threads: int,
        label: str = "worker",
        line_seconds: float = LINE_SECONDS,
        notice: Callable[[], object] = lambda: None,
        between: Callable[[], object] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        now = monotonic()
        self.tasks = {name: Watched(every=every, begun=now) for name, every in tasks.items()}
        # The most frequent tasks: their ticks show whether beat can be heard.
        shortest = min(tasks.values(), default=0.0)
        self.pulse = {name: watched for name, watched in self.tasks.items() if watched.every == shortest}
        self._book, self._run_task, self._threads, self._label = book, run_task, threads, label
        self._line_seconds = line_seconds
        self._notice, self._between, self._monotonic = notice, between, monotonic
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._hold_until = now + TO_REACH_THE_BROKER
        self._unheard = set(self.pulse)
        self._busy = 0
        self._full_since = now
        self._shared_until = self._last_by_itself = float("-inf")
        self._alone_since: float | None = None
        self._noted_at = self._summed_at = self._stepped_at = self._forgiven_at = now
        self._slept = 0.0
        self._said_at = self._complained_at = float("-inf")
        self._notice_at = float("inf")
        self._sums = {"celery": 0, "itself": 0}
        self._meanwhile = 0

    # -- called by the worker -------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the thread that watches."""
        self._thread = threading.Thread(target=self._loop, name="ticker", daemon=True)
        self._thread.start()

    def reached_the_broker(self) -> None:
        """Wait for beat's first ticks, unless they have come already or this worker is already alone."""
        with self._lock:
            if self._unheard and not self.is_alone():
                self._hold_until = self._monotonic() + TO_HEAR_FROM_BEAT

    def finish(self) -> None:
        """Start no more ticks; safe in a signal handler."""
        self._stopping = True

    def stop(self, *, seconds: float) -> None:
        """Start no more ticks, and wait at most `seconds` for the running ones."""
        self._stopping = True
        self._wake.set()
        end = self._monotonic() + seconds
        while any(watched.under_way for watched in self.tasks.values()) and self._monotonic() < end:
            time.sleep(0.05)

    @contextmanager
    def woken(self, task: str) -> Iterator[None]:
        """Count a task that Celery runs, and its thread as busy until the block ends."""
        with self._lock:
            now = self._monotonic()
            self._busy += 1
            if self._busy == self._threads:
                self._full_since = now
            if (watched := self.tasks.get(task)) is not None:
                self._count_tick(task, watched, now)
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def _count_tick(self, task: str, watched: Watched, now: float) -> None:
        if task in self.pulse:
            self._look_for_a_gap(watched, now)
            self._unheard.discard(task)
            if not self._unheard:
                self._hold_until = now
        watched.begun, watched.by_itself = now, False
        watched.to_note += 1
        self._sums["celery"] += 1
        if now < self._shared_until:
            self._wake.set()

    def _look_for_a_gap(self, watched: Watched, now: float) -> None:
        if now - watched.begun > watched.every * SHARED_GAP:
            self._shared_until = now + SHARED_SECONDS

    # -- the thread -----------------------------------------------------------------------------------------------
    def _loop(self) -> None:
        while not self._stopping:
            try:
                pause = self.step()
            except Exception:
                pause = 1.0
                if self._monotonic() - self._complained_at > LINE_SECONDS:
                    self._complained_at = self._monotonic()
                    log.exception("the ticker failed, and goes on")
            finally:
                self._between()
            self._slept = pause
            self._wake.wait(pause)
            self._wake.clear()

    def step(self) -> float:
        """Run the missed ticks and record the others; return the seconds until the next step."""
        now = self._monotonic()
        late, self._stepped_at = now - self._stepped_at - self._slept, now
        # If this step is late, the process itself was stopped, and its ticks may still wait in the broker: give them
        # time. At most every 10 s, so that a process that is always late does not wait forever.
        if late > 1 and not self.is_alone() and now - self._forgiven_at > 10:
            self._forgiven_at, self._hold_until = now, max(self._hold_until, now + TICK_TIMEOUT)
        # If two workers share a queue, one may get all ticks of a task; the other must learn that it is not alone.
        for watched in self.pulse.values():
            self._look_for_a_gap(watched, now)
        if now >= self._hold_until and not self._is_full(now):
            self._run_missed(now)
        self._say(now)
        if now - self._noted_at > NOTE_SECONDS or now < self._shared_until:
            self._noted_at = now
            self._note(now)
        due = min((watched.begun + self._timeout(name) for name, watched in self.pulse.items()), default=now + 1)
        return min(1.0, max(0.05, due - now, self._hold_until - now))

    def is_alone(self) -> bool:
        """Return whether this worker works without the broker now."""
        return self._monotonic() - self._last_by_itself < ALONE_SECONDS

    def _is_full(self, now: float) -> bool:
        with self._lock:
            return self._busy >= self._threads and now - self._full_since < TAKEN_SECONDS

    def _timeout(self, name: str) -> float:
        """Return the seconds after which a task's tick counts as missed."""
        watched = self.tasks[name]
        return watched.every if watched.by_itself or name not in self.pulse else max(TICK_TIMEOUT, watched.every)

    def _run_missed(self, now: float) -> None:
        missed = [name for name, watched in self.pulse.items() if now - watched.begun >= self._timeout(name)]
        if missed and not self.is_alone():
            self._learn(now)
            missed = [name for name in missed if now - self.pulse[name].begun >= self._timeout(name)]
        if missed or self.is_alone():
            rare = (name for name in self.tasks if name not in self.pulse)
            missed += [name for name in rare if now - self.tasks[name].begun >= self._timeout(name)]
        for name in missed:
            watched = self.tasks[name]
            under_way = list(watched.under_way)
            if len(under_way) >= self._threads or any(now - begun < TICK_TIMEOUT for begun in under_way):
                continue
            # Less than the full period, because this step may come slightly earlier in its second than the last one.
            if not self._book.claim(name, every=watched.every * 0.9):
                self._learn(now)
                continue
            self._begin(name, watched)

    def _learn(self, now: float) -> None:
        """Take over the ticks that other workers have begun since."""
        ages = self._book.ages(list(self.tasks))
        with self._lock:
            for name, age in ages.items():
                watched = self.tasks[name]
                # Frequent ticks never become older by the record, which is written with delay.
                watched.begun = max(watched.begun, now - age) if name in self.pulse else now - age

    def _begin(self, name: str, watched: Watched) -> None:
        with self._lock:
            now = self._monotonic()
            watched.begun, watched.by_itself = now, True
            watched.under_way.append(now)
            self._last_by_itself = now
            if self._alone_since is None:
                self._alone_since, self._meanwhile, self._notice_at = now, 0, now + NOTICE_AFTER
            self._meanwhile += 1
            self._sums["itself"] += 1
        threading.Thread(target=self._tick, args=(name, watched, now), name=f"tick {name}", daemon=True).start()

    def _tick(self, name: str, watched: Watched, begun: float) -> None:
        try:
            self._run_task(name)
        except Exception:
            log.exception("%s failed; the next tick tries again", name)
        finally:
            with self._lock:
                watched.under_way.remove(begun)

    # -- the record and the log -----------------------------------------------------------------------------------
    def _note(self, now: float) -> None:
        for name, watched in self.tasks.items():
            with self._lock:
                count, watched.to_note = watched.to_note, 0
            if count:
                try:
                    self._book.note(name, count=count, age=max(0.0, now - watched.begun))
                except BaseException:
                    with self._lock:
                        watched.to_note += count
                    raise

    def _say(self, now: float) -> None:
        is_heard = not any(watched.by_itself for watched in self.pulse.values())
        if self._alone_since is not None and is_heard and not self.is_alone():
            log.warning("ticks come over the broker again; the %s ran %d by itself", self._label, self._meanwhile)
            self._alone_since = None
        if self._alone_since is not None:
            away = max(0.0, now - self._alone_since)
            if now - self._said_at >= self._line_seconds:
                self._said_at = now
                log.warning(
                    "no tick comes over the broker; the %s has run %d by itself in %.0f s: check whether the broker "
                    "(REDIS_URL) and beat run",
                    self._label,
                    self._meanwhile,
                    away,
                )
            if now >= self._notice_at:
                self._notice_at = now + LINE_SECONDS  # the next try if this one raises
                self._notice()
                self._notice_at = float("inf")
        if now - self._summed_at >= SUM_SECONDS:
            log.info("ticks in the last hour: %(celery)d by Celery, %(itself)d by itself", self._sums)
            self._summed_at, self._sums = now, dict.fromkeys(self._sums, 0)


_current_ticker: Ticker | None = None


def watch(ticker: Ticker) -> None:
    """Make this the ticker of the process, and start it."""
    global _current_ticker  # noqa: PLW0603 - one for the process
    _current_ticker = ticker
    ticker.start()


def current_ticker() -> Ticker | None:
    """Return the ticker of the process; None if the process is not a worker."""
    return _current_ticker
