"""Who is told for a plan right now, and over what: read for a whole batch of runs in a few queries."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, pairwise

from django.db.models import Q

from accounts.entitlements import BuiltinRole
from accounts.models import ContactMethod, GroupMember, GroupRole, User
from accounts.selectors import nested_groups
from accounts.windows import times_of_use
from alerting.selectors import who_may_answer
from escalation.rosters import Away, rosters
from escalation.walk import Plan, Stage, Target, Tell
from escalation.wording import moment, zone


@dataclass(frozen=True, slots=True)
class Redirect:
    """Somebody is told for a person who is out of office; `via` are the entries that lead there."""

    via: tuple[Away, ...]

    @property
    def to(self) -> int:
        """Return the id of who is told."""
        return self.via[-1].absence.cover

    def __str__(self) -> str:
        """Say it in one sentence."""
        first, last = self.via[0], self.via[-1]
        until = moment(first.absence.ends_at, zone=zone(first.time_zone))
        through = "".join(f" and {away.user_name}, who covers but is out, too" for away in self.via[1:])
        return f"{last.cover_name} is told for {first.user_name}, out of office until {until}{through}."


class Directory:
    """Who is on call now, and everybody's usable contact methods, behind a set of groups and users."""

    def __init__(
        self,
        *,
        members: Mapping[Target, Mapping[tuple[int, ...], int | None]],
        methods: Mapping[int, list[ContactMethod]],
        contacts: Mapping[int, list[ContactMethod]],
        away: Sequence[Away],
        may_answer: Collection[int],
        now: datetime,
    ) -> None:
        self._methods = methods
        self._own_times = {
            method_id: times for own in methods.values() for method_id, times in _own_times(own, now=now).items()
        }
        self._may_answer = may_answer
        self._contacts = contacts
        self._now = now
        self._ways = {
            target: [(way, _redirect(way, group, away)) for way, group in ways.items()]
            for target, ways in members.items()
        }

    @classmethod
    def of(cls, plans: Iterable[Plan], *, now: datetime) -> "Directory":
        """Read whoever these plans lead to now: a few queries and one look at each group's rota, however many plans."""
        plans = list(plans)
        return cls.between(plans, starts_at=now)(plans, now)

    @classmethod
    def between(
        cls, plans: Iterable[Plan], *, starts_at: datetime, ends_at: datetime | None = None
    ) -> Callable[[Iterable[Plan], datetime], "Directory"]:
        """Read whoever these plans lead to between two instants (one instant without `ends_at`), in a few queries.

        Return a function from some of the plans and one of the instants to its directory, which asks the database
        nothing more. Rights and contact methods are those of today.
        """
        targets = _targets(plans)
        within = nested_groups({target.id for target in targets if target.kind == "group"})
        directly = {target.id for target in targets if target.kind != "group"}
        found = rosters(chain.from_iterable(within.values()), starts_at=starts_at, ends_at=ends_at, people=directly)

        def named(some: Iterable[Target], now: datetime) -> dict[Target, dict[tuple[int, ...], int | None]]:
            members: dict[Target, dict[tuple[int, ...], int | None]] = {}
            for target in some:
                ways = members.setdefault(target, {})
                if target.kind != "group":
                    ways[found.reach.way(target.id, now)] = None
                for group_id in within[target.id] if target.kind == "group" else ():
                    for way in found[group_id].ways(now, target.role):
                        ways.setdefault(way, group_id)
            return members

        if ends_at is None:
            at_once = named(targets, starts_at)
            people = {person for ways in at_once.values() for way in ways for person in way}
        else:
            people = directly.union(*(roster.everybody for roster in found.of.values()))
            people.update(entry.absence.cover for entry in found.away)
        methods: dict[int, list[ContactMethod]] = defaultdict(list)
        usable = ContactMethod.objects.filter(user_id__in=people, user__is_active=True, verified_at__isnull=False)
        for method in usable.select_related("user").order_by("user_id", "position", "id"):
            methods[method.user_id or 0].append(method)
        contacts, may_answer = _contacts(within), who_may_answer(people)

        def at(some: Iterable[Plan], now: datetime) -> Directory:
            return cls(
                members=at_once if ends_at is None else named(_targets(some), now),
                methods=methods,
                contacts=contacts,
                away=[entry for entry in found.away if entry.absence.starts_at <= now < entry.absence.ends_at],
                may_answer=may_answer,
                now=now,
            )

        return at

    def people(self, target: Target) -> Sequence[int]:
        """Return who is told for the target, in order: covers instead of who is out; stakeholders receive, too."""
        return [way[-1] for way, _ in self._ways[target]]

    def redirects(self, target: Target) -> list[Redirect]:
        """Return where somebody is told instead of who is out of office."""
        return [redirect for _, redirect in self._ways[target] if redirect is not None]

    def first_use(self, person: int, stage: Stage) -> float | None:
        """Return in how many seconds the person counts as reached in this stage, as `walk.FirstUse` wants it.

        That is when the first of their contact methods is used that the stage uses and that does not fail, if they may
        answer then.
        """
        methods = self._usable(person, labels=stage.labels, centralized=stage.centralized)
        if not methods:
            return None
        working = [method for method in methods if method.failing_since is None]
        if person not in self._may_answer or not working:
            return math.inf
        times = (self._times(method, centralized=stage.centralized)[0] for method in working)
        return min((at - self._now).total_seconds() for at in times)

    def may_answer(self, person: int) -> bool:
        """Answer whether the person may act on an alert once they were notified of it."""
        return person in self._may_answer

    def methods(self, tell: Tell) -> list[ContactMethod]:
        """Return the contact methods over which the person is told, in order."""
        return self._usable(tell.person, labels=tell.labels, centralized=tell.centralized)

    def contacts(self, group_ids: Iterable[int]) -> list[ContactMethod]:
        """Return what these groups, and the groups within them, share; each once, in order."""
        shared = (method for group_id in group_ids for method in self._contacts.get(group_id, ()))
        return list({method.pk: method for method in shared}.values())

    def times(self, tell: Tell, method: ContactMethod) -> list[datetime]:
        """Return when the method is used: after its own delay and again as its owner wants; centralized once, now."""
        return self._times(method, centralized=tell.centralized)

    def _times(self, method: ContactMethod, *, centralized: bool) -> list[datetime]:
        return [self._now] if centralized else self._own_times[method.pk]

    def _usable(self, person: int, *, labels: Sequence[str], centralized: bool) -> list[ContactMethod]:
        """Centralized, the policy's labels decide; otherwise the person's own choice of enabled methods."""
        methods = sorted(self._methods.get(person, []), key=_fails)
        if not centralized:
            return [method for method in methods if self._own_times.get(method.pk)]
        wanted = {label.lower() for label in labels}
        return [method for method in methods if not wanted or method.label.lower() in wanted]


