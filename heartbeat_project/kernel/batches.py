"""Batches of rows in which one poisoned row must not stop the rest."""

import logging
from collections.abc import Callable, Sequence

from django.db import InterfaceError, OperationalError, transaction

log = logging.getLogger(__name__)


def together_or_alone(
    ids: Sequence[int],
    *,
    what: str,
    act: Callable[[Sequence[int]], int],
    set_aside: Callable[[int, Exception], None],
) -> int:
    """Return what `act` returns for all ids together; if that fails, the sum of what it returns for each alone.

    Each try is a savepoint of the caller's transaction. An id that fails alone is given to `set_aside` with its error,
    which must see to it that somebody learns of it. A store that is away is no fault of a row and is raised.
    """
    if not ids:
        return 0
    try:
        with transaction.atomic():
            return act(ids)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("%s: %d together failed, trying each alone", what, len(ids))
    done = 0
    for row_id in ids:
        try:
            with transaction.atomic():
                done += act([row_id])
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            log.exception("%s: %d failed and is set aside", what, row_id)
            set_aside(row_id, error)
    return done
