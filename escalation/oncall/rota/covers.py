"""Follow absences to the person who is notified instead (pure)."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

MAX_COVERS: Final = 20  # people in one chain of covers, so that a long chain does not delay a page


@dataclass(frozen=True, slots=True)
class Absence:
    """One person is out of office, and `cover` is notified instead; a `group` of None means all groups."""

    user: int
    cover: int
    starts_at: datetime
    ends_at: datetime
    group: int | None = None


def resolve_cover(
    person: int, group: int | None, *, absences: Iterable[Absence], available: Callable[[int], bool]
) -> list[int]:
    """Return the path from a person to the one who is notified instead, who is its last; `[person]` if not absent.

    `absences` are those of this instant; `group` is the group through which the person is reached. The cover of a cover
    who is absent, too, comes next. The path stops before it would repeat somebody. People at its end who are not
    available are dropped, so that it ends with the last available cover, or with the person.
    """
    covers = {(absence.user, absence.group): absence.cover for absence in absences}
    path = [person]
    while True:
        last = path[-1]
        # An absence in this group takes precedence over one in all groups.
        cover = covers.get((last, group), covers.get((last, None)))
        if cover is None or cover in path:
            break
        path.append(cover)
    while len(path) > 1 and not available(path[-1]):
        path.pop()
    return path


class _Everybody:
    """A container of all people."""

    def __contains__(self, person: object) -> bool:
        return True


EVERYBODY: Final[Container[int]] = _Everybody()


@dataclass(frozen=True, slots=True)
class Reach:
    """Which people can be reached through a group (None: they are named directly), and who covers for them.

    `active` are the ids of people who have not been deactivated. `available` are the ids of people who count as reached
    and can cover for others. `absences` are the absences of each person, by id, at any time.
    """

    group: int | None = None
    absences: Mapping[int, Sequence[Absence]] = field(default_factory=dict)
    active: Container[int] = EVERYBODY
    available: Container[int] = EVERYBODY

    def path(self, person: int, at: datetime) -> tuple[int, ...]:
        """Return the path from a person to the one who is notified instead at an instant, as `resolve_cover` does.

        At most about `MAX_COVERS` people are followed.
        """
        if person not in self.absences:
            return (person,)
        # Only absences that can be on the path are collected: those of the person, of their covers, and so on.
        current: list[Absence] = []
        pending, seen = [person], {person}
        while pending and len(seen) <= MAX_COVERS:
            absences = [
                absence
                for absence in self.absences.get(pending.pop(), ())
                if absence.starts_at <= at < absence.ends_at and absence.group in {None, self.group}
            ]
            current += absences
            covers = [absence.cover for absence in absences if absence.cover not in seen]
            seen.update(covers)
            pending += covers
        return tuple(resolve_cover(person, self.group, absences=current, available=self.available.__contains__))

    def changes(self, people: Iterable[int]) -> set[datetime]:
        """Return the instants at which the path from one of these people may change."""
        return {at for entry in self._followed(people) for at in (entry.starts_at, entry.ends_at)}

    def _followed(self, people: Iterable[int]) -> Iterator[Absence]:
        """Yield the absences of these people, of their covers, of the covers of those, and so on."""
        seen = set(people)
        pending = list(seen)
        while pending:
            for absence in self.absences.get(pending.pop(), ()):
                if absence.group in {None, self.group}:
                    yield absence
                    if absence.cover not in seen:
                        seen.add(absence.cover)
                        pending.append(absence.cover)


def covered_by(people: Iterable[int], absences: Iterable[Absence]) -> set[int]:
    """Return the ids of these people and of all whom one of them covers, directly or as the cover of a cover."""
    users_by_cover: dict[int, list[int]] = defaultdict(list)
    for absence in absences:
        users_by_cover[absence.cover].append(absence.user)
    covered = set(people)
    pending = list(covered)
    while pending:
        users = set(users_by_cover[pending.pop()]) - covered
        covered |= users
        pending += users
    return covered


def find_cycle(absence: Absence, others: Iterable[Absence]) -> Absence | None:
    """Return the other absence that leads back to the user of `absence` at some instant; None if there is no cycle."""
    known = list(others)
    # Each step follows one more cover, and keeps the time and the group that all absences so far have in common.
    pending = [(absence.cover, absence.starts_at, absence.ends_at, absence.group)]
    seen = set(pending)
    while pending:
        person, starts_at, ends_at, group = pending.pop()
        for other in known:
            if other.user != person or (None not in {group, other.group} and group != other.group):
                continue
            begins, ends = max(starts_at, other.starts_at), min(ends_at, other.ends_at)
            if begins >= ends:
                continue
            if other.cover == absence.user:
                return other
            step = (other.cover, begins, ends, group if group is not None else other.group)
            if step not in seen:
                seen.add(step)
                pending.append(step)
    return None
