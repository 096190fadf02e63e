"""A migration that is interrupted, at whatever statement, is run again to the same end as if nothing had happened."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from heartbeat_project.kernel import restartable
from heartbeat_project.management.commands.migrate import Executor
from tests.databases import parameters, second_database
from tests.processes import Stack, until
from tests.upgrades import MIGRATION_MODULES

ROOT = Path(__file__).parents[2]
APPS = ("accounts", "alerting", "escalation", "integrations")
# Of the many statements of an atomic migration the short form tries fewer: it leaves nothing behind.
ATOMIC_STEP = 10
# What a statement may take before it counts as one that was interrupted while it waited.
TIMEOUT = "10ms"
SCHEMA = """
    SELECT relname, 'column', attname::text, concat_ws(' ', format_type(atttypid, atttypmod), attnotnull,
               pg_get_expr(adbin, adrelid))
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
            AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT relname, 'constraint', conname::text, concat_ws(' ', pg_get_constraintdef(pg_constraint.oid), convalidated)
        FROM pg_class JOIN pg_constraint ON conrelid = pg_class.oid
        WHERE NOT relispartition AND relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT tables.relname, 'index', indexes.relname::text, concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid)
        FROM pg_index JOIN pg_class AS tables ON tables.oid = indrelid JOIN pg_class AS indexes ON indexes.oid = indexrelid
        WHERE NOT tables.relispartition AND tables.relnamespace = 'public'::regnamespace
"""


class Killed(Exception):
    """The process was killed."""


class Killer:
    """Loses the connection at one statement: after it, or while it waits for somebody's snapshot and locks."""

    def __init__(self, connection: BaseDatabaseWrapper, *, at: int, waiting: bool) -> None:
        self.connection, self.at, self.waiting = connection, at, waiting
        self.seen = 0

    def __call__(self, execute, sql, params, many, context):
        if sql.lstrip().startswith("SELECT"):  # killed there, it has done as much as at the statement before
            return execute(sql, params, many, context)
        self.seen += 1
        if self.seen != self.at:
            assert self.seen < self.at, "statements after the end"
            return execute(sql, params, many, context)
        with contextlib.suppress(DatabaseError), contextlib.ExitStack() as stack:
            if self.waiting:
                stack.enter_context(blocker(self.connection))
                self.connection.connection.execute(f"SET statement_timeout = '{TIMEOUT}'")
            execute(sql, params, many, context)
        self.connection.connection.close()
        raise Killed(sql)


