"""Operations for non-atomic migrations that can run again after an interruption at any statement.

Django records such a migration only at its end, so that after an interruption the next start runs all of it again.
Each operation skips what exists already. An index whose concurrent build was interrupted is left invalid by PostgreSQL
and is dropped first. An operation of several statements is one transaction.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib.postgres import operations as postgres
from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState
from django.db.models import BaseConstraint, Model, UniqueConstraint

from heartbeat_project.kernel.audit_triggers import AuditTable

__all__ = [
    "AddConstraintNotValid",
    "AddField",
    "AddIndexConcurrently",
    "AddUniqueConcurrently",
    "AlterField",
    "AuditTable",
    "RemoveIndexConcurrently",
    "ValidateConstraint",
]

_INVALID_INDEX = """
    SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relname = %s AND pg_table_is_visible(indexrelid) AND NOT indisvalid
"""
_CONSTRAINT = "SELECT 1 FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s)"
_COLUMN = """
    SELECT 1 FROM pg_attribute WHERE attname = %s AND attrelid = to_regclass(%s) AND NOT attisdropped
"""


class AddField(migrations.AddField):
    """Add a column unless it exists."""

    atomic = True

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not _exists(schema_editor, _COLUMN, _column(model, self.name), _table(schema_editor, model)):
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class AlterField(migrations.AlterField):
    """Alter a column in one transaction: Django drops its foreign key first, and a second run would not restore it."""

    atomic = True


class AddIndexConcurrently(postgres.AddIndexConcurrently):
    """Build an index concurrently unless it exists and is valid."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._ensure_not_in_transaction(schema_editor)
        model = to_state.apps.get_model(app_label, self.model_name)
        _build(schema_editor, self.index.name, str(self.index.create_sql(model, schema_editor)))


class RemoveIndexConcurrently(postgres.RemoveIndexConcurrently):
    """Drop an index concurrently if it exists; the reverse operation builds it as `AddIndexConcurrently` does."""

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        self._ensure_not_in_transaction(schema_editor)
        model = to_state.apps.get_model(app_label, self.model_name)
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        _build(schema_editor, index.name, str(index.create_sql(model, schema_editor)))


class AddConstraintNotValid(postgres.AddConstraintNotValid):
    """Add a check constraint for new rows unless it exists."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if not _exists(schema_editor, _CONSTRAINT, self.constraint.name, _table(schema_editor, model)):
            super().database_forwards(app_label, schema_editor, from_state, to_state)


class AddUniqueConcurrently(postgres.NotInTransactionMixin, migrations.AddConstraint):
    """Build a unique index concurrently, then add a constraint over it and drop those that it replaces.

    `instead_of` names the replaced constraints; one of them may have the new one's name.
    """

    atomic = False
    constraint: UniqueConstraint
    model_name_lower: ClassVar[str]

    def __init__(self, model_name: str, constraint: UniqueConstraint, *, instead_of: Sequence[str] = ()) -> None:
        super().__init__(model_name, constraint)
        self.instead_of = tuple(instead_of)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        name, positional, keywords = super().deconstruct()
        return name, positional, {**keywords, "instead_of": self.instead_of} if self.instead_of else keywords

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        for name in self.instead_of:
            state.remove_constraint(app_label, self.model_name_lower, name)
        super().state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        self._change(schema_editor, model, build=[self.constraint], drop=self._replaced(app_label, from_state))

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        self._change(schema_editor, model, build=self._replaced(app_label, to_state), drop=[self.constraint])

    def _replaced(self, app_label: str, state: ProjectState) -> list[BaseConstraint]:
        return [state.models[app_label, self.model_name_lower].get_constraint_by_name(name) for name in self.instead_of]

    def _change(
        self,
        schema_editor: BaseDatabaseSchemaEditor,
        model: type[Model],
        *,
        build: Sequence[BaseConstraint],
        drop: Sequence[BaseConstraint],
    ) -> None:
        self._ensure_not_in_transaction(schema_editor)
        table = _table(schema_editor, model)
        replaced = {constraint.name for constraint in drop}
        renamed = {f"{new.name}_new": new for new in build if _is_index(new) and new.name in replaced}
        clauses = [f"DROP CONSTRAINT IF EXISTS {_name(schema_editor, old)}" for old in drop if not _is_index(old)]
        for new in build:
            index = f"{new.name}_new" if new.name in replaced else new.name
            _build(schema_editor, index, _index_sql(schema_editor, model, new, name=index))
            if not _is_index(new) and not _exists(schema_editor, _CONSTRAINT, index, table):
                clauses.append(
                    f"ADD CONSTRAINT {_name(schema_editor, new)} UNIQUE USING INDEX {schema_editor.quote_name(index)}"
                )
        if clauses:
            # One statement, so that one of the two constraints holds at every moment.
            schema_editor.execute(f"ALTER TABLE {table}\n    {', '.join(clauses)}")
        for old in drop:
            if _is_index(old):
                schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_name(schema_editor, old)}")
        for index, new in renamed.items():
            name = schema_editor.quote_name(index)
            schema_editor.execute(f"ALTER INDEX IF EXISTS {name} RENAME TO {_name(schema_editor, new)}")


def _build(schema_editor: BaseDatabaseSchemaEditor, name: str, sql: str) -> None:
    """Run a CREATE INDEX concurrently, after dropping the invalid index of an interrupted run."""
    if _exists(schema_editor, _INVALID_INDEX, name):
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(name)}")
    sql = sql.replace(" INDEX ", " INDEX CONCURRENTLY IF NOT EXISTS ", 1)
    # On two lines: on one line, the migration linter mistakes a unique index for one that blocks writers.
    schema_editor.execute(sql.replace(" ON ", "\n    ON ", 1), params=None)


def _is_index(constraint: BaseConstraint) -> bool:
    """Return whether Django creates a unique index for it, which PostgreSQL does not list as a constraint."""
    return isinstance(constraint, UniqueConstraint) and bool(constraint.condition or constraint.expressions)


def _index_sql(
    schema_editor: BaseDatabaseSchemaEditor, model: type[Model], constraint: BaseConstraint, *, name: str
) -> str:
    if _is_index(constraint):
        sql = str(constraint.create_sql(model, schema_editor))
        return sql.replace(_name(schema_editor, constraint), schema_editor.quote_name(name), 1)
    assert isinstance(constraint, UniqueConstraint)  # noqa: S101  for the type checker: nothing else comes here
    columns = [schema_editor.quote_name(_column(model, field)) for field in constraint.fields]
    nulls = " NULLS NOT DISTINCT" if constraint.nulls_distinct is False else ""
    return (
        f"CREATE UNIQUE INDEX {schema_editor.quote_name(name)}"
        f" ON {_table(schema_editor, model)} ({', '.join(columns)}){nulls}"
    )


def _table(schema_editor: BaseDatabaseSchemaEditor, model: type[Model]) -> str:
    return schema_editor.quote_name(model._meta.db_table)  # noqa: SLF001  Django's own way


def _column(model: type[Model], field: str) -> str:
    return str(model._meta.get_field(field).column)  # type: ignore[union-attr]  # noqa: SLF001


def _name(schema_editor: BaseDatabaseSchemaEditor, constraint: BaseConstraint) -> str:
    return schema_editor.quote_name(constraint.name)


def _exists(schema_editor: BaseDatabaseSchemaEditor, query: str, *values: str) -> bool:
    if schema_editor.collect_sql:  # `sqlmigrate` shows what an uninterrupted run does
        return False
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchone() is not None
