"""Coverage gaps: silences that would reach nobody now or in the 14 days after, and what is wrong with the rotas."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from django.db.models import QuerySet

from accounts.models import ContactMethod, Group, Organization
from accounts.selectors import nested_groups
from accounts.windows import Window
from escalation.on_call import AHEAD
from escalation.rosters import Roster, rosters
from escalation.rota import answers
from escalation.rota.answers import Span
from escalation.rota.clocks import instant
from escalation.services.preview import FirstSteps
from escalation.services.runs import Way
from escalation.shift_models import OutOfOffice, Shift
from escalation.walk import Plan, Target
from escalation.wording import zone
from integrations.models import InboundIntegration
from integrations.readiness import ways_of

# First steps that are computed for one question, about 5 s of work: the nearest instants first, and the answer says up
# to when it looked.
MAX_STEPS: Final = 50_000
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CoverageGap:
    """A time in which the silence of an integration reaches nobody; `ends_at` None: no end was seen.

    `group_ids` are those to which its alerts go, and the groups within them.
    """

    starts_at: datetime
    ends_at: datetime | None
    reason: str
    group_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class GroupGap:
    """What is wrong with the rota of a group on which an enabled integration depends.

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
    """The gaps from `at` until `looked_until`, which lies before the 14 days are over only where a bound was met.

    `every` are all gaps of an integration, by its id, in order.
    """

    at: datetime
    looked_until: datetime
    every: Mapping[int, Sequence[CoverageGap]]
    groups: Sequence[GroupGap] = ()

    @property
    def gaps(self) -> dict[int, CoverageGap]:
        """The first gap of each integration."""
        return {pk: gaps[0] for pk, gaps in self.every.items()}


def coverage_of(organization: Organization, *, at: datetime) -> Coverage:
    """Return all gaps of the organization's enabled integrations, by id, and those of the groups behind them."""
    enabled = InboundIntegration.objects.filter(organization=organization, enabled=True)
    return _Outlook.of(enabled, organization_id=organization.pk, at=at).coverage(with_groups=True)


def gaps_among(
    integration_ids: Collection[int],
    *,
    organization_id: int,
    at: datetime,
    max_steps: int = MAX_STEPS,
) -> Coverage:
    """Return the gaps of those of these integrations that are enabled, by id."""
    if not integration_ids:
        return Coverage(at, at + AHEAD, {})
    enabled = InboundIntegration.objects.filter(
        organization_id=organization_id, enabled=True, pk__in=list(integration_ids)
    )
    outlook = _Outlook.of(enabled, organization_id=organization_id, at=at)
    return outlook.coverage(max_steps=max_steps)


