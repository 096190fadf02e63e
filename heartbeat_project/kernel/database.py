"""Releases database connections before calls that may hang, and before waits."""

from django.db import connection


def release_connection() -> None:
    """Close this thread's connection before a call that may hang or wait, unless a transaction is open.

    There are more threads than connections.
    """
    if not connection.in_atomic_block:
        connection.close()
