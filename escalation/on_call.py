"""Questions about duty: whose turn it is in which group, until when, and when nobody's; read in a few queries."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Prefetch, Q

from accounts.models import ContactMethod, Group, GroupMember, GroupRole, User
from accounts.selectors import nested_groups
from escalation.rota import answers
from escalation.rota import shifts as rota
from escalation.rota.answers import Span
from escalation.rota.covers import Absence, leading_to, stand_in, told
from escalation.shift_models import OutOfOffice, Shift, ShiftEntry, Weekday

MEMBER_LIST: Final = 0  # the id of the shift that stands for a group's member list
AHEAD: Final = timedelta(days=14)
_INSTANT = timedelta(microseconds=1)
_WEEKDAYS = {day: number for number, day in enumerate(Weekday.values)}


@dataclass(frozen=True, slots=True)
class Roster:
    """The shifts of one group, and its Managers, who come from the member list whatever the shifts say."""

    shifts: tuple[rota.Shift, ...]
    managers: tuple[int, ...]

    @property
    def everybody(self) -> set[int]:
        """Everybody who is on call at some time, or a Manager."""
        return {duty.user for shift in self.shifts for duty in shift.everybody} | set(self.managers)

    def on_call(self, at: datetime) -> Span:
        """Return who is on call at an instant, Managers apart."""
        return answers.on_call(self.shifts, at)

    def spans(self, starts_at: datetime, ends_at: datetime) -> list[Span]:
        """Return who is on call between two instants, Managers apart."""
        return answers.spans(self.shifts, starts_at, ends_at)

    def people(self, at: datetime, role: str | None) -> list[int]:
        """Return who holds a group role at an instant, in order; None means any role."""
        duties = self.on_call(at).duties if role != GroupRole.MANAGER else ()
        found = [duty.user for duty in duties if role in {None, duty.role}]
        return list(dict.fromkeys([*found, *(self.managers if role in {None, GroupRole.MANAGER} else ())]))


def rosters(
    group_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime | None = None, with_inactive: bool = False
) -> dict[int, Roster]:
    """Return the roster of each group for the time between two instants (one instant without `ends_at`).

    A shift has those of its people who are active members of the group. The member list is the longest shift of a
    group, around the clock, until the group has a shift without an end: then shifts alone say who is on call.
    """
    wanted = set(group_ids)
    entries = ShiftEntry.objects.filter(ends_at__gt=starts_at, starts_at__lt=ends_at or starts_at + _INSTANT)
    shifts = Shift.objects.filter(group_id__in=wanted).prefetch_related(
        "windows", "people", Prefetch("entries", queryset=entries)
    )
    by_group: dict[int, list[Shift]] = defaultdict(list)
    for shift in shifts.order_by("id"):
        by_group[shift.group_id].append(shift)
    members: dict[int, list[rota.Duty]] = defaultdict(list)
    active: dict[int, set[int]] = defaultdict(set)
    rows = GroupMember.objects.filter(group_id__in=wanted).order_by("position", "id")
    for group_id, role, user_id, is_active in rows.values_list("group_id", "role", "user_id", "user__is_active"):
        if is_active:
            active[group_id].add(user_id)
        if is_active or with_inactive:
            members[group_id].append(rota.Duty(user_id, role))
    return {
        group_id: _roster(by_group[group_id], members[group_id], frozenset(active[group_id])) for group_id in wanted
    }


def _roster(shifts: Sequence[Shift], members: Sequence[rota.Duty], active: frozenset[int]) -> Roster:
    found = [pure_shift(shift, members=active) for shift in shifts]
    if all(shift.ends_at is not None for shift in shifts):
        listed = tuple(duty for duty in members if duty.role != GroupRole.MANAGER)
        found.append(rota.Shift(MEMBER_LIST, "Member list", ZoneInfo("UTC"), listed))
    return Roster(tuple(found), tuple(duty.user for duty in members if duty.role == GroupRole.MANAGER))


def pure_shift(shift: Shift, *, members: frozenset[int]) -> rota.Shift:
    """Return a stored shift as `escalation.rota` reads it, with those of its people who are in `members`."""
    rotation = None
    if shift.kind == Shift.Kind.ROTATING:
        assert shift.first_handoff_on  # noqa: S101 - a constraint of the table
        rotation = rota.Rotation(
            every=shift.rotates_every,
            count=shift.rotates_count,
            first_on=shift.first_handoff_on,
            at=shift.handoff_time,
            at_once=shift.people_at_once,
        )
    entries = None
    if shift.kind == Shift.Kind.CALENDAR:
        entries = tuple(
            rota.Period(entry.starts_at, entry.ends_at, (rota.Duty(entry.user_id, entry.role),))
            for entry in shift.entries.all()
            if entry.user_id in members
        )
    return rota.Shift(
        id=shift.pk,
        name=shift.name,
        zone=ZoneInfo(shift.time_zone),
        duties=tuple(
            rota.Duty(person.user_id, person.role) for person in shift.people.all() if person.user_id in members
        ),
        windows=tuple(
            rota.Window(frozenset(_WEEKDAYS[day] for day in window.days), window.starts, window.ends, window.days_later)
            for window in shift.windows.all()
        ),
        starts_at=shift.starts_at or rota.BEGINNING,
        ends_at=shift.ends_at or rota.END,
        rotation=rotation,
        entries=entries,
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """A time in which one person is on call in a group, by one shift, in a role.

    `covering` is the person out of office for whom they are told; None: the turn is their own.
    """

    group: Group
    role: str
    shift: rota.Shift
    starts_at: datetime
    ends_at: datetime
    covering: User | None


def turns_of(user: User, *, starts_at: datetime, ends_at: datetime) -> list[Turn]:
    """Return when a person is on call between two instants, in order, as `turns` does."""
    return turns([user.pk], starts_at=starts_at, ends_at=ends_at)[user.pk]


def turns(user_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime) -> dict[int, list[Turn]]:
    """Return when each of these people is on call between two instants, in order, in a few queries.

    That is when they are told: a turn, or the part of it, in which somebody is out of office is the cover's, as
    `escalation.services.people` resolves it. A Manager as such has no turns.
    """
    found: dict[int, list[Turn]] = {user_id: [] for user_id in user_ids}
    away = _absences_between(found, starts_at=starts_at, ends_at=ends_at)
    absent: dict[int, list[Absence]] = defaultdict(list)
    for absence in away:
        absent[absence.user].append(absence)
    tellable = _tellable(absence.cover for absence in away)
    behind = leading_to(found, away)
    covered = User.objects.in_bulk(behind & absent.keys())
    members: dict[int, list[int]] = defaultdict(list)
    rows = GroupMember.objects.filter(user_id__in=behind).values_list("group_id", "user_id").distinct()
    for group_id, user_id in rows:
        members[group_id].append(user_id)
    groups = Group.objects.in_bulk(members)
    # With the inactive, because the cover of a member who was deactivated is told, too.
    for group_id, roster in rosters(groups, starts_at=starts_at, ends_at=ends_at, with_inactive=True).items():
        spans = roster.spans(starts_at, ends_at)
        for user_id in members[group_id]:
            for role, shift, begins, ends in _turns(spans, user_id):
                for part in told(user_id, group_id, begins, ends, absences=absent, available=tellable.__contains__):
                    if part.person in found:
                        covering = covered[user_id] if part.person != user_id else None
                        found[part.person].append(
                            Turn(groups[group_id], role, shift, part.starts_at, part.ends_at, covering)
                        )
    for mine in found.values():
        mine.sort(key=lambda turn: (turn.starts_at, turn.group.pk, turn.role, turn.covering.pk if turn.covering else 0))
    return found


def _absences_between(person_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime) -> list[Absence]:
    """Return who is out at some time between two instants in the organizations of these people."""
    organizations = User.objects.filter(pk__in=list(person_ids)).values("organization_id")
    rows = OutOfOffice.objects.filter(
        starts_at__lt=ends_at, ends_at__gt=starts_at, user__organization_id__in=organizations
    )
    return [pure_absence(row) for row in rows.order_by("id")]


def _tellable(person_ids: Iterable[int]) -> set[int]:
    """Return who of these can stand in, as `escalation.services.people` asks: active and with a verified contact."""
    methods = ContactMethod.objects.filter(user_id__in=set(person_ids), user__is_active=True, verified_at__isnull=False)
    return {user_id for user_id in methods.values_list("user_id", flat=True).distinct() if user_id is not None}


def _turns(spans: Iterable[Span], person: int) -> list[tuple[str, rota.Shift, datetime, datetime]]:
    """Join spans in which the person goes on in the same role by the same shift, whoever else comes and goes."""
    running: dict[str, tuple[rota.Shift, datetime, datetime]] = {}
    found = []
    for span in spans:
        for role in (GroupRole.PRIMARY.value, GroupRole.SECONDARY.value):
            on = span.shift is not None and rota.Duty(person, role) in span.duties
            before = running.get(role)
            if before and (not on or before[0] is not span.shift or before[2] != span.starts_at):
                found.append((role, *running.pop(role)))
                before = None
            if on and span.shift is not None:
                running[role] = (span.shift, before[1] if before else span.starts_at, span.ends_at)
    return found + [(role, *rest) for role, rest in running.items()]


@dataclass(frozen=True, slots=True)
class Away:
    """An absence, with the names and the time zone that a sentence about it needs."""

    absence: Absence
    user_name: str
    cover_name: str
    time_zone: str


def absences(person_ids: Iterable[int], *, at: datetime, until: datetime | None = None) -> list[Away]:
    """Return all who are out at an instant in the organizations of these people: covers can be out, too.

    With `until`, all who are out at some time between the two instants.
    """
    organizations = User.objects.filter(pk__in=list(person_ids)).values("organization_id")
    rows = OutOfOffice.objects.filter(
        Q(starts_at__lt=until or at + _INSTANT, ends_at__gt=at), user__organization_id__in=organizations
    ).select_related("user__organization", "cover")
    return [
        Away(pure_absence(row), str(row.user), str(row.cover), row.user.organization.time_zone)
        for row in rows.order_by("id")
    ]


def pure_absence(row: OutOfOffice) -> Absence:
    """Return a stored entry as `escalation.rota` reads it."""
    return Absence(row.user_id, row.cover_id, row.starts_at, row.ends_at, row.group_id)


@dataclass(frozen=True, slots=True)
class OnCallPerson:
    """Somebody on call in a role, through which group, and who is told instead while they are out of office."""

    user: User
    role: str
    group: Group
    cover: User | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a group stands at an instant: who is on call until when, and when nobody will be in the days after.

    `span` is that of the group's own shifts; people, `until` and gaps count the groups within it, too.
    """

    at: datetime
    span: Span
    people: tuple[OnCallPerson, ...]
    until: datetime | None
    gaps: tuple[rota.Period, ...]

    @property
    def by_member_list(self) -> bool:
        """Whether the member list counts, and no shift."""
        return self.span.shift is not None and self.span.shift.id == MEMBER_LIST


