"""The list of heartbeats: its filters, its orders, and one page of it, with a fixed number of queries."""

from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any, Final

from django.db.models import Count, Q, QuerySet, prefetch_related_objects

from accounts.models.groups import Group
from accounts.models.users import User
from heartbeat_project.console.selectors import counts_by_state
from heartbeat_project.console.strips import DAY, Strip, strip_of
from heartbeat_project.kernel.ids import read_id
from integrations.availability.periods import histories
from integrations.heartbeats.selectors import MAINTENANCE, may_configure, state_of
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from integrations.models.labels import MAX_TAG, as_tag

PAGE_SIZE: Final = 50
MAX_SEARCH: Final = 200  # characters
MAX_GROUPS: Final = 20  # own groups that can be chosen
MAX_RECIPIENTS: Final = 3  # named in a row
STATES: Final = ("missed", "waiting", "healthy", MAINTENANCE, "disabled")
SORTS: Final = {"worst": "Worst first", "name": "Name", "due": "Due next", "last": "Last ping"}
# Users who see names and states only can order by these.
_OPEN_SORTS: Final = ("worst", "name")
MINE, ALL = "mine", "all"
_RUNNING: Final = Q(state__in=["waiting", "healthy"], deadline_at__isnull=False)  # as in the index heartbeat_due
_NAME: Final = "integration__name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the address asks for: filters, an order, and where the page begins."""

    state: str = ""
    search: str = ""
    tag: str = ""
    group: str = MINE
    sort: str = "worst"
    after: str = ""

    def query(self, **changes: str) -> dict[str, str]:
        """Return the query string's values with these changes, without defaults and without the page."""
        chosen = replace(self, **{"after": "", **changes})
        values = {
            "state": chosen.state,
            "q": chosen.search,
            "tag": chosen.tag,
            "group": chosen.group if chosen.group != MINE else "",
            "sort": chosen.sort if chosen.sort != "worst" else "",
            "after": chosen.after,
        }
        return {name: value for name, value in values.items() if value}


