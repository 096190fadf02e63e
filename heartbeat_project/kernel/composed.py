"""Query sets that are composed and translated once, and executed as prepared statements with other values.

Django takes longer to compose and translate a query than PostgreSQL takes to answer it. What is read each time an alert
opens is therefore written with parameters:

    _members = Composed(lambda: GroupMember.objects.filter(one_of("group_id", "groups")))
    _members(groups=[1, 2])
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.db import DEFAULT_DB_ALIAS
from django.db.models import BigIntegerField, BooleanField, Expression, F, Field, Func, QuerySet

from heartbeat_project.kernel.prepared import fetch

T = TypeVar("T")


class Parameter(Expression):
    """A value of a query set that is given by its name each time the query set is executed."""

    def __init__(self, name: str, output_field: "Field[Any, Any]") -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:  # noqa: ARG002 - Django's signature
        """Return a placeholder, and this parameter in place of its value."""
        return "%s", [self]


def one_of(column: str, name: str) -> Func:
    """Return the condition that a column of ids equals one of those in a list, the parameter of this name."""
    ids = Parameter(name, ArrayField(BigIntegerField()))
    template = "%(expressions)s::bigint[])"
    return Func(F(column), ids, template=template, arg_joiner=" = ANY(", output_field=BooleanField())


class Composed(Generic[T]):
    """A query set whose values are parameters; call it with these by name to get its rows.

    All rows are read. A list that is empty gives none without a query, so conditions with lists must not be joined by
    OR. What the query set prefetches is not read.
    """

    def __init__(self, compose: Callable[[], "QuerySet[Any, T]"]) -> None:
        self._compose = compose

    @cached_property
    def _translated(self) -> tuple[Any, Any, str, Sequence[Any]]:
        queryset: Any = self._compose()
        compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        return queryset, compiler, *compiler.as_sql()

    def __call__(self, **values: Any) -> list[T]:
        """Return the rows for these values."""
        lists = [value for value in values.values() if isinstance(value, list)]
        if not all(lists):
            return []
        queryset, compiler, sql, parameters = self._translated
        given = [values[value.name] if isinstance(value, Parameter) else value for value in parameters]
        rows = fetch(sql, given, length=max(map(len, lists), default=0))
        # Django makes objects of the rows as if its compiler had read them just now.
        answered, query = copy(compiler), copy(queryset.query)
        answered.execute_sql = lambda *_, **__: [rows]
        query.get_compiler = lambda *_, **__: answered
        found = object.__new__(type(queryset))
        found.__dict__.update(queryset.__dict__, _query=query)
        return list(found._iterable_class(found))
