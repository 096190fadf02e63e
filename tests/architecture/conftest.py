"""Tables that are filled once for all tests of a module; each test sees them and leaves them as they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from django.db import connection, transaction


@pytest.fixture(scope="module")
def fill_once(django_db_setup, django_db_blocker):
    """Return a context manager that runs SQL sentences and undoes them at its end; tests run in savepoints within."""

    @contextmanager
    def fill(sql: str, *, now: datetime) -> Iterator[None]:
        with django_db_blocker.unblock(), transaction.atomic():
            with connection.cursor() as cursor:
                for sentence in sql.strip().split(";\n"):
                    cursor.execute(sentence, {"now": now} if "%(now)s" in sentence else None)
            yield
            transaction.set_rollback(True)

    return fill
