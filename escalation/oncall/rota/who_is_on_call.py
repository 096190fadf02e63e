"""Compute who is on call at an instant, who will be, and when nobody is (pure).

If shifts overlap, an override wins, then the shift whose period is shorter; afterwards the longer one resumes. Of two
equally long periods the one that begins later wins, then the shift that was created later. A shift in which nobody can
be reached is skipped, and the next one counts. If all are skipped, the first of them that has people counts anyway.
"""

import bisect
import heapq
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from escalation.oncall.rota.covers import Reach
from escalation.oncall.rota.shifts import Period, RoleHolder, RotaShift

_INSTANT = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_EVERYBODY = Reach()

# The changes of who is on call that one answer looks at, about: half a second of one core.
MAX_CHANGES: Final = 20_000
_HALVINGS: Final = 40  # steps of the binary search for the affordable share: a century / 2**40 is less than a second
# Measured costs, in units of one change. A shift that is looked at once more costs this much:
_SHIFT_COST: Final = 0.05
# With this many people on call together a change costs twice as much as with nobody:
_PEOPLE_PER_COST: Final = 30
# The same if the change is the start or the end of an absence, since all paths are then computed anew:
_PEOPLE_PER_ABSENCE_COST: Final = 1
_DAYS = {"day": 1, "week": 7, "month": 30}  # between two hand-offs, for an estimate
# The longest time, in days, after which the hand-offs of all people repeat; seven for daily ones, as weekdays count.
_CYCLE_DAYS = {"day": 7, "week": 7, "month": 31}
_LAST = datetime(2100, 1, 1, tzinfo=UTC)  # no shift may be planned for later
# Rank, sequence number, period and shift; the smallest rank wins, and the number decides between equal ranks.
_Ranked = tuple[tuple[bool, timedelta, timedelta, int], int, Period, RotaShift]
_RANK = operator.itemgetter(0, 1)


@dataclass(frozen=True, slots=True)
class OnCall:
    """A person who is on call, and the path from them to the person who is notified: themselves or a cover."""

    role_holder: RoleHolder
    path: tuple[int, ...]

    @property
    def person(self) -> int:
        """The id of the person who is notified."""
        return self.path[-1]

    @property
    def covering(self) -> int | None:
        """The id of the person who is covered; None if the person on call is notified."""
        return self.role_holder.user if len(self.path) > 1 else None


@dataclass(frozen=True, slots=True)
class RotaPeriod:
    """A time, its end not included, in which the same people are on call by the same shift (None: no shift is on).

    `passed_over` are shifts that would have won but reach nobody. `candidates` are the people on call and also people
    of the shift who were deactivated and have no cover. `reached` says whether anybody on call can be reached.
    """

    starts_at: datetime
    ends_at: datetime
    shift: RotaShift | None
    on: tuple[OnCall, ...] = ()
    passed_over: tuple[RotaShift, ...] = ()
    candidates: tuple[OnCall, ...] = ()
    reached: bool = False

    @property
    def role_holders(self) -> tuple[RoleHolder, ...]:
        """The people who are on call, whether they are covered or not."""
        return tuple(holder.role_holder for holder in self.on)

    def same_people(self, other: "RotaPeriod") -> bool:
        """Return whether the same people are on call by the same shift in another period."""
        return other.shift is self.shift and other.on == self.on

    def goes_on_in(self, other: "RotaPeriod") -> bool:
        """Return whether another period differs in nothing but its time."""
        return other.shift is self.shift and (other.on, other.passed_over, other.candidates, other.reached) == (
            self.on,
            self.passed_over,
            self.candidates,
            self.reached,
        )


def on_call(shifts: Iterable[RotaShift], at: datetime, *, reach: Reach = _EVERYBODY) -> RotaPeriod:
    """Return who is on call at an instant, and by which shift."""
    return next(_pieces(list(shifts), at, at + _INSTANT, reach))


def rota_periods(
    shifts: Iterable[RotaShift], starts_at: datetime, ends_at: datetime, *, reach: Reach = _EVERYBODY
) -> list[RotaPeriod]:
    """Return who is on call between two instants, in periods that follow each other without gap or overlap."""
    pieces: list[RotaPeriod] = []
    for piece in _pieces(list(shifts), starts_at, ends_at, reach):
        if pieces and pieces[-1].goes_on_in(piece):
            pieces[-1] = replace(pieces[-1], ends_at=piece.ends_at)
        else:
            pieces.append(piece)
    return pieces


