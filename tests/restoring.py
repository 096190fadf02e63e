"""Backing up and restoring within a test's own database, and comparing what was with what is."""

import re
from datetime import datetime
from pathlib import Path

from django.db import connection

from heartbeat_project.backups import load
from heartbeat_project.backups.archive import Reader, new_file
from heartbeat_project.backups.dump import write_backup
from heartbeat_project.backups.tables import MIGRATIONS, current_schema, relations

NUMBERED = re.compile(r"_idx\d+\b")
# What a restore itself writes.
NOT_COMPARED = {MIGRATIONS, "accounts_restore", "integrations_ingestprocess"}


def back_up(path: Path, *, now: datetime) -> Path:
    with new_file(path) as stream:
        write_backup(stream, now=now)
    return path


def restore(path: Path, *, now: datetime, replace: bool = True, say=lambda _: None, before_the_swap=lambda: None):
    load.restore_backup(Reader(path), replace=replace, before_the_swap=before_the_swap, now=now, say=say)


def everything() -> dict[str, object]:
    """Return all rows of all our tables as text, and the last number of each sequence."""
    found: dict[str, object] = {}
    with connection.cursor() as cursor:
        for relation in relations(current_schema()):
            if relation.name not in NOT_COMPARED and relation.kind == "r":
                # A restore is noted in the audit log.
                where = "WHERE action <> 'restored'" if relation.name == "accounts_auditentry" else ""
                cursor.execute(f"SELECT relation::text FROM {relation.name} AS relation {where} ORDER BY 1")
                found[relation.name] = [row for (row,) in cursor]
        cursor.execute("SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = current_schema()")
        changed = ("accounts_restore", "accounts_auditentry", "django_migrations")
        found |= {name: last for name, last in cursor if not name.startswith(changed)}
    return found


def definitions() -> list[tuple[str, ...]]:
    """Return all columns, indexes, constraints, triggers and functions as the database describes them.

    PostgreSQL names the indexes of partitions, and adds a number where a name is taken: other tests may have replaced
    the default partition.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 'column', table_name, column_name, concat_ws(' ', data_type, column_default, is_nullable)"
            " FROM information_schema.columns WHERE table_schema = current_schema()"
            " UNION ALL SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = "
            "current_schema()"
            " UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'"
            " UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname,"
            " concat_ws(' ', pg_get_triggerdef(pg_trigger.oid), tgenabled)"
            " FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
            " UNION ALL SELECT 'function', proname, '', pg_get_functiondef(oid)"
            " FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
        )
        return sorted(tuple(NUMBERED.sub("_idx", text) for text in row) for row in cursor)


def leftovers() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname = %s", [load.BESIDE])
        return [name for (name,) in cursor]


def drop_days() -> None:
    """Drop the history's partitions, which emptying the tables after a test leaves behind."""
    with connection.cursor() as cursor:
        for relation in relations(current_schema()):
            if relation.partition_of and not relation.name.endswith("_other"):
                cursor.execute(f"DROP TABLE {relation.name}")
