"""Rules that every management API resource shares: JSON, paging, unknown fields, rows, minutes, dates, text."""

from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.core import exceptions as django_exceptions
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import pagination, parsers, serializers
from rest_framework.exceptions import NotFound, ParseError, ValidationError
from rest_framework.relations import MANY_RELATION_KWARGS

MAX_RELATED = 500  # ids in one list
MAX_INTERVAL_MINUTES = Decimal(44_640)  # 31 days


class JSON(parsers.JSONParser):
    """JSON of which too deep a nesting is the caller's mistake, like any other body that cannot be read."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the value. Raises ParseError."""
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("JSON parse error - too many levels of nesting.") from error


class NewestFirst(pagination.CursorPagination):
    """Pages of 50, at most 200 by `page_size`, newest first; `{"next", "previous", "results"}`."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering: str | tuple[str, ...] = "-id"

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any] | None:
        """Return the page. Raises NotFound for a cursor that names no place in this order, as for an unreadable one."""
        cursor = self.decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            first = self.get_ordering(request, queryset, view)[0].removeprefix("-")
            try:
                queryset.model._meta.get_field(first).to_python(cursor.position)  # noqa: SLF001
            except django_exceptions.ValidationError as error:
                raise NotFound(self.invalid_cursor_message) from error
        return super().paginate_queryset(queryset, request, view)


@extend_schema_field({"type": "number", "minimum": 0, "maximum": 44640, "multipleOf": 0.1})
class MinutesField(serializers.DecimalField):
    """A duration in minutes with at most one decimal place (0.1 is six seconds), as a JSON number."""

    def __init__(
        self,
        *,
        min_value: Decimal | int = 0,
        max_value: Decimal | int = MAX_INTERVAL_MINUTES,
        **options: Any,
    ) -> None:
        options.setdefault("max_digits", 6)
        options.setdefault("decimal_places", 1)
        super().__init__(min_value=Decimal(min_value), max_value=Decimal(max_value), **options)

    def to_internal_value(self, data: Any) -> Decimal:
        """Refuse what only looks like a number to Python: true and false."""
        if isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)

    def to_representation(self, value: Any) -> int | float:  # type: ignore[override]
        """Return 5 for whole minutes and 0.1 for parts."""
        return int(value) if value == int(value) else float(value)


class CleanCharField(serializers.CharField):
    """Text that PostgreSQL can store: no NUL (DRF refuses it already) and no lone surrogate."""

    default_error_messages = {"encoding": "This text has characters that are not valid Unicode."}

    def to_internal_value(self, data: Any) -> str:
        """Return the text, or fail at this field."""
        text = super().to_internal_value(data)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            self.fail("encoding")
        return text


class Strict(serializers.Serializer[Any]):
    """A serializer to which an unknown field is an error, never silently dropped."""

    def to_internal_value(self, data: Any) -> Any:
        """Check the field names first, then the values."""
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                raise ValidationError(
                    {name: ["There is no such field."] for name in unknown},
                    code="unknown_field",
                )
            read_only = [name for name in data if self.fields[name].read_only]
            if read_only:
                raise ValidationError({name: ["This field cannot be set."] for name in read_only}, code="read_only")
        return super().to_internal_value(data)


class Rows(serializers.ListSerializer[Any]):
    """Rows that replace all that were there: each is given whole, in a PATCH too."""

    def run_child_validation(self, data: Any) -> Any:
        """Check one row with a serializer that stands alone: within a PATCH nothing would be required."""
        return self._whole.run_validation(data)

    @cached_property
    def _whole(self) -> Any:
        serializer: Any = type(self.child)
        return serializer(context=self.context)


class OwnedRelatedField(serializers.PrimaryKeyRelatedField[Any]):
    """The id of an object of the caller's own organization; any other id is "does not exist"."""

    def get_queryset(self) -> QuerySet[Any]:
        """Narrow the declared queryset to the organization of the request's user."""
        queryset = super().get_queryset()
        assert queryset is not None  # noqa: S101 - each field declares one
        request = self.context.get("request")
        if request is None or not request.user.is_authenticated:
            return queryset.none()
        return queryset.filter(organization_id=request.user.organization_id)

    @classmethod
    def many_init(cls, *args: Any, **options: Any) -> Any:
        """Return the field for a list of ids (`many=True`)."""
        kept = {name: value for name, value in options.items() if name in MANY_RELATION_KWARGS}
        return OwnedRelatedListField(child_relation=cls(*args, **options), **kept)

    def to_id(self, data: Any) -> int:
        """Return the id; a number beyond what a column holds is "does not exist", not a fault."""
        if isinstance(data, bool) or not isinstance(data, int | str):
            self.fail("incorrect_type", data_type=type(data).__name__)
        try:
            number = int(data)
        except ValueError:
            self.fail("incorrect_type", data_type=type(data).__name__)
        if not 0 < number < 2**63:
            self.fail("does_not_exist", pk_value=data)
        return number

    def to_internal_value(self, data: Any) -> Any:
        """Return the object."""
        return super().to_internal_value(self.to_id(data))


class OwnedRelatedListField(serializers.ManyRelatedField):
    """Ids of objects of the caller's own organization, at most 500, all looked up in one query."""

    default_error_messages = {"max_length": "Give at most {limit} ids."}

    def to_internal_value(self, data: Any) -> list[Any]:
        """Return the objects in the order given, each once."""
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        if not data and not self.allow_empty:
            self.fail("empty")
        if len(data) > MAX_RELATED:
            self.fail("max_length", limit=MAX_RELATED)
        one: Any = self.child_relation
        ids = dict.fromkeys(one.to_id(item) for item in data)
        found = one.get_queryset().in_bulk(ids)
        for pk in ids:
            if pk not in found:
                one.fail("does_not_exist", pk_value=pk)
        return [found[pk] for pk in ids]