class Effort:
    """An estimate of the cost of computing who is on call by some shifts, in changes; more people make one dearer.

    Windows and turns cost the same at any time; calendar entries and absences cost when they begin and end.
    """

    def __init__(self, shifts: Iterable[RotaShift], reach: Reach = _EVERYBODY) -> None:
        known = list(shifts)
        self._a_day = sum(_changes_a_day(shift) for shift in known)
        entries = [entry for shift in known for entry in shift.entries or ()]
        # Each instant with the change in the number of people on call: 0 stands for an absence.
        steps = [(entry.starts_at, 1) for entry in entries] + [(entry.ends_at, -1) for entry in entries]
        listed = max((len(shift.role_holders) for shift in known), default=0)
        away = reach.changes({role_holder.user for shift in known for role_holder in shift.people})
        steps += [(at, 0) for at in away]
        steps.sort()
        self._at = [at for at, _ in steps]
        self._until = [0.0]
        together = 0
        for _, step in steps:
            together += step
            people_cost = together / _PEOPLE_PER_COST if step else (together + listed) / _PEOPLE_PER_ABSENCE_COST
            cost = 1 + people_cost
            self._until.append(self._until[-1] + cost)

    def of(self, starts_at: datetime, ends_at: datetime) -> float:
        """Return the cost of the time between two instants."""
        first, last = bisect.bisect_left(self._at, starts_at), bisect.bisect_left(self._at, ends_at)
        return self._a_day * ((ends_at - starts_at) / _DAY) + self._until[last] - self._until[first]


def affordable(
    efforts: Iterable[Effort], part: Callable[[float], tuple[datetime, datetime]], *, most: float = MAX_CHANGES
) -> float:
    """Return the largest share, from 0 to 1, for which the time `part(share)` costs at most `most` in all efforts."""
    efforts = list(efforts)

    def cost(share: float) -> float:
        return sum(effort.of(*part(share)) for effort in efforts)

    if cost(1.0) <= most:
        return 1.0
    share, step = 0.0, 0.5
    for _ in range(_HALVINGS):
        if cost(share + step) <= most:
            share += step
        step /= 2
    return share


def _changes_a_day(shift: RotaShift) -> float:
    """Return the average cost of a shift's windows and turns in a day, in changes."""
    rotation = shift.rotation
    changes = sum(2 * len(window.days) / 7 for window in shift.windows)
    together = len(shift.role_holders)
    if rotation is not None:
        changes += 1 / (rotation.count * _DAYS[rotation.every])
        together = 2 * rotation.at_once
    return changes * (1 + together / _PEOPLE_PER_COST)


def end_of(
    goes_on: Callable[[RotaPeriod], bool],
    shifts: Iterable[RotaShift],
    after: datetime,
    *,
    reach: Reach = _EVERYBODY,
    most: int = MAX_CHANGES,
) -> datetime | None:
    """Return the first instant from `after` on at which `goes_on` is false; None: no such end is planned.

    One-time events divide the time until 2100. Between two of them everything repeats, so that one whole cycle after
    each is enough. At most about `most` changes are looked at; an end behind them is not found.
    """
    known = [shift for shift in shifts if shift.ends_at > after]
    effort, left = Effort(known, reach), float(most)
    for first, last in _times_to_search(after, _one_time_events(known, reach), _cycle(known)):
        # Start with two months and double, so that a near end is found without computing the whole cycle.
        begins, length = first, timedelta(days=62)
        while begins < last:
            length = min(length, last - begins)
            share = affordable([effort], partial(_beginning, begins, length), most=left)
            ends = begins + length * share
            if ends <= begins:
                return None
            left -= effort.of(begins, ends) + _SHIFT_COST * len(known)
            for rota_period in rota_periods(known, begins, ends, reach=reach):
                if not goes_on(rota_period):
                    return rota_period.starts_at
            if share < 1 or left <= 0:
                return None
            begins, length = ends, length * 2
    return None


def _beginning(at: datetime, length: timedelta, share: float) -> tuple[datetime, datetime]:
    return at, at + length * share


