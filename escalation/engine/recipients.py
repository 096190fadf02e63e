"""Who is notified for a plan now, and over which contact methods: read for a whole batch of runs in a few queries."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import chain, pairwise
from typing import Final

from accounts.models.contact_methods import ContactMethod
from accounts.selectors import nested_groups
from accounts.windows import PRIORITIES, is_used, times_of_use
from alerting.selectors import who_may_answer
from escalation.engine.plan import Plan, Stage, Target
from escalation.engine.walk import FirstUse, Page
from escalation.models.nights import Nights
from escalation.oncall.rotas import AbsenceDetails, GroupRotas, group_rotas
from heartbeat_project.kernel.composed import Composed, one_of
from heartbeat_project.kernel.wording import moment, zone

# The paths of each target, each with the group that it comes from, if any; see RecipientDirectory.
_Members = Mapping[Target, Mapping[tuple[int, ...], int | None]]


@dataclass(frozen=True, slots=True)
class Redirect:
    """A cover is notified for a person who is out of office; `via` are the entries that lead from one to the other."""

    via: tuple[AbsenceDetails, ...]

    @property
    def to(self) -> int:
        """Return the id of the user who is notified."""
        return self.via[-1].absence.cover

    def __str__(self) -> str:
        """Say it in one sentence."""
        first, last = self.via[0], self.via[-1]
        until = moment(first.absence.ends_at, zone=zone(first.time_zone))
        absent_covers = "".join(f" and {away.user_name}, who covers but is out, too" for away in self.via[1:])
        return f"{last.cover_name} is notified for {first.user_name}, out of office until {until}{absent_covers}."


class RecipientDirectory:
    """Who is on call now for a set of groups and users, and everybody's verified contact methods.

    A path is a tuple of user ids: a person of a target, then the covers that lead to the user who is notified.
    `members` gives the paths of each target with the group that they come from, if any.
    """

    def __init__(
        self,
        *,
        members: _Members,
        methods: Mapping[int, list[ContactMethod]],
        contacts: Mapping[int, list[ContactMethod]],
        away: Sequence[AbsenceDetails],
        may_answer: Collection[int],
        now: datetime,
    ) -> None:
        self.methods = methods
        self.now = now
        self._may_answer = may_answer
        self._contacts = contacts
        self._for: dict[tuple[str, str | None], PlanDirectory] = {}
        self._paths = {
            target: [(path, _redirect(path, group, away)) for path, group in paths.items()]
            for target, paths in members.items()
        }

    @classmethod
    def of(cls, plans: Iterable[Plan], *, now: datetime) -> "RecipientDirectory":
        """Read the people whom these plans lead to now, in a few queries; each group's rota is computed once."""
        plans = list(plans)
        return PeopleAhead.of(plans, starts_at=now).directory_at(plans, now)

    def people(self, target: Target) -> Sequence[int]:
        """Return the users who are notified for the target, in order: covers instead of people who are out of office.

        Stakeholders are among them.
        """
        return [path[-1] for path, _ in self._paths[target]]

    def redirects(self, target: Target) -> list[Redirect]:
        """Return for whom of the target a cover is notified now."""
        return [redirect for _, redirect in self._paths[target] if redirect is not None]

    def paths(self, target: Target) -> Sequence[tuple[tuple[int, ...], Redirect | None]]:
        """Return the path from each person of the target to the user who is notified now, and the redirect, if any."""
        return self._paths[target]

    def may_answer(self, person: int) -> bool:
        """Return whether the person may act on an alert that they were notified of."""
        return person in self._may_answer

    def contacts(self, group_ids: Iterable[int]) -> list[ContactMethod]:
        """Return the contacts that these groups, and the groups within them, share; each once, in order."""
        shared = chain.from_iterable(self._contacts.get(group_id, ()) for group_id in group_ids)
        return list({method.pk: method for method in shared}.values())

    def for_plan(self, plan: Plan) -> "PlanDirectory":
        """Return the directory as this plan uses it, by the priority of its alerts and its nights."""
        key = (plan.priority, plan.low_waits_until)
        if key not in self._for:
            self._for[key] = PlanDirectory(self, plan)
        return self._for[key]


