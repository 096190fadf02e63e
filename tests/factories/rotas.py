"""Random organizations of groups within groups, shifts, turns, overrides and absences, with an oracle of who is on
call.

The oracle reads the rules of domain.md one by one, walks day by day and turn by turn, and knows nothing of rota
periods.
"""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from escalation.oncall.rota.covers import Absence, Reach
from escalation.oncall.rota.shifts import BEGINNING, END, Period, RoleHolder, RotaShift, Rotation, handoff_days
from escalation.oncall.rotas import MEMBER_LIST, GroupRota
from heartbeat_project.kernel.local_time import instant
from heartbeat_project.kernel.weekly import WeeklyWindow

PEOPLE, GROUPS = range(1, 9), (1, 2, 3)
START = datetime(2026, 3, 25, tzinfo=UTC)  # the clocks change in Berlin four days later
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ROLES = ("primary", "primary", "secondary")


@dataclass
class RandomRota:
    """People, groups and shifts by number; `shifts` have all their stored people, in office or gone."""

    members: dict[int, list[RoleHolder]] = field(default_factory=dict)
    within: dict[int, list[int]] = field(default_factory=dict)
    shifts: dict[int, list[RotaShift]] = field(default_factory=dict)
    absences: list[Absence] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)  # active, but without a contact method

    def reach(self, group: int | None) -> Reach:
        of = {user: [one for one in self.absences if one.user == user] for user in PEOPLE}
        active = set(PEOPLE) - self.gone
        return Reach(group, {user: found for user, found in of.items() if found}, active, active - self.silent)

    def group_rota(self, group: int) -> GroupRota:
        """Return what `escalation.oncall.rotas` would read."""
        members = {role_holder.user for role_holder in self.members[group]}
        found = [_of_members(shift, members, members - self.gone) for shift in self.shifts[group]]
        if all(shift.ends_at != END for shift in found if not shift.override):
            listed = tuple(role_holder for role_holder in self.members[group] if role_holder.role != "manager")
            found.append(RotaShift(MEMBER_LIST, "Member list", ZoneInfo("UTC"), listed))
        managers = tuple(role_holder.user for role_holder in self.members[group] if role_holder.role == "manager")
        return GroupRota(tuple(found), managers, self.reach(group))

    def groups(self, group: int) -> list[int]:
        """Return a group and those within it."""
        return [group, *(inner for child in self.within[group] for inner in self.groups(child))]

    # -- the oracle ------------------------------------------------------------------------------------------------
    def on_call(self, group: int, at: datetime) -> set[tuple[int, str, int]]:
        """Return (who is on call, role, who is notified) for one group alone, Managers apart."""
        members = {role_holder.user for role_holder in self.members[group]}
        on: list[tuple[tuple[object, ...], list[RoleHolder]]] = []
        for shift in self.shifts[group]:
            periods = [one for one in _periods(shift, at) if one.starts_at <= at < one.ends_at]
            if periods:
                least = min((one.ends_at - one.starts_at, -one.starts_at.timestamp()) for one in periods)
                people = [role_holder for one in periods for role_holder in one.role_holders] or _people(
                    shift, at, members - self.gone
                )
                on.append(
                    (
                        (not shift.override, *least, -shift.id),
                        [role_holder for role_holder in people if role_holder.user in members],
                    )
                )
        if all(shift.ends_at != END for shift in self.shifts[group] if not shift.override):
            listed = [role_holder for role_holder in self.members[group] if role_holder.role != "manager"]
            on.append(((True, timedelta.max, 0.0, 0), listed))
        on.sort(key=lambda one: one[0])
        answers = [self._notified(group, people, at) for _, people in on]
        reached = (found for found in answers if any(self._can(person) for _, _, person in found))
        return next(reached, next((found for found in answers if found), set()))

    def everybody(self, group: int, at: datetime) -> set[tuple[int, int, str, int]]:
        """Return who is on call in a group and in those within it, each with the group they belong to."""
        return {(inner, *one) for inner in self.groups(group) for one in self.on_call(inner, at)}

    def managers(self, group: int, at: datetime) -> set[tuple[int, str, int]]:
        return self._notified(
            group, [role_holder for role_holder in self.members[group] if role_holder.role == "manager"], at
        )

    def _notified(self, group: int, role_holders: list[RoleHolder], at: datetime) -> set[tuple[int, str, int]]:
        found = {
            (role_holder.user, role_holder.role, self._resolve_cover(role_holder.user, group, at))
            for role_holder in role_holders
        }
        return {one for one in found if one[2] not in self.gone}

    def _resolve_cover(self, person: int, group: int, at: datetime) -> int:
        path = [person]
        while True:
            out = [one for one in self.absences if one.user == path[-1] and one.starts_at <= at < one.ends_at]
            here = [one for one in out if one.group == group] or [one for one in out if one.group is None]
            if not here or here[0].cover in path:
                break
            path.append(here[0].cover)
        return next((one for one in reversed(path[1:]) if self._can(one)), person)

    def _can(self, person: int) -> bool:
        return person not in self.gone | self.silent


