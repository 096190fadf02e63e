"""Lines: how many messages are under way at once, for each channel by itself: a slow provider holds up no other."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import connections

T = TypeVar("T")

# Where the settings name no number.
USUAL: Final = 4
# For each message under way, one more is claimed, so that no line stands idle while outcomes are written down.
AHEAD: Final = 2


class Lines:
    """The lines of one process, shared by all rounds of deliveries that it does at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._pools: dict[tuple[str, int], ThreadPoolExecutor] = {}

    def reserve(self, channel: str) -> int:
        """Return how many further messages may be claimed for this channel, and keep the places for the caller."""
        with self._lock:
            room = max(0, AHEAD * concurrency(channel) - self._taken[channel])
            self._taken[channel] += room
            return room

    def release(self, channel: str, places: int = 1) -> None:
        """Give places back."""
        with self._lock:
            self._taken[channel] -= places

    def start(self, channel: str, call: Callable[..., T], *arguments: Any, **options: Any) -> Future[T]:
        """Make the call in one of the channel's threads; the one place that was kept for it is free afterwards.

        A channel with one line needs no thread: there the call is made at once.
        """
        most = concurrency(channel)
        future: Future[T]
        if most == 1:
            future = Future()
            try:
                future.set_result(call(*arguments, **options))
            except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
                future.set_exception(error)
        else:
            future = self._pool(channel, most).submit(_alone, call, *arguments, **options)
        future.add_done_callback(lambda _: self.release(channel))
        return future

    def _pool(self, channel: str, most: int) -> ThreadPoolExecutor:
        with self._lock:
            if (channel, most) not in self._pools:
                self._pools[channel, most] = ThreadPoolExecutor(most, thread_name_prefix=f"{channel}-line")
            return self._pools[channel, most]


LINES: Final = Lines()


def concurrency(channel: str) -> int:
    """Return how many messages may be under way at once on a channel."""
    return max(1, int(settings.CHANNEL_CONCURRENCY.get(channel, USUAL)))


def _alone(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    try:
        return call(*arguments, **options)
    finally:
        # A channel that asked the database something did so over a connection of this thread.
        connections.close_all()