@contextlib.contextmanager
def blocker(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Hold a snapshot and, where nobody has more, a lock on each table that lets others write."""
    with psycopg.connect(**parameters(connection), autocommit=True) as other:
        tables = other.execute(
            "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()[0][0]
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SAVEPOINT before")
        try:
            other.execute(f"LOCK TABLE {tables} IN ROW EXCLUSIVE MODE NOWAIT")
        except psycopg.errors.LockNotAvailable:
            other.execute("ROLLBACK TO before")
        other.execute("SELECT count(*) FROM pg_class")
        yield


@pytest.fixture
def empty(db, django_db_blocker):
    """The default connection, to a database of its own that has nothing in it."""
    with django_db_blocker.unblock(), second_database("migrating") as made:
        yield made


def schema(connection: BaseDatabaseWrapper) -> set[tuple[str, ...]]:
    with psycopg.connect(**parameters(connection)) as other:
        return set(other.execute(SCHEMA).fetchall())


def walk(
    connection: BaseDatabaseWrapper, killed: Callable[[Migration], bool]
) -> Iterator[tuple[Executor, ProjectState, Migration]]:
    """Apply all migrations in order; yield those to be killed, with the state before them, to be applied meanwhile."""
    executor = Executor(connection)
    executor.recorder.ensure_schema()
    state = ProjectState()
    for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes()):
        assert state.apps  # rendered once, and copied from then on
        if killed(migration):
            yield executor, state, migration
            state = migration.mutate_state(state, preserve=False)
        else:
            state = executor.apply_migration(state, migration)


def run_killed(executor: Executor, state: ProjectState, migration: Migration, killer: Killer) -> bool:
    """Run a migration until the killer strikes; answer whether it came to its end instead."""
    try:
        with executor.connection.execute_wrapper(killer):
            executor.apply_migration(state.clone(), migration)
    except Killed:
        return False
    finally:
        executor.connection.close()
        # Anew, because an exception at a deferred statement leaves Django's atomic block open.
        executor.connection.connect()
    return True


def is_recorded(connection: BaseDatabaseWrapper, migration: Migration) -> bool:
    return (migration.app_label, migration.name) in MigrationRecorder(connection).applied_migrations()


def non_atomic() -> list[Migration]:
    from django.db.migrations.loader import MigrationLoader

    disk = MigrationLoader(None).disk_migrations
    return [migration for migration in disk.values() if not migration.atomic]


def may_be_run_again(operation: Operation) -> bool:
    return type(operation).__name__ in restartable.__all__ and (
        type(operation) is getattr(restartable, type(operation).__name__)
    )


def test_a_migration_that_is_not_atomic_is_one_operation_that_can_be_run_again(settings):
    settings.MIGRATION_MODULES = MIGRATION_MODULES
    found = non_atomic()

    assert {migration.app_label for migration in found} <= {*APPS}
    assert [str(migration) for migration in found if len(migration.operations) != 1] == []
    operations = [migration.operations[0] for migration in found]
    assert [operation for operation in operations if not may_be_run_again(operation)] == []
    # Django makes such an index after the column, so that a second run, which finds the column, would leave it out.
    fields = [operation.field for operation in operations if isinstance(operation, restartable.AddField)]
    assert [field for field in fields if field.db_index or field.unique] == []
    assert {type(operation).__name__ for operation in operations} == {*restartable.__all__}, "of each kind one is tried"


@pytest.mark.django_db
@pytest.mark.parametrize("every", [36, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_migrations_that_are_interrupted_again_and_again_come_to_the_same_end(empty, settings, every):
    """Each run of a migration is killed some statements further on: while it waits, and in the long form after each.

    Of the atomic ones, the first of each app make its tables, and defer statements to their end.
    """
    settings.MIGRATION_MODULES = MIGRATION_MODULES
    assert list(walk(empty, lambda _: False)) == []
    uninterrupted = schema(empty)
    start_over(empty)
    kills = 0
    for executor, state, migration in walk(empty, lambda it: it.app_label in APPS):
        at, done = 1, False
        while not done:
            for waiting in ways_to_die(migration, every=every):
                done = done or run_killed(executor, state, migration, Killer(empty, at=at, waiting=waiting))
                done = done or is_recorded(empty, migration)
                kills += not done
            at += every * (ATOMIC_STEP if migration.atomic and every > 1 else 1)
    assert schema(empty) == uninterrupted
    assert kills >= 60 / every


def ways_to_die(migration: Migration, *, every: int) -> tuple[bool, ...]:
    """Return whether it dies while a statement waits, after it, or both, the one in one run and the other in the next."""
    if every > 1:
        return (True,)
    return (False,) if migration.atomic else (True, False)


def start_over(connection: BaseDatabaseWrapper) -> None:
    with psycopg.connect(**parameters(connection), autocommit=True) as other:
        other.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


@contextlib.contextmanager
def migrating(connection: BaseDatabaseWrapper) -> Iterator[subprocess.Popen[str]]:
    """Run `manage.py migrate`."""
    name = connection.settings_dict["NAME"]
    env = os.environ | {
        "DATABASE_URL": urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl(),
        "DJANGO_SETTINGS_MODULE": "tests.upgrades.settings",
    }
    command = [sys.executable, "manage.py", "migrate", "--noinput", "--skip-checks", "accounts"]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.django_db
def test_a_start_that_is_interrupted_says_so_and_another_waits_for_it_and_goes_on_from_there(empty):
    with psycopg.connect(**parameters(empty)) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM pg_class")  # a snapshot, for which an index concurrently built waits
        with migrating(empty) as first:
            until(lambda: statements(empty, "CREATE INDEX CONCURRENTLY%"), seconds=60, what="the index is built")
            with migrating(empty) as second:
                assert second.stdout.readline().startswith("Waiting for another start")
                first.terminate()
                assert first.wait(30) == 128 + signal.SIGTERM
                assert "The migration was interrupted. Nothing is lost" in first.stdout.read()
                other.rollback()
                assert second.wait(60) == 0, second.stdout.read()
    assert invalid_indexes(empty) == []


@pytest.mark.django_db
@pytest.mark.parametrize("server", [pytest.param("finishes its work", marks=pytest.mark.long), "dies, too"])
def test_a_start_that_is_killed_outright_is_finished_by_the_next(empty, server):
    """The server works on for a killed client, with its lock; if it dies as well, it leaves an invalid index."""
    with psycopg.connect(**parameters(empty)) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM pg_class")
        with migrating(empty) as first:
            until(lambda: statements(empty, "CREATE INDEX CONCURRENTLY%"), seconds=60, what="the index is built")
            first.kill()
            assert first.wait(30) == -signal.SIGKILL
        [pid] = statements(empty, "CREATE INDEX CONCURRENTLY%")
        with migrating(empty) as second:
            assert second.stdout.readline().startswith("Waiting for another start")
            if server == "dies, too":
                other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
                assert invalid_indexes(empty) != []
            other.rollback()
            assert second.wait(60) == 0, second.stdout.read()
    assert invalid_indexes(empty) == []
    with migrating(empty) as third:
        assert "No migrations to apply" in third.stdout.read()


def invalid_indexes(connection: BaseDatabaseWrapper) -> list[tuple[str, ...]]:
    return [line for line in schema(connection) if line[1] == "index" and line[3].endswith(" f")]


def statements(connection: BaseDatabaseWrapper, like: str) -> list[int]:
    with psycopg.connect(**parameters(connection)) as other:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND datname = current_database()"
        )
        return [pid for (pid,) in other.execute(query, [like])]


@pytest.mark.long
@pytest.mark.serial
def test_a_server_that_is_stopped_while_it_migrates_says_so_and_the_next_start_goes_on():
    place = Path(tempfile.mkdtemp(prefix="hb-", dir="/tmp"))
    place.chmod(0o755)
    stack = Stack(folder=place / "data", env={})
    try:
        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(stack.start, seconds=120)
            until(
                lambda: stack.log.exists() and "Applying accounts.0001" in stack.tail(), seconds=100, what="migrating"
            )
            stack.process.terminate()
            assert isinstance(starting.exception(), AssertionError)
        assert stack.process.wait(60) == 128 + signal.SIGTERM
        assert "The start was interrupted" in stack.tail()
        stack.start(seconds=120)
        assert stack.stop() == 0
    finally:
        if stack.process.poll() is None:
            stack.stop()
        shutil.rmtree(place, ignore_errors=True)
