"""Statements that run many times a second: PostgreSQL parses and plans each of them once for a connection."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import psycopg
from django.db import NotSupportedError, OperationalError, connection

from heartbeat_project.kernel.audit import current_actor

# PostgreSQL plans a prepared statement for lists of some ten values; a longer one is planned for what it holds.
MANY: Final = 50


class _PreparedCursor(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor whose parameters are bound by the server."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> "_PreparedCursor":
        super().execute(query, params, prepare=True)
        if connection.queries_logged:
            # Django's log of queries, which tests read, takes the text with its values from here.
            text = psycopg.ClientCursor(self.connection).mogrify(query, params)
            self._query = SimpleNamespace(query=text.encode())  # type: ignore[assignment]
        return self


@contextmanager
def _prepared_cursor() -> Iterator[Any]:
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    own = connection.connection
    own.prepare_threshold = 0  # Django sets None, so that its own cursors, which bind parameters, prepare nothing
    with connection.wrap_database_errors:
        cursor = connection._prepare_cursor(_PreparedCursor(own))  # type: ignore[attr-defined] # noqa: SLF001 - as cursor() does
    try:
        with cursor:
            yield cursor
    except NotSupportedError as error:
        # An upgrade changed the type of a column ("cached plan must not change result type"). It would fail again.
        own.close()
        raise OperationalError(str(error)) from error


def fetch_prepared(sql: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[tuple[Any, ...]]:
    """Execute one statement and return its rows.

    If somebody acts, it is executed as any other, because the actor is sent in the same message. Types of parameters
    come from the statement: a text that is used as two types needs a cast.
    """
    with connection.cursor() if current_actor() is not None else _prepared_cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
        return rows


def fetch(sql: str, parameters: Mapping[str, Any] | Sequence[Any], *, length: int) -> list[tuple[Any, ...]]:
    """Execute one statement that is given lists of this length, prepared if they are short, and return its rows."""
    if length <= MANY:
        return fetch_prepared(sql, parameters)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
