"""The operations of migrations that let the audit log see a table.

The functions of the accounts app write the entries: `audit_row_change` for each row, and `audit_relation_change` for
each statement that changes rows of a relation. Each table has triggers that call one of them with what it must know of
the table. So every statement is seen: the ORM's bulk statements, our SQL files, and psql.
"""

from collections.abc import Sequence
from typing import Any, Final

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

# The object of an entry is found by a query that gets the row as $1 (jsonb) and returns the object's id, its name, its
# organization, and the columns whose values are secret.
ITSELF = "SELECT ($1->>'id')::bigint, $1->>'name', ($1->>'organization_id')::bigint, '{}'::text[]"
# One trigger for each event: PostgreSQL gives the rows of a statement to no trigger for several.
_OF_STATEMENTS: Final = {
    "audit_inserted": ("INSERT", "NEW TABLE AS audit_new"),
    "audit_updated": ("UPDATE", "OLD TABLE AS audit_old NEW TABLE AS audit_new"),
    "audit_deleted": ("DELETE", "OLD TABLE AS audit_old"),
}


def part_of(table: str, column: str, *, secrets: str = "") -> str:
    """Return the query for rows that are a part of an object with a name and an organization of its own."""
    # The names are those of our migrations.
    whole = f"FROM (SELECT) AS one LEFT JOIN {table} AS whole ON whole.id = ($1->>'{column}')::bigint"
    return f"SELECT ($1->>'{column}')::bigint, whole.name, whole.organization_id, '{{{secrets}}}'::text[] {whole}"


class AuditTable(migrations.operations.base.Operation):
    """Write every change of a table's rows into the audit log.

    Args:
        table: the table's name in the database.
        object_type: what the entries say the object is.
        found_by: the query for the object, see ITSELF.
        part: the field of the object under which the row is shown, if the row is one of several parts of the object;
            "*" if it holds further fields of the object, which has one such row.
        left_out: columns whose changes are no changes of configuration.
        only: the columns of which an UPDATE is looked at; an UPDATE that sets none of them does not fire the trigger.
            By default all except `left_out`.

    It may run again after an interruption, and is one transaction.
    """

    reversible = True
    atomic = True

    def __init__(
        self,
        table: str,
        object_type: str,
        *,
        found_by: str = ITSELF,
        part: str = "",
        left_out: Sequence[str] = (),
        only: Sequence[str] = (),
    ) -> None:
        self.table = table
        self.object_type = object_type
        self.found_by = found_by
        self.part = part
        self.left_out = tuple(left_out)
        self.only = tuple(only)

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: triggers are no part of Django's models."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        function = f"audit_row_change({', '.join(map(_literal, self._arguments()))})"
        events = ["INSERT"] if self.part == "*" else ["INSERT", "DELETE"]
        schema_editor.execute(
            f"CREATE OR REPLACE TRIGGER audit_row AFTER {' OR '.join(events)} ON {self.table}"
            f" FOR EACH ROW EXECUTE FUNCTION {function}",
            params=None,
        )
        columns = f" OF {', '.join(self.only)}" if self.only else ""
        old, new = _row("OLD", self.only), _row("NEW", self.only)
        schema_editor.execute(
            f"CREATE OR REPLACE TRIGGER audit_update AFTER UPDATE{columns} ON {self.table}"
            f" FOR EACH ROW WHEN ({old} IS DISTINCT FROM {new}) EXECUTE FUNCTION {function}",
            params=None,
        )

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for trigger in ("audit_row", "audit_update"):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {trigger} ON {self.table}", params=None)

    def describe(self) -> str:
        return f"Write the changes of {self.table} into the audit log"

    @property
    def migration_name_fragment(self) -> str:
        return f"audit_{self.table}"

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        keywords = {"found_by": self.found_by, "part": self.part, "left_out": self.left_out, "only": self.only}
        return type(self).__name__, [self.table, self.object_type], keywords

    def _arguments(self) -> tuple[str, str, str, str]:
        return self.object_type, self.part, "{" + ",".join(self.left_out) + "}", self.found_by


class AuditRelation(AuditTable):
    """Write every change of a relation into the audit log: all rows of the object before and after the statement.

    The table must have the triggers of AuditTable with the same arguments; they are replaced. Rows of one column are
    shown as its value.

    Args:
        rows_of: the condition that finds the rows of the object, whose id is $1.
        more: the query for further fields of a row, which is $1 (jsonb).
    """

    def __init__(
        self,
        table: str,
        object_type: str,
        *,
        found_by: str,
        part: str,
        rows_of: str,
        left_out: Sequence[str] = (),
        more: str = "NULL::jsonb",
    ) -> None:
        super().__init__(table, object_type, found_by=found_by, part=part, left_out=left_out)
        self.rows_of = rows_of
        self.more = more

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        super().database_backwards(app_label, schema_editor, from_state, to_state)
        arguments = (*self._arguments(), self.rows_of, self.more)
        for name, (event, tables) in _OF_STATEMENTS.items():
            schema_editor.execute(
                f"CREATE OR REPLACE TRIGGER {name} AFTER {event} ON {self.table} REFERENCING {tables}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION audit_relation_change({', '.join(map(_literal, arguments))})",
                params=None,
            )

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        for name in _OF_STATEMENTS:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name} ON {self.table}", params=None)
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return f"Write all rows of {self.table} that an object has into the audit log when they change"

    @property
    def migration_name_fragment(self) -> str:
        return f"audit_relation_{self.table}"

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        name, positional, keywords = super().deconstruct()
        del keywords["only"]
        return name, positional, {**keywords, "rows_of": self.rows_of, "more": self.more}


def _row(record: str, columns: Sequence[str]) -> str:
    return f"({', '.join(f'{record}.{name}' for name in columns)})" if columns else f"{record}.*"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
