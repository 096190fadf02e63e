"""Coverage gaps: alerts that would reach nobody now or in the 14 days after, and trouble with the rotas.

Who is reached changes only when somebody comes, goes or changes hours. So each route is computed at those instants
alone, and nothing in between.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from django.db.models import QuerySet

from accounts.models.contact_methods import ContactMethod, Priority
from accounts.models.groups import Group
from accounts.models.organizations import Organization
from escalation.engine.plan import Plan, Target
from escalation.engine.preview import FirstSteps
from escalation.models.on_call import OutOfOffice, Shift
from escalation.oncall.rota import who_is_on_call
from escalation.oncall.rota.who_is_on_call import RotaPeriod
from escalation.oncall.rotas import GroupRota
from escalation.oncall.selectors import AHEAD
from heartbeat_project.kernel.local_time import instant
from heartbeat_project.kernel.weekly import WeeklyWindow
from heartbeat_project.kernel.wording import zone
from integrations.coverage.rule_routes import UsedRoute, used_routes
from integrations.models.integrations import InboundIntegration

# First steps that are computed for one call, about 5 s of work. The nearest instants come first, and the answer says
# until when it looked.
MAX_STEPS: Final = 50_000
# Changes of all rotas of an organization together: some seconds of one core.
MAX_CHANGES_AHEAD: Final = 200_000
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CoverageGap:
    """A time in which the alerts of an integration reach nobody; `ends_at` is None if no end was found.

    `group_ids` are the groups to which its alerts go, and the groups nested in them. `rule` is the number of the rule
    that leads there; 0: it is the integration's own route.
    """

    starts_at: datetime
    ends_at: datetime | None
    reason: str
    group_ids: frozenset[int] = frozenset()
    rule: int = 0


@dataclass(frozen=True, slots=True)
class GroupGap:
    """Trouble with the rota of a group on which an enabled integration depends.

    `code` is "rota_hole" (nobody is on call), "rota_ended" (the shifts are over, all members are on call) or
    "calendar_unreadable".
    """

    group: Group
    code: str
    starts_at: datetime
    ends_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """The gaps from `at` until `looked_until`, which is 14 days later, or sooner if a bound was met.

    `every` maps the id of an integration to all of its gaps, by their beginnings; those of different rules overlap.
    """

    at: datetime
    looked_until: datetime
    every: Mapping[int, Sequence[CoverageGap]]
    groups: Sequence[GroupGap] = ()

    @property
    def gaps(self) -> dict[int, CoverageGap]:
        """Return the first gap of each integration, by its id."""
        return self.gaps_from(self.at)

    def gaps_from(self, now: datetime) -> dict[int, CoverageGap]:
        """Return by its id the first gap of each integration that has one at `now` or later."""
        first: dict[int, CoverageGap] = {}
        for pk, gaps in self.every.items():
            gap = next((gap for gap in gaps if gap.ends_at is None or gap.ends_at > now), None)
            if gap is not None:
                first[pk] = gap
        return first

    def group_gaps_from(self, now: datetime) -> list[GroupGap]:
        """Return the trouble with rotas that there is at `now` or later."""
        return [gap for gap in self.groups if gap.ends_at is None or gap.ends_at > now]


def coverage_of(organization: Organization, *, at: datetime) -> Coverage:
    """Return all gaps of the organization's enabled integrations, and of the rotas of their groups."""
    enabled = InboundIntegration.objects.filter(organization=organization, enabled=True)
    return _Outlook.of(enabled, organization_id=organization.pk, at=at).coverage(with_groups=True)


def gaps_among(
    integration_ids: Collection[int],
    *,
    organization_id: int,
    at: datetime,
    max_steps: int = MAX_STEPS,
) -> Coverage:
    """Return the gaps of those of these integrations that are enabled; compute at most `max_steps` first steps."""
    if not integration_ids:
        return Coverage(at, at + AHEAD, {})
    enabled = InboundIntegration.objects.filter(
        organization_id=organization_id, enabled=True, pk__in=list(integration_ids)
    )
    outlook = _Outlook.of(enabled, organization_id=organization_id, at=at)
    return outlook.coverage(max_steps=max_steps)


