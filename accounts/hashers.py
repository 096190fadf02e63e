"""Password hashing with Argon2: at most two hashes at once in a process, and no database connection held meanwhile.

Each hash takes 19 MiB and a core. Without this limit, a flood of sign-ins would take all memory, all cores and all
connections of the pool.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Final

from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import connection

from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.fair_queue import FairQueue, Full, Source

AT_ONCE: Final = 2  # hashes
# Callers. A slow machine makes fewer hashes than this in WAIT_SECONDS, so anybody behind them would wait in vain.
MAX_WAITING: Final = 200
WAIT_SECONDS: Final = 5.0
# Shorter, because the caller holds a connection while it waits (the pages of the configuration save in a transaction).
WAIT_SECONDS_IN_TRANSACTION: Final = 1.0
RETRY_AFTER_SECONDS: Final = 5

# Hashes run in the same two threads. The C library keeps the memory of a hash for each thread that made one, and each
# request has a thread of its own.
_THREADS: Final = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hash")
QUEUE: Final = FairQueue(AT_ONCE, in_all=MAX_WAITING)
# The source of all passwords that people who are signed in set or confirm.
_SIGNED_IN: Final = "signed in"
_has_turn: ContextVar[bool] = ContextVar("has_turn", default=False)


class HashingIsBusy(NotNow):
    """More passwords are being checked than this process can check."""

    def __init__(self) -> None:
        super().__init__(
            "Too many passwords are being checked at the moment. Try again in a few seconds.",
            retry_after=RETRY_AFTER_SECONDS,
        )


@contextmanager
def turn_for(source: Source) -> Iterator[None]:
    """Wait for a turn as this source, and keep it for all hashes of the block. Raises HashingIsBusy."""
    with _turn(source):
        token = _has_turn.set(True)
        try:
            yield
        finally:
            _has_turn.reset(token)


class Argon2(Argon2PasswordHasher):
    """Argon2id with OWASP's smallest recommended parameters: 19 MiB, two passes, one lane.

    Source: OWASP Password Storage Cheat Sheet. A hash with other parameters is replaced at the next sign-in.
    Raises HashingIsBusy if no turn comes in time.
    """

    time_cost = 2  # passes
    memory_cost = 19 * 1024  # KiB
    parallelism = 1  # lanes

    def encode(self, password: str, salt: str) -> str:
        """Return the hash of a new password."""
        with _turn():
            return _THREADS.submit(super().encode, password, salt).result()

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether `encoded` is the hash of the password."""
        with _turn():
            return _THREADS.submit(super().verify, password, encoded).result()


@contextmanager
def _turn(source: Source = _SIGNED_IN) -> Iterator[None]:
    """Give this thread's database connection back, then wait for a turn unless the block already has one."""
    seconds = WAIT_SECONDS_IN_TRANSACTION
    if not connection.in_atomic_block:
        connection.close()
        seconds = WAIT_SECONDS
    with ExitStack() as turn:
        if not _has_turn.get():
            try:
                turn.enter_context(QUEUE.turn(source, seconds=seconds))
            except Full:
                raise HashingIsBusy from None
        yield
