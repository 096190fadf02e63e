"""Queries of the alerts area: the count on the mark, the recipients to choose from, and the heartbeat panel."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When

from accounts.models.groups import Group
from accounts.models.users import User
from alerting.selectors import may_see_alerts, visible_alerts
from alerting.states import Status
from heartbeat_project.kernel.ids import read_id
from integrations.heartbeats.selectors import may_configure, may_see_integrations, state_of
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration

PAGE_SIZE = 50
# Where a request keeps that count: the page of the list has counted already.
OPEN_COUNT = "_open_alerts"
MAX_COUNTED = 999  # of the open alerts on the mark, which every page counts
SUGGESTIONS = 6  # groups at most, and as many people: what fits on a phone above the keyboard


@dataclass(frozen=True, slots=True)
class Recipients:
    """A few groups and people to choose from; `more` is true if further ones match."""

    groups: list[Group]
    people: list[User]
    more: bool


@dataclass(frozen=True, slots=True)
class HeartbeatRow:
    """One heartbeat of the panel; the times are None unless `details` is true (the user may configure it)."""

    integration_id: int
    name: str
    state: str
    details: bool
    last_ping_at: datetime | None
    deadline_at: datetime | None
    suspended_until: datetime | None


@dataclass(frozen=True, slots=True)
class HeartbeatPanel:
    """At most PAGE_SIZE heartbeats, the silent ones first, and the number of heartbeats in each state."""

    rows: list[HeartbeatRow]
    counts: list[tuple[str, int]]
    total: int
    page: int
    pages: int


def open_alert_count(user: User) -> int | None:
    """Return how many open alerts the user may see, MAX_COUNTED + 1 if more; None if they may see no alerts."""
    if not may_see_alerts(user):
        return None
    return visible_alerts(user).filter(status=Status.OPEN).order_by()[: MAX_COUNTED + 1].count()


def find_recipients(
    organization_id: int, *, search: str = "", not_groups: Iterable[int] = (), not_people: Iterable[int] = ()
) -> Recipients:
    """Return up to SUGGESTIONS groups and as many active people whose name or e-mail contains `search`.

    Names that begin with it come first. If `search` is empty, people only fill up what groups leave free.
    """
    matching_groups = Group.objects.filter(organization_id=organization_id, name__icontains=search)
    matching_people = User.objects.filter(organization_id=organization_id, is_active=True)
    matching_people = matching_people.filter(Q(name__icontains=search) | Q(email__icontains=search))
    begins_first = Case(When(name__istartswith=search, then=Value(0)), default=Value(1), output_field=IntegerField())
    other_groups = matching_groups.exclude(pk__in=list(not_groups))
    groups = list(other_groups.order_by(begins_first, "name", "pk")[: SUGGESTIONS + 1])
    limit = SUGGESTIONS if search else max(0, SUGGESTIONS - len(groups))
    other_people = matching_people.exclude(pk__in=list(not_people))
    people = list(other_people.order_by(begins_first, "name", "pk")[: limit + 1])
    return Recipients(groups[:SUGGESTIONS], people[:limit], len(groups) > SUGGESTIONS or len(people) > limit)


def heartbeat_panel(user: User, *, page: int = 1, now: datetime) -> HeartbeatPanel | None:
    """Return one page of the organization's heartbeats, or None if the user may not see them.

    Silent heartbeats come first. Users who may see deadlines then get those that are due soonest, the others the
    order of names.
    """
    if not may_see_integrations(user):
        return None
    counts = counts_by_state(user.organization_id, now=now)
    total = sum(counts.values())
    pages = max(1, -(-total // PAGE_SIZE))
    page = min(max(1, page), pages)
    details = may_configure(user)
    page_rows = _silent_first(user.organization_id, details=details, start=(page - 1) * PAGE_SIZE, total=total)
    return HeartbeatPanel(
        rows=[
            HeartbeatRow(
                integration_id=heartbeat.pk,
                name=heartbeat.integration.name,
                state=state_of(heartbeat, now=now),
                details=details,
                last_ping_at=heartbeat.last_ping_at if details else None,
                deadline_at=heartbeat.deadline_at if details else None,
                suspended_until=heartbeat.suspended_until if details else None,
            )
            for heartbeat in page_rows
        ],
        counts=[(state, number) for state, number in counts.items() if number],
        total=total,
        page=page,
        pages=pages,
    )


def counts_by_state(organization_id: int, *, now: datetime) -> dict[str, int]:
    """Return the number of heartbeats in each state, in the order of the panel.

    Most heartbeats are healthy, and counting them one by one is slow: they are what the others leave of all.
    """
    heartbeats = Heartbeat.objects.filter(integration__organization_id=organization_id)
    suspended = Q(suspended_until__gt=now)
    counts = heartbeats.filter(~Q(state="healthy") | suspended).aggregate(
        missed=Count("pk", filter=Q(state="missed")),
        waiting=Count("pk", filter=Q(state="waiting") & ~suspended),
        maintenance=Count("pk", filter=suspended & Q(state__in=["waiting", "healthy"])),
        disabled=Count("pk", filter=Q(state="disabled")),
    )
    integrations = InboundIntegration.objects.filter(organization_id=organization_id)
    total = integrations.filter(type=InboundIntegration.Type.HEARTBEAT).count()
    # Two statements: a heartbeat may change in between.
    counts["healthy"] = max(0, total - sum(counts.values()))
    return {state: counts[state] for state in ("missed", "waiting", "healthy", "maintenance", "disabled")}


def _silent_first(organization_id: int, *, details: bool, start: int, total: int) -> list[Heartbeat]:
    """Return a page of heartbeats, those that are missed first, from the one at `start` on; there are `total`.

    One ordering of all of them would sort all. Each of these parts is in the order of an index, and short before it.
    """
    heartbeats = Heartbeat.objects.filter(integration__organization_id=organization_id).select_related("integration")
    by_name = ["integration__name", "pk"]
    silent, others = heartbeats.filter(state="missed"), heartbeats.exclude(state="missed")
    if details:
        # As in the condition of the index heartbeat_due.
        running = Q(state__in=["waiting", "healthy"], deadline_at__isnull=False)
        timed = others.filter(running).order_by("deadline_at", *by_name)
        parts = [silent.order_by("deadline_at", *by_name), timed, others.exclude(running).order_by(*by_name)]
    else:
        parts = [silent.order_by(*by_name), others.order_by(*by_name)]
    if start <= total // 2:
        return _slice(parts, start, PAGE_SIZE)
    # From the end: else a page far back reads nearly all rows that come before it.
    stop = min(start + PAGE_SIZE, total)
    return _slice([part.reverse() for part in reversed(parts)], total - stop, stop - start)[::-1]


def _slice(parts: Iterable[QuerySet[Heartbeat]], start: int, number: int) -> list[Heartbeat]:
    """Return so many rows from `start` on of all parts, one after another."""
    rows: list[Heartbeat] = []
    for part in parts:
        found = list(part[start : start + number - len(rows)])
        rows += found
        if len(rows) == number:
            break
        start = max(0, start - part.count()) if start and not found else 0
    return rows


def page_number(text: str) -> int:
    """Return the page number that an address asks for; anything that is not a positive number means page 1."""
    return read_id(text) or 1
