"""The questions: who is on call at an instant, who will be, and when nobody is (pure).

Where shifts overlap, an override wins, then the one whose period is shorter, and then the longer one resumes. Of two
equally long periods the one that began later wins, then the shift that was made later. A shift in which nobody can be
reached is passed over: the next one counts. Where that leaves none, the first one that has somebody counts anyway.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from escalation.rota.covers import Reach
from escalation.rota.shifts import BEGINNING, END, Duty, Period, Shift

_INSTANT = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_EVERYBODY = Reach()
_CYCLE_DAYS = {"day": 7, "week": 7, "month": 31}
_LAST = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class OnCall:
    """A person whose duty it is, and the way from them to who is notified: themselves, or who covers them."""

    duty: Duty
    way: tuple[int, ...]

    @property
    def person(self) -> int:
        """Who is notified."""
        return self.way[-1]

    @property
    def covering(self) -> int | None:
        """For whom; None: for nobody else."""
        return self.duty.user if len(self.way) > 1 else None


@dataclass(frozen=True, slots=True)
class Span:
    """A time, its end not included, in which the same people are on call by the same shift; None: no shift is on.

    `passed_over` are the shifts that would have won, but in which nobody can be reached. `named` are those on call and
    beside them people of the shift who were deactivated and have no cover. `reached` says whether one can be reached.
    """

    starts_at: datetime
    ends_at: datetime
    shift: Shift | None
    on: tuple[OnCall, ...] = ()
    passed_over: tuple[Shift, ...] = ()
    named: tuple[OnCall, ...] = ()
    reached: bool = False

    @property
    def duties(self) -> tuple[Duty, ...]:
        """Whose duty it is, covered or not."""
        return tuple(one.duty for one in self.on)

    def same_people(self, other: "Span") -> bool:
        """Answer whether the same people are on call by the same shift in another span."""
        return other.shift is self.shift and other.on == self.on

    def goes_on_in(self, other: "Span") -> bool:
        """Answer whether another span says the same of its own time."""
        return replace(other, starts_at=self.starts_at, ends_at=self.ends_at) == self


def on_call(shifts: Iterable[Shift], at: datetime, *, reach: Reach = _EVERYBODY) -> Span:
    """Return who is on call at an instant, and by which shift."""
    return next(_pieces(list(shifts), at, at + _INSTANT, reach))


def spans(shifts: Iterable[Shift], starts_at: datetime, ends_at: datetime, *, reach: Reach = _EVERYBODY) -> list[Span]:
    """Return who is on call between two instants: spans that follow each other without gap and overlap."""
    found: list[Span] = []
    for piece in _pieces(list(shifts), starts_at, ends_at, reach):
        if found and found[-1].goes_on_in(piece):
            found[-1] = replace(found[-1], ends_at=piece.ends_at)
        else:
            found.append(piece)
    return found


def end_of(
    goes_on: Callable[[Span], bool], shifts: Iterable[Shift], after: datetime, *, reach: Reach = _EVERYBODY
) -> datetime | None:
    """Return the first instant from `after` on at which something does not go on; None: no end of it is planned.

    Looked at is all that is planned for once, and after that a whole cycle of what repeats; at most until 2100.
    """
    known = list(shifts)
    last = _planned_until(known, after, reach)
    length = timedelta(days=62)
    while after < last:
        until = min(after + length, last)
        for span in spans(known, after, until, reach=reach):
            if not goes_on(span):
                return span.starts_at
        after, length = until, length * 2
    return None


def _planned_until(shifts: Sequence[Shift], after: datetime, reach: Reach) -> datetime:
    """Return an instant at and after which nothing is new: what will be has been once between `after` and then."""
    borders = reach.changes(duty.user for shift in shifts for duty in shift.people)
    cycle = timedelta(days=16)  # two weeks of windows, and what a change of the clocks may add
    for shift in shifts:
        borders |= {shift.starts_at, shift.ends_at}
        borders |= {at for entry in shift.entries or () for at in (entry.starts_at, entry.ends_at)}
        if shift.rotation is not None:
            borders.add(shift.rotation.handoff(0, shift.zone))
            turns = max(len(shift.duties), 1) * shift.rotation.count
            cycle = max(cycle, timedelta(days=16 + min(turns * _CYCLE_DAYS[shift.rotation.every], 50_000)))
    return min(max({after} | {at for at in borders if BEGINNING < at < END}) + cycle, _LAST)


def gaps(found: Iterable[Span]) -> list[Period]:
    """Return the times among these spans in which nobody who can be reached is on call."""
    empty: list[Period] = []
    for span in found:
        if span.reached:
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


def _pieces(shifts: list[Shift], starts_at: datetime, ends_at: datetime, reach: Reach) -> Iterator[Span]:
    """Yield spans between the instants at which anything may change."""
    coming = [(period, shift) for shift in shifts for period in shift.periods(starts_at, ends_at)]
    coming.sort(key=lambda found: found[0].starts_at, reverse=True)
    changes = {at for period, _ in coming for at in (period.starts_at, period.ends_at)}
    changes |= reach.changes(duty.user for shift in shifts for duty in shift.people)
    for shift in shifts:
        if shift.rotation is not None:
            changes.update(shift.rotation.handoffs(starts_at, ends_at, shift.zone))
    edges = [starts_at, *sorted(at for at in changes if starts_at < at < ends_at), ends_at]
    active: list[tuple[Period, Shift]] = []
    for begins, ends in itertools.pairwise(edges):
        while coming and coming[-1][0].starts_at <= begins:
            active.append(coming.pop())
        active = [found for found in active if found[0].ends_at > begins]
        yield _piece(active, begins, ends, reach)


def _piece(active: list[tuple[Period, Shift]], begins: datetime, ends: datetime, reach: Reach) -> Span:
    passed_over: list[Span] = []
    seen: set[int] = set()
    for won, shift in sorted(active, key=_rank):
        if shift.id in seen:
            continue
        seen.add(shift.id)
        same = [period for period, other in active if other.id == shift.id] if shift.entries is not None else [won]
        duties = dict.fromkeys(duty for period in same for duty in shift.on(begins, period))
        named = tuple(OnCall(duty, reach.way(duty.user, begins)) for duty in duties)
        on = tuple(one for one in named if one.person in reach.active)
        if any(one.person in reach.available for one in on):
            return Span(begins, ends, shift, on, tuple(span.shift for span in passed_over if span.shift), named, True)
        passed_over.append(Span(begins, ends, shift, on, (), named))
    return next((span for span in passed_over if span.on), (*passed_over, Span(begins, ends, None))[0])


def _rank(found: tuple[Period, Shift]) -> tuple[bool, timedelta, timedelta, int]:
    period, shift = found
    return not shift.override, period.length, -(period.starts_at - _EPOCH), -shift.id


@dataclass(frozen=True, slots=True)
class OnCallPeriod:
    """A time in which one person is notified in a role by a shift; `covering` is the person they cover, if any."""

    person: int
    role: str
    shift: Shift
    starts_at: datetime
    ends_at: datetime
    covering: int | None

    def goes_on_in(self, span: Span) -> bool:
        """Answer whether it goes on through a span, whoever else comes and goes."""
        return span.shift is self.shift and any(
            (one.person, one.duty.role, one.covering) == (self.person, self.role, self.covering) for one in span.on
        )


def periods(found: Iterable[Span]) -> list[OnCallPeriod]:
    """Return when each person is on call in which role, by which shift and for whom, from spans that follow each other.

    They are in order of their ends.
    """
    running: dict[tuple[int, str, int | None], OnCallPeriod] = {}
    over: list[OnCallPeriod] = []
    for span in found:
        now = dict.fromkeys((one.person, one.duty.role, one.covering) for one in span.on) if span.shift else {}
        over += [
            running.pop(key)
            for key, period in list(running.items())
            if key not in now or period.shift is not span.shift
        ]
        for key in now:
            before = running.get(key)
            begins = before.starts_at if before else span.starts_at
            person, role, covering = key
            assert span.shift is not None  # noqa: S101 - somebody is on by it
            running[key] = OnCallPeriod(person, role, span.shift, begins, span.ends_at, covering)
    return [*over, *running.values()]
