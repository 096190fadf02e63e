"""The sender pool: bounds how many messages one process sends at once, for each channel by itself.

A channel has a few slots. A send leaves its slot when it ends, and also when it has lasted for SLOW_SECONDS: it then
goes on beside the slots, so that servers that hang do not delay messages to other servers. The number of slow sends is
bounded, too; claims share them out among organizations and destinations, see escalation.notifications.claim.
"""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import connections

T = TypeVar("T")

# Number of slots of a channel, unless the settings name one.
USUAL: Final = 8
# Number of messages claimed for each slot: the second one keeps the slot busy while outcomes are recorded.
AHEAD: Final = 2
# Seconds after which a send leaves its slot to the next message; most servers have answered by then.
SLOW_SECONDS: Final = 0.5
# Number of slow sends of one channel, unless the settings name one; each is a thread that waits.
SLOW_SENDS: Final = 128


class PoolClosedError(Exception):
    """The process is ending: this message was not sent."""


@dataclass(eq=False, slots=True)
class _Send:
    channel: str
    call: Callable[[], Any]
    future: "Future[Any]" = field(default_factory=Future)
    began: float = 0.0
    is_slow: bool = False


class SenderPool:
    """The slots of one process, shared by its dispatcher and by tests of contact methods."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # Number of places that are reserved for a claim, or whose message waits for a slot or is in one.
        self._places: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[_Send]] = defaultdict(deque)
        self._in_slots: defaultdict[str, list[_Send]] = defaultdict(list)
        self._slow: Counter[str] = Counter()
        self._threads: dict[tuple[str, int], ThreadPoolExecutor] = {}

    def reserve(self, channel: str) -> int:
        """Reserve all free places of this channel for the caller; return their number, which may be claimed."""
        with self._lock:
            room = max(0, AHEAD * slots(channel) - self._places[channel])
            self._places[channel] += room
            return room

    def release(self, channel: str, count: int = 1) -> None:
        """Free reserved places for which nothing was claimed."""
        with self._lock:
            self._places[channel] -= count

    def start(self, channel: str, call: Callable[[], T]) -> "Future[T]":
        """Run the call in a thread as soon as a slot is free, and free its reserved place afterwards.

        If the channel has one slot, the call runs at once in this thread. If the process ends before the call, the
        future has a PoolClosedError.
        """
        send = _Send(channel, call)
        if slots(channel) == 1:
            self._in_slots[channel].append(send)
            self._run(send)
            return send.future
        with self._lock:
            self._waiting[channel].append(send)
            self._fill(channel)
        return send.future

    def start_unclaimed(self, channel: str, call: Callable[[], T]) -> "Future[T]":
        """Run a call for which no place was reserved; it waits for a slot like all others."""
        with self._lock:
            self._places[channel] += 1
        return self.start(channel, call)

    def leave_slow(self) -> None:
        """Move sends that have lasted for SLOW_SECONDS out of their slots, and start waiting ones there."""
        slow_since = time.monotonic() - SLOW_SECONDS
        with self._lock:
            for channel, sends in self._in_slots.items():
                for send in [send for send in sends if send.began <= slow_since]:
                    if slots(channel) > 1 and self._slow[channel] < slow_sends(channel):
                        send.is_slow = True
                        self._slow[channel] += 1
                        self._leave(send)
                self._fill(channel)

    def has_room_for_retries(self, channel: str) -> bool:
        """Return whether at most half of the slow sends are in use: the other half is kept for first tries."""
        with self._lock:
            return self._slow[channel] <= slow_sends(channel) // 2

    def forget(self) -> None:
        """Free all places and drop all sends: the threads that ran them are gone."""
        with self._lock:
            self._places.clear()
            self._waiting.clear()
            self._in_slots.clear()

    def _fill(self, channel: str) -> None:
        waiting, in_slots = self._waiting[channel], self._in_slots[channel]
        while waiting and len(in_slots) < slots(channel):
            send = waiting.popleft()
            send.began = time.monotonic()
            in_slots.append(send)
            try:
                self._threads_of(channel).submit(self._run, send)
            except RuntimeError:  # the interpreter takes no more work
                self._leave(send)
                send.future.set_exception(PoolClosedError())

    def _run(self, send: _Send) -> None:
        result, failure = None, None
        try:
            result = send.call()
        except BaseException as error:  # noqa: BLE001 - the future raises it where its result is read
            failure = error
        if slots(send.channel) > 1:
            # Connections belong to threads: the one that this send may have opened would stay open.
            connections.close_all()
        with self._lock:
            if send.is_slow:
                self._slow[send.channel] -= 1
            else:
                self._leave(send)
            self._fill(send.channel)
        if failure is None:
            send.future.set_result(result)
        else:
            send.future.set_exception(failure)

    def _leave(self, send: _Send) -> None:
        if send in self._in_slots[send.channel]:
            self._in_slots[send.channel].remove(send)
            self._places[send.channel] -= 1

    def _threads_of(self, channel: str) -> ThreadPoolExecutor:
        # By the number of slots, too, which tests change.
        key = channel, slots(channel)
        if key not in self._threads:
            name = f"{channel}-sender"
            self._threads[key] = ThreadPoolExecutor(slots(channel) + SLOW_SENDS, thread_name_prefix=name)
        return self._threads[key]


SENDER_POOL: Final = SenderPool()


def slots(channel: str) -> int:
    """Return how many messages of a channel are sent at once, without slow sends."""
    return max(1, int(settings.CHANNEL_CONCURRENCY.get(channel, USUAL)))


def slow_sends(channel: str) -> int:
    """Return how many slow sends of a channel may go on beside its slots; settings may allow none."""
    return int(settings.CHANNEL_SLOW_SENDS.get(channel, SLOW_SENDS))
