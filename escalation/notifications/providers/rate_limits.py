"""Rate limits that all workers share: a number of uses within a time, all at once if need be."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import F

from escalation.models.sending import RateLimitState
from heartbeat_project.kernel.sql import statement

# How much the clocks of two workers may differ; a greater difference means that a clock was set back.
CLOCK_SKEW: Final = timedelta(minutes=1)


# One KEPT_FREE-th of a limit is kept free for pressing messages; see Notification.is_pressing.
KEPT_FREE: Final = 6


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` uses within `per`, all at once if need be; uses that are not pressing leave a part free."""

    count: int
    per: timedelta

    @property
    def interval(self) -> timedelta:
        """Return the time after which one use is free again."""
        return self.per / self.count

    @property
    def slack(self) -> timedelta:
        """Return how far ahead of now `used_until` may be, so that one more use still fits."""
        return self.per - self.interval


PER_PHONE: Final = Limit(30, timedelta(minutes=10))
PER_PROVIDER: Final = Limit(60, timedelta(minutes=1))
CODES_PER_HOLDER: Final = Limit(10, timedelta(hours=1))


def acquire(key: str, limit: Limit, *, now: datetime, pressing: bool = True) -> timedelta | None:
    """Use the limit once and return None; if it is used up, use nothing and return how long to wait.

    Without `pressing`, the limit is used up when only the part that is kept free is left.
    """
    slack = limit.slack if pressing else limit.slack - limit.count // KEPT_FREE * limit.interval
    parameters: dict[str, Any] = {
        "key": key,
        "now": now,
        "interval": limit.interval,
        "slack": slack,
        "furthest": now + limit.per + CLOCK_SKEW,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "acquire_rate_limit"), parameters)
        if cursor.fetchone():
            return None
    used_until = RateLimitState.objects.values_list("used_until", flat=True).get(key=key)
    # Another worker's clock may differ: without a minimum the wait could be zero or negative.
    return max(used_until - slack - now, timedelta(seconds=1))


def give_back(key: str, limit: Limit) -> None:
    """Undo one use, because the send that it was for did not happen."""
    RateLimitState.objects.filter(key=key).update(used_until=F("used_until") - limit.interval)
