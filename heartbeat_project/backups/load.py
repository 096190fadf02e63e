"""Restores a backup: builds it in a separate schema and moves it into place in one transaction.

In its own schema, a restore creates the tables with the migrations that the backup names, loads the rows, and applies
the later migrations. An interruption before the last transaction leaves the database unchanged.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from django.db import Error, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations.executor import MigrationExecutor

from accounts.services.audit import record_audit_everywhere
from accounts.services.restores import hold
from heartbeat_project.backups.archive import BadBackup, Manifest, Reader, Table
from heartbeat_project.backups.dump import SAME_TEXT
from heartbeat_project.backups.tables import MIGRATIONS, current_schema, installed, quoted, relations
from integrations.models.outages import DatabaseClock, IngestProcess

BESIDE: Final = "heartbeat_restore"
# The same lock as that of `manage.py migrate`: a restore and a migration must not work on a database at once.
_LOCK: Final = 4_242_002


class NotRestored(Exception):
    """The backup was not restored and nothing was changed; the message says why and what to do."""


def restore_backup(
    backup: Reader, *, replace: bool, before_the_swap: Callable[[], None], now: datetime, say: Callable[[str], None]
) -> None:
    """Restore `backup` into the empty database or, with `replace`, instead of the existing installation.

    Afterwards the installation is held. `before_the_swap` is called just before the commit, for changes outside the
    database; `say` is called with a line for each step. Raises NotRestored and BadBackup.
    """
    target = current_schema()
    if not target:
        raise NotRestored("The database user has no schema in which it can create tables. Create one for it.")
    _check(backup.manifest)
    _check_target(target, replace=replace)
    say("Checking the backup ...")
    backup.check()
    with _alone(), _beside():
        executor = MigrationExecutor(connection)
        say("Creating the tables ...")
        executor.migrate(_leaves(executor, backup.manifest))
        say("Restoring the rows ...")
        with transaction.atomic(), connection.cursor() as cursor:
            _load(backup, cursor)
        executor = MigrationExecutor(connection)
        say("Migrating them to this version ...")
        executor.migrate(executor.loader.graph.leaf_nodes())
        with transaction.atomic(), connection.cursor() as cursor:
            IngestProcess.objects.all().delete()
            # This database's clock may be behind the former one's: that is not a clock that was set back.
            DatabaseClock.objects.update(latest_at=now)
            hold(taken_at=backup.manifest.taken_at, now=now)
            record_audit_everywhere(
                action="restored",
                object_type="installation",
                after={"backup_taken_at": backup.manifest.taken_at.isoformat()},
            )
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            _move(cursor, target, replace=replace)
            before_the_swap()
    with contextlib.suppress(Error), connection.cursor() as cursor:  # otherwise autovacuum does it later
        cursor.execute("ANALYZE")


def _check(manifest: Manifest) -> None:
    known_migrations = MigrationExecutor(connection).loader.graph.nodes
    newer = [f"{app} {name}" for app, name in manifest.migrations if (app, name) not in known_migrations]
    if newer:
        raise NotRestored(
            f"The backup was made by a newer version of Heartbeat, or by another program ({newer[-1]} is unknown "
            "here). Restore it with the version that made it, or a later one."
        )


def _leaves(executor: MigrationExecutor, manifest: Manifest) -> list[tuple[str, str]]:
    """Return the last migrations of the backup in each app: given an earlier one, Django would revert later ones."""
    applied = set(manifest.migrations)
    nodes = executor.loader.graph.node_map

    def has_successor(migration: tuple[str, str]) -> bool:
        children = (child.key for child in nodes[migration].children)
        return any(key[0] == migration[0] and key in applied for key in children)

    return sorted(migration for migration in applied if not has_successor(migration))


def _check_target(target: str, *, replace: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'heartbeat-lane'"
        )
        if cursor.fetchone()[0]:
            raise NotRestored("Heartbeat is running on this database. Stop all of its processes first.")
    if installed(target) and not replace:
        raise NotRestored(
            "This database already holds an installation. Restore into an empty one (another HEARTBEAT_DATA_DIR or "
            "DATABASE_URL), or add --replace, which deletes the existing installation."
        )


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock that only one restore or migration of a database can hold. Raises NotRestored."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            raise NotRestored("Another restore or migration is running on this database. Wait until it has ended.")
        try:
            yield
        finally:
            with contextlib.suppress(Error):  # if the connection is lost, the server has released the lock
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


@contextlib.contextmanager
def _beside() -> Iterator[None]:
    """Resolve unqualified names in a new empty schema within the block, and drop the schema afterwards."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW search_path")
        search_path = cursor.fetchone()[0]
        cursor.execute(f"DROP SCHEMA IF EXISTS {BESIDE} CASCADE")  # that of an interrupted restore
        cursor.execute(f"CREATE SCHEMA {BESIDE}")
        try:
            cursor.execute(f"SET search_path = {BESIDE}")
            yield
        finally:
            with contextlib.suppress(Error):  # if the connection is lost, the next restore drops the schema
                cursor.execute("SELECT set_config('search_path', %s, FALSE)", [search_path])
                cursor.execute(f"DROP SCHEMA IF EXISTS {BESIDE} CASCADE")


