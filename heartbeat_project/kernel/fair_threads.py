"""A few threads that do the work of many sources, which take turns (pure)."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from heartbeat_project.kernel.fair_queue import Full, Ticket, Waiting, join

T = TypeVar("T")


class Job(Ticket, Generic[T]):
    """Work that waits for a thread, or was begun by one; `future` gets its result, or Full if it has to leave."""

    __slots__ = ("future", "is_begun", "work")

    def __init__(self, source: tuple[str, str], work: Callable[[], T]) -> None:
        super().__init__(source)
        self.work = work
        self.future: Future[T] = Future()
        self.is_begun = False

    def leave(self) -> None:
        """Make the one who waits for the result give up."""
        super().leave()
        self.future.set_exception(Full())

    def do(self) -> None:
        """Do the work, and hand over its result or error."""
        # From now on, the future cannot be cancelled by a caller who waits no more.
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the future is awaited
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class FairThreads:
    """At most `max_threads` daemon threads do what is submitted. A source is a pair of a wide and a narrow name.

    Sources take turns as in a FairQueue. The work of one narrow source is done one after the other. A wide source has
    all threads but one at most, so that its work holds up no other, even if it hangs. A thread that has had no work
    for `idle_seconds` calls `at_end` and ends.
    """

    def __init__(
        self,
        max_threads: int,
        *,
        name: str,
        per_source: int,
        in_all: int,
        idle_seconds: float,
        at_end: Callable[[], None],
    ) -> None:
        self.max_threads = max_threads
        self.name = name
        self.per_source = per_source
        self.in_all = in_all
        self.idle_seconds = idle_seconds
        self._at_end = at_end
        self._some = threading.Condition(threading.Lock())
        self._waiting = Waiting()
        self._working: Counter[tuple[str, ...]] = Counter()  # jobs that were begun, by narrow and by wide source
        self._threads = 0
        self._working_threads = 0

    @property
    def waiting(self) -> int:
        """How many jobs wait at this moment."""
        return len(self._waiting)

    def submit(self, source: tuple[str, str], work: Callable[[], T]) -> Job[T]:
        """Do `work` in a thread when its turn has come. Raises Full if too much of its narrow source waits."""
        job = Job(source, work)
        with self._some:
            join(self._waiting, job, per_source=self.per_source, in_all=self.in_all)
            if self._threads < min(self.max_threads, self._working_threads + len(self._waiting)):
                self._threads += 1
                threading.Thread(target=self._go_on, name=self.name, daemon=True).start()
            else:
                self._some.notify()
        return job

    def give_up(self, job: Job[Any]) -> bool:
        """Take back a job that waits; return False if it was begun, or had to leave."""
        with self._some:
            if job.is_begun or job.has_to_leave:
                return False
            self._waiting.remove(job)
            job.has_to_leave = True
            return True

    def _go_on(self) -> None:
        try:
            while (job := self._next()) is not None:
                try:
                    job.do()
                finally:
                    self._end(job)
        finally:
            self._at_end()

    def _next(self) -> Job[Any] | None:
        """Wait for a job whose turn has come, and begin it; return None if none comes, and count this thread out."""
        with self._some:
            job, has_waited = self._begin_next(), False
            while job is None and not has_waited:
                has_waited = not self._some.wait(self.idle_seconds)
                job = self._begin_next()
            if job is None:
                self._threads -= 1
            return job

    def _begin_next(self) -> Job[Any] | None:
        limits = {1: max(1, self.max_threads - 1), 2: 1}  # by the length of the source
        taken = {source for source, count in self._working.items() if count >= limits[len(source)]}
        job = self._waiting.take_next(but=taken)
        if not isinstance(job, Job):
            return None
        job.is_begun = True
        self._working.update((job.source, job.source[:1]))
        self._working_threads += 1
        return job

    def _end(self, job: Job[Any]) -> None:
        with self._some:
            self._working.subtract((job.source, job.source[:1]))
            self._working = +self._working
            self._working_threads -= 1
            # A job that waited for this source may be done by a thread that had nothing to do.
            self._some.notify()
