"""Out of office: who is told instead of whom (pure)."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final


@dataclass(frozen=True, slots=True)
class Absence:
    """One person is out of office, and `cover` is told instead; a `group` of None means all groups."""

    user: int
    cover: int
    starts_at: datetime
    ends_at: datetime
    group: int | None = None


def stand_in(
    person: int, group: int | None, *, absences: Iterable[Absence], available: Callable[[int], bool]
) -> list[int]:
    """Return the way from a person to who is told instead, the last one; the person alone when they are in office.

    `absences` are those of this instant, `group` is the one through which the person is reached. A cover who is out is
    followed on. Where the way leads back to somebody, or ends with somebody who is not available, it ends with the last
    one before who is; when nobody is, with the person.
    """
    covers = {(absence.user, absence.group): absence.cover for absence in absences}
    way = [person]
    while True:
        here = way[-1]
        cover = covers.get((here, group), covers.get((here, None)))
        if cover is None or cover in way:
            break
        way.append(cover)
    while len(way) > 1 and not available(way[-1]):
        way.pop()
    return way


class _Everybody:
    """A container of all people."""

    def __contains__(self, person: object) -> bool:
        return True


EVERYBODY: Final[Container[int]] = _Everybody()


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom one reaches through a group (None: named directly), person by person and at any instant.

    `active` people have not been deactivated. `available` are those who count as reached, and who can stand in for
    others. `absences` are those of each person, at whatever times.
    """

    group: int | None = None
    absences: Mapping[int, Sequence[Absence]] = field(default_factory=dict)
    active: Container[int] = EVERYBODY
    available: Container[int] = EVERYBODY

    def way(self, person: int, at: datetime) -> tuple[int, ...]:
        """Return the way from a person to who is notified instead at an instant, as `stand_in` does."""
        if person not in self.absences:
            return (person,)
        here = [entry for entry in self._behind([person]) if entry.starts_at <= at < entry.ends_at]
        return tuple(stand_in(person, self.group, absences=here, available=self.available.__contains__))

    def changes(self, people: Iterable[int]) -> set[datetime]:
        """Return the instants at which the way from one of these people may change."""
        return {at for entry in self._behind(people) for at in (entry.starts_at, entry.ends_at)}

    def _behind(self, people: Iterable[int]) -> Iterator[Absence]:
        """Yield the absences through which these people, their covers, and the covers of those are reached."""
        seen = set(people)
        pending = list(seen)
        while pending:
            for absence in self.absences.get(pending.pop(), ()):
                if absence.group in {None, self.group}:
                    yield absence
                    if absence.cover not in seen:
                        seen.add(absence.cover)
                        pending.append(absence.cover)


def leading_to(people: Iterable[int], absences: Iterable[Absence]) -> set[int]:
    """Return these people and everybody for whom one of them may be told, directly or as a cover's cover."""
    covered: dict[int, list[int]] = defaultdict(list)
    for absence in absences:
        covered[absence.cover].append(absence.user)
    found = set(people)
    pending = list(found)
    while pending:
        fresh = set(covered[pending.pop()]) - found
        found |= fresh
        pending += fresh
    return found


def leads_back(absence: Absence, others: Iterable[Absence]) -> Absence | None:
    """Return the entry by which an absence would at some instant lead back to the person; None if none does."""
    known = list(others)
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
