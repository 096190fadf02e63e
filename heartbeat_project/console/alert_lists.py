"""The list of alerts: its sections, its filters, and what each row says about who has the alert and what comes next."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Case, Count, Exists, IntegerField, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from accounts.models.contact_methods import Priority
from accounts.models.users import User
from alerting.models.alerts import Alert, AlertRecipient
from alerting.selectors import addressed_to_group, containing, visible_alerts
from alerting.states import FINAL, LIVE, STOPPED, Status
from escalation.engine import plan, walk
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.wording import at_night
from integrations.heartbeats.recoveries import CLOSED_BY_HEARTBEAT

PAGE_SIZE: Final = 50  # of a list with filters
SECTION_SIZE: Final = 30  # of alerts that wait for somebody
OTHER_SIZE: Final = 12  # of those that somebody has, that are on hold or that are over
CLOSED_WITHIN: Final = timedelta(hours=24)
MAX_GROUPS: Final = 2  # named in a row
# What a row shows. The long columns would cost more than everything else.
_COLUMNS: Final = (
    *("id", "organization_id", "status", "priority", "subject", "source", "source_name", "integration_id"),
    *("integration_type", "key_hash", "is_test", "expected_at", "opened_at", "acknowledged_at", "hold_until"),
    *("closed_at", "close_reason", "owner__name", "owner__email", "acknowledged_by__name", "acknowledged_by__email"),
)


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """What the filter bar asks for; an alert must match all of it."""

    text: str = ""
    status: str = ""
    priority: str = ""
    group: int | None = None
    integration: int | None = None
    owner: int | None = None
    opened_after: datetime | None = None
    opened_before: datetime | None = None

    def __bool__(self) -> bool:
        return self != AlertFilter()

    def condition(self) -> Q:
        """Return the condition for alerts that match."""
        columns = {
            "status": self.status,
            "priority": self.priority,
            "integration_id": self.integration,
            "owner_id": self.owner,
            "opened_at__gte": self.opened_after,
            "opened_at__lt": self.opened_before,
        }
        condition = Q(**{name: value for name, value in columns.items() if value})
        if self.group:
            condition &= addressed_to_group(self.group)
        if self.text:
            condition &= containing(self.text.removeprefix("#"))
        return condition

    def export_query(self) -> dict[str, str]:
        """Return the query of the API's export of the same alerts."""
        query = {
            "search": self.text.removeprefix("#"),
            "status": self.status,
            "priority": self.priority,
            "group": self.group,
            "integration": self.integration,
            "owner": self.owner,
            "opened_after": self.opened_after.isoformat() if self.opened_after else "",
            "opened_before": self.opened_before.isoformat() if self.opened_before else "",
        }
        return {"format": "csv"} | {name: str(value) for name, value in query.items() if value}


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert of the list: how long it is or was, its groups, and who has it or what comes next."""

    alert: Alert
    lasts: str
    groups: str
    state: str

    @property
    def seen(self) -> str:
        """The alert and the state in which it was shown, for a form that acts on several."""
        return f"{self.alert.pk}:{self.alert.status}:{self.alert.owner_id or ''}"


@dataclass(frozen=True, slots=True)
class Section:
    """Some rows under a heading; `count` is None if there are too many to count, and `more` leads to all of them."""

    slug: str
    title: str
    rows: list[AlertRow]
    count: int | None = None
    more: str = ""


@dataclass(frozen=True, slots=True)
class AlertList:
    """The sections without a filter, or one section of what matches; the next page has the ids below `older`."""

    sections: list[Section]
    open_count: int
    mine_count: int
    older: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


def list_alerts(user: User, wanted: AlertFilter, *, before: int | None = None, now: datetime) -> AlertList:
    """Return what the list shows; a fixed number of queries, however many alerts there are."""
    visible = visible_alerts(user)
    live = visible.filter(status__in=sorted(LIVE)).order_by()
    mine = _mine(user)
    totals: dict[tuple[str, bool], int] = {
        (status, is_mine): number
        for status, is_mine, number in live.annotate(is_mine=Case(When(mine, then=Value(1)), default=Value(0)))
        .values_list("status", "is_mine")
        .annotate(number=Count("pk"))
    }
    counts: dict[str, int] = defaultdict(int)
    for (status, _), number in totals.items():
        counts[status] += number
    own = totals.get((Status.OPEN, True), 0) + totals.get((Status.ASSIGNED, True), 0)
    if wanted or before:
        return _matching(visible, wanted, before=before, counts=counts, own=own, now=now)
    taken = live.filter(status__in=[Status.OPEN, Status.ASSIGNED])
    others = ~mine
    day = visible.filter(status__in=sorted(FINAL), closed_at__gte=now - CLOSED_WITHIN)
    parts = [
        ("mine", "Mine", _urgent(taken.filter(mine)), own, ""),
        (
            "open",
            "Open",
            _urgent(live.filter(others, status=Status.OPEN)),
            counts["open"] - totals.get(("open", True), 0),
            "open",
        ),
        (
            "taken",
            "Others have them",
            _urgent(live.filter(others, status=Status.ASSIGNED)),
            counts["assigned"] - totals.get(("assigned", True), 0),
            "assigned",
        ),
        ("on-hold", "On hold", _urgent(live.filter(status=Status.ON_HOLD)), counts["on_hold"], "on_hold"),
        ("closed", "Closed, last 24 hours", day.order_by("-closed_at", "-pk"), None, "closed"),
    ]
    sizes = [SECTION_SIZE if slug in {"mine", "open"} else OTHER_SIZE for slug, *_ in parts]
    shown = [
        list(_rows_of(alerts)[:size]) if count != 0 else []
        for (_, _, alerts, count, _), size in zip(parts, sizes, strict=True)
    ]
    rows = iter(_describe([alert for section in shown for alert in section], now=now))
    sections = [
        Section(slug, title, [next(rows) for _ in alerts], count, more if len(alerts) == size else "")
        for (slug, title, _, count, more), alerts, size in zip(parts, shown, sizes, strict=True)
    ]
    return AlertList(sections, counts["open"], own, counts=counts)


def _matching(
    visible: QuerySet[Alert],
    wanted: AlertFilter,
    *,
    before: int | None,
    counts: Mapping[str, int],
    own: int,
    now: datetime,
) -> AlertList:
    matching = _rows_of(visible.filter(wanted.condition()))
    if before:
        matching = matching.filter(pk__lt=before)
    # One row more than a page holds shows whether there is an older page, without counting.
    alerts = list(matching.order_by("-pk")[: PAGE_SIZE + 1])
    rows = _describe(alerts[:PAGE_SIZE], now=now)
    older = alerts[PAGE_SIZE - 1].pk if len(alerts) > PAGE_SIZE else None
    return AlertList([Section("found", "Found", rows)], counts.get("open", 0), own, older, counts)


def _mine(user: User) -> Q:
    """Return the condition for alerts that the user has, or that they are being notified of."""
    notified = Exists(AlertRecipient.objects.filter(alert=OuterRef("pk"), user=user))
    return Q(owner=user) | Q(notified, status=Status.OPEN, owner=None)


def _urgent(alerts: QuerySet[Alert]) -> QuerySet[Alert]:
    """Order by priority, then the newest first."""
    ranks = [When(priority=priority, then=Value(rank)) for rank, priority in enumerate(Priority.values)]
    return alerts.order_by(Case(*ranks, output_field=IntegerField()), "-pk")


def _rows_of(alerts: QuerySet[Alert]) -> QuerySet[Alert]:
    return alerts.select_related("owner", "acknowledged_by").only(*_COLUMNS)


def _describe(alerts: Sequence[Alert], *, now: datetime) -> list[AlertRow]:
    """Return the rows of these alerts: two queries for all of them."""
    groups = _groups_of([alert.pk for alert in alerts])
    runs = _runs_of([alert.pk for alert in alerts if alert.status == Status.OPEN])
    return [
        AlertRow(
            alert=alert,
            lasts=_lasts(alert, now=now),
            groups=_named(groups.get(alert.pk, [])),
            state=_state(alert, runs.get(alert.pk), now=now),
        )
        for alert in alerts
    ]


def _groups_of(alert_ids: Sequence[int]) -> Mapping[int, list[str]]:
    names: dict[int, list[str]] = defaultdict(list)
    recipients = AlertRecipient.objects.filter(alert__in=alert_ids, group__isnull=False).order_by("pk")
    for alert_id, name in recipients.values_list("alert_id", "group__name") if alert_ids else ():
        names[alert_id].append(name)
    return names


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_GROUPS} more" if len(names) > MAX_GROUPS else ""
    return ", ".join(names[:MAX_GROUPS]) + more


def _runs_of(alert_ids: Iterable[int]) -> Mapping[int, EscalationRun]:
    runs = EscalationRun.objects.filter(alert__in=list(alert_ids))
    return {run.alert_id: run for run in runs.only("alert_id", "name", "plan", "position", "acknowledge_stops")}


def _lasts(alert: Alert, *, now: datetime) -> str:
    """Return how long the silence, or any other trouble, lasts or lasted."""
    if alert.closed_at is not None:
        return f"lasted {_short(alert.closed_at - alert.opened_at)}"
    if alert.expected_at is not None:
        return f"silent {_short(now - alert.expected_at)}"
    return f"for {_short(now - alert.opened_at)}"


def _short(duration: timedelta) -> str:
    """Return a duration in whole minutes, and in hours from two days on."""
    unit = timedelta(hours=1) if duration >= timedelta(days=2) else timedelta(minutes=1)
    return in_words(duration // unit * unit) if duration >= unit else "under a minute"


def _state(alert: Alert, run: EscalationRun | None, *, now: datetime) -> str:
    """Return who has the alert, what comes next, or how it ended."""
    if alert.closed_at is not None:
        if alert.close_reason == CLOSED_BY_HEARTBEAT:
            return "closed by its heartbeat"
        return f"{alert.get_status_display().lower()}: {alert.close_reason}" if alert.close_reason else ""
    has_it = f"{alert.owner} has it" if alert.owner else ""
    if alert.status == Status.ON_HOLD:
        until = f" until {_at(alert.hold_until, now=now)}" if alert.hold_until else ""
        return ", ".join(part for part in (has_it, f"on hold{until}") if part)
    if alert.status in STOPPED:
        return has_it
    seen = f"{alert.acknowledged_by or 'somebody'} has acknowledged it" if alert.acknowledged_at else "nobody has it"
    return f"{seen}{_next(alert, run, now=now)}"


def _next(alert: Alert, run: EscalationRun | None, *, now: datetime) -> str:
    """Return what comes next for an open alert, as the end of a sentence."""
    if run is None:
        return ""
    if run.acknowledge_stops and alert.acknowledged_at:
        return ", nobody else is notified"
    coming = walk.coming_or_repeat(plan.Plan.load(run.plan), walk.Position.load(run.position))
    if coming is None:
        return ", no further step"
    return f"; next {coming.label} {'now' if coming.at <= now else _at(coming.at, now=now)}"


def _at(at: datetime, *, now: datetime) -> str:
    """Return the time of day in the reader's zone, with the day unless it is today."""
    local = timezone.localtime(at)
    if local.date() == timezone.localtime(now).date():
        return f"{local:%H:%M}"
    return at_night(at, zone=timezone.get_current_timezone())