@dataclass(frozen=True, slots=True)
class PeopleAhead:
    """Everybody whom some plans lead to between two instants, read in a few queries.

    `nested` gives each group of the plans with itself and the groups within it. Rights and contact methods are those of
    today.
    """

    nested: Mapping[int, Sequence[int]]
    rotas: GroupRotas
    # For one instant alone the paths of all targets: a storm needs them once.
    _members: _Members | None
    _methods: Mapping[int, list[ContactMethod]]
    _contacts: Mapping[int, list[ContactMethod]]
    _may_answer: Collection[int]

    @classmethod
    def of(cls, plans: Iterable[Plan], *, starts_at: datetime, ends_at: datetime | None = None) -> "PeopleAhead":
        """Read the people of these plans between the two instants; without `ends_at` for one instant alone."""
        targets = _targets(plans)
        nested = nested_groups({target.id for target in targets if target.kind == "group"})
        user_ids = {target.id for target in targets if target.kind != "group"}
        rotas = group_rotas(chain.from_iterable(nested.values()), starts_at=starts_at, ends_at=ends_at, people=user_ids)
        members: _Members | None = None
        if ends_at is None:
            # They say exactly whose methods and rights are needed.
            members = _paths_at(targets, starts_at, nested=nested, rotas=rotas)
            people = set(chain.from_iterable(chain.from_iterable(members.values())))
        else:
            people = user_ids.union(*(group_rota.everybody for group_rota in rotas.of.values()))
            people.update(entry.absence.cover for entry in rotas.away)
        methods: dict[int, list[ContactMethod]] = defaultdict(list)
        for method in _usable_methods(users=list(people)):
            methods[method.user_id or 0].append(method)
        return cls(nested, rotas, members, methods, _contacts(nested), who_may_answer(people))

    def directory_at(self, plans: Iterable[Plan], now: datetime) -> RecipientDirectory:
        """Return the directory of some of the plans at one of the instants, without a query."""
        away = [entry for entry in self.rotas.away if entry.absence.starts_at <= now < entry.absence.ends_at]
        members = self._members
        if members is None:
            members = _paths_at(_targets(plans), now, nested=self.nested, rotas=self.rotas)
        return RecipientDirectory(
            members=members,
            methods=self._methods,
            contacts=self._contacts,
            away=away,
            may_answer=self._may_answer,
            now=now,
        )


@dataclass(frozen=True, slots=True)
class _OwnUse:
    """When a person's contact methods are used, by their ids; `begins_at` is now, or the end of the person's night."""

    begins_at: datetime
    times: Mapping[int, Sequence[datetime]]


