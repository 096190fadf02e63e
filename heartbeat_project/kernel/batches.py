"""Batches of rows in which one failing row must not stop the others."""

import logging
from collections.abc import Callable, Sequence

from django.db import InterfaceError, OperationalError, transaction

log = logging.getLogger(__name__)


def run_batch_isolating_failures(
    ids: Sequence[int],
    *,
    batch_name: str,
    act: Callable[[Sequence[int]], int],
    quarantine: Callable[[int, Exception], None],
) -> int:
    """Return the count that `act` returns for all ids together; if that fails, the sum of its counts for single ids.

    Each try is a savepoint of the caller's transaction. `quarantine` is called with each id that fails alone and with
    its error, and must make sure that somebody learns of it. Raises OperationalError or InterfaceError if the
    database is away, because no row causes that.
    """
    if not ids:
        return 0
    try:
        with transaction.atomic():
            return act(ids)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("%s: the batch of %d rows failed; trying each row alone", batch_name, len(ids))
    count = 0
    for row_id in ids:
        try:
            with transaction.atomic():
                count += act([row_id])
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            log.exception("%s: row %d failed", batch_name, row_id)
            quarantine(row_id, error)
    return count
