"""The time limit of a send, which covers everything that a channel does for one message."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

# Seconds of a whole send: connecting, TLS, signing in, sending, waiting for the answer. It is shorter than the lease of
# a claim, so that a worker which takes a message over knows that the send before has ended.
SEND_SECONDS: Final = 30.0
_ends: ContextVar[float | None] = ContextVar("escalation_send_ends", default=None)


@contextmanager
def send_deadline(seconds: float = SEND_SECONDS) -> Iterator[None]:
    """Limit all that is sent within this block, in this thread, to `seconds` in total."""
    token = _ends.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends.reset(token)


def seconds_left(at_most: float = SEND_SECONDS) -> float:
    """Return the seconds that are left of the send, at most `at_most`, and 0 if its time is over."""
    ends = _ends.get()
    return at_most if ends is None else max(0.0, min(at_most, ends - time.monotonic()))
