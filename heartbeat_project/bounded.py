"""Runs work that may hang in another thread, and waits for it only for a limited time."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

Result = TypeVar("Result")


class Bounded(Generic[Result]):
    """Runs pieces of work, each in a new thread; waits at most `seconds` for each, and runs at most `most` at once.

    A thread that hangs cannot be stopped: it is abandoned, and counts until it ends by itself.
    """

    def __init__(self, name: str, *, seconds: float, most: int = 1) -> None:
        self.name: Final = name
        self.seconds: Final = seconds
        self._room = threading.BoundedSemaphore(most)

    def run(self, work: Callable[[], Result]) -> Result:
        """Return the result of `work`, or raise its error.

        Raises TimeoutError if it takes too long, or at once while too many earlier ones have not ended.
        """
        if not self._room.acquire(blocking=False):
            raise TimeoutError(f"{self.name}: an earlier one has not ended yet")
        answers: SimpleQueue[tuple[Result | None, BaseException | None]] = SimpleQueue()

        def call() -> None:
            try:
                answers.put((work(), None))
            except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
                answers.put((None, error))
            finally:
                self._room.release()

        thread = threading.Thread(target=call, name=self.name, daemon=True)
        thread.start()
        thread.join(self.seconds)
        if answers.empty():
            raise TimeoutError(f"{self.name}: no answer within {self.seconds:g} s")
        result, error = answers.get()
        if error is not None:
            raise error
        return result  # type: ignore[return-value] # None only if `work` returned None
