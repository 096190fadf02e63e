"""Finds our tables in a schema of PostgreSQL, and what a backup needs to know about them."""

from dataclasses import dataclass
from typing import Final

from django.apps import apps
from django.db import connection

# The migrations create it again in each restore, so it is not part of a backup.
MIGRATIONS: Final = "django_migrations"


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """A table; `kind` is r for a table with rows (also a partition) and p for a partitioned one."""

    name: str
    kind: str
    partition_of: str
    bounds: str


def current_schema() -> str:
    """Return the schema in which unqualified tables are created; empty if the database user has none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_schema(), '')")
        return str(cursor.fetchone()[0])


def relations(schema: str) -> list[Relation]:
    """Return the tables of a schema, by name, without those that belong to an extension."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT relation.relname, relation.relkind, coalesce(parent.relname, ''),
                coalesce(pg_get_expr(relation.relpartbound, relation.oid), '')
            FROM pg_class AS relation
            LEFT JOIN pg_inherits AS link ON link.inhrelid = relation.oid AND relation.relispartition
            LEFT JOIN pg_class AS parent ON parent.oid = link.inhparent
            WHERE relation.relnamespace = to_regnamespace(quote_ident(%s)) AND relation.relkind IN ('r', 'p')
              AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE classid = 'pg_class'::regclass AND objid = relation.oid AND deptype = 'e'
              )
            ORDER BY relation.relname
            """,
            [schema],
        )
        return [Relation(name=name, kind=kind, partition_of=of, bounds=bounds) for name, kind, of, bounds in cursor]


def is_ours(name: str) -> bool:
    """Return whether a table of this name belongs to Heartbeat or to the libraries that it is built with."""
    labels = {"django", *(config.label for config in apps.get_app_configs())}
    return name.startswith(tuple(f"{label}_" for label in labels))


def installed(schema: str) -> list[Relation]:
    """Return our tables in a schema; none if nothing is installed there."""
    return [relation for relation in relations(schema) if is_ours(relation.name)]


def columns(schema: str, table: str) -> list[str]:
    """Return the columns of a table that a backup keeps: all except generated ones."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
            [schema, table],
        )
        return [name for (name,) in cursor]


def quoted(*names: str) -> str:
    """Return names as quoted SQL identifiers, separated by commas."""
    return ", ".join(connection.ops.quote_name(name) for name in names)
