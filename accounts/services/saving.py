"""Save a row whose name must be unique, and say so at the field when it is not."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError, transaction

from heartbeat_project.kernel.errors import FieldError


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
    """Return the name without outer spaces; raise FieldError when nothing is left or it is too long."""
    name = name.strip()
    if not name:
        raise FieldError(field, "Enter a name.", code="required")
    if len(name) > max_length:
        raise FieldError(field, f"Use at most {max_length} characters.", code="max_length")
    return name
