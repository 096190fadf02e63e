"""Out of office: who is told instead of whom (pure)."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Absence:
    """One person is out of office, and `cover` is told instead; a `group` of None means all groups."""

    user: int
    cover: int
    starts_at: datetime
    ends_at: datetime
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A time, its end not included, in which one person is told: the one who was meant, or who stands in."""

    person: int
    starts_at: datetime
    ends_at: datetime


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


def told(
    person: int,
    group: int,
    starts_at: datetime,
    ends_at: datetime,
    *,
    absences: Mapping[int, Sequence[Absence]],
    available: Callable[[int], bool],
) -> list[Told]:
    """Return who is told for a person, reached through a group, between two instants; the times follow each other.

    `absences` are those of each person, at whatever times; at each instant the answer is that of `stand_in`.
    """
    near: list[Absence] = []
    pending, seen = [person], {person}
    while pending:
        for absence in absences.get(pending.pop(), ()):
            if absence.group in {None, group} and absence.starts_at < ends_at and absence.ends_at > starts_at:
                near.append(absence)
                if absence.cover not in seen:
                    seen.add(absence.cover)
                    pending.append(absence.cover)
    borders = {at for absence in near for at in (absence.starts_at, absence.ends_at) if starts_at < at < ends_at}
    found: list[Told] = []
    for begins, ends in pairwise([starts_at, *sorted(borders), ends_at]):
        here = [absence for absence in near if absence.starts_at <= begins < absence.ends_at]
        last = stand_in(person, group, absences=here, available=available)[-1]
        if found and found[-1].person == last:
            found[-1] = replace(found[-1], ends_at=ends)
        else:
            found.append(Told(last, begins, ends))
    return found


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
