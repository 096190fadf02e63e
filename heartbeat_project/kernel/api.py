"""Parsers, pagination, filters, serializers and fields that every management API resource shares."""

import json
import math
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final, NoReturn

from django.conf import settings
from django.core import exceptions as django_exceptions
from django.db.models import Model, QuerySet, Value
from django.db.models.functions import Lower
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import pagination, parsers, serializers
from rest_framework.exceptions import NotFound, ParseError, ValidationError
from rest_framework.fields import SkipField
from rest_framework.relations import MANY_RELATION_KWARGS, PKOnlyObject
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from heartbeat_project.kernel.ids import MAX_ID, read_id

MAX_RELATED = 500  # ids in one list
MAX_UNKNOWN_FIELDS = 50  # unknown fields that one error lists
MAX_SHOWN = 40  # characters of a wrong id or name that an error repeats
MAX_FAULT = 200  # characters of a JSON error message
PAGED_BY = ("cursor", "page_size")
MAX_INTERVAL_MINUTES = Decimal(44_640)  # 31 days
# Some clients read times as milliseconds, so a time that they send back differs by less than this.
_CLIENT_PRECISION: Final = timedelta(milliseconds=1)


class JSON(parsers.JSONParser):
    """Strict JSON: without infinite numbers (NaN, Infinity, 1e999) and without duplicate names in an object.

    JSON that is nested too deeply is answered with 400, like any other body that cannot be read.
    """

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:  # noqa: ARG002 - DRF's
        """Return the parsed body. Raises ParseError."""
        encoding = (parser_context or {}).get("encoding", settings.DEFAULT_CHARSET)
        try:
            return json.loads(
                stream.read().decode(encoding),
                parse_float=_finite,
                parse_constant=_refuse_constant,
                object_pairs_hook=_object_without_duplicates,
            )
        except LookupError as error:
            raise ParseError("JSON parse error - Content-Type names an unknown encoding.") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}"[:MAX_FAULT]) from error
        except RecursionError as error:
            raise ParseError("JSON parse error - too many levels of nesting.") from error


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError("a number is too large.")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number.")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"a name is given twice in one object: {name[:MAX_SHOWN]!a}.")
        fields[name] = value
    return fields


