"""Rate limits that all workers share: so many at once, and so many in a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from escalation.models import Allowance
from heartbeat_project.kernel.sql import statement

# By so much the clocks of two workers may differ; more is a clock that was set back.
CLOCKS_DIFFER: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` within `per`, all at once if need be."""

    count: int
    per: timedelta

    @property
    def interval(self) -> timedelta:
        """Return how long one use takes to be forgotten."""
        return self.per / self.count

    @property
    def slack(self) -> timedelta:
        """Return how far ahead of now the uses may be, so that one more still fits."""
        return self.per - self.interval


PER_CONTACT_METHOD: Final = Limit(30, timedelta(minutes=10))
PER_PROVIDER: Final = Limit(60, timedelta(minutes=1))
CODES_PER_HOLDER: Final = Limit(10, timedelta(hours=1))


def take(key: str, limit: Limit, *, now: datetime) -> timedelta | None:
    """Use the limit once and return None; or, when it is used up, use nothing and return how long to wait."""
    parameters: dict[str, Any] = {
        "key": key,
        "now": now,
        "interval": limit.interval,
        "slack": limit.slack,
        "furthest": now + limit.per + CLOCKS_DIFFER,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "take_allowance"), parameters)
        if cursor.fetchone():
            return None
    used_until = Allowance.objects.values_list("used_until", flat=True).get(key=key)
    # Somebody's clock may be ahead: a wait is never nothing.
    return max(used_until - limit.slack - now, timedelta(seconds=1))