def _of_members(shift: RotaShift, members: set[int], active: set[int]) -> RotaShift:
    here = active if shift.rotation else members
    rotation = shift.rotation and replace(
        shift.rotation, order=tuple(role_holder for role_holder in shift.rotation.order if role_holder.user in here)
    )
    entries = shift.entries and tuple(one for one in shift.entries if one.role_holders[0].user in members)
    role_holders = tuple(role_holder for role_holder in shift.role_holders if role_holder.user in here)
    return replace(shift, role_holders=role_holders, rotation=rotation, entries=entries)


def _periods(shift: RotaShift, at: datetime) -> list[Period]:
    if shift.entries is not None:
        found = list(shift.entries)
    elif shift.windows:
        found = []
        for window in shift.windows:
            for back in range(-1, 10):
                day = at.astimezone(shift.zone).date() - back * DAY
                if day.weekday() in window.days:
                    ends = datetime.combine(day + window.days_later * DAY, window.ends)
                    begins = instant(datetime.combine(day, window.starts), shift.zone)
                    found.append(Period(begins, instant(ends, shift.zone)))
    else:
        found = [Period(BEGINNING, END)]
    return [
        Period(max(one.starts_at, shift.starts_at), min(one.ends_at, shift.ends_at), one.role_holders) for one in found
    ]


def _people(shift: RotaShift, at: datetime, active: set[int]) -> list[RoleHolder]:
    if shift.entries is not None or shift.rotation is None:
        return list(shift.role_holders)
    rotation, turn = shift.rotation, _turn(shift.rotation, at, shift.zone)
    order, since = (rotation.order, rotation.since) if rotation.order else (shift.role_holders, 0)
    if rotation.since < 0 <= turn:
        order, since = shift.role_holders, 0
    found = []
    for role in ("primary", "secondary"):
        people = [role_holder for role_holder in order if role_holder.role == role and role_holder.user in active]
        first = (turn - since) * rotation.at_once
        found += [people[(first + more) % len(people)] for more in range(rotation.at_once) if people]
    return list(dict.fromkeys(found))


