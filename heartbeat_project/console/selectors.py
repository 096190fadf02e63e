"""What the alerts area shows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, F, IntegerField, Q, Value, When

from accounts.models import User
from alerting.models import Alert
from alerting.selectors import visible_alerts
from alerting.states import LIVE, Status
from integrations.models import Heartbeat
from integrations.selectors import may_see_integrations, state_of

PAGE_SIZE = 50
ID_DIGITS = 18  # what a bigint surely holds
TABS = {
    "open": ("Open", [Status.OPEN]),
    "assigned": ("Assigned", [Status.ASSIGNED]),
    "on-hold": ("On hold", [Status.ON_HOLD]),
    "all": ("All", list(Status)),
}


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab above the alerts; `count` is None where counting would not end."""

    slug: str
    label: str
    count: int | None
    here: bool


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Fifty alerts, newest first; `older` is the id that the next page starts below."""

    tabs: list[Tab]
    alerts: list[Alert]
    tab: str
    search: str
    before: int | None
    older: int | None


@dataclass(frozen=True, slots=True)
class HeartbeatRow:
    """What people on call see of a heartbeat: never its URL."""

    integration_id: int
    name: str
    state: str
    interval_minutes: Any
    last_ping_at: datetime | None
    deadline_at: datetime | None


@dataclass(frozen=True, slots=True)
class HeartbeatPanel:
    """Fifty heartbeats, the silent ones first, then the ones due soonest, and how many are in which state."""

    rows: list[HeartbeatRow]
    counts: list[tuple[str, int]]
    total: int
    page: int
    pages: int


def alert_page(user: User, *, tab: str, search: str = "", before: int | None = None) -> AlertPage:
    """Return one page of the alerts that `user` may see."""
    tab = tab if tab in TABS else "open"
    visible = visible_alerts(user)
    live: dict[str, int] = dict(
        visible.filter(status__in=sorted(LIVE)).order_by().values_list("status").annotate(number=Count("pk")),
    )
    found = visible.filter(status__in=TABS[tab][1]).select_related("owner", "acknowledged_by")
    if search:
        words = Q(subject__icontains=search) | Q(source_name__icontains=search) | Q(owner__name__icontains=search)
        if search.isdecimal() and len(search) <= ID_DIGITS:
            words |= Q(pk=int(search))
        found = found.filter(words)
    if before:
        found = found.filter(pk__lt=before)
    rows = list(found.order_by("-pk")[: PAGE_SIZE + 1])
    return AlertPage(
        tabs=[
            Tab(slug, label, None if slug == "all" else sum(live.get(status, 0) for status in statuses), slug == tab)
            for slug, (label, statuses) in TABS.items()
        ],
        alerts=rows[:PAGE_SIZE],
        tab=tab,
        search=search,
        before=before,
        older=rows[PAGE_SIZE - 1].pk if len(rows) > PAGE_SIZE else None,
    )


def heartbeat_panel(user: User, *, page: int = 1, now: datetime) -> HeartbeatPanel | None:
    """Return one page of the organization's heartbeats, or None for those who may not see them."""
    if not may_see_integrations(user):
        return None
    heartbeats = Heartbeat.objects.filter(integration__organization_id=user.organization_id)
    suspended = Q(suspended_until__isnull=False, suspended_until__gt=now)
    counted = heartbeats.aggregate(
        missed=Count("pk", filter=Q(state="missed")),
        waiting=Count("pk", filter=Q(state="waiting") & ~suspended),
        healthy=Count("pk", filter=Q(state="healthy") & ~suspended),
        maintenance=Count("pk", filter=suspended & Q(state__in=["waiting", "healthy"])),
        disabled=Count("pk", filter=Q(state="disabled")),
    )
    total = sum(counted.values())
    pages = max(1, -(-total // PAGE_SIZE))
    page = min(max(1, page), pages)
    silent_first = Case(When(state="missed", then=Value(0)), default=Value(1), output_field=IntegerField())
    rows = heartbeats.select_related("integration").order_by(
        silent_first,
        F("deadline_at").asc(nulls_last=True),
        "integration__name",
        "pk",
    )[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    return HeartbeatPanel(
        rows=[
            HeartbeatRow(
                integration_id=heartbeat.pk,
                name=heartbeat.integration.name,
                state=state_of(heartbeat, now=now),
                interval_minutes=heartbeat.interval_minutes,
                last_ping_at=heartbeat.last_ping_at,
                deadline_at=heartbeat.deadline_at,
            )
            for heartbeat in rows
        ],
        counts=[(state, number) for state, number in counted.items() if number],
        total=total,
        page=page,
        pages=pages,
    )


def page_number(text: str) -> int:
    """Return the page that an address asks for; what is no sensible number means the first."""
    return int(text) if text.isdecimal() and len(text) < ID_DIGITS else 1
