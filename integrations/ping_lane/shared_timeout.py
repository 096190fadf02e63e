"""A timeout that many requests share, kept by one timer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

Result = TypeVar("Result")


class SharedTimeout:
    """Limits each of many waits to `seconds`.

    They begin in order and all have the same limit, so one timer, set for the oldest, serves them all: a timer for each
    request would cost more than everything else that a ping needs.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds: Final = seconds
        self._since: dict[asyncio.Task[Any], float] = {}  # the oldest first
        self._ended: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what `work` returns. Raises TimeoutError if it takes longer than `seconds`."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is None:
            raise RuntimeError("a timeout needs a task that it can cancel")
        self._since[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look, loop)
        try:
            return await work
        except asyncio.CancelledError:
            if task not in self._ended or task.uncancel() > 0:  # it was cancelled by others, too
                raise
            raise TimeoutError from None
        finally:
            del self._since[task]
            self._ended.discard(task)

    def end_oldest(self) -> None:
        """End the oldest wait as if its time were over."""
        for task in self._since:
            if task not in self._ended:
                self._end(task)
                return

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the waits whose time is over, and set the timer for the oldest of the others."""
        self._timer = None
        for task, since in self._since.items():
            if task in self._ended:
                continue
            if (left := since + self.seconds - loop.time()) > 0:
                self._timer = loop.call_later(left, self._look, loop)
                return
            self._end(task)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._ended.add(task)
        task.cancel()
