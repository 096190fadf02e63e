"""`manage.py migrate`: one run at a time on each database, and safe to interrupt; the next run continues from there."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from django.db.transaction import atomic

from heartbeat_project.configuration import check_database

_LOCK = 4_242_002  # an arbitrary number; restores use the same
_PAUSE = 0.5  # seconds between two tries to get the lock


class Interrupted(KeyboardInterrupt):
    """SIGTERM arrived; the driver cancels the running statement, as it does for Ctrl-C."""


class Executor(MigrationExecutor):
    """Records an atomic migration in its own transaction.

    Django records a migration with deferred statements in a separate transaction afterwards: killed between the two,
    it would run again on tables that it has changed already.
    """

    def apply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False, fake_initial: bool = False
    ) -> ProjectState:
        if not migration.atomic:
            return super().apply_migration(state, migration, fake=fake, fake_initial=fake_initial)
        with atomic(using=self.connection.alias):
            return super().apply_migration(state, migration, fake=fake, fake_initial=fake_initial)


class Command(migrate.Command):
    def handle(self, *arguments: Any, **options: Any) -> None:
        migrate.MigrationExecutor = Executor  # type: ignore[attr-defined]  # the command has no hook for it
        connection = connections[options.get("database") or DEFAULT_DB_ALIAS]
        check_database(connection.get_connection_params())
        try:
            with _interruptible(), self._alone(connection):
                super().handle(*arguments, **options)
        except KeyboardInterrupt as error:
            number = signal.SIGTERM if isinstance(error, Interrupted) else signal.SIGINT
            self.stderr.write("\nThe migration was interrupted. Nothing is lost: the next start continues from here.")
            raise SystemExit(128 + number) from None

    @contextlib.contextmanager
    def _alone(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Hold the database's lock for migrations, at most as long as this session lives.

        The migrating session itself holds the lock, so that it stays locked while a server still works for a killed
        client. This polls for the lock instead of waiting in SQL: a waiting statement holds a snapshot, for which
        the concurrent build of an index would wait in turn.
        """
        waiting = False
        while not _call_lock_function(connection, "SELECT pg_try_advisory_lock(%s)"):
            if not waiting:
                self.stdout.write("Waiting for another start to finish migrating this database ...")
                self.stdout.flush()
                waiting = True
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            # If the connection is broken or closed, the server has released the lock.
            if connection.connection is not None and not connection.connection.broken:
                _call_lock_function(connection, "SELECT pg_advisory_unlock(%s)")


def _call_lock_function(connection: BaseDatabaseWrapper, query: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(query, [_LOCK])
        return bool(cursor.fetchone()[0])


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Turn SIGTERM into an exception within the block; process 1 of a container would ignore the signal."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
