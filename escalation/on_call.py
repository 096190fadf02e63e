"""Questions about duty: whose turn it is in which group, until when, and when nobody's; read in a few queries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from accounts.models import Group, GroupMember, GroupRole, User
from accounts.selectors import nested_groups
from escalation.rosters import MEMBER_LIST, Roster, absences, rosters
from escalation.rota import answers
from escalation.rota import shifts as rota
from escalation.rota.answers import OnCall, OnCallPeriod, Span
from escalation.rota.covers import leading_to

AHEAD: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Turn:
    """A time in which one person is on call in a group, by one shift, in a role.

    `covering` is the person out of office for whom they are told; None: the turn is their own. `ends_at` is None where
    no end is planned, and where it was asked for.
    """

    group: Group
    role: str
    shift: rota.Shift
    starts_at: datetime
    ends_at: datetime | None
    covering: User | None


def turns_of(user: User, *, starts_at: datetime, ends_at: datetime) -> list[Turn]:
    """Return when a person is on call between two instants, in order, as `turns` does, with the true end of each.

    A turn that goes on after `ends_at` ends when it ends; None: no end of it is planned.
    """
    return _turns([user.pk], starts_at=starts_at, ends_at=ends_at, to_the_end=True)[user.pk]


def turns(user_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime) -> dict[int, list[Turn]]:
    """Return when each of these people is on call between two instants, in order, in a few queries.

    That is when they are told: a turn, or the part of it, in which somebody is out of office is the cover's. A Manager
    as such has no turns. What goes on after `ends_at` is cut there.
    """
    return _turns(user_ids, starts_at=starts_at, ends_at=ends_at, to_the_end=False)


def _turns(
    user_ids: Iterable[int], *, starts_at: datetime, ends_at: datetime, to_the_end: bool
) -> dict[int, list[Turn]]:
    found: dict[int, list[Turn]] = {user_id: [] for user_id in user_ids}
    away = absences(found, starts_at=starts_at)
    behind = leading_to(found, [entry.absence for entry in away])
    rows = GroupMember.objects.filter(user_id__in=behind).values_list("group_id", flat=True).distinct()
    groups = Group.objects.in_bulk(list(rows))
    read = rosters(groups, starts_at=starts_at, ends_at=ends_at, away=away)
    covered = User.objects.in_bulk(behind & {entry.absence.user for entry in away})
    for group_id, group in groups.items():
        roster = read[group_id]
        for period in answers.periods(roster.spans(starts_at, ends_at)):
            if period.person in found:
                until = _end(roster, period, horizon=ends_at) if to_the_end else period.ends_at
                covering = covered[period.covering] if period.covering else None
                turn = Turn(group, period.role, period.shift, period.starts_at, until, covering)
                found[period.person].append(turn)
    for mine in found.values():
        mine.sort(key=lambda turn: (turn.starts_at, turn.group.pk, turn.role, turn.covering.pk if turn.covering else 0))
    return found


def _end(roster: Roster, period: OnCallPeriod, *, horizon: datetime) -> datetime | None:
    """Return when a period ends that may go on after the horizon; None: no end of it is planned."""
    return period.ends_at if period.ends_at < horizon else roster.end_of(period.goes_on_in, after=horizon)


@dataclass(frozen=True, slots=True)
class OnCallPerson:
    """Somebody on call in a role, through which group, and who is told instead while they are out of office."""

    user: User
    role: str
    group: Group
    cover: User | None

    @property
    def notified(self) -> User:
        """Who is notified: the person, or their cover."""
        return self.cover or self.user


@dataclass(frozen=True, slots=True)
class Standing:
    """How a group stands at an instant: who is on call until when, who follows, and when nobody will be.

    `span` is that of the group's own shifts; people, `until`, `following` and gaps count the groups within it, too.
    `until` is when anything of it changes first; None: no change is planned. Gaps are those of the 14 days after.
    `rota_ends_at` is when the group's last shift ended, or will within these days; from then on the member list counts.
    """

    at: datetime
    span: Span
    people: tuple[OnCallPerson, ...]
    until: datetime | None
    following: tuple[OnCallPerson, ...]
    gaps: tuple[rota.Period, ...]
    rota_ends_at: datetime | None

    @property
    def notified(self) -> tuple[User, ...]:
        """Who is on call and notified, once each, Managers apart."""
        return _notified(self.people)

    @property
    def notified_next(self) -> tuple[User, ...]:
        """Who will be from `until` on."""
        return _notified(self.following)

    @property
    def by_member_list(self) -> bool:
        """Whether the member list counts, and no shift."""
        return self.span.shift is not None and self.span.shift.id == MEMBER_LIST

    @property
    def rota_ended(self) -> bool:
        """Whether the member list counts because the shifts have run out."""
        return self.rota_ends_at is not None and self.rota_ends_at <= self.at

    @property
    def reasons(self) -> tuple[str, ...]:
        """Say in sentences why it is these people, where that would surprise who knows the shifts."""
        found = []
        if self.span.passed_over:
            names = " and ".join(f"“{shift.name}”" for shift in self.span.passed_over)
            verb, them = ("is", "it") if len(self.span.passed_over) == 1 else ("are", "them")
            found.append(f"{names} {verb} passed over: nobody in {them} can be reached.")
        elif self.span.shift is not None and not self.span.reached:
            found.append("Nobody who is on call by it can be reached.")
        if self.rota_ended:
            found.append("The last shift has ended: everybody in the member list is on call until there is a new one.")
        return tuple(found)


def _notified(people: Iterable[OnCallPerson]) -> tuple[User, ...]:
    return tuple(dict.fromkeys(person.notified for person in people if person.role != GroupRole.MANAGER))


def standing_of(group: Group, *, at: datetime) -> Standing:
    """Return how a group stands at an instant and in the 14 days after it."""
    group_ids = nested_groups([group.pk])[group.pk]
    read = rosters(group_ids, starts_at=at, ends_at=at + AHEAD)
    spans = {group_id: read[group_id].spans(at, at + AHEAD) for group_id in group_ids}
    until = min((end for end in (_change(read[pk], spans[pk]) for pk in group_ids) if end), default=None)
    now, then = ([(pk, found) for pk in group_ids for found in _everybody(read[pk], when)] for when in (at, until))
    known = {person for _, one in [*now, *then] for person in (one.duty.user, one.person)}
    groups, users = Group.objects.in_bulk(group_ids), User.objects.in_bulk(known)
    rota_ends_at = read[group.pk].rota_ends_at
    return Standing(
        at=at,
        span=spans[group.pk][0],
        people=_named(now, groups, users),
        until=until,
        following=_named(then, groups, users),
        gaps=tuple(answers.common_gaps(spans.values())),
        rota_ends_at=rota_ends_at if rota_ends_at and rota_ends_at < at + AHEAD else None,
    )


def _change(roster: Roster, spans: Sequence[Span]) -> datetime | None:
    """Return when the first of these spans ends as far as people see it: by another shift, or with other people."""
    goes_on = spans[0].same_people
    changed = next((span.starts_at for span in spans if not goes_on(span)), None)
    return changed or roster.end_of(goes_on, after=spans[-1].ends_at)


def _everybody(roster: Roster, at: datetime | None) -> list[OnCall]:
    """Return who is on call at an instant, Managers included."""
    if at is None:
        return []
    managers = [
        OnCall(rota.Duty(way[0], GroupRole.MANAGER.value), way)
        for way in roster.managers_at(at)
        if way[-1] in roster.reach.active
    ]
    return [*roster.on_call(at).on, *managers]


def _named(
    found: Iterable[tuple[int, OnCall]], groups: Mapping[int, Group], users: Mapping[int, User]
) -> tuple[OnCallPerson, ...]:
    return tuple(
        OnCallPerson(
            user=users[one.duty.user],
            role=one.duty.role,
            group=groups[group_id],
            cover=users[one.person] if one.covering else None,
        )
        for group_id, one in found
    )