class PlanDirectory:
    """A directory as one plan uses it: everybody's methods and times for alerts of the plan's priority."""

    def __init__(self, directory: RecipientDirectory, plan: Plan) -> None:
        self._directory = directory
        self._now = directory.now
        self.priority = plan.priority
        self._nights = Nights.until(plan.low_waits_until)
        self._own: dict[int, _OwnUse] = {}
        self.people, self.redirects = directory.people, directory.redirects
        self.contacts, self.may_answer = directory.contacts, directory.may_answer

    @property
    def urgency(self) -> tuple[bool, int]:
        """Return what orders directories: those that wait for no morning are greater, then those of higher priority."""
        return self._nights is None, PRIORITIES.index(self.priority)

    def first_use(self, person: int, stage: Stage) -> float | None:
        """Return in how many seconds the person counts as reached in this stage (a `walk.FirstUse`).

        They do once the first working contact method that the stage uses is used, if they may answer.
        """
        methods = self._usable(person, labels=stage.labels, centralized=stage.centralized)
        if not methods:
            return None
        working = [method for method in methods if method.failing_since is None]
        if not self.may_answer(person) or not working:
            return math.inf
        begins_at = self._begins_at(person, centralized=stage.centralized)
        times = (self._times(person, method, centralized=stage.centralized)[0] for method in working)
        return min((at - begins_at).total_seconds() for at in times)

    def first_use_without(self, opted_out: Collection[int]) -> FirstUse:
        """Return `first_use` for everybody but these people, to whom nothing is sent."""

        def first_use(person: int, stage: Stage) -> float | None:
            return None if person in opted_out else self.first_use(person, stage)

        return first_use

    def night(self, person: int, stage: Stage) -> float:
        """Return how many seconds of the person's night are left (a `walk.Night`); 0 by day."""
        if self._nights is None:
            return 0.0
        return (self._begins_at(person, centralized=stage.centralized) - self._now).total_seconds()

    def zone_of(self, person: int) -> tzinfo:
        """Return the time zone of somebody who can be notified."""
        return next((zone(method.holder.time_zone) for method in self._directory.methods.get(person, ())), UTC)

    def methods(self, page: Page) -> list[ContactMethod]:
        """Return the contact methods over which the person is notified, in order."""
        return self._usable(page.person, labels=page.labels, centralized=page.centralized)

    def times(self, page: Page, method: ContactMethod) -> Sequence[datetime]:
        """Return when the method is used: after its own delay and again as its owner wants; centralized once, now.

        A use that would fall into a night of the person waits for its end.
        """
        return self._times(page.person, method, centralized=page.centralized)

    def _times(self, person: int, method: ContactMethod, *, centralized: bool) -> Sequence[datetime]:
        if centralized:
            return [self._begins_at(person, centralized=True)]
        return self._own_use(person).times[method.pk]

    def _begins_at(self, person: int, *, centralized: bool) -> datetime:
        if self._nights is None:
            return self._now
        if centralized:
            return self._nights.morning(self._now, zone=self.zone_of(person)) or self._now
        return self._own_use(person).begins_at

    def _usable(self, person: int, *, labels: Sequence[str], centralized: bool) -> list[ContactMethod]:
        """Return the methods that a stage uses, failing ones last.

        For a centralized stage the policy's labels choose them; otherwise the person's own enabled methods are used.
        """
        methods = sorted(self._directory.methods.get(person, []), key=_is_failing)
        if not centralized:
            times = self._own_use(person).times
            return [method for method in methods if times.get(method.pk)]
        lower_labels = {label.lower() for label in labels}
        return [method for method in methods if not lower_labels or method.label.lower() in lower_labels]

    def _own_use(self, person: int) -> _OwnUse:
        if person not in self._own:
            self._own[person] = self._compute_own_use(person)
        return self._own[person]

    def _compute_own_use(self, person: int) -> _OwnUse:
        methods = self._directory.methods.get(person, [])
        times = _own_times(methods, now=self._now, priority=self.priority)
        if self._nights is None:
            return _OwnUse(self._now, times)
        # If even the first use falls into the night, all delays count from the morning.
        first = min((own_times[0] for own_times in times.values()), default=self._now)
        begins_at = self._nights.morning(first, zone=self.zone_of(person)) or self._now
        if begins_at != self._now:
            times = _own_times(methods, now=begins_at, priority=self.priority)
        by_id = {method.pk: method for method in methods}
        by_day = {pk: self._without_nights(by_id[pk], own_times, self._nights) for pk, own_times in times.items()}
        return _OwnUse(begins_at, {pk: own_times for pk, own_times in by_day.items() if own_times})

    def _without_nights(self, method: ContactMethod, times: Sequence[datetime], nights: Nights) -> list[datetime]:
        """Return the times with those in a night moved to its end, if the method is used then; each once."""
        holder_zone = zone(method.holder.time_zone)
        by_day: dict[datetime, None] = {}
        for at in times:
            morning = nights.morning(at, zone=holder_zone)
            if morning is None or self._is_used(method, at=morning):
                by_day[morning or at] = None
        return list(by_day)

    def _is_used(self, method: ContactMethod, *, at: datetime) -> bool:
        return is_used(method, at=at, time_zone=method.holder.time_zone, priority=self.priority)


