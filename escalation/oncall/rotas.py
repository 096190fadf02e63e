"""Load the rotas of groups in a few queries and convert them into the pure values of `escalation.oncall.rota`.

Everything that needs to know who is on call asks a `GroupRota`: the engine and its previews, the API, the pages, the
calendars and the reminders.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import BigIntegerField, DateTimeField, Func, Q, QuerySet, prefetch_related_objects

from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import GroupMember, GroupRole
from accounts.models.users import User
from alerting.selectors import who_may_answer
from escalation.models.on_call import OutOfOffice, Shift, ShiftEntry
from escalation.oncall.rota import shifts as rota
from escalation.oncall.rota import who_is_on_call
from escalation.oncall.rota.covers import Absence, Reach
from escalation.oncall.rota.who_is_on_call import RotaPeriod
from heartbeat_project.kernel.composed import Composed, Parameter, one_of

MEMBER_LIST: Final = 0  # the id of the shift that stands for a group's member list
_INSTANT = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GroupRota:
    """The shifts and Managers of one group, and who can be reached in it.

    Managers come from the member list, whatever the shifts say. `rota_ends_at` is when the last ordinary shift ends or
    ended: from then on everybody in the member list is on call. None: a shift has no end, or there are no shifts.
    """

    shifts: tuple[rota.RotaShift, ...]
    managers: tuple[int, ...]
    reach: Reach
    rota_ends_at: datetime | None = None

    @property
    def everybody(self) -> set[int]:
        """The ids of all people who are on call at some time, and of the Managers."""
        return {role_holder.user for shift in self.shifts for role_holder in shift.people} | set(self.managers)

    def on_call(self, at: datetime) -> RotaPeriod:
        """Return who is on call at an instant, without Managers."""
        return who_is_on_call.on_call(self.shifts, at, reach=self.reach)

    def rota_periods(self, starts_at: datetime, ends_at: datetime) -> list[RotaPeriod]:
        """Return who is on call between two instants, without Managers."""
        return who_is_on_call.rota_periods(self.shifts, starts_at, ends_at, reach=self.reach)

    def end_of(
        self, goes_on: Callable[[RotaPeriod], bool], *, after: datetime, most: int = who_is_on_call.MAX_CHANGES
    ) -> datetime | None:
        """Return the first instant from `after` on at which `goes_on` is false; None: no such end is planned.

        About `most` changes are looked at.
        """
        return who_is_on_call.end_of(goes_on, self.shifts, after, reach=self.reach, most=most)

    def managers_at(self, at: datetime) -> list[tuple[int, ...]]:
        """Return for each Manager the path to the person who is notified at an instant, as `Reach.path` does."""
        return [self.reach.path(person, at) for person in self.managers]

    def paths(self, at: datetime, role: str | None) -> list[tuple[int, ...]]:
        """Return the paths from the holders of a group role at an instant to the people notified; None: any role.

        Deactivated people without a cover are included, so that a preview can explain why they are not reached.
        """
        paths: list[tuple[int, ...]] = []
        if role != GroupRole.MANAGER:
            candidates = self.on_call(at).candidates
            paths += [on_call.path for on_call in candidates if role in {None, on_call.role_holder.role}]
        if role in {None, GroupRole.MANAGER}:
            paths += self.managers_at(at)
        return paths


@dataclass(frozen=True, slots=True)
class AbsenceDetails:
    """An absence with the names and the organization's time zone, for sentences about it."""

    absence: Absence
    user_name: str
    cover_name: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class GroupRotas:
    """The rotas of some groups by group id, with the absences and the reachable people that were read for them."""

    of: Mapping[int, GroupRota]
    away: Sequence[AbsenceDetails]
    reach: Reach

    def __getitem__(self, group_id: int) -> GroupRota:
        return self.of[group_id]

    def affordable(
        self,
        starts_at: datetime,
        ends_at: datetime,
        *,
        now: datetime,
        most: int = who_is_on_call.MAX_CHANGES,
        of: Iterable[int] | None = None,
    ) -> tuple[datetime, datetime]:
        """Return the part of a time around `now` in which the rotas have at most about `most` changes: usually all.

        `of` limits the count to the rotas of these groups.
        """

        def part(share: float) -> tuple[datetime, datetime]:
            return now - (now - starts_at) * share, now + (ends_at - now) * share

        rotas = self.of.values() if of is None else [self.of[group_id] for group_id in of]
        efforts = []
        for group_rota in rotas:
            shifts = [shift for shift in group_rota.shifts if shift.ends_at > starts_at and shift.starts_at < ends_at]
            efforts.append(who_is_on_call.Effort(shifts, group_rota.reach))
        share = who_is_on_call.affordable(efforts, part, most=most)
        if share == 1.0:
            return starts_at, ends_at
        # The present second is always included, however much it costs.
        return part(max(share, min(1.0, _SECOND / (ends_at - starts_at))))


