"""Who is told for a plan right now, and over what: read for a whole batch of runs in a few queries."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, pairwise
from typing import Self

from django.db.models import Q

from accounts.entitlements import BuiltinRole
from accounts.models import ContactMethod, User
from accounts.selectors import nested_groups
from accounts.windows import times_of_use
from alerting.selectors import who_may_answer
from escalation.on_call import Away, absences, rosters
from escalation.rota.covers import stand_in
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
        members: Mapping[Target, Mapping[int, int | None]],
        methods: Mapping[int, list[ContactMethod]],
        contacts: Mapping[int, list[ContactMethod]],
        away: Sequence[Away],
        may_answer: Collection[int],
        now: datetime,
    ) -> None:
        self._methods = methods
        self._may_answer = may_answer
        self._contacts = contacts
        self._now = now
        out = {entry.absence.user for entry in away}
        able = {person for person, usable in methods.items() if usable and person in may_answer}
        self._ways = {
            target: [
                _way(person, group, away, able) if person in out else ([person], None)
                for person, group in named.items()
            ]
            for target, named in members.items()
        }

    @classmethod
    def of(cls, plans: Iterable[Plan], *, now: datetime) -> Self:
        """Read whoever these plans lead to now: a few queries and one look at each group's rota, however many plans."""
        targets = {
            target for plan in plans for track in plan.tracks for stage in track.stages for target in stage.targets
        }
        group_ids = {target.id for target in targets if target.kind == "group"}
        within = nested_groups(group_ids)
        found = rosters(chain.from_iterable(within.values()), starts_at=now, with_inactive=True)
        members: dict[Target, dict[int, int | None]] = {}
        for target in targets:
            named = members.setdefault(target, {} if target.kind == "group" else {target.id: None})
            for group_id in within[target.id] if target.kind == "group" else ():
                for person in found[group_id].people(now, target.role):
                    named.setdefault(person, group_id)
        people = {person for named in members.values() for person in named}
        away = absences(people, at=now)
        people.update(entry.absence.cover for entry in away)
        methods: dict[int, list[ContactMethod]] = defaultdict(list)
        usable = ContactMethod.objects.filter(user_id__in=people, user__is_active=True, verified_at__isnull=False)
        for method in usable.select_related("user").order_by("user_id", "position", "id"):
            methods[method.user_id or 0].append(method)
        return cls(
            members=members,
            methods=methods,
            contacts=_contacts(within),
            away=away,
            may_answer=who_may_answer(people),
            now=now,
        )

    def people(self, target: Target) -> Sequence[int]:
        """Return who is told for the target, in order: covers instead of who is out; stakeholders receive, too."""
        return [way[-1] for way, _ in self._ways[target]]

    def redirects(self, target: Target) -> list[Redirect]:
        """Return where somebody is told instead of who is out of office."""
        return [redirect for _, redirect in self._ways[target] if redirect is not None]

    def first_use(self, person: int, stage: Stage) -> float | None:
        """Return in how many seconds the person counts as reached in this stage, as `walk.FirstUse` wants it.

        That is when the first of their contact methods is used that the stage uses, if they may answer then.
        """
        methods = self._usable(person, labels=stage.labels, centralized=stage.centralized)
        if not methods:
            return None
        if person not in self._may_answer:
            return math.inf
        times = (self._times(method, centralized=stage.centralized)[0] for method in methods)
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
        return [self._now] if centralized else self._own_times(method)

    def _usable(self, person: int, *, labels: Sequence[str], centralized: bool) -> list[ContactMethod]:
        """Centralized, the policy's labels decide; otherwise the person's own choice of enabled methods."""
        methods = self._methods.get(person, [])
        if not centralized:
            return [method for method in methods if method.enabled and self._own_times(method)]
        wanted = {label.lower() for label in labels}
        return [method for method in methods if not wanted or method.label.lower() in wanted]

    def _own_times(self, method: ContactMethod) -> list[datetime]:
        return times_of_use(
            at=self._now,
            time_zone=method.holder.time_zone,
            delay_minutes=float(method.delay_minutes),
            repeat_count=method.repeat_count,
            repeat_gap_minutes=float(method.repeat_gap_minutes),
            windows=method.windows,
        )


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


def _way(
    person: int, group: int | None, away: Sequence[Away], able: Collection[int]
) -> tuple[list[int], Redirect | None]:
    """Return the way from a person, reached through a group, to who is told instead; None: they are in office."""
    here = [entry for entry in away if entry.absence.group in {None, group}]
    way = stand_in(person, group, absences=[entry.absence for entry in here], available=able.__contains__)
    taken = {(entry.absence.user, entry.absence.cover): entry for entry in here}
    via = tuple(taken[step] for step in pairwise(way))
    return way, Redirect(via) if via else None


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