class NewestFirst(pagination.CursorPagination):
    """Pages of 50, at most 200 by `page_size`, newest first; `{"next", "previous", "results"}`.

    The links begin with HEARTBEAT_BASE_URL, whatever Host header a proxy sends.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"
    ordering: str | tuple[str, ...] = "-id"

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any] | None:
        """Return the page. Raises NotFound if the cursor does not fit the ordering, as for an unreadable cursor."""
        cursor = self.decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            first = self.get_ordering(request, queryset, view)[0].removeprefix("-")
            try:
                queryset.model._meta.get_field(first).to_python(cursor.position)  # noqa: SLF001
            except django_exceptions.ValidationError as error:
                raise NotFound(self.invalid_cursor_message) from error
        page: list[Any] | None = super().paginate_queryset(queryset, request, view)
        # `path_info` is without the path of HEARTBEAT_BASE_URL.
        self.base_url = f"{settings.BASE_URL}{request._request.get_full_path_info()}"  # noqa: SLF001 - not wrapped
        return page

    def get_page_size(self, request: Request) -> int | None:
        """Return the size of the page; above the maximum, the maximum. Raises ValidationError for no number above 0."""
        size = request.query_params.get(self.page_size_query_param)
        if size is not None and (not size.isascii() or not size.isdecimal() or not size.strip("0")):
            raise ValidationError({self.page_size_query_param: ["Give a number of 1 or more."]})
        if size is not None and len(size.lstrip("0")) > len(str(self.max_page_size)):
            return self.max_page_size
        return super().get_page_size(request)


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
        """Refuse true and false, which are numbers to Python."""
        if isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)

    def to_representation(self, value: Any) -> int | float:  # type: ignore[override]
        """Return 5 for whole minutes and 0.1 for parts."""
        return int(value) if value == int(value) else float(value)


class WholeNumberField(serializers.IntegerField):
    """A whole number, as a JSON number."""

    def to_internal_value(self, data: Any) -> int:
        """Refuse numbers in text, and true and false, which are numbers to Python."""
        if isinstance(data, str | bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class InstantField(serializers.DateTimeField):
    """A time with its offset from UTC (RFC 3339); a time without one is refused. It is returned in UTC."""

    default_error_messages = {
        "invalid": "Give a time such as 2026-03-02T12:00:00Z. In a URL, a + is written %2B.",
        "offset": "Give the time with its offset from UTC, such as 2026-03-02T12:00:00Z or 2026-03-02T13:00:00+01:00.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, **options)

    def enforce_timezone(self, value: datetime) -> datetime:
        """Return the time in UTC. Raises ValidationError for one without an offset."""
        if timezone.is_naive(value):
            self.fail("offset")
        return super().enforce_timezone(value)


class CleanCharField(serializers.CharField):
    """Text that PostgreSQL can store: without NUL (DRF refuses it already) and without lone surrogates.

    A number is refused: DRF would convert it with str(), which writes a number of 23 digits as 1e22.
    """

    default_error_messages = {"encoding": "This text has characters that are not valid Unicode."}

    def to_internal_value(self, data: Any) -> str:
        """Return the text. Raises ValidationError."""
        if not isinstance(data, str):
            self.fail("invalid")
        text = super().to_internal_value(data)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            self.fail("encoding")
        return text


class CleanURLField(CleanCharField, serializers.URLField):
    """A URL that PostgreSQL can store, as CleanCharField does for text."""


class Strict(serializers.Serializer[Any]):
    """A serializer that refuses unknown fields, and read-only fields with another value than the present one.

    So a client may send back what it has read. A new object has no present values yet: no read-only field may be sent.
    """

    # Read-only fields that change by themselves. An earlier value may be sent back, too: the client cannot know better.
    changing: ClassVar[frozenset[str]] = frozenset()
    # One of `changing`: a number that grows whenever the others change. Only a smaller one excuses earlier values.
    counter: ClassVar[str] = ""

    def to_internal_value(self, data: Any) -> Any:
        """Check the field names first, then the values."""
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                raise ValidationError(
                    {name: ["There is no such field."] for name in unknown[:MAX_UNKNOWN_FIELDS]},
                    code="unknown_field",
                )
            if changed := self._changed_read_only(data):
                raise ValidationError({name: ["This field cannot be set."] for name in changed}, code="read_only")
        return super().to_internal_value(data)

    def writable_values(self, instance: Any) -> dict[str, Any]:
        """Return the values of the fields that can be set and read, also of those that `to_representation` masks."""
        values = {}
        for name, field in self.fields.items():
            if field.read_only or field.write_only:
                continue
            try:
                value = field.get_attribute(instance)
            except SkipField:
                continue
            is_null = value is None or (isinstance(value, PKOnlyObject) and value.pk is None)
            values[name] = None if is_null else field.to_representation(value)
        return values

    def _changed_read_only(self, data: Mapping[str, Any]) -> list[str]:
        """Return the read-only fields of the request whose values are not the present ones."""
        sent = [name for name in data if self.fields[name].read_only]
        if not sent or not isinstance(self.instance, Model):
            return sent
        present = json.loads(JSONRenderer().render(self.to_representation(self.instance)))
        may_be_earlier = self._may_be_an_earlier_reading(data, present)
        return [
            name
            for name in sent
            if not _is_same(data[name], present[name], self.fields[name])
            and not (may_be_earlier and name in self.changing and _is_not_ahead(data[name], present[name]))
        ]

    def _may_be_an_earlier_reading(self, data: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
        """Answer whether the request may hold values of `changing` that were true earlier.

        A PATCH names single fields, so without a counter it means what it says.
        """
        if not self.counter:
            return not self.partial
        count = data.get(self.counter)
        return isinstance(count, int) and count != present[self.counter] and _is_not_ahead(count, present[self.counter])


def _is_not_ahead(sent: Any, present: Any) -> bool:
    """Answer whether a value may have been there earlier: of two numbers, only the smaller one."""
    if isinstance(present, int) and not isinstance(present, bool):
        return isinstance(sent, int) and 0 <= sent <= present
    return True


def _is_same(sent: Any, present: Any, field: Any) -> bool:
    """Answer whether two JSON values are the same; the same instant may be spelled in two ways."""
    if sent == present:
        return True
    if not (isinstance(field, serializers.DateTimeField) and isinstance(sent, str) and isinstance(present, str)):
        return False
    instant = InstantField()
    try:
        return bool(abs(instant.to_internal_value(sent) - instant.to_internal_value(present)) < _CLIENT_PRECISION)
    except ValidationError:
        return False


class IdFilter(serializers.IntegerField):
    """The id of an object, in a query parameter."""

    default_error_messages = {"invalid": "Give an id."}

    def to_internal_value(self, data: Any) -> int:
        """Return the id. Raises ValidationError for anything but ASCII digits that fit a column."""
        number = read_id(str(data))
        if number is None:
            self.fail("invalid")
        return number


class Filters(serializers.Serializer[Any]):
    """The query parameters that narrow a list. The `source` of each is the look-up that it means."""

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that pass the filters; call it after `is_valid`."""
        return rows.filter(**self.validated_data)