@dataclass(slots=True)
class _Outlook:
    """The routes of some integrations, with what decides from `at` until `until` whom each of them reaches.

    `within` maps each group of a route to itself and the groups nested in it; the rotas are by group id.
    """

    organization_id: int
    at: datetime
    until: datetime
    routes: list[UsedRoute]
    steps: FirstSteps
    within: Mapping[int, Sequence[int]]
    group_rotas: Mapping[int, GroupRota]
    rota_periods: dict[int, list[RotaPeriod]]

    @classmethod
    def of(cls, integrations: QuerySet[InboundIntegration], *, organization_id: int, at: datetime) -> "_Outlook":
        """Read what is needed for these integrations, in a number of queries that does not depend on how many."""
        routes = used_routes(integrations, organization_id=organization_id)
        steps = FirstSteps([used.route for used in routes], starts_at=at, ends_at=at + AHEAD)
        within, rotas = steps.people.nested, steps.people.rotas
        _, until = rotas.affordable(at, at + AHEAD, now=at, most=MAX_CHANGES_AHEAD)
        rota_periods = {group_id: group_rota.rota_periods(at, until) for group_id, group_rota in rotas.of.items()}
        return cls(organization_id, at, until, routes, steps, within, rotas.of, rota_periods)

    def coverage(self, *, with_groups: bool = False, max_steps: int = MAX_STEPS) -> Coverage:
        """Return the gaps: check each route now, and at each instant at which something changes for it."""
        due: dict[datetime, list[int]] = defaultdict(list)
        for number, changes in enumerate(self._changes()):
            for at in {self.at, *changes}:
                due[at].append(number)
        gaps_by_route: dict[int, list[CoverageGap]] = defaultdict(list)
        looked_until = self.until
        # By instants, not by routes: a bound then cuts all routes off at the same time.
        for at in sorted(due):
            max_steps -= len(due[at])
            # The present is checked whatever it costs; later instants can wait until they are nearer.
            if max_steps < 0 and at > self.at:
                looked_until = at
                break
            for number, reason in zip(due[at], self.steps.why_nobody(due[at], at=at), strict=True):
                gaps = gaps_by_route[number]
                is_open = bool(gaps) and gaps[-1].ends_at is None
                if reason and not is_open:
                    used, group_ids = self.routes[number], self._group_ids(self.steps.plans[number])
                    gaps.append(CoverageGap(at, None, f"{used.condition}{reason}", group_ids, used.rule))
                elif is_open and not reason:
                    gaps[-1] = replace(gaps[-1], ends_at=at)
        every: dict[int, list[CoverageGap]] = {}
        for number, gaps in sorted(gaps_by_route.items()):
            if gaps:
                for pk in self.routes[number].ids:
                    # Those of the integration itself, and of its earlier rules, come first if several begin together.
                    every[pk] = sorted([*every[pk], *gaps], key=_beginning) if pk in every else gaps
        group_gaps = self._group_gaps() if with_groups else []
        return Coverage(self.at, looked_until, every, group_gaps)

    def _changes(self) -> list[set[datetime]]:
        """Return for each route the instants after `at` at which something changes for it."""
        changes_of_people = self._changes_of_people()
        changes_of_groups = {}
        for group_id, rota_periods in self.rota_periods.items():
            changes_of_groups[group_id] = {rota_period.starts_at for rota_period in rota_periods}
            for person in self._people_of(group_id):
                changes_of_groups[group_id] |= changes_of_people.get(person, set())
        changes = []
        for plan in self.steps.plans:
            instants: set[datetime] = set()
            for target in _targets(plan):
                if target.kind == "user":
                    instants |= changes_of_people.get(target.id, set())
                else:
                    instants.update(*(changes_of_groups[group_id] for group_id in self.within[target.id]))
            changes.append({at for at in instants if self.at < at < self.until})
        return changes

    def _group_ids(self, plan: Plan) -> frozenset[int]:
        groups = (self.within[target.id] for target in _targets(plan) if target.kind == "group")
        return frozenset(chain.from_iterable(groups))

    def _people_of(self, group_id: int) -> set[int]:
        """Return everybody who is on call in the group at some time, those whom they cover, and its managers."""
        people = set(self.group_rotas[group_id].managers)
        for rota_period in self.rota_periods[group_id]:
            for on_call in rota_period.candidates:
                people.update(on_call.path)
        return people

    def _changes_of_people(self) -> dict[int, set[datetime]]:
        """Return when each person leaves and returns, and when their contact methods begin and cease to be used.

        The changes of a person's covers, and of the covers of those, are changes of this person, too.
        """
        covers: dict[int, set[int]] = defaultdict(set)
        own: dict[int, set[datetime]] = defaultdict(set)
        absences = OutOfOffice.objects.filter(
            user__organization_id=self.organization_id, starts_at__lt=self.until, ends_at__gt=self.at
        )
        for absence in absences:
            covers[absence.user_id].add(absence.cover_id)
            own[absence.user_id] |= {absence.starts_at, absence.ends_at}
        people = _target_ids(self.steps.plans, kind="user")
        people.update(*(self._people_of(group_id) for group_id in self.group_rotas))
        people.update(*covers.values())
        for user_id, borders in _window_borders(people, starts_at=self.at, ends_at=self.until).items():
            own[user_id] |= borders
        changes: dict[int, set[datetime]] = {}
        for person in people:
            with_covers, pending = {person}, [person]
            while pending:
                fresh = covers.get(pending.pop(), set()) - with_covers
                with_covers |= fresh
                pending += fresh
            changes[person] = set().union(*(own.get(other, ()) for other in with_covers))
        return changes

    def _group_gaps(self) -> list[GroupGap]:
        """Return the first hole of each rota, the rotas that end, and the calendars that cannot be read."""
        shifts: dict[int, list[Shift]] = defaultdict(list)
        for shift in Shift.objects.filter(group_id__in=self.group_rotas).order_by("id"):
            shifts[shift.group_id].append(shift)
        groups = Group.objects.in_bulk(self.group_rotas)
        group_gaps = []
        for group_id in sorted(self.within):
            holes = who_is_on_call.common_gaps(self.rota_periods[inner] for inner in self.within[group_id])
            if holes and any(shifts[inner] for inner in self.within[group_id]):
                ends_at = holes[0].ends_at if holes[0].ends_at < self.until else None
                more = f" More such gaps follow: {len(holes) - 1}." if len(holes) > 1 else ""
                reason = f"Nobody who can be reached is on call.{more}"
                group_gaps.append(GroupGap(groups[group_id], "rota_hole", holes[0].starts_at, ends_at, reason))
        for group_id, group in groups.items():
            group_gaps += _end_of_rota(group, self.group_rotas[group_id], at=self.at)
            group_gaps += [
                GroupGap(
                    group,
                    "calendar_unreadable",
                    shift.calendar_failing_since,
                    None,
                    f"The calendar of “{shift}” {shift.calendar_trouble}: {shift.calendar_error}",
                )
                for shift in shifts[group_id]
                if shift.calendar_failing_since is not None
            ]
        return sorted(group_gaps, key=lambda gap: (gap.starts_at, gap.group.name, gap.code))