def group_rotas(
    group_ids: Iterable[int],
    *,
    starts_at: datetime,
    ends_at: datetime | None = None,
    later: bool = False,
    people: Iterable[int] = (),
    away: Sequence[AbsenceDetails] | None = None,
) -> GroupRotas:
    """Return the rota of each group for one instant, or with `ends_at` for the time between two instants.

    With `later`, calendar entries and absences after that time are read, too; `GroupRota.end_of` needs them. A shift
    includes only people who are members of the group, and a rotation only active ones. The member list counts as a
    shift around the clock, the longest of the group, until the group has an ordinary shift without an end: then shifts
    alone say who is on call. `people` are users named beside the groups; `away` are absences that were already read.
    """
    ids = set(group_ids)
    until = None if later else ends_at or starts_at + _INSTANT
    stored = _shifts(groups=list(ids), starts_at=starts_at)
    prefetch_related_objects(stored, "windows", "people")
    shifts: dict[int, list[Shift]] = defaultdict(list)
    for shift in stored:
        shifts[shift.group_id].append(shift)
    calendar_ids = [shift.pk for shift in stored if shift.kind == Shift.Kind.CALENDAR]
    entries = _entries(calendar_ids, starts_at=starts_at, ends_at=until)
    members: dict[int, list[rota.RoleHolder]] = defaultdict(list)
    active: set[int] = set()
    for group_id, role, user_id, is_active in _members(groups=list(ids)):
        members[group_id].append(rota.RoleHolder(user_id, role))
        if is_active:
            active.add(user_id)
    person_ids = set(people)
    for role_holders in members.values():
        person_ids.update(role_holder.user for role_holder in role_holders)
    if away is None:
        away = absences(person_ids, starts_at=starts_at, ends_at=until)
    reach = _reach(person_ids | {entry.absence.cover for entry in away}, away, active=active)
    return GroupRotas(
        of={
            group_id: _group_rota(group_id, shifts[group_id], entries, members[group_id], active=active, reach=reach)
            for group_id in ids
        },
        away=away,
        reach=reach,
    )


def _needed_shifts() -> QuerySet[Shift]:
    # Of the shifts that have ended only the last one of each group is needed: it says when the rota ended.
    ending = Shift.objects.filter(one_of("group_id", "groups"), is_override=False, ends_at__isnull=False)
    last = ending.order_by("group_id", "-ends_at").distinct("group_id").values("pk")
    going_on = Q(ends_at__gt=Parameter("starts_at", DateTimeField()))
    shifts = Shift.objects.filter(Q(ends_at=None) | going_on | Q(pk__in=last), one_of("group_id", "groups"))
    return shifts.order_by("id")


_shifts: Final = Composed(_needed_shifts)
_members: Final = Composed(
    lambda: (
        GroupMember.objects.filter(one_of("group_id", "groups"))
        .order_by("position", "id")
        .values_list("group_id", "role", "user_id", "user__is_active")
    )
)


def _reach(people: Collection[int], away: Iterable[AbsenceDetails], *, active: Collection[int]) -> Reach:
    absent: dict[int, list[Absence]] = defaultdict(list)
    for entry in away:
        absent[entry.absence.user].append(entry.absence)
    available = can_be_reached(people)
    return Reach(absences=absent, active=frozenset(active) | available, available=available)


def can_be_reached(people: Collection[int]) -> frozenset[int]:
    """Return the ids of those who can be reached: they may respond, and have a verified, enabled method that works."""
    return frozenset(_with_working_methods(users=list(who_may_answer(people))))


_with_working_methods: Final = Composed(
    lambda: (
        ContactMethod.objects.filter(
            one_of("user_id", "users"),
            user__is_active=True,
            verified_at__isnull=False,
            enabled=True,
            failing_since=None,
        )
        .order_by()
        .values_list("user_id", flat=True)
        .distinct()
    )
)


def _entries(
    calendar_ids: Collection[int], *, starts_at: datetime, ends_at: datetime | None
) -> dict[int, list[rota.Period]]:
    """Return by shift id the entries of its calendar that touch the time between two instants, in order."""
    entries: dict[int, list[rota.Period]] = defaultdict(list)
    if not calendar_ids:
        return entries
    rows = ShiftEntry.objects.filter(shift_id__in=calendar_ids, ends_at__gt=starts_at)
    if ends_at is not None:
        rows = rows.filter(starts_at__lt=ends_at)
    role_holders: dict[tuple[int, str], tuple[rota.RoleHolder, ...]] = {}
    # Times are read as numbers: there may be many thousand rows, and parsing a timestamp takes ten times as long.
    columns = ("shift_id", "user_id", "role", _Microseconds("starts_at"), _Microseconds("ends_at"))
    for shift_id, user_id, role, begins, ends in rows.order_by("starts_at", "id").values_list(*columns):
        # The same person's entries share one tuple: building it for each row would take most of the time.
        holders = role_holders.get((user_id, role))
        if holders is None:
            holders = role_holders[user_id, role] = (rota.RoleHolder(user_id, role),)
        entries[shift_id].append(rota.Period(_EPOCH + _INSTANT * begins, _EPOCH + _INSTANT * ends, holders))
    return entries