def _fails(method: ContactMethod) -> bool:
    return method.failing_since is not None


def _own_times(methods: Sequence[ContactMethod], *, now: datetime) -> dict[int, list[datetime]]:
    """Return when a person's enabled methods are used from now on, by their ids.

    One that fails is used after the others, and these do not wait for it: the first of them takes its place. Where a
    window would be missed by that, a method keeps its own time.
    """
    own = {method: times for method in methods if method.enabled and (times := _times_of(method, at=now))}
    working = [method for method in own if not _fails(method)]
    if working and len(working) < len(own):
        first = min(float(method.delay_minutes) for method in own)
        ahead = min(float(method.delay_minutes) for method in working) - first
        for method in working:
            own[method] = _times_of(method, at=now - timedelta(minutes=ahead)) or own[method]
        last = max(own[method][0] for method in working)
        for method in own.keys() - set(working):
            behind = max(last - own[method][0], timedelta())
            own[method] = _times_of(method, at=now + behind) or own[method]
    return {method.pk: times for method, times in own.items()}


def _times_of(method: ContactMethod, *, at: datetime) -> list[datetime]:
    return times_of_use(
        at=at,
        time_zone=method.holder.time_zone,
        delay_minutes=float(method.delay_minutes),
        repeat_count=method.repeat_count,
        repeat_gap_minutes=float(method.repeat_gap_minutes),
        windows=method.windows,
    )


def _targets(plans: Iterable[Plan]) -> set[Target]:
    return {target for plan in plans for track in plan.tracks for stage in track.stages for target in stage.targets}


def _contacts(within: Mapping[int, Sequence[int]]) -> dict[int, list[ContactMethod]]:
    """Return what each group and, in order, the groups within it share; none asks the database nothing."""
    if not within:
        return {}
    shared: dict[int, list[ContactMethod]] = defaultdict(list)
    usable = ContactMethod.objects.filter(
        group_id__in=set(chain.from_iterable(within.values())), enabled=True, verified_at__isnull=False
    )
    for method in usable.select_related("group").order_by("position", "id"):
        shared[method.group_id or 0].append(method)
    return {group_id: [method for each in inner for method in shared[each]] for group_id, inner in within.items()}


def _redirect(way: tuple[int, ...], group: int | None, away: Sequence[Away]) -> Redirect | None:
    """Return the entries along the way from a person, reached through a group, to their cover; None: in office."""
    if len(way) == 1:
        return None
    taken = {(entry.absence.user, entry.absence.cover): entry for entry in away if entry.absence.group in {None, group}}
    return Redirect(tuple(taken[step] for step in pairwise(way)))


def stewards(organization_ids: Iterable[int]) -> dict[int, list[User]]:
    """Return the active Owners and App Admins of the organizations: whom the last resort notifies."""
    found: dict[int, list[User]] = defaultdict(list)
    rows = User.objects.filter(
        Q(is_owner=True) | Q(roles__builtin__in=[BuiltinRole.OWNER, BuiltinRole.APP_ADMIN], kind=User.Kind.STANDARD),
        organization_id__in=set(organization_ids),
        is_active=True,
    )
    for user in rows.distinct().order_by("-is_owner", "id"):
        found[user.organization_id].append(user)
    return found


def managers_of(group_ids: Iterable[int]) -> dict[int, list[User]]:
    """Return the active Managers of each of these groups, in order."""
    found: dict[int, list[User]] = defaultdict(list)
    rows = GroupMember.objects.filter(group_id__in=set(group_ids), role=GroupRole.MANAGER, user__is_active=True)
    for row in rows.select_related("user").order_by("position", "id"):
        found[row.group_id].append(row.user)
    return found