def _is_failing(method: ContactMethod) -> bool:
    return method.failing_since is not None


def _own_times(methods: Sequence[ContactMethod], *, now: datetime, priority: str) -> dict[int, list[datetime]]:
    """Return when a person's enabled methods are used from now on for alerts of this priority, by their ids.

    A failing method is used after the others, and these do not wait for it: the first of them takes its place. If a
    method would miss its window by that, it keeps its own time.
    """
    all_uses = ((method, _times_of(method, at=now, priority=priority)) for method in methods if method.enabled)
    uses = {method: times for method, times in all_uses if times}
    working = [method for method in uses if not _is_failing(method)]
    if working and len(working) < len(uses):
        shortest_delay = min(float(method.delay_minutes) for method in uses)
        ahead = min(float(method.delay_minutes) for method in working) - shortest_delay
        for method in working:
            uses[method] = _times_of(method, at=now - timedelta(minutes=ahead), priority=priority) or uses[method]
        last = max(uses[method][0] for method in working)
        for method in uses.keys() - set(working):
            behind = max(last - uses[method][0], timedelta())
            uses[method] = _times_of(method, at=now + behind, priority=priority) or uses[method]
    return {method.pk: times for method, times in uses.items()}


def _times_of(method: ContactMethod, *, at: datetime, priority: str) -> list[datetime]:
    return times_of_use(method, at=at, time_zone=method.holder.time_zone, priority=priority)


def _targets(plans: Iterable[Plan]) -> set[Target]:
    return set(chain.from_iterable(plan.targets for plan in plans))


def _paths_at(
    targets: Iterable[Target], now: datetime, *, nested: Mapping[int, Sequence[int]], rotas: GroupRotas
) -> _Members:
    """Return the paths of each target at an instant."""
    members: dict[Target, dict[tuple[int, ...], int | None]] = {}
    for target in targets:
        paths = members.setdefault(target, {})
        if target.kind != "group":
            paths[rotas.reach.path(target.id, now)] = None
            continue
        for group_id in nested[target.id]:
            for path in rotas[group_id].paths(now, target.role):
                paths.setdefault(path, group_id)
    return members


def _contacts(nested: Mapping[int, Sequence[int]]) -> dict[int, list[ContactMethod]]:
    """Return the contacts that each group and, in order, the groups within it share; no query without groups."""
    if not nested:
        return {}
    shared: dict[int, list[ContactMethod]] = defaultdict(list)
    for method in _group_contacts(groups=list(set(chain.from_iterable(nested.values())))):
        shared[method.group_id or 0].append(method)
    return {
        group_id: list(chain.from_iterable(shared[inner_id] for inner_id in inner_ids))
        for group_id, inner_ids in nested.items()
    }


_usable_methods: Final = Composed(
    lambda: (
        ContactMethod.objects.filter(one_of("user_id", "users"), user__is_active=True, verified_at__isnull=False)
        .select_related("user")
        .order_by("user_id", "position", "id")
    )
)
_group_contacts: Final = Composed(
    lambda: (
        ContactMethod.objects.filter(one_of("group_id", "groups"), enabled=True, verified_at__isnull=False)
        .select_related("group")
        .order_by("position", "id")
    )
)


def _redirect(path: tuple[int, ...], group: int | None, away: Sequence[AbsenceDetails]) -> Redirect | None:
    """Return how a path, found through this group, leads to a cover; None if it leads to the person themselves."""
    if len(path) == 1:
        return None
    entry_of = {
        (entry.absence.user, entry.absence.cover): entry for entry in away if entry.absence.group in {None, group}
    }
    return Redirect(tuple(entry_of[step] for step in pairwise(path)))