def _times_to_search(after: datetime, events: Iterable[datetime], cycle: timedelta) -> list[tuple[datetime, datetime]]:
    """Return the times from `after` on that contain one cycle after each event; adjacent times are joined."""
    edges = [after, *sorted(at for at in events if after < at < _LAST), max(after, _LAST)]
    times: list[tuple[datetime, datetime]] = []
    for event, next_event in itertools.pairwise(edges):
        ends = min(next_event, event + cycle)
        if times and times[-1][1] == event:
            times[-1] = times[-1][0], ends
        else:
            times.append((event, ends))
    return times


def _one_time_events(shifts: Sequence[RotaShift], reach: Reach) -> set[datetime]:
    """Return the instants at which something that does not repeat begins or ends."""
    events = reach.changes(role_holder.user for shift in shifts for role_holder in shift.people)
    for shift in shifts:
        events |= {shift.starts_at, shift.ends_at}
        events |= {at for entry in shift.entries or () for at in (entry.starts_at, entry.ends_at)}
        if shift.rotation is not None:
            events.add(shift.rotation.handoff(0, shift.zone))
    return events


def _cycle(shifts: Sequence[RotaShift]) -> timedelta:
    """Return a time in which each person of each shift has had a turn in each window, at most about 137 years."""
    turns = [
        len(shift.role_holders) * shift.rotation.count * _CYCLE_DAYS[shift.rotation.every]
        for shift in shifts
        if shift.rotation is not None
    ]
    # Two weeks of windows, two days for changes between summer and winter time, and the longest rotation.
    return timedelta(days=16 + min(max(turns, default=0), 50_000))


def gaps(pieces: Iterable[RotaPeriod]) -> list[Period]:
    """Return the times among these periods in which nobody who can be reached is on call."""
    empty: list[Period] = []
    for rota_period in pieces:
        if rota_period.reached:
            continue
        if empty and empty[-1].ends_at == rota_period.starts_at:
            empty[-1] = Period(empty[-1].starts_at, rota_period.ends_at)
        else:
            empty.append(Period(rota_period.starts_at, rota_period.ends_at))
    return empty


def common_gaps(rotas: Iterable[Iterable[RotaPeriod]]) -> list[Period]:
    """Return the times in which nobody is on call in any of several rotas, which all cover the same time."""
    common: list[Period] | None = None
    for pieces in rotas:
        rota_gaps = gaps(pieces)
        if common is None:
            common = rota_gaps
            continue
        common = [
            gap.within(other.starts_at, other.ends_at)
            for gap in common
            for other in rota_gaps
            if gap.touches(other.starts_at, other.ends_at)
        ]
    return common or []


class _PathCache:
    """The paths from people to the people notified, computed once for all instants between two changes of absences."""

    def __init__(self, reach: Reach, changes: Iterable[datetime]) -> None:
        self.reach = reach
        self._changes = sorted(changes)
        self._interval = -1
        self._paths: dict[int, tuple[int, ...]] = {}

    def of(self, person: int, at: datetime) -> tuple[int, ...]:
        """Return the path from a person at an instant, as `Reach.path` does."""
        interval = bisect.bisect_right(self._changes, at)
        if interval != self._interval:
            self._interval = interval
            self._paths.clear()
        if person not in self._paths:
            self._paths[person] = self.reach.path(person, at)
        return self._paths[person]