@dataclass(frozen=True, slots=True)
class HeartbeatRow:
    """One heartbeat; what only users who manage it may see is empty for the others."""

    heartbeat: Heartbeat
    integration: InboundIntegration
    state: str
    strip: Strip | None
    recipients: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatPage:
    """At most PAGE_SIZE heartbeats, with the number in each state among those that the other filters leave."""

    rows: list[HeartbeatRow]
    counts: list[tuple[str, int]]
    total: int
    choice: Choice
    groups: list[Group]
    details: bool
    next_after: str


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows in one order: by a column that is never empty in them, then by id."""

    rows: QuerySet[Heartbeat]
    column: str
    descending: bool = False

    def after(self, last: Heartbeat | None) -> QuerySet[Heartbeat]:
        """Return the rows in order, those after `last`, if there is one."""
        rows = self.rows
        if last is not None:
            value: Any = last.integration.name if self.column == _NAME else getattr(last, self.column)
            comparison = "lt" if self.descending else "gt"
            beyond = Q(**{f"{self.column}__{comparison}": value})
            rows = rows.filter(Q(**{f"{self.column}__{'lte' if self.descending else 'gte'}": value}))
            rows = rows.filter(beyond | Q(**{self.column: value}, pk__gt=last.pk))
        return rows.order_by(f"-{self.column}" if self.descending else self.column, "pk")


def read_choice(values: Any, *, user: User) -> Choice:
    """Return what a query string asks for; what is unknown in it, or not for this user, counts as left out."""
    details = may_configure(user)
    state, sort, group = (values.get(name, "") for name in ("state", "sort", "group"))
    is_group = group in {MINE, ALL} or read_id(group) is not None
    return Choice(
        state=state if state in STATES else "",
        search=values.get("q", "").replace("\x00", "").strip()[:MAX_SEARCH],
        tag=as_tag(values.get("tag", "").replace("\x00", ""))[:MAX_TAG] if details else "",
        group=group if is_group else MINE,
        sort=sort if sort in (SORTS if details else _OPEN_SORTS) else "worst",
        after=values.get("after", "")[:30],
    )


def heartbeat_page(user: User, choice: Choice, *, now: datetime, zone: tzinfo) -> HeartbeatPage:
    """Return the page of heartbeats that a choice asks for."""
    details = may_configure(user)
    groups = list(Group.objects.filter(members__user=user).distinct().order_by("name", "pk")[:MAX_GROUPS])
    narrowed = _narrowed(user, choice, groups)
    is_whole = not (choice.search or choice.tag) and (choice.group == ALL or not groups)
    counts = counts_by_state(user.organization_id, now=now) if is_whole else _counts(narrowed, now=now)
    rows = narrowed
    if choice.state:
        rows = rows.filter(_in_state(choice.state, now=now))
    parts = _parts(rows, choice.sort, details=details)
    found, position = _slice(parts, choice.after, organization_id=user.organization_id)
    has_more = len(found) > PAGE_SIZE
    found = found[:PAGE_SIZE]
    past = histories([heartbeat.pk for heartbeat in found], since=now - DAY.length, now=now)
    return HeartbeatPage(
        rows=[
            HeartbeatRow(
                heartbeat=heartbeat,
                integration=heartbeat.integration,
                state=state_of(heartbeat, now=now),
                strip=strip_of(past[heartbeat.pk], DAY, zone=zone) if heartbeat.pk in past else None,
                recipients=_recipients(heartbeat.integration) if details else "",
            )
            for heartbeat in found
        ],
        counts=[(state, counts[state]) for state in STATES if counts[state] or state == choice.state],
        total=sum(counts.values()),
        choice=choice,
        groups=groups,
        details=details,
        next_after=f"{position[PAGE_SIZE - 1]}.{found[-1].pk}" if has_more else "",
    )


def _narrowed(user: User, choice: Choice, groups: list[Group]) -> QuerySet[Heartbeat]:
    """Return the heartbeats that all filters but the state leave."""
    rows = Heartbeat.objects.filter(integration__organization_id=user.organization_id)
    if choice.search:
        rows = rows.filter(integration__name__icontains=choice.search)
    if choice.tag:
        rows = rows.filter(integration__tags__contains=[choice.tag])
    own = [group.pk for group in groups]
    chosen = own if choice.group == MINE else [pk for pk in own if str(pk) == choice.group]
    if choice.group != ALL and (chosen or choice.group != MINE):
        recipients = InboundIntegration.recipient_groups.through.objects.filter(group_id__in=chosen)
        rows = rows.filter(pk__in=recipients.values("inboundintegration_id"))
    return rows


def _in_state(state: str, *, now: datetime) -> Q:
    """Return the condition for heartbeats in a state, on their own table."""
    suspended = Q(suspended_until__isnull=False, suspended_until__gt=now)
    if state == MAINTENANCE:
        return suspended & Q(state__in=["waiting", "healthy"])
    return Q(state=state) & ~suspended if state in {"waiting", "healthy"} else Q(state=state)


def _counts(rows: QuerySet[Heartbeat], *, now: datetime) -> dict[str, int]:
    counts: dict[str, int] = rows.aggregate(
        **{state: Count("pk", filter=_in_state(state, now=now)) for state in STATES}
    )
    return counts


def _parts(rows: QuerySet[Heartbeat], sort: str, *, details: bool) -> list[_Part]:
    """Return the parts of an order, one after another. Each is in the order of an index, or short."""
    silent, others = rows.filter(state="missed"), rows.exclude(state="missed")
    if sort == "name":
        return [_Part(rows, _NAME)]
    if sort == "last":
        pinged = rows.filter(last_ping_at__isnull=False)
        return [_Part(pinged, "last_ping_at", descending=True), _Part(rows.filter(last_ping_at=None), _NAME)]
    if not details:
        return [_Part(silent, _NAME), _Part(others, _NAME)]
    timed, untimed = _Part(others.filter(_RUNNING), "deadline_at"), _Part(others.exclude(_RUNNING), _NAME)
    by_silence = _Part(silent, "deadline_at")
    return [timed, by_silence, untimed] if sort == "due" else [by_silence, timed, untimed]


def _slice(parts: list[_Part], after: str, *, organization_id: int) -> tuple[list[Heartbeat], list[int]]:
    """Return one row more than a page from a position on, and the part of each; `after` is "part.id" of the row before.

    The position is that of this row now: if it has moved in the order meanwhile, so has the beginning of the page.
    """
    first, _, pk = after.partition(".")
    number, last_id = read_id(first) or 0, read_id(pk)
    related = Heartbeat.objects.select_related("integration")
    last = None
    if last_id is not None and number < len(parts):
        last = related.filter(pk=last_id, integration__organization_id=organization_id).first()
    if last is not None and parts[number].column != _NAME and getattr(last, parts[number].column) is None:
        last = None
    number = number if last is not None else 0
    rows: list[Heartbeat] = []
    positions: list[int] = []
    while number < len(parts) and len(rows) <= PAGE_SIZE:
        found = parts[number].after(last).select_related("integration")[: PAGE_SIZE + 1 - len(rows)]
        some = list(found)
        rows += some
        positions += [number] * len(some)
        number, last = number + 1, None
    prefetch_related_objects(rows, "integration__recipient_groups", "integration__recipient_users")
    return rows, positions


def _recipients(integration: InboundIntegration) -> str:
    names = [group.name for group in integration.recipient_groups.all()]
    names += [user.name for user in integration.recipient_users.all()]
    more = len(names) - MAX_RECIPIENTS
    return ", ".join(names[:MAX_RECIPIENTS]) + (f" and {more} more" if more > 0 else "")
