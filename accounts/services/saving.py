"""Checks of names, time zones and unique columns before they are saved; each raises a FieldError at its field."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Final, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet

from accounts.models.organizations import check_time_zone
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.wording import is_visible

# Unicode categories: control characters, separators of lines and of paragraphs.
_NOT_IN_A_NAME: Final = frozenset({"Cc", "Zl", "Zp"})
Row = TypeVar("Row", bound=Model)


@contextmanager
def unique(constraint: str, *, field: str, message: str) -> Iterator[None]:
    """Run the block in a savepoint; raise FieldError if it violates this constraint of the database.

    The database decides, so that of two people who save the same name at once only one succeeds.
    """
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        diagnosis = getattr(error.__cause__, "diag", None)
        if getattr(diagnosis, "constraint_name", None) != constraint:
            raise
        raise FieldError(field, message, code="unique") from error


def replace_rows(stored: QuerySet[Row], rows: Iterable[Row], *, by: Sequence[str]) -> None:
    """Replace stored rows by others, which are compared by these fields; rows that are the same stay.

    A form sends all rows of an object, and each row that is deleted or created has an entry in the audit log. If no
    `position` is among the fields, the order of the rows is that of their ids, and they stay all or none.
    """
    key = attrgetter(*by)
    old, new = list(stored), list(rows)
    if [key(row) for row in old] == [key(row) for row in new]:
        return
    staying = {key(row) for row in old} & {key(row) for row in new} if "position" in by else set()
    stored.filter(pk__in=[row.pk for row in old if not staying or key(row) not in staying]).delete()
    stored.model._default_manager.bulk_create(  # noqa: SLF001 - Django's documented name
        [row for row in new if not staying or key(row) not in staying]
    )


def clean_name(name: str, *, field: str = "name", max_length: int = 200) -> str:
    """Return the name without outer spaces, in Unicode's composed form (NFC).

    Raises FieldError if nothing of it can be seen, or if it is too long or has several lines.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if not name:
        raise FieldError(field, "Enter a name.", code="required")
    if any(unicodedata.category(character) in _NOT_IN_A_NAME for character in name):
        raise FieldError(field, "Enter a name of one line, without tabs and other control characters.")
    if not any(is_visible(character) for character in name):
        raise FieldError(field, "Enter a name that can be seen: this one has only invisible characters.")
    if len(name) > max_length:
        raise FieldError(field, f"Use at most {max_length} characters.", code="max_length")
    return name


def clean_time_zone(name: str) -> str:
    """Return the name of a time zone. Raises FieldError if there is no zone with this name."""
    try:
        check_time_zone(name)
    except ValidationError as error:
        raise FieldError("time_zone", error.messages[0], code="time_zone") from error
    return name