class NameFilter(Filters):
    """The filter by name, for resources whose objects have names."""

    name = CleanCharField(required=False, max_length=200, help_text="The whole name, in upper or lower case.")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with this name. The look-up matches the unique indexes on lower(name)."""
        name = self.validated_data.pop("name", None)
        if name is not None:
            name = unicodedata.normalize("NFC", name)
            rows = rows.alias(_lower_name=Lower("name")).filter(_lower_name=Lower(Value(name)))
        return super().narrow(rows)


class BoundedList(serializers.ListField):
    """A list whose length is checked before its items: a list that is far too long gets one error, not thousands."""

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)
        self.max_items = max_length

    def to_internal_value(self, data: Any) -> Any:
        """Return the items. Raises ValidationError, for the list or by item."""
        if isinstance(data, list) and len(data) > self.max_items:
            self.fail("max_length", max_length=self.max_items)
        return super().to_internal_value(data)


class Rows(serializers.ListSerializer[Any]):
    """Rows that replace all existing rows; each row has all its required fields, in a PATCH too."""

    def run_child_validation(self, data: Any) -> Any:
        """Validate one row with a serializer without parent, because within a PATCH no field is required."""
        return self._complete_serializer.run_validation(data)

    @cached_property
    def _complete_serializer(self) -> Any:
        serializer: Any = type(self.child)
        return serializer(context=self.context)


class OwnedRelatedField(serializers.PrimaryKeyRelatedField[Any]):
    """The id of an object of the caller's own organization; any other id gets the error "does not exist"."""

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
        list_options = {name: value for name, value in options.items() if name in MANY_RELATION_KWARGS}
        return OwnedRelatedListField(child_relation=cls(*args, **options), **list_options)

    def to_id(self, data: Any) -> int:
        """Return the id. Raises ValidationError; "does not exist" for a number that does not fit the column."""
        if isinstance(data, bool) or not isinstance(data, int | str):
            self.fail("incorrect_type", data_type=type(data).__name__)
        try:
            number = int(data)
        except ValueError:
            self.fail("incorrect_type", data_type=type(data).__name__)
        if not 0 < number <= MAX_ID:
            self.fail("does_not_exist", pk_value=str(data)[:MAX_SHOWN])
        return number

    def to_internal_value(self, data: Any) -> Any:
        """Return the object."""
        return super().to_internal_value(self.to_id(data))


class OwnedRelatedListField(serializers.ManyRelatedField):
    """Ids of at most 500 objects of the caller's own organization, all looked up in one query."""

    default_error_messages = {"max_length": "Give at most {limit} ids."}

    def get_attribute(self, instance: Any) -> Any:
        """Return the objects in the order in which they were saved, so that sending them back changes no order."""
        rows = super().get_attribute(instance)
        if isinstance(rows, QuerySet) and rows._result_cache is None:  # noqa: SLF001 - not prefetched
            return in_saved_order(rows, getattr(instance, self.source_attrs[-1]).through)
        return rows

    def to_internal_value(self, data: Any) -> list[Any]:
        """Return the objects in the order of the ids, without duplicates. Raises ValidationError."""
        if not isinstance(data, list):
            self.fail("not_a_list", input_type=type(data).__name__)
        if not data and not self.allow_empty:
            self.fail("empty")
        if len(data) > MAX_RELATED:
            self.fail("max_length", limit=MAX_RELATED)
        relation: Any = self.child_relation
        ids = dict.fromkeys(relation.to_id(item) for item in data)
        rows = relation.get_queryset().in_bulk(ids)
        for pk in ids:
            if pk not in rows:
                relation.fail("does_not_exist", pk_value=pk)
        return [rows[pk] for pk in ids]


def in_saved_order(rows: QuerySet[Any], through: type[Model]) -> QuerySet[Any]:
    """Order the objects of a many-to-many relation by its rows `through`; also for a `Prefetch` of the relation.

    Services save these rows in the order of the request, in which groups and people are notified.
    """
    table = through._meta.db_table  # noqa: SLF001 - documented Meta API
    # A relation joins its table under the table's own name, and no look-up of the ORM reuses that join.
    return rows.extra(order_by=[f"{table}.id"])
