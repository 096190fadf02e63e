"""Count what each organization uses in a month: heartbeats, alerts, and messages by channel.

The rows of alerts and notifications are counted by day, and each count begins with the day of the last one. So it reads
the rows of a day or two however many there are, and rows that are deleted later lower no number.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Count, Q

from accounts.models.organizations import Organization
from heartbeat_project.kernel.mail import STORED
from heartbeat_project.kernel.sql import statement
from integrations.models.integrations import InboundIntegration
from integrations.models.usage import MonthlyUsage

COUNT_EVERY: Final = timedelta(hours=1)
MAX_MONTHS: Final = 13  # shown on the page: this month and the year before it
# After this time no row is stored any more with an earlier time: each is written by a transaction of seconds.
_SETTLED_AFTER: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_ALERTS: Final = "alerts"  # beside the channels, in MonthlyUsage.days


def count_usage(*, now: datetime) -> None:
    """Count the usage of each organization whose last count is COUNT_EVERY ago."""
    # Lately, also by a clock that was set back since.
    lately = MonthlyUsage.objects.filter(
        month=_month_of(now), counted_at__gt=now - COUNT_EVERY, counted_at__lt=now + COUNT_EVERY
    )
    _count(~Q(pk__in=lately.values("organization")), now=now)


def usage_of(organization: Organization, *, now: datetime) -> list[MonthlyUsage]:
    """Return what the organization used in the last MAX_MONTHS months, the present one first."""
    ensure_counted(organization, now=now)
    return list(MonthlyUsage.objects.filter(organization=organization)[:MAX_MONTHS])


def ensure_counted(organization: Organization, *, now: datetime) -> None:
    """Count the usage of an organization at once if it was not counted yet in the present month."""
    month = _month_of(now)
    if not MonthlyUsage.objects.filter(organization=organization, month__gte=month).exists():
        _count(Q(pk=organization.pk), now=now)


@transaction.atomic
def _count(which: Q, *, now: datetime) -> None:
    """Count the usage of some organizations since their last counts, and add it to their months."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('integrations.usage', 0))")
    # Read under the lock: another process may have counted while this one waited for it.
    organizations = list(Organization.objects.filter(which).values_list("pk", flat=True))
    if not organizations:
        return
    present, starts = _month_of(now), _starts(organizations, now=now)
    rows = MonthlyUsage.objects.filter(organization__in=organizations, month__gte=_month_of(min(starts.values())))
    months = {(row.organization_id, row.month): row for row in rows}
    for pk in organizations:
        months.setdefault((pk, present), _new_month(pk, present))
    for pk, day, channel, number in _counts_by_day(starts, now=now):
        month = day.replace(day=1)
        counts = months.setdefault((pk, month), _new_month(pk, month)).days.setdefault(str(day.day), {})
        name = channel or _ALERTS
        counts[name] = max(counts.get(name, 0), number)  # fewer than before: rows were deleted
    heartbeats = _heartbeats_of(organizations)
    for (pk, month), row in months.items():
        sums = _sums(row.days.values())
        row.alerts = max(row.alerts, sums.pop(_ALERTS, 0))
        row.messages |= {channel: max(number, row.messages.get(channel, 0)) for channel, number in sums.items()}
        if month == present:
            row.heartbeats = max(row.heartbeats, heartbeats.get(pk, 0))
        row.counted_at = now
    MonthlyUsage.objects.bulk_create(
        months.values(),
        update_conflicts=True,
        unique_fields=["organization", "month"],
        update_fields=["heartbeats", "alerts", "messages", "days", "counted_at"],
    )


def _starts(organizations: list[int], *, now: datetime) -> dict[int, datetime]:
    """Return from when on each organization is counted: the first day that could differ from its last count."""
    last = MonthlyUsage.objects.filter(organization__in=organizations).order_by("organization", "-month")
    starts = dict.fromkeys(organizations, _start_of(_month_of(now)))
    for row in last.distinct("organization"):
        # The clock may have been set back since.
        day = _day_of(min(row.counted_at, now) - _SETTLED_AFTER) if row.days else row.month
        starts[row.organization_id] = _start_of(day)
    return starts


def _counts_by_day(starts: dict[int, datetime], *, now: datetime) -> list[tuple[int, date, str | None, int]]:
    """Return the alerts (without a channel) and the messages of each organization by day."""
    parameters: dict[str, Any] = {
        "organizations": list(starts),
        "starts": list(starts.values()),
        "ends_at": _start_of(_day_of(now) + _DAY),
        "stored": STORED,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "count_usage"), parameters)
        counts: list[tuple[int, date, str | None, int]] = cursor.fetchall()
    return counts


def _heartbeats_of(organizations: list[int]) -> dict[int, int]:
    """Return how many heartbeats each organization has now; organizations without any are left out."""
    heartbeats = InboundIntegration.objects.filter(type="heartbeat", organization__in=organizations)
    return dict(heartbeats.order_by().values_list("organization").annotate(Count("pk")))


def _new_month(organization_id: int, month: date) -> MonthlyUsage:
    row = MonthlyUsage(organization_id=organization_id, month=month, heartbeats=0, alerts=0)
    row.messages, row.days = {}, {}
    return row


def _sums(counts: Iterable[dict[str, int]]) -> Counter[str]:
    return sum(map(Counter, counts), Counter())


def _month_of(at: datetime) -> date:
    return _day_of(at).replace(day=1)


def _day_of(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
