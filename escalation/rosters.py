"""The rotas of groups as they are stored, and who can be reached, read in a few queries for the pure rules to judge.

Whoever asks who is on call asks a `Roster`: the engine and its previews, the API, the pages, the calendars, reminders.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import Prefetch

from accounts.models import ContactMethod, GroupMember, GroupRole, User
from alerting.selectors import who_may_answer
from escalation.rota import answers
from escalation.rota import shifts as rota
from escalation.rota.answers import Span
from escalation.rota.covers import Absence, Reach
from escalation.shift_models import OutOfOffice, Shift, ShiftEntry, Weekday

MEMBER_LIST: Final = 0  # the id of the shift that stands for a group's member list
_INSTANT = timedelta(microseconds=1)
_WEEKDAYS = {day: number for number, day in enumerate(Weekday.values)}


@dataclass(frozen=True, slots=True)
class Roster:
    """The shifts of one group, its Managers, who come from the member list whatever the shifts say, and who is reached.

    `rota_ends_at` is when the last ordinary shift ends or ended: from then on the member list counts. None: there is no
    such end, or there are no ordinary shifts.
    """

    shifts: tuple[rota.Shift, ...]
    managers: tuple[int, ...]
    reach: Reach
    rota_ends_at: datetime | None = None

    @property
    def everybody(self) -> set[int]:
        """Whoever is on call at some time, or a Manager."""
        return {duty.user for shift in self.shifts for duty in shift.people} | set(self.managers)

    def on_call(self, at: datetime) -> Span:
        """Return who is on call at an instant, Managers apart."""
        return answers.on_call(self.shifts, at, reach=self.reach)

    def spans(self, starts_at: datetime, ends_at: datetime) -> list[Span]:
        """Return who is on call between two instants, Managers apart."""
        return answers.spans(self.shifts, starts_at, ends_at, reach=self.reach)

    def end_of(self, goes_on: Callable[[Span], bool], *, after: datetime) -> datetime | None:
        """Return when something ceases to be so from an instant on; None: no end of it is planned."""
        return answers.end_of(goes_on, self.shifts, after, reach=self.reach)

    def managers_at(self, at: datetime) -> list[tuple[int, ...]]:
        """Return the way from each Manager to who is notified at an instant."""
        return [self.reach.way(person, at) for person in self.managers]

    def ways(self, at: datetime, role: str | None) -> list[tuple[int, ...]]:
        """Return the ways from those who hold a group role at an instant to who is notified; None means any role.

        People who were deactivated and have no cover are among them, so that it can be said why they are not reached.
        """
        found: list[tuple[int, ...]] = []
        if role != GroupRole.MANAGER:
            found += [one.way for one in self.on_call(at).named if role in {None, one.duty.role}]
        return [*found, *(self.managers_at(at) if role in {None, GroupRole.MANAGER} else ())]


@dataclass(frozen=True, slots=True)
class Away:
    """An absence, with the names and the time zone that a sentence about it needs."""

    absence: Absence
    user_name: str
    cover_name: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Rosters:
    """The rosters of some groups, and what else was read for them."""

    of: Mapping[int, Roster]
    away: Sequence[Away]
    reach: Reach

    def __getitem__(self, group_id: int) -> Roster:
        return self.of[group_id]


def rosters(
    group_ids: Iterable[int],
    *,
    starts_at: datetime,
    ends_at: datetime | None = None,
    people: Iterable[int] = (),
    away: Sequence[Away] | None = None,
) -> Rosters:
    """Return the roster of each group for one instant, or with `ends_at` for all the time from the first instant on.

    A shift has those of its people who are members of the group; turns of a rotation are taken by active ones. The
    member list is the longest shift of a group, around the clock, until the group has an ordinary shift without an
    end: then shifts alone say who is on call. `people` are named beside the groups, `away` is what was read before.
    """
    wanted = set(group_ids)
    entries = ShiftEntry.objects.filter(ends_at__gt=starts_at)
    if ends_at is None:
        entries = entries.filter(starts_at__lte=starts_at)
    stored = Shift.objects.filter(group_id__in=wanted).prefetch_related(
        "windows", "people", Prefetch("entries", queryset=entries)
    )
    shifts: dict[int, list[Shift]] = defaultdict(list)
    for shift in stored.order_by("id"):
        shifts[shift.group_id].append(shift)
    members: dict[int, list[rota.Duty]] = defaultdict(list)
    active: set[int] = set()
    rows = GroupMember.objects.filter(group_id__in=wanted).order_by("position", "id")
    for group_id, role, user_id, is_active in rows.values_list("group_id", "role", "user_id", "user__is_active"):
        members[group_id].append(rota.Duty(user_id, role))
        if is_active:
            active.add(user_id)
    named = {duty.user for duties in members.values() for duty in duties} | set(people)
    if away is None:
        away = absences_at(named, at=starts_at) if ends_at is None else absences(named, starts_at=starts_at)
    reach = _reach(named | {entry.absence.cover for entry in away}, away, active=active)
    return Rosters(
        of={
            group_id: _roster(group_id, shifts[group_id], members[group_id], active=active, reach=reach)
            for group_id in wanted
        },
        away=away,
        reach=reach,
    )


def _reach(people: Collection[int], away: Iterable[Away], *, active: Collection[int]) -> Reach:
    absent: dict[int, list[Absence]] = defaultdict(list)
    for entry in away:
        absent[entry.absence.user].append(entry.absence)
    available = can_be_reached(people)
    return Reach(absences=absent, active=frozenset(active) | available, available=available)


def can_be_reached(people: Collection[int]) -> frozenset[int]:
    """Return who of these can be reached: people who may answer, over a verified method that is used and works."""
    methods = ContactMethod.objects.filter(
        user_id__in=who_may_answer(people),
        user__is_active=True,
        verified_at__isnull=False,
        enabled=True,
        failing_since=None,
    )
    return frozenset(user_id for user_id in methods.values_list("user_id", flat=True).distinct() if user_id is not None)


def _roster(
    group_id: int, shifts: Sequence[Shift], members: Sequence[rota.Duty], *, active: Container[int], reach: Reach
) -> Roster:
    people = frozenset(duty.user for duty in members)
    found = [pure_shift(shift, members=people, active=active) for shift in shifts]
    ordinary = [shift for shift in shifts if not shift.is_override]
    ends = [shift.ends_at for shift in ordinary if shift.ends_at is not None]
    if len(ends) == len(ordinary):
        listed = tuple(duty for duty in members if duty.role != GroupRole.MANAGER)
        found.append(rota.Shift(MEMBER_LIST, "Member list", ZoneInfo("UTC"), listed))
    return Roster(
        shifts=tuple(found),
        managers=tuple(duty.user for duty in members if duty.role == GroupRole.MANAGER),
        reach=Reach(group_id, reach.absences, reach.active, reach.available),
        rota_ends_at=max(ends) if ends and len(ends) == len(ordinary) else None,
    )


def pure_shift(shift: Shift, *, members: Container[int], active: Container[int]) -> rota.Shift:
    """Return a stored shift as `escalation.rota` reads it, with those of its people who are in `members`.

    Those of a rotation have to be in `active`, too: turns are not given to people who cannot take them.
    """
    windows = tuple(
        rota.Window(frozenset(_WEEKDAYS[day] for day in window.days), window.starts, window.ends, window.days_later)
        for window in shift.windows.all()
    )
    rotates = shift.kind == Shift.Kind.ROTATING
    people = [
        person
        for person in shift.people.all()
        if person.user_id in members and (not rotates or person.user_id in active)
    ]
    duties = tuple(rota.Duty(person.user_id, person.role) for person in people)
    rotation = None
    if rotates:
        assert shift.first_handoff_on  # noqa: S101 - a constraint of the table
        people.sort(key=lambda person: person.turn_order)
        rotation = rota.Rotation(
            every=shift.rotates_every,
            count=shift.rotates_count,
            first_on=shift.first_handoff_on,
            at=shift.handoff_time,
            at_once=shift.people_at_once,
            days=rota.handoff_days(windows, shift.handoff_time),
            since=shift.turn_number,
            order=tuple(rota.Duty(person.user_id, person.role) for person in people),
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
        duties=duties,
        windows=windows,
        starts_at=shift.starts_at or rota.BEGINNING,
        ends_at=shift.ends_at or rota.END,
        rotation=rotation,
        entries=entries,
        override=shift.is_override,
    )


def absences(person_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime | None = None) -> list[Away]:
    """Return all who are out between two instants in the organizations of these people: covers can be out, too."""
    organizations = User.objects.filter(pk__in=list(person_ids)).values("organization_id")
    rows = OutOfOffice.objects.filter(ends_at__gt=starts_at, user__organization_id__in=organizations)
    if ends_at is not None:
        rows = rows.filter(starts_at__lt=ends_at)
    return [
        Away(pure_absence(row), str(row.user), str(row.cover), row.user.organization.time_zone)
        for row in rows.select_related("user__organization", "cover").order_by("id")
    ]


def absences_at(person_ids: Iterable[int], *, at: datetime) -> list[Away]:
    """Return all who are out at an instant in the organizations of these people."""
    return absences(person_ids, starts_at=at, ends_at=at + _INSTANT)


def pure_absence(row: OutOfOffice) -> Absence:
    """Return a stored entry as `escalation.rota` reads it."""
    return Absence(row.user_id, row.cover_id, row.starts_at, row.ends_at, row.group_id)