def standing_of(group: Group, *, at: datetime) -> Standing:
    """Return how a group stands at an instant and in the 14 days after it."""
    horizon = at + AHEAD
    group_ids = nested_groups([group.pk])[group.pk]
    groups = Group.objects.in_bulk(group_ids)
    found = rosters(group_ids, starts_at=at, ends_at=horizon)
    spans = {group_id: found[group_id].spans(at, horizon) for group_id in group_ids}
    duties = [
        (duty, group_id)
        for group_id in group_ids
        for duty in (
            *spans[group_id][0].duties,
            *(rota.Duty(user, GroupRole.MANAGER.value) for user in found[group_id].managers),
        )
    ]
    away = [entry.absence for entry in absences([duty.user for duty, _ in duties], at=at)]
    users = User.objects.in_bulk({duty.user for duty, _ in duties} | {absence.cover for absence in away})
    people = []
    for duty, group_id in duties:
        way = stand_in(duty.user, group_id, absences=away, available=lambda user: users[user].is_active)
        cover = users[way[-1]] if len(way) > 1 else None
        people.append(OnCallPerson(users[duty.user], duty.role, groups[group_id], cover))
    until = min(spans[group_id][0].ends_at for group_id in group_ids)
    return Standing(
        at=at,
        span=spans[group.pk][0],
        people=tuple(people),
        until=until if until < horizon else None,
        gaps=tuple(answers.common_gaps(spans.values())),
    )
