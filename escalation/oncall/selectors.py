"""Queries about who is on call: in which group, until when, who follows, and when nobody is."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from accounts.models.groups import Group, GroupMember, GroupRole
from accounts.models.users import User
from accounts.selectors import nested_groups
from escalation.models.on_call import Shift
from escalation.oncall.rota import shifts as rota
from escalation.oncall.rota import who_is_on_call
from escalation.oncall.rota.covers import covered_by
from escalation.oncall.rota.who_is_on_call import MAX_CHANGES, OnCall, RotaPeriod
from escalation.oncall.rotas import MEMBER_LIST, GroupRota, GroupRotas, absences, group_rotas


def unreadable_calendars(group_ids: Iterable[int]) -> QuerySet[Shift]:
    """Return the shifts of these groups whose calendar cannot be used, with their groups."""
    failing = Shift.objects.filter(group__in=list(group_ids), calendar_failing_since__isnull=False)
    return failing.select_related("group").order_by("group__name", "name", "id")


AHEAD: Final = timedelta(days=14)  # for which gaps and the end of the rota are looked for


@dataclass(frozen=True, slots=True)
class OnCallPeriod:
    """A time in which one person is on call in a group, by one shift, in a role.

    `covering` is the person out of office whom they cover; None: the shift is their own. `ends_at` is cut at the end of
    the time that was asked for. `until` is when the period really ends, if that was asked for (None: no end is
    planned); otherwise it equals `ends_at`.
    """

    group: Group
    role: str
    shift: rota.RotaShift
    starts_at: datetime
    ends_at: datetime
    until: datetime | None
    covering: User | None


def on_call_periods_of(
    user: User, *, starts_at: datetime, ends_at: datetime, most: int = MAX_CHANGES
) -> list[OnCallPeriod]:
    """Return when a person is on call between two instants, in order, with the real end of each period."""
    periods = _periods([user.pk], starts_at=starts_at, ends_at=ends_at, to_the_end=True, near=starts_at, most=most)
    return periods[user.pk]


def on_call_periods(
    user_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime, near: datetime, most: int = MAX_CHANGES
) -> dict[int, list[OnCallPeriod]]:
    """Return by user id when each of these people is on call between two instants, in order, in a few queries.

    These are the times in which they are notified: while somebody is out of office, their period is the cover's.
    Managers as such have no on-call periods. Periods are cut at `ends_at`. If the rotas of an organization have more
    than about `most` changes in this time, its periods are those of a shorter time around the instant `near`.
    """
    return _periods(user_ids, starts_at=starts_at, ends_at=ends_at, to_the_end=False, near=near, most=most)


def _periods(
    user_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime, to_the_end: bool, near: datetime, most: int
) -> dict[int, list[OnCallPeriod]]:
    periods_by_user: dict[int, list[OnCallPeriod]] = {user_id: [] for user_id in user_ids}
    away = absences(periods_by_user, starts_at=starts_at, ends_at=None if to_the_end else ends_at)
    # Somebody who covers for others is on call in their groups, too.
    covered_ids = covered_by(periods_by_user, [entry.absence for entry in away])
    rows = GroupMember.objects.filter(user_id__in=covered_ids).values_list("group_id", flat=True).distinct()
    groups = Group.objects.in_bulk(list(rows))
    read = group_rotas(groups, starts_at=starts_at, ends_at=ends_at, later=to_the_end, away=away)
    covered = User.objects.in_bulk(covered_ids & {entry.absence.user for entry in away})
    groups_by_organization: dict[int, list[int]] = defaultdict(list)
    for group in groups.values():
        groups_by_organization[group.organization_id].append(group.pk)
    # Each organization has its own bound, so that a large one does not shorten the view of another.
    for group_ids in groups_by_organization.values():
        begins, looked_until = read.affordable(starts_at, ends_at, now=near, most=most, of=group_ids)
        periods: list[tuple[int, who_is_on_call.PersonPeriod]] = []
        for group_id in group_ids:
            person_periods = who_is_on_call.periods(read[group_id].rota_periods(begins, looked_until))
            periods += [(group_id, period) for period in person_periods if period.person in periods_by_user]
        # Periods that reach the end of what was looked at share the work of finding their real ends.
        going_on = sum(person_period.ends_at >= looked_until for _, person_period in periods) if to_the_end else 0
        for group_id, person_period in periods:
            until: datetime | None = person_period.ends_at
            if to_the_end and person_period.ends_at >= looked_until:
                until = read[group_id].end_of(person_period.goes_on_in, after=looked_until, most=most // going_on)
            covering = covered[person_period.covering] if person_period.covering else None
            period = OnCallPeriod(
                groups[group_id],
                person_period.role,
                person_period.shift,
                person_period.starts_at,
                person_period.ends_at,
                until,
                covering,
            )
            periods_by_user[person_period.person].append(period)
    for user_periods in periods_by_user.values():
        user_periods.sort(key=_order)
    return periods_by_user


def _order(period: OnCallPeriod) -> tuple[datetime, int, str, int]:
    covered_id = period.covering.pk if period.covering else 0
    return period.starts_at, period.group.pk, period.role, covered_id


@dataclass(frozen=True, slots=True)
class OnCallPerson:
    """A person on call in a role in a group, and the cover who is notified while they are out of office, if any."""

    user: User
    role: str
    group: Group
    cover: User | None

    @property
    def notified(self) -> User:
        """The user who is notified: the person or their cover."""
        return self.cover or self.user


@dataclass(frozen=True, slots=True)
class OnCallStatus:
    """Who is on call in a group at an instant and until when, who follows, and when nobody will be.

    `rota_period` is computed from the group's own shifts; `people`, `until`, `following` and `gaps` include the groups
    nested in it. `until` is the first change of any of them; None: no change is planned. `gaps` are those of the next
    14 days, or of less time if the rotas change too often. `rota_ends_at` is when the group's last shift ended, or will
    end within these days; from then on everybody in the member list is on call.
    """

    at: datetime
    rota_period: RotaPeriod
    people: tuple[OnCallPerson, ...]
    until: datetime | None
    following: tuple[OnCallPerson, ...]
    gaps: tuple[rota.Period, ...]
    rota_ends_at: datetime | None

    @property
    def notified(self) -> tuple[User, ...]:
        """The users who are notified, without Managers and without duplicates."""
        return _notified(self.people)

    @property
    def notified_next(self) -> tuple[User, ...]:
        """The users who are notified from `until` on, without Managers and without duplicates."""
        return _notified(self.following)

    @property
    def by_member_list(self) -> bool:
        """Whether the member list says who is on call, because no shift does."""
        return self.rota_period.shift is not None and self.rota_period.shift.id == MEMBER_LIST

    @property
    def rota_ended(self) -> bool:
        """Whether the member list says who is on call because the last shift has ended."""
        return self.by_member_list and self.rota_ends_at is not None and self.rota_ends_at <= self.at

    @property
    def reasons(self) -> tuple[str, ...]:
        """Explain in sentences why these people are on call, if the shifts alone suggest otherwise."""
        reasons = []
        if self.rota_period.passed_over:
            names = " and ".join(f"“{shift.name}”" for shift in self.rota_period.passed_over)
            verb, them = ("is", "it") if len(self.rota_period.passed_over) == 1 else ("are", "them")
            reasons.append(f"{names} {verb} passed over: nobody in {them} can be reached.")
        elif self.rota_period.shift is not None and not self.rota_period.reached:
            reasons.append("Nobody who is on call by this shift can be reached.")
        if self.rota_ended:
            reasons.append(
                "The last shift has ended: everybody in the member list is on call until there is a new one."
            )
        return tuple(reasons)


def _notified(people: Iterable[OnCallPerson]) -> tuple[User, ...]:
    return tuple(dict.fromkeys(person.notified for person in people if person.role != GroupRole.MANAGER))


def on_call_status_of(group: Group, *, at: datetime) -> OnCallStatus:
    """Return who is on call in a group at an instant, with changes and gaps of the 14 days after it."""
    group_ids = nested_groups([group.pk])[group.pk]
    read = group_rotas(group_ids, starts_at=at, ends_at=at + AHEAD, later=True)
    _, looked_until = read.affordable(at, at + AHEAD, now=at)
    rota_periods = {group_id: read[group_id].rota_periods(at, looked_until) for group_id in group_ids}
    most = MAX_CHANGES // len(group_ids)
    until = min(
        (end for end in (_change(read[pk], rota_periods[pk], most=most) for pk in group_ids) if end), default=None
    )
    current, following = (_everybody_in(group_ids, read, when) for when in (at, until))
    user_ids = {on_call.role_holder.user for _, on_call in [*current, *following]}
    user_ids |= {on_call.person for _, on_call in [*current, *following]}
    groups, users = Group.objects.in_bulk(group_ids), User.objects.in_bulk(user_ids)
    rota_ends_at = read[group.pk].rota_ends_at
    return OnCallStatus(
        at=at,
        rota_period=rota_periods[group.pk][0],
        people=_with_users(current, groups, users),
        until=until,
        following=_with_users(following, groups, users),
        gaps=tuple(who_is_on_call.common_gaps(rota_periods.values())),
        rota_ends_at=rota_ends_at if rota_ends_at and rota_ends_at < at + AHEAD else None,
    )


def _change(group_rota: GroupRota, rota_periods: Sequence[RotaPeriod], *, most: int) -> datetime | None:
    """Return when the first of these periods ends for its readers: when another shift or other people are on call."""
    goes_on = rota_periods[0].same_people
    changed = next((rota_period.starts_at for rota_period in rota_periods if not goes_on(rota_period)), None)
    return changed or group_rota.end_of(goes_on, after=rota_periods[-1].ends_at, most=most)


def _everybody_in(group_ids: Iterable[int], rotas: GroupRotas, at: datetime | None) -> list[tuple[int, OnCall]]:
    """Return who is on call in these groups at an instant, Managers included, each with the id of the group."""
    entries: list[tuple[int, OnCall]] = []
    for group_id in group_ids:
        entries += [(group_id, on_call) for on_call in _everybody(rotas[group_id], at)]
    return entries


def _everybody(group_rota: GroupRota, at: datetime | None) -> list[OnCall]:
    """Return who is on call in one group at an instant, Managers included; nobody without an instant."""
    if at is None:
        return []
    managers = [
        OnCall(rota.RoleHolder(path[0], GroupRole.MANAGER.value), path)
        for path in group_rota.managers_at(at)
        if path[-1] in group_rota.reach.active
    ]
    return [*group_rota.on_call(at).on, *managers]


def _with_users(
    entries: Iterable[tuple[int, OnCall]], groups: Mapping[int, Group], users: Mapping[int, User]
) -> tuple[OnCallPerson, ...]:
    return tuple(
        OnCallPerson(
            user=users[entry.role_holder.user],
            role=entry.role_holder.role,
            group=groups[group_id],
            cover=users[entry.person] if entry.covering else None,
        )
        for group_id, entry in entries
    )
