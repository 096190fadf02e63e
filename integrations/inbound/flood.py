"""The hard limit of requests to one address, in the memory of this process: beyond it the answer is 429 (pure).

It is the generic cell rate algorithm (ITU-T I.371), which needs one number for a token: when its bucket will be full
again.
"""

import math
import threading
from collections import OrderedDict
from typing import Final

PER_SECOND: Final = 50
BURST: Final = 100
# Tokens that are remembered. The one that was used least recently is forgotten first, which gives it a full bucket.
MAX_TOKENS: Final = 100_000
# Letters of a token that are remembered: unknown ones may be as long as an address.
_TOKEN_LENGTH: Final = 64
# A flood would write as often as it asks: what was refused is stored once in so many seconds.
STORED_EVERY: Final = 1.0


class FloodLimit:
    """Counts requests by token; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def seconds_to_wait(self, token: str, *, at: float) -> int | None:
        """Count a request; return None if it may come in, else the whole seconds for Retry-After.

        `at` is the time in seconds of a clock that never goes back, such as time.monotonic(). A request that is refused
        does not count.
        """
        key = token[:_TOKEN_LENGTH]
        with self._lock:
            full_at = max(self._full_at.get(key, at), at) + 1 / PER_SECOND
            too_early = full_at - at - BURST / PER_SECOND
            # Sums of fractions are off by less than that.
            if too_early > 1e-6:
                return math.ceil(too_early)
            self._full_at[key] = full_at
            self._full_at.move_to_end(key)
            if len(self._full_at) > MAX_TOKENS:
                self._full_at.popitem(last=False)
        return None


class Refusals:
    """Counts the requests to each integration that were refused, until they are stored; safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, int] = {}
        self._stored_at: dict[int, float] = {}

    def to_store(self, integration_id: int, *, at: float, more: int = 0) -> int:
        """Count `more` requests; return how many are to be stored now, which are forgotten here.

        `at` is the time as for FloodLimit. What is left when a flood ends is stored with the next request.
        """
        with self._lock:
            count = self._counts.get(integration_id, 0) + more
            if not count:
                return 0
            if at - self._stored_at.get(integration_id, -math.inf) < STORED_EVERY:
                self._counts[integration_id] = count
                return 0
            self._counts.pop(integration_id, None)
            self._stored_at[integration_id] = at
            return count