def _load(backup: Reader, cursor: CursorWrapper) -> None:
    """Fill the tables of the new schema without foreign keys; adding them again afterwards checks all rows at once."""
    manifest = backup.manifest
    cursor.execute(SAME_TEXT)
    existing_tables = {relation.name for relation in relations(BESIDE)}
    keys = _drop_foreign_keys(cursor)
    # The audit log is part of the backup: its triggers would refuse to be emptied, and write an entry for each row.
    _set_triggers(cursor, "DISABLE")
    cursor.execute(f"TRUNCATE {quoted(*sorted(existing_tables - {MIGRATIONS}))}")
    for table in manifest.tables:
        if table.name not in existing_tables:
            _create_partition(cursor, table, existing_tables)
        _copy(backup, cursor, table)
    for name, last in manifest.sequences.items():
        cursor.execute("SELECT setval(%s::regclass, %s) WHERE to_regclass(%s) IS NOT NULL", [name, last, name])
    for add_key in keys:
        cursor.execute(add_key)
    _set_triggers(cursor, "ENABLE")


def _set_triggers(cursor: CursorWrapper, verb: str) -> None:
    """Disable or enable the triggers of the new schema, those of constraints excepted."""
    cursor.execute(
        "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
    )
    for (table,) in cursor.fetchall():
        cursor.execute(f"ALTER TABLE {table} {verb} TRIGGER USER")


def _drop_foreign_keys(cursor: CursorWrapper) -> list[str]:
    """Drop all foreign keys and return the statements that add them again.

    The tables are loaded in any order, and a deferred key would keep a pending check in memory for each row.
    """
    cursor.execute(
        """
        SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)),
            format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
        FROM pg_constraint
        WHERE contype = 'f' AND conparentid = 0 AND connamespace = current_schema()::regnamespace
        """
    )
    keys = cursor.fetchall()
    for _, drop in keys:
        cursor.execute(drop)
    return [add for add, _ in keys]


def _create_partition(cursor: CursorWrapper, table: Table, existing_tables: set[str]) -> None:
    if table.partition_of not in existing_tables:
        raise BadBackup(f"The backup has a table {table.name} that this version does not know.")
    # `bounds` is SQL from the file. That is no new risk: anyone who can change a backup controls all that is restored.
    cursor.execute(f"CREATE TABLE {quoted(table.name)} PARTITION OF {quoted(table.partition_of)} {table.bounds}")


def _copy(backup: Reader, cursor: CursorWrapper, table: Table) -> None:
    with cursor.copy(f"COPY {quoted(table.name)} ({quoted(*table.columns)}) FROM STDIN") as copy:
        for chunk in backup.chunks(table.name):
            copy.write(chunk)
    if cursor.rowcount != table.rows:
        raise BadBackup(f"The backup has {cursor.rowcount} rows of {table.name}; its manifest says {table.rows}.")


def _move(cursor: CursorWrapper, target: str, *, replace: bool) -> None:
    """Drop our tables and functions in the schema `target` and move the restored ones there. Raises NotRestored."""
    restored_tables = relations(BESIDE)
    former_tables = installed(target)
    if former_tables and not replace:
        raise NotRestored("Meanwhile something was installed in this database.")
    for relation in former_tables:
        cursor.execute(f"DROP TABLE IF EXISTS {quoted(target)}.{quoted(relation.name)} CASCADE")
    cursor.execute(
        "SELECT format('%%I(%%s)', proname, pg_get_function_identity_arguments(oid)) FROM pg_proc"
        " WHERE pronamespace = to_regnamespace(%s)",
        [BESIDE],
    )
    for (function,) in cursor.fetchall():
        cursor.execute(f"DROP FUNCTION IF EXISTS {quoted(target)}.{function} CASCADE")
        cursor.execute(f"ALTER FUNCTION {BESIDE}.{function} SET SCHEMA {quoted(target)}")
    for relation in restored_tables:
        cursor.execute(f"ALTER TABLE {BESIDE}.{quoted(relation.name)} SET SCHEMA {quoted(target)}")
    # Without CASCADE: the schema must be empty now.
    cursor.execute(f"DROP SCHEMA {BESIDE}")