@dataclass(slots=True)
class _Outlook:
    """Ways, and the instants in the days to come at which somebody comes, goes or can be reached no longer."""

    organization_id: int
    at: datetime
    ways: list[tuple[Way, list[int]]]
    steps: FirstSteps
    within: dict[int, list[int]]
    rosters: Mapping[int, Roster]
    spans: dict[int, list[Span]]

    @classmethod
    def of(cls, integrations: QuerySet[InboundIntegration], *, organization_id: int, at: datetime) -> "_Outlook":
        ways = ways_of(integrations, organization_id=organization_id)
        steps = FirstSteps([way for way, _ in ways], starts_at=at, ends_at=at + AHEAD)
        within = nested_groups(
            {target.id for plan in steps.plans for target in _targets(plan) if target.kind == "group"}
        )
        group_ids = {group_id for inner in within.values() for group_id in inner}
        found = rosters(group_ids, starts_at=at, ends_at=at + AHEAD).of
        spans = {group_id: roster.spans(at, at + AHEAD) for group_id, roster in found.items()}
        return cls(organization_id, at, ways, steps, within, found, spans)

    def coverage(self, *, with_groups: bool = False, max_steps: int = MAX_STEPS) -> Coverage:
        """Look at each way now, and at each instant at which something changes for it."""
        due: dict[datetime, list[int]] = defaultdict(list)
        for number, changes in enumerate(self._changes()):
            for at in {self.at, *changes}:
                due[at].append(number)
        found: dict[int, list[CoverageGap]] = defaultdict(list)
        looked_until = self.at + AHEAD
        for at in sorted(due):
            max_steps -= len(due[at])
            # The present is looked at whatever it costs: everything else can wait until it is nearer.
            if max_steps < 0 and at > self.at:
                looked_until = at
                break
            for number, reason in zip(due[at], self.steps.why_nobody(due[at], at=at), strict=True):
                gaps = found[number]
                is_open = bool(gaps) and gaps[-1].ends_at is None
                if reason and not is_open:
                    gaps.append(CoverageGap(at, None, reason, self._group_ids(self.steps.plans[number])))
                elif is_open and not reason:
                    gaps[-1] = replace(gaps[-1], ends_at=at)
        every = {pk: gaps for number, gaps in found.items() if gaps for pk in self.ways[number][1]}
        return Coverage(self.at, looked_until, every, self._groups() if with_groups else ())

    def _changes(self) -> list[set[datetime]]:
        """Return for each way when something changes for it after `at`."""
        persons = self._changes_of_people()
        groups = {
            group_id: {span.starts_at for span in self.spans[group_id]}.union(
                *(persons.get(person, ()) for person in self._people_of(group_id))
            )
            for group_id in self.rosters
        }
        changes = []
        for plan in self.steps.plans:
            mine: set[datetime] = set()
            for target in _targets(plan):
                if target.kind == "user":
                    mine |= persons.get(target.id, set())
                else:
                    mine.update(*(groups[group_id] for group_id in self.within[target.id]))
            changes.append({at for at in mine if self.at < at < self.at + AHEAD})
        return changes

    def _group_ids(self, plan: Plan) -> frozenset[int]:
        groups = (self.within[target.id] for target in _targets(plan) if target.kind == "group")
        return frozenset(chain.from_iterable(groups))

    def _people_of(self, group_id: int) -> set[int]:
        named = {person for span in self.spans[group_id] for one in span.named for person in one.way}
        return named | set(self.rosters[group_id].managers)

    def _changes_of_people(self) -> dict[int, set[datetime]]:
        """Return when people go and come back, or their contact methods open and close; with those of their covers."""
        ends_at = self.at + AHEAD
        covers: dict[int, set[int]] = defaultdict(set)
        own: dict[int, set[datetime]] = defaultdict(set)
        absences = OutOfOffice.objects.filter(
            user__organization_id=self.organization_id, starts_at__lt=ends_at, ends_at__gt=self.at
        )
        for user_id, cover_id, begins, ends in absences.values_list("user_id", "cover_id", "starts_at", "ends_at"):
            covers[user_id].add(cover_id)
            own[user_id] |= {begins, ends}
        named = {target.id for plan in self.steps.plans for target in _targets(plan) if target.kind == "user"}
        people = named.union(*(self._people_of(group_id) for group_id in self.rosters))
        people |= {cover for there in covers.values() for cover in there}
        for user_id, borders in _window_borders(people, starts_at=self.at, ends_at=ends_at).items():
            own[user_id] |= borders
        found: dict[int, set[datetime]] = {}
        for person in people:
            reached, pending = {person}, [person]
            while pending:
                fresh = covers.get(pending.pop(), set()) - reached
                reached |= fresh
                pending += fresh
            found[person] = set().union(*(own.get(one, ()) for one in reached))
        return found

    def _groups(self) -> list[GroupGap]:
        """Return what is wrong with the rotas: the first hole of each, those that end, calendars that are not read."""
        shifts: dict[int, list[Shift]] = defaultdict(list)
        for shift in Shift.objects.filter(group_id__in=self.rosters).order_by("id"):
            shifts[shift.group_id].append(shift)
        groups = Group.objects.in_bulk(self.rosters)
        found = []
        for group_id in sorted(self.within):
            holes = answers.common_gaps(self.spans[inner] for inner in self.within[group_id])
            if holes and any(shifts[inner] for inner in self.within[group_id]):
                ends_at = holes[0].ends_at if holes[0].ends_at < self.at + AHEAD else None
                more = f", and in {len(holes) - 1} more times after that" if len(holes) > 1 else ""
                reason = f"Nobody who can be reached is on call{more}."
                found.append(GroupGap(groups[group_id], "rota_hole", holes[0].starts_at, ends_at, reason))
        for group_id, group in groups.items():
            found += _end_of_rota(group, self.rosters[group_id], at=self.at)
            found += [
                GroupGap(
                    group,
                    "calendar_unreadable",
                    shift.calendar_failing_since,
                    None,
                    f"The calendar of “{shift}” cannot be read: {shift.calendar_error}",
                )
                for shift in shifts[group_id]
                if shift.calendar_failing_since is not None
            ]
        return sorted(found, key=lambda gap: (gap.starts_at, gap.group.name, gap.code))


def _end_of_rota(group: Group, roster: Roster, *, at: datetime) -> list[GroupGap]:
    """Return the end of the group's last shift, where it has come or comes soon."""
    last = roster.rota_ends_at
    if last is None or last >= at + AHEAD:
        return []
    is_over = "The rota is over" if last <= at else "The rota ends"
    reason = f"{is_over}: from then on no shift says who is on call, and all members of the group are."
    return [GroupGap(group, "rota_ended", last, None, reason)]


def _window_borders(people: Iterable[int], *, starts_at: datetime, ends_at: datetime) -> dict[int, set[datetime]]:
    """Return when contact methods of these people begin and end to be used for an alert, by their weekly windows.

    Only of people whom no method reaches at once at any time of the week: nobody else is lost when a window closes.
    """
    methods: dict[int, list[ContactMethod]] = defaultdict(list)
    usable = ContactMethod.objects.filter(
        user_id__in=set(people), enabled=True, verified_at__isnull=False, failing_since=None
    )
    for method in usable.select_related("user"):
        methods[method.user_id or 0].append(method)
    return {
        user_id: {at for method in found for at in _borders(method, starts_at=starts_at, ends_at=ends_at)}
        for user_id, found in methods.items()
        if not any(not method.windows and not method.delay_minutes for method in found)
    }


def _borders(method: ContactMethod, *, starts_at: datetime, ends_at: datetime) -> Iterable[datetime]:
    """Yield the instants at which an alert begins or ceases to be told over the method: earlier by its delay."""
    here = zone(method.holder.time_zone)
    delay = timedelta(minutes=float(method.delay_minutes))
    first, last = (starts_at + delay).astimezone(here).date(), (ends_at + delay).astimezone(here).date()
    for stored in method.windows:
        window = Window.load(stored)
        for number in range((last - first).days + 1):
            day = first + number * _DAY
            for clock in (window.start, window.end):
                yield instant(datetime.combine(day, clock), here) - delay


def _targets(plan: Plan) -> Iterable[Target]:
    return (target for track in plan.tracks for stage in track.stages for target in stage.targets)
