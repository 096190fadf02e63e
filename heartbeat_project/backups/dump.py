"""Writes a backup: all our tables in one snapshot, while the installation runs."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import IO

from django.conf import settings
from django.db import Error, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations.recorder import MigrationRecorder

from heartbeat_project.backups.archive import Manifest, Table, Writer
from heartbeat_project.backups.tables import MIGRATIONS, Relation, columns, current_schema, is_ours, quoted, relations

# Session settings with which every server writes the same text for the same row, and which lift our time limits.
SAME_TEXT = (
    "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres';"
    "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1;"
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)


def write_backup(stream: IO[bytes], *, now: datetime) -> Manifest:
    """Write a backup to `stream` and return its manifest.

    It shows one snapshot of the database, taken at or after `now`. Rows are streamed: a large history takes time, not
    memory. Pings, ticks and pages continue; only creating and dropping partitions of the history waits.
    """
    writer = Writer(stream)
    schema = current_schema()
    with no_change_of_partitions(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(SAME_TEXT)
        tables = [
            _write_table(writer, cursor, relation, schema)
            for relation in relations(schema)
            if relation.kind == "r" and relation.name != MIGRATIONS and is_ours(relation.name)
        ]
        manifest = Manifest(
            taken_at=now,
            migrations=sorted(MigrationRecorder(connection).applied_migrations()),
            tables=tables,
            sequences=_sequences(cursor, schema),
        )
    writer.finish(manifest, secret_key=settings.SECRET_KEY)
    return manifest


@contextlib.contextmanager
def no_change_of_partitions() -> Iterator[None]:
    """Prevent partitions from being created and dropped within the block, which begins before the snapshot.

    A DROP would wait for our COPY to end, and every new ping would wait behind the DROP's lock.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('integrations.history'))")
        try:
            yield
        finally:
            with contextlib.suppress(Error):  # if the connection is lost, the server has released the lock
                cursor.execute("SELECT pg_advisory_unlock(hashtext('integrations.history'))")


def _write_table(writer: Writer, cursor: CursorWrapper, relation: Relation, schema: str) -> Table:
    names = columns(schema, relation.name)

    def rows() -> Iterator[memoryview | bytes]:
        with cursor.copy(f"COPY {quoted(schema)}.{quoted(relation.name)} ({quoted(*names)}) TO STDOUT") as copy:
            yield from copy

    writer.table(relation.name, rows())
    return Table(
        name=relation.name,
        columns=names,
        rows=cursor.rowcount,
        partition_of=relation.partition_of,
        bounds=relation.bounds,
    )


def _sequences(cursor: CursorWrapper, schema: str) -> dict[str, int]:
    """Return the last value of each sequence, so that ids of deleted rows are not used again."""
    cursor.execute(
        "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = %s AND last_value IS NOT NULL", [schema]
    )
    return {name: last for name, last in cursor if is_ours(name)}