def _pieces(shifts: list[RotaShift], starts_at: datetime, ends_at: datetime, reach: Reach) -> Iterator[RotaPeriod]:
    """Yield one period between each two instants at which anything may change.

    A sweep over time: `active` holds the periods that are on, sorted by rank, so that the winner comes first.
    """
    starting = [(period, shift) for shift in shifts for period in shift.periods(starts_at, ends_at)]
    starting.sort(key=lambda entry: entry[0].starts_at, reverse=True)
    # The number makes the order of equal ranks definite, without comparing periods and shifts.
    coming = [(_rank(period, shift), -number, period, shift) for number, (period, shift) in enumerate(starting)]
    changes = {at for period, _ in starting for at in (period.starts_at, period.ends_at)}
    away = reach.changes({role_holder.user for shift in shifts for role_holder in shift.people})
    changes |= away
    for shift in shifts:
        if shift.rotation is not None:
            changes.update(shift.rotation.handoffs(starts_at, ends_at, shift.zone))
    edges = [starts_at, *sorted(at for at in changes if starts_at < at < ends_at), ends_at]
    paths = _PathCache(reach, away)
    active: list[_Ranked] = []  # the winner comes first
    ending: list[datetime] = []  # a heap of the ends of active periods
    for begins, ends in itertools.pairwise(edges):
        while coming and coming[-1][2].starts_at <= begins:
            bisect.insort(active, entry := coming.pop(), key=_RANK)
            heapq.heappush(ending, entry[2].ends_at)
        if ending and ending[0] <= begins:
            active = [entry for entry in active if entry[2].ends_at > begins]
            while ending and ending[0] <= begins:
                heapq.heappop(ending)
        yield _piece(active, begins, ends, paths)


def _piece(active: list[_Ranked], begins: datetime, ends: datetime, paths: _PathCache) -> RotaPeriod:
    """Return who is on call in a time in which nothing changes; `active` are the periods that are on, winner first."""
    passed_over: list[RotaPeriod] = []
    seen: set[int] = set()
    # Entries of one calendar that overlap do not compete: all their people are on call.
    calendar_entries: dict[int, list[Period]] = {}
    for _, _, period, shift in active:
        if shift.entries is not None:
            calendar_entries.setdefault(shift.id, []).append(period)
    for _, _, winner, shift in active:
        if shift.id in seen:
            continue
        seen.add(shift.id)
        together = calendar_entries.get(shift.id, [winner])
        role_holders = dict.fromkeys(role_holder for period in together for role_holder in shift.on(begins, period))
        candidates = tuple(OnCall(role_holder, paths.of(role_holder.user, begins)) for role_holder in role_holders)
        on = tuple(entry for entry in candidates if entry.person in paths.reach.active)
        if any(entry.person in paths.reach.available for entry in on):
            skipped = tuple(rota_period.shift for rota_period in passed_over if rota_period.shift)
            return RotaPeriod(begins, ends, shift, on, skipped, candidates, reached=True)
        passed_over.append(RotaPeriod(begins, ends, shift, on, (), candidates))
    with_people = [rota_period for rota_period in passed_over if rota_period.on]
    return (*with_people, *passed_over, RotaPeriod(begins, ends, None))[0]


def _rank(period: Period, shift: RotaShift) -> tuple[bool, timedelta, timedelta, int]:
    # In this order: overrides, shorter periods, later starts, newer shifts.
    return not shift.override, period.length, -(period.starts_at - _EPOCH), -shift.id


@dataclass(frozen=True, slots=True)
class PersonPeriod:
    """A time in which one person is notified in a role by a shift; `covering` is the person they cover, if any."""

    person: int
    role: str
    shift: RotaShift
    starts_at: datetime
    ends_at: datetime
    covering: int | None

    def goes_on_in(self, rota_period: RotaPeriod) -> bool:
        """Return whether the person is still on call in another period, in the same role and by the same shift."""
        return rota_period.shift is self.shift and any(
            (holder.person, holder.role_holder.role, holder.covering) == (self.person, self.role, self.covering)
            for holder in rota_period.on
        )


def periods(pieces: Iterable[RotaPeriod]) -> list[PersonPeriod]:
    """Convert consecutive periods into one period per person, role and covered person, in order of their ends."""
    running: dict[tuple[int, str, int | None], PersonPeriod] = {}
    ended: list[PersonPeriod] = []
    for rota_period in pieces:
        keys: dict[tuple[int, str, int | None], None] = {}
        if rota_period.shift is not None:
            keys = dict.fromkeys((holder.person, holder.role_holder.role, holder.covering) for holder in rota_period.on)
        ended += [
            running.pop(key)
            for key, period in list(running.items())
            if key not in keys or period.shift is not rota_period.shift
        ]
        for key in keys:
            before = running.get(key)
            begins = before.starts_at if before else rota_period.starts_at
            person, role, covering = key
            assert rota_period.shift is not None  # noqa: S101 - somebody is on by it
            running[key] = PersonPeriod(person, role, rota_period.shift, begins, rota_period.ends_at, covering)
    return [*ended, *running.values()]
