"""Out of office: who is told instead of whom (pure)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime


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
