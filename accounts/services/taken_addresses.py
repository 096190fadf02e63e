"""Refuse e-mail addresses that users of other organizations have; count and log the refusals.

An address belongs to one user of the installation, so each refusal reveals that somebody here has it. So an
organization gets only a few refusals per hour; then its administrators have to ask the operator.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Final

from accounts.models.users import User
from accounts.services.try_limits import check_tries, forgive
from heartbeat_project.kernel.errors import FieldError

MAX_REFUSALS: Final = 10  # of one organization within WITHIN; a form that is sent again counts again
WITHIN: Final = timedelta(hours=1)
UNAVAILABLE: Final = "unavailable"
_counting: ContextVar[bool] = ContextVar("counting", default=False)
log = logging.getLogger(__name__)


@contextmanager
def counted_refusals(organization_id: int, *, now: datetime) -> Iterator[None]:
    """Count refusals within this block, in which users of the organization get new addresses.

    Enter it before a transaction begins, because a rollback would undo the count. Within another such block it does
    nothing. Raises TooManyTries if too many addresses were refused.
    """
    if _counting.get():
        yield
        return
    # Counted before the block, so that many at once do not exceed the limit; taken back unless an address was refused.
    keys = check_tries(f"addresses|{organization_id}", limit=MAX_REFUSALS, within=WITHIN, now=now)
    token = _counting.set(True)
    try:
        yield
    except FieldError as error:
        if error.code == UNAVAILABLE:
            raise
        forgive(keys)
        raise
    except BaseException:
        forgive(keys)
        raise
    finally:
        _counting.reset(token)
    forgive(keys)


def refuse_address(user: User) -> FieldError:
    """Return the error for a user whose address another user has; log it if that user is in another organization."""
    if User.objects.filter(organization_id=user.organization_id, email=user.email).exclude(pk=user.pk).exists():
        return FieldError("email", "Another user of your organization has this e-mail address.", code="unique")
    log.warning("Organization %s tried an e-mail address of another organization's user.", user.organization_id)
    return FieldError("email", "This address cannot be used here. Ask the operator.", code=UNAVAILABLE)
