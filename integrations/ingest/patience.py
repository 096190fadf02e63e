"""A limit of time for what many requests wait for, kept by one timer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

Result = TypeVar("Result")


class Patience:
    """Waits at most `seconds` for each of many.

    They start in order and wait equally long, so one timer, set for the oldest, serves them all: a timer for each
    request would cost more than all else that a ping needs.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds: Final = seconds
        self._since: dict[asyncio.Task[Any], float] = {}  # the oldest first
        self._ended: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def bear(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what `work` returns. Raises TimeoutError when it takes too long."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is None:
            raise RuntimeError("only a task can be ended")
        self._since[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.seconds, self._look, loop)
        try:
            return await work
        except asyncio.CancelledError:
            if task not in self._ended or task.uncancel() > 0:  # somebody else cancelled it
                raise
            raise TimeoutError from None
        finally:
            del self._since[task]
            self._ended.discard(task)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what has waited too long, and look again when the next one will have."""
        self._timer = None
        for task, since in self._since.items():
            if task in self._ended:
                continue
            if (left := since + self.seconds - loop.time()) > 0:
                self._timer = loop.call_later(left, self._look, loop)
                return
            self._ended.add(task)
            task.cancel()
