"""Circuit breakers: a provider that failed again and again is left alone for a while, by every worker at once.

The state is a row, so that workers agree. A healthy provider costs one read for each message and no write.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from escalation.models import Circuit
from escalation.services.limits import CLOCKS_DIFFER
from heartbeat_project.kernel.sql import statement

LIMIT: Final = 5
PAUSE: Final = timedelta(seconds=30)
LONGEST: Final = timedelta(minutes=10)
# Failures further apart than this are not in a row; longer than the longest pause, or no pause could grow.
FORGET: Final = timedelta(minutes=20)
PROBE: Final = timedelta(seconds=30)


def is_closed(provider: str, *, now: datetime) -> bool:
    """Answer whether the provider may be used; after a pause, yes to one message, and to the others a little later."""
    open_until = Circuit.objects.filter(provider=provider).values_list("open_until", flat=True).first()
    if open_until is None:
        return True
    # Further ahead than any pause: the clock was set back, and nobody is to wait for that.
    if now < open_until <= now + LONGEST + CLOCKS_DIFFER:
        return False
    # Whoever moves the moment on is the one that tries.
    return Circuit.objects.filter(provider=provider, open_until=open_until).update(open_until=now + PROBE) == 1


def record_success(provider: str) -> None:
    """Close the circuit."""
    Circuit.objects.filter(provider=provider).exclude(failures=0, open_until=None).update(failures=0, open_until=None)


def record_failure(provider: str, *, now: datetime) -> None:
    """Count a failure of the provider, not of a message: no answer, garbage, 5xx, 429."""
    parameters: dict[str, Any] = {
        "provider": provider,
        "now": now,
        "forget": now - FORGET,
        "limit": LIMIT,
        "pause": PAUSE,
        "longest": LONGEST,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "count_failure"), parameters)
