"""The questions: who is on call at an instant, who will be, and when nobody is (pure).

Where shifts overlap, the one whose period is shorter wins, and then the longer one resumes. Of two equally long periods
the one that began later wins, then the shift that was made later.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from escalation.rota.shifts import Duty, Period, Shift

_INSTANT = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """A time, its end not included, in which the same people are on call by the same shift; None: no shift is on."""

    starts_at: datetime
    ends_at: datetime
    shift: Shift | None
    duties: tuple[Duty, ...]


def on_call(shifts: Iterable[Shift], at: datetime) -> Span:
    """Return who is on call at an instant, and by which shift."""
    return next(_pieces(list(shifts), at, at + _INSTANT))


def spans(shifts: Iterable[Shift], starts_at: datetime, ends_at: datetime) -> list[Span]:
    """Return who is on call between two instants: spans that follow each other without gap and overlap."""
    found: list[Span] = []
    for piece in _pieces(list(shifts), starts_at, ends_at):
        if found and found[-1].shift is piece.shift and found[-1].duties == piece.duties:
            found[-1] = replace(found[-1], ends_at=piece.ends_at)
        else:
            found.append(piece)
    return found


def gaps(found: Iterable[Span]) -> list[Period]:
    """Return the times among these spans in which nobody is on call."""
    empty: list[Period] = []
    for span in found:
        if span.duties:
            continue
        if empty and empty[-1].ends_at == span.starts_at:
            empty[-1] = Period(empty[-1].starts_at, span.ends_at)
        else:
            empty.append(Period(span.starts_at, span.ends_at))
    return empty


def common_gaps(rotas: Iterable[Iterable[Span]]) -> list[Period]:
    """Return the times in which nobody is on call in any of several rotas over the same time."""
    found: list[Period] | None = None
    for one in rotas:
        mine = gaps(one)
        found = (
            mine
            if found is None
            else [
                gap.within(other.starts_at, other.ends_at)
                for gap in found
                for other in mine
                if gap.touches(other.starts_at, other.ends_at)
            ]
        )
    return found or []


def _pieces(shifts: list[Shift], starts_at: datetime, ends_at: datetime) -> Iterator[Span]:
    """Yield spans between the instants at which anything may change."""
    coming = [(period, shift) for shift in shifts for period in shift.periods(starts_at, ends_at)]
    coming.sort(key=lambda found: found[0].starts_at, reverse=True)
    changes = {at for period, _ in coming for at in (period.starts_at, period.ends_at)}
    for shift in shifts:
        if shift.rotation is not None:
            changes.update(shift.rotation.handoffs(starts_at, ends_at, shift.zone))
    edges = [starts_at, *sorted(at for at in changes if starts_at < at < ends_at), ends_at]
    active: list[tuple[Period, Shift]] = []
    for begins, ends in itertools.pairwise(edges):
        while coming and coming[-1][0].starts_at <= begins:
            active.append(coming.pop())
        active = [found for found in active if found[0].ends_at > begins]
        yield _piece(active, begins, ends)


def _piece(active: list[tuple[Period, Shift]], begins: datetime, ends: datetime) -> Span:
    if not active:
        return Span(begins, ends, None, ())
    won, shift = min(active, key=_rank)
    same = [period for period, other in active if other.id == shift.id] if shift.entries is not None else [won]
    duties = dict.fromkeys(duty for period in same for duty in shift.on(begins, period))
    return Span(begins, ends, shift, tuple(duties))


def _rank(found: tuple[Period, Shift]) -> tuple[timedelta, timedelta, int]:
    period, shift = found
    return period.length, -(period.starts_at - _EPOCH), -shift.id