def _turn(rotation: Rotation, at: datetime, zone: ZoneInfo) -> int:
    """Count hand-offs from the first one on, forwards or backwards."""
    day, turn = rotation.first_on, 0
    while rotation.every == "day" and day.weekday() not in rotation.days:
        day += DAY
    first = day

    def begins(number: int) -> datetime:
        if rotation.every == "month":
            month = first.month - 1 + number * rotation.count
            year, month = first.year + month // 12, month % 12 + 1
            last = (date(year + month // 12, month % 12 + 1, 1) - DAY).day
            return instant(datetime.combine(date(year, month, min(first.day, last)), rotation.at), zone)
        on = first
        for _ in range(abs(number) * rotation.count):
            on += (1 if number > 0 else -1) * (DAY if rotation.every == "day" else 7 * DAY)
            while rotation.every == "day" and on.weekday() not in rotation.days:
                on += DAY if number > 0 else -DAY
        return instant(datetime.combine(on, rotation.at), zone)

    while begins(turn) > at:
        turn -= 1
    while begins(turn + 1) <= at:
        turn += 1
    return turn


# -- making them ----------------------------------------------------------------------------------------------------
def random_rota(seed: int) -> RandomRota:
    """Return the rota of this number, always the same."""
    choose = random.Random(seed)
    rota = RandomRota()
    number = 0
    for group in GROUPS:
        people = choose.sample(PEOPLE, k=choose.randint(2, 6))
        roles = [choose.choice((*ROLES, "manager")) for _ in people]
        rota.members[group] = [RoleHolder(user, role) for user, role in zip(people, roles, strict=True)]
        rota.within[group] = [inner for inner in GROUPS if inner > group and choose.random() < 0.4]
        rota.shifts[group] = []
        for _ in range(choose.choice((0, 1, 2, 2, 3, 4))):
            number += 1
            rota.shifts[group].append(_shift(choose, number, people))
    rota.within[1] = [inner for inner in rota.within[1] if inner not in rota.within[2]]
    for user in PEOPLE:
        # One after the other, as the database wants them.
        begins = START - 5 * DAY
        while choose.random() < 0.65:
            begins += choose.randint(0, 72) * HOUR
            ends = begins + choose.randint(1, 96) * HOUR
            cover = choose.choice([other for other in PEOPLE if other != user])
            rota.absences.append(Absence(user, cover, begins, ends, choose.choice((None, None, *GROUPS))))
            begins = ends
    rota.gone = {user for user in PEOPLE if choose.random() < 0.35}
    rota.silent = {user for user in PEOPLE if user not in rota.gone and choose.random() < 0.15}
    return rota


def _shift(choose: random.Random, number: int, people: list[int]) -> RotaShift:
    zone = ZoneInfo(choose.choice(("UTC", "Europe/Berlin", "Australia/Lord_Howe")))
    role_holders = tuple(
        dict.fromkeys(RoleHolder(choose.choice(people), choose.choice(ROLES)) for _ in range(choose.randint(1, 5)))
    )
    windows = tuple(_window(choose) for _ in range(choose.choice((0, 1, 1, 2))))
    begins = START + choose.randint(-96, 120) * HOUR
    made = RotaShift(number, f"Shift {number}", zone, role_holders, windows, override=choose.random() < 0.2)
    if choose.random() < 0.5:
        made = replace(made, starts_at=begins, ends_at=begins + choose.randint(1, 200) * HOUR)
    kind = choose.choice(("fixed", "rotating", "rotating", "calendar"))
    if kind == "calendar":
        entries = []
        for _ in range(choose.randint(0, 6)):
            at = START + choose.randint(-48, 200) * HOUR
            role_holder = RoleHolder(choose.choice(people), choose.choice(ROLES))
            entries.append(Period(at, at + choose.randint(1, 48) * HOUR, (role_holder,)))
        entries.sort(key=lambda one: one.starts_at)
        return replace(made, role_holders=(), windows=(), entries=tuple(entries))
    if kind == "rotating":
        every, clock = (
            choose.choice(("day", "day", "week", "month")),
            time(choose.randint(0, 23), choose.choice((0, 30))),
        )
        days = handoff_days(windows, clock)
        first_on = date(2026, choose.randint(1, 4), choose.randint(1, 28))
        order = tuple(choose.sample(role_holders, k=len(role_holders)))
        since = choose.choice((0, 0, choose.randint(-9, 60)))
        turns = choose.randint(1, 3)
        rotation = Rotation(every, turns, first_on, clock, choose.choice((1, 1, 2)), days, since, order)
        made = replace(made, rotation=rotation)
    return made


def _window(choose: random.Random) -> WeeklyWindow:
    starts, ends = (time(choose.randint(0, 23), choose.choice((0, 30))) for _ in range(2))
    days = frozenset(choose.sample(range(7), k=choose.choice((1, 2, 5, 7))))
    later = choose.choice((0, 0, 1, 3))
    return WeeklyWindow(days, starts, ends, later or (0 if ends > starts else 1))


def instants(seed: int, *, count: int, days: int = 10) -> list[datetime]:
    """Return some instants of the days from START on, among them those at which much begins."""
    choose = random.Random(-seed - 1)
    return [START + choose.randint(0, days * 48 - 1) * HOUR / 2 for _ in range(count)]