class _Microseconds(Func):
    """The number of microseconds from 1970-01-01T00:00Z to a time."""

    template = "(extract(epoch FROM %(expressions)s) * 1000000)::bigint"
    output_field = BigIntegerField()


def _group_rota(
    group_id: int,
    shifts: Sequence[Shift],
    entries: Mapping[int, Sequence[rota.Period]],
    members: Sequence[rota.RoleHolder],
    *,
    active: Container[int],
    reach: Reach,
) -> GroupRota:
    people = frozenset(role_holder.user for role_holder in members)
    rota_shifts = [
        pure_shift(shift, members=people, active=active, entries=entries.get(shift.pk, ())) for shift in shifts
    ]
    ordinary = [shift for shift in shifts if not shift.is_override]
    ends = [shift.ends_at for shift in ordinary if shift.ends_at is not None]
    if len(ends) == len(ordinary):
        listed = tuple(role_holder for role_holder in members if role_holder.role != GroupRole.MANAGER)
        rota_shifts.append(rota.RotaShift(MEMBER_LIST, "Member list", ZoneInfo("UTC"), listed))
    return GroupRota(
        shifts=tuple(rota_shifts),
        managers=tuple(role_holder.user for role_holder in members if role_holder.role == GroupRole.MANAGER),
        reach=Reach(group_id, reach.absences, reach.active, reach.available),
        rota_ends_at=max(ends) if ends and len(ends) == len(ordinary) else None,
    )


def pure_shift(
    shift: Shift, *, members: Container[int], active: Container[int], entries: Iterable[rota.Period] = ()
) -> rota.RotaShift:
    """Convert a stored shift into a `RotaShift`, with only those of its people who are in `members`.

    People of a rotation must be in `active`, too, so that no turn goes to somebody who cannot take it. The caller reads
    the `entries` of a calendar.
    """
    windows = tuple(window.weekly for window in shift.windows.all())
    rotates = shift.kind == Shift.Kind.ROTATING
    people = [
        person
        for person in shift.people.all()
        if person.user_id in members and (not rotates or person.user_id in active)
    ]
    role_holders = tuple(rota.RoleHolder(person.user_id, person.role) for person in people)
    rotation, calendar_entries = None, None
    if shift.kind == Shift.Kind.CALENDAR:
        calendar_entries = tuple(entry for entry in entries if entry.role_holders[0].user in members)
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
            order=tuple(rota.RoleHolder(person.user_id, person.role) for person in people),
        )
    return rota.RotaShift(
        id=shift.pk,
        name=shift.name,
        zone=ZoneInfo(shift.time_zone),
        role_holders=role_holders,
        windows=windows,
        starts_at=shift.starts_at or rota.BEGINNING,
        ends_at=shift.ends_at or rota.END,
        rotation=rotation,
        entries=calendar_entries,
        override=shift.is_override,
    )


def absences(
    person_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime | None = None
) -> list[AbsenceDetails]:
    """Return all absences between two instants in the organizations of these people, since covers can be away, too."""
    values = {"users": list(person_ids), "starts_at": starts_at}
    rows = _absences_from(**values) if ends_at is None else _absences_between(**values, ends_at=ends_at)
    return [
        AbsenceDetails(
            absence=Absence(row["user_id"], row["cover_id"], row["starts_at"], row["ends_at"], row["group_id"]),
            user_name=row["user__name"] or row["user__email"],
            cover_name=row["cover__name"] or row["cover__email"],
            time_zone=row["user__organization__time_zone"],
        )
        for row in rows
    ]


def _later_absences() -> QuerySet[OutOfOffice, dict[str, Any]]:
    organizations = User.objects.filter(one_of("pk", "users")).values("organization_id")
    begins = Parameter("starts_at", DateTimeField())
    rows = OutOfOffice.objects.filter(ends_at__gt=begins, user__organization_id__in=organizations)
    # Columns instead of model instances: there may be thousands.
    columns = ("user_id", "cover_id", "starts_at", "ends_at", "group_id")
    labels = ("user__name", "user__email", "cover__name", "cover__email", "user__organization__time_zone")
    found: QuerySet[OutOfOffice, dict[str, Any]] = rows.order_by("id").values(*columns, *labels)
    return found


_absences_from: Final = Composed(_later_absences)
_absences_between: Final = Composed(
    lambda: _later_absences().filter(starts_at__lt=Parameter("ends_at", DateTimeField()))
)


def absences_at(person_ids: Iterable[int], *, at: datetime) -> list[AbsenceDetails]:
    """Return all absences at an instant in the organizations of these people."""
    return absences(person_ids, starts_at=at, ends_at=at + _INSTANT)


def pure_absence(row: OutOfOffice) -> Absence:
    """Convert a stored out-of-office entry into an `Absence`."""
    return Absence(row.user_id, row.cover_id, row.starts_at, row.ends_at, row.group_id)