def _beginning(gap: CoverageGap) -> datetime:
    return gap.starts_at


def _end_of_rota(group: Group, group_rota: GroupRota, *, at: datetime) -> list[GroupGap]:
    """Return a gap from the end of the group's last shift, if that is over or ends within the 14 days."""
    ends_at = group_rota.rota_ends_at
    if ends_at is None or ends_at >= at + AHEAD:
        return []
    event = "The rota is over" if ends_at <= at else "The rota ends"
    reason = f"{event}: from then on no shift says who is on call, and all members of the group are."
    return [GroupGap(group, "rota_ended", ends_at, None, reason)]


def _window_borders(people: Iterable[int], *, starts_at: datetime, ends_at: datetime) -> dict[int, set[datetime]]:
    """Return when contact methods of these people begin and cease to be used for an alert, by their weekly windows.

    People with a method that is used at once at any time of the week are left out: closing a window does not make them
    unreachable.
    """
    methods: dict[int, list[ContactMethod]] = defaultdict(list)
    usable = ContactMethod.objects.filter(
        user_id__in=set(people), enabled=True, verified_at__isnull=False, failing_since=None
    )
    for method in usable.select_related("user"):
        methods[method.user_id or 0].append(method)
    borders: dict[int, set[datetime]] = {}
    for user_id, own_methods in methods.items():
        if any(_is_used_always(method) for method in own_methods):
            continue
        borders[user_id] = set()
        for method in own_methods:
            borders[user_id].update(_borders(method, starts_at=starts_at, ends_at=ends_at))
    return borders


def _is_used_always(method: ContactMethod) -> bool:
    return not method.windows and not method.delay_minutes and method.from_priority == Priority.NONE


def _borders(method: ContactMethod, *, starts_at: datetime, ends_at: datetime) -> Iterable[datetime]:
    """Yield the instants at which the method begins or ceases to be used for an alert that opens then.

    They lie before the borders of its windows by its delay. Days on which a window does not open are not left out: to
    check the routes once more is harmless.
    """
    time_zone = zone(method.holder.time_zone)
    delay = timedelta(minutes=float(method.delay_minutes))
    first, last = (starts_at + delay).astimezone(time_zone).date(), (ends_at + delay).astimezone(time_zone).date()
    for stored in method.windows:
        window = WeeklyWindow.load(stored)
        for number in range((last - first).days + 1):
            day = first + number * _DAY
            for time_of_day in (window.starts, window.ends):
                yield instant(datetime.combine(day, time_of_day), time_zone) - delay


def _target_ids(plans: Iterable[Plan], *, kind: str) -> set[int]:
    ids: set[int] = set()
    for plan in plans:
        ids.update(target.id for target in _targets(plan) if target.kind == kind)
    return ids


def _targets(plan: Plan) -> Iterable[Target]:
    for track in plan.tracks:
        for stage in track.stages:
            yield from stage.targets
