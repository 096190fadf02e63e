"""What every name and time zone goes through before it is saved: refused at the field where it cannot be."""

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.models import check_time_zone
from heartbeat_project.kernel.errors import FieldError

# Control characters, and the separators of lines and paragraphs.
_NOT_IN_A_NAME: Final = frozenset({"Cc", "Zl", "Zp"})


@contextmanager
def unique(constraint: str, *, field: str, message: str) -> Iterator[None]:
    """Run the block in a savepoint; raise FieldError when it breaks this constraint of the database.

    The database decides, so that two people who save the same name at once cannot both succeed.
    """
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        diagnosis = getattr(error.__cause__, "diag", None)
        if getattr(diagnosis, "constraint_name", None) != constraint:
            raise
        raise FieldError(field, message, code="unique") from error


def clean_name(name: str, *, field: str = "name", max_length: int = 200) -> str:
    """Return the name without outer spaces; raise FieldError for none, one that is too long, or several lines."""
    name = name.strip()
    if not name:
        raise FieldError(field, "Enter a name.", code="required")
    if any(unicodedata.category(character) in _NOT_IN_A_NAME for character in name):
        raise FieldError(field, "A name is one line: leave out line breaks, tabs and other control characters.")
    if len(name) > max_length:
        raise FieldError(field, f"Use at most {max_length} characters.", code="max_length")
    return name


def clean_time_zone(name: str) -> str:
    """Return the name of a time zone; raise FieldError when there is none of this name."""
    try:
        check_time_zone(name)
    except ValidationError as error:
        raise FieldError("time_zone", error.messages[0], code="time_zone") from error
    return name
