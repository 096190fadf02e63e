"""Compute when a shift is on and who is on it: weekly windows, rotations and calendar entries (pure)."""

import calendar
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise

from heartbeat_project.kernel.local_time import instant, local_time
from heartbeat_project.kernel.weekly import WeeklyWindow

BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
_DAY = timedelta(days=1)
_WEEK = 7
EVERY_DAY = tuple(range(_WEEK))
_SECOND = timedelta(seconds=1)
_BEGINS = operator.attrgetter("starts_at")


@dataclass(frozen=True, slots=True)
class RoleHolder:
    """One person, by id, in one group role."""

    user: int
    role: str


@dataclass(frozen=True, slots=True)
class Period:
    """The time from one instant to another, which is not included.

    `role_holders` are the people who are on, if the period itself names them, as an entry of a calendar does.
    """

    starts_at: datetime
    ends_at: datetime
    role_holders: tuple[RoleHolder, ...] = ()

    @property
    def length(self) -> timedelta:
        """The time between its start and its end."""
        return self.ends_at - self.starts_at

    def within(self, starts_at: datetime, ends_at: datetime) -> "Period":
        """Return the part between two instants; if there is none, its end is not after its start."""
        return Period(max(self.starts_at, starts_at), min(self.ends_at, ends_at), self.role_holders)

    def touches(self, starts_at: datetime, ends_at: datetime) -> bool:
        """Return whether it overlaps the time between two instants."""
        return max(self.starts_at, starts_at) < min(self.ends_at, ends_at)


ALWAYS = Period(BEGINNING, END)


def handoff_days(windows: Iterable[WeeklyWindow], at: time) -> tuple[int, ...]:
    """Return the weekdays (0 is Monday) on which daily hand-offs at the time `at` take place.

    A hand-off takes place on a day if a window begins on it or is open at the time of the hand-off, unless no window is
    open before the next hand-off: nobody gets a turn without any time on call. Without windows it is every day.
    """
    week = [
        (_minutes(day, window.starts), _minutes(day + window.days_later, window.ends))
        for window in windows
        for day in window.days
    ]
    if not week:
        return EVERY_DAY
    # The weeks before and after are added, so that a window that crosses midnight on Sunday needs no special case.
    times = [(begins + shift, ends + shift) for begins, ends in week for shift in (-_WEEK_MINUTES, 0, _WEEK_MINUTES)]
    days = [
        day
        for day in EVERY_DAY
        if any(
            _minutes(day, time.min) <= begins < _minutes(day + 1, time.min) or begins <= _minutes(day, at) < ends
            for begins, ends in times
        )
    ]
    edges = [*(_minutes(day, at) for day in days), _minutes(days[0] + _WEEK, at)]
    busy = [any(begins < until and ends > since for begins, ends in times) for since, until in pairwise(edges)]
    return tuple(day for day, is_busy in zip(days, busy, strict=True) if is_busy)


def _minutes(day: int, at: time) -> float:
    """Return the minutes from Monday 00:00 to a time on a weekday; day 7 is the next Monday."""
    return day * 1440 + at.hour * 60 + at.minute + at.second / 60


_WEEK_MINUTES = _WEEK * 1440


@dataclass(frozen=True, slots=True)
class Rotation:
    """Hand-offs every `count` days, weeks or months from `first_on`, at the local time `at`; `at_once` people are on.

    `every` is "day", "week" or "month"; daily hand-offs count only the weekdays in `days`. Turn 0 begins at the first
    hand-off. In turn `since` the first people of `order` are on, then the next ones. An edit of the people sets both,
    so that the current turn stays with its people. Without an order it is that of the shift's people, from turn 0 on.
    """

    every: str
    count: int
    first_on: date
    at: time
    at_once: int = 1
    days: tuple[int, ...] = EVERY_DAY
    since: int = 0
    order: tuple[RoleHolder, ...] = ()

    def handoff(self, turn: int, zone: tzinfo) -> datetime:
        """Return the instant at which a turn begins.

        Monthly hand-offs are on the same day of each month, or on its last day if the month is shorter.
        """
        if self.every == "month":
            year, month = divmod(self.first_on.year * 12 + self.first_on.month - 1 + turn * self.count, 12)
            month += 1
            day = date(year, month, min(self.first_on.day, calendar.monthrange(year, month)[1]))
        elif self.every == "week":
            day = self.first_on + turn * self.count * _WEEK * _DAY
        else:
            weeks, index = divmod(bisect_left(self.days, self.first_on.weekday()) + turn * self.count, len(self.days))
            day = self.first_on + (weeks * _WEEK + self.days[index] - self.first_on.weekday()) * _DAY
        return instant(datetime.combine(day, self.at), zone)

    def turn(self, at: datetime, zone: tzinfo) -> int:
        """Return the number of the turn at an instant; it is negative before the first hand-off."""
        today = local_time(at, zone).date()
        if self.every == "month":
            guess = (today.year * 12 + today.month - self.first_on.year * 12 - self.first_on.month) // self.count
        elif self.every == "week":
            guess = (today - self.first_on).days // (self.count * _WEEK)
        else:
            weeks = (today - self.first_on + (self.first_on.weekday() - today.weekday()) * _DAY).days // _WEEK
            passed = weeks * len(self.days) + bisect_right(self.days, today.weekday()) - 1
            guess = (passed - bisect_left(self.days, self.first_on.weekday())) // self.count
        # The guess ignores the time of day and the day of the month, so it can be off by one.
        while self.handoff(guess, zone) > at:
            guess -= 1
        while self.handoff(guess + 1, zone) <= at:
            guess += 1
        return guess

    def handoffs(self, starts_at: datetime, ends_at: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Yield the instants of the hand-offs after one instant and before another, in order."""
        turn = self.turn(starts_at, zone) + 1
        while (at := self.handoff(turn, zone)) < ends_at:
            yield at
            turn += 1

    def on(self, role_holders: tuple[RoleHolder, ...], turn: int) -> tuple[RoleHolder, ...]:
        """Return the people who are on in a turn: `at_once` people of each role, in the next turn those after them."""
        # The first hand-off goes to the first person, even if the people were edited before it.
        ordered, since = (role_holders, 0) if self.since < 0 <= turn or not self.order else (self.order, self.since)
        return tuple(
            people[((turn - since) * self.at_once + index) % len(people)]
            for people in by_role(ordered).values()
            for index in range(min(self.at_once, len(people)))
        )


def by_role(role_holders: Iterable[RoleHolder]) -> dict[str, list[RoleHolder]]:
    """Group people by role, keeping their order."""
    holders_by_role: dict[str, list[RoleHolder]] = {}
    for role_holder in role_holders:
        holders_by_role.setdefault(role_holder.role, []).append(role_holder)
    return holders_by_role


def order_from_now(
    holders: Iterable[RoleHolder], people: Sequence[RoleHolder], *, before: Sequence[RoleHolder] | None = None
) -> list[RoleHolder]:
    """Return the order of the turns from the current one on: its holders, then the people who follow them in `people`.

    `before` is the previous order, if it was another. If no holder is left in `people`, the next person of the previous
    order who is still there has the turn.
    """
    held, former = by_role(holders), by_role(people if before is None else before)
    ordered: list[RoleHolder] = []
    for role, present in by_role(people).items():
        kept = [role_holder for role_holder in held.get(role, ()) if role_holder in present]
        if kept:
            after = present.index(kept[-1]) + 1
        else:
            after = present.index(_following(held.get(role, []), former.get(role, []), present))
        ordered += kept + [role_holder for role_holder in present[after:] + present[:after] if role_holder not in kept]
    return ordered


def _following(gone: Sequence[RoleHolder], former: Sequence[RoleHolder], present: Sequence[RoleHolder]) -> RoleHolder:
    """Return the one of the people `present` who comes after the last of those `gone` in the former order."""
    after = former.index(gone[-1]) + 1 if gone and gone[-1] in former else 0
    return next(
        (role_holder for role_holder in [*former[after:], *former[:after]] if role_holder in present), present[0]
    )


class Timetable:
    """An index of periods by time, so that a question about a short time looks at few of thousands of entries.

    Periods are grouped by length, rounded up to a power of two: those of a group that overlap a time can have begun no
    longer before it than the group's length, so that two binary searches find them.
    """

    def __init__(self, periods: Iterable[Period]) -> None:
        by_length: dict[int, list[Period]] = {}
        for period in sorted(periods, key=_BEGINS):
            by_length.setdefault((period.length // _SECOND).bit_length(), []).append(period)
        self._by_length = [(_SECOND * 2**bits, group) for bits, group in by_length.items()]

    def touching(self, starts_at: datetime, ends_at: datetime) -> list[Period]:
        """Return the periods that overlap the time between two instants, ordered by start."""
        overlapping: list[Period] = []
        for longest, periods in self._by_length:
            first = bisect_left(periods, starts_at - longest, key=_BEGINS) if starts_at - BEGINNING > longest else 0
            last = bisect_left(periods, ends_at, key=_BEGINS)
            overlapping += [period for period in periods[first:last] if period.touches(starts_at, ends_at)]
        return sorted(overlapping, key=_BEGINS) if len(self._by_length) > 1 else overlapping


@dataclass(frozen=True, slots=True)
class RotaShift:
    """People in order and the times at which they are on, as a pure value; `id` is that of the stored shift.

    The shift is on in its `windows`, or around the clock without any, from `starts_at` until `ends_at`. With a
    `rotation` only the people whose turn it is are on. With `entries`, which come from a calendar, the entries say when
    it is on and who is. An `override` takes precedence over all other shifts.
    """

    id: int
    name: str
    zone: tzinfo
    role_holders: tuple[RoleHolder, ...] = ()
    windows: tuple[WeeklyWindow, ...] = ()
    starts_at: datetime = BEGINNING
    ends_at: datetime = END
    rotation: Rotation | None = None
    entries: tuple[Period, ...] | None = field(default=None)
    override: bool = False
    _timetable: Timetable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the entries by time."""
        object.__setattr__(self, "_timetable", Timetable(self.entries or ()))

    @property
    def people(self) -> Iterator[RoleHolder]:
        """All people who are on it at some time; people of calendar entries are repeated."""
        yield from self.role_holders
        for entry in self.entries or ():
            yield from entry.role_holders

    def periods(self, starts_at: datetime, ends_at: datetime) -> list[Period]:
        """Return the periods of the shift that overlap the time between two instants."""
        if self.entries is not None:
            periods = self._timetable.touching(starts_at, ends_at)
        elif self.windows:
            periods = [
                Period(*times) for window in self.windows for times in window.periods(starts_at, ends_at, self.zone)
            ]
        else:
            periods = [ALWAYS]
        clipped = [period.within(self.starts_at, self.ends_at) for period in periods]
        return [period for period in clipped if period.touches(starts_at, ends_at)]

    def on(self, at: datetime, period: Period) -> tuple[RoleHolder, ...]:
        """Return the people who are on at an instant within one of the shift's periods."""
        if self.entries is not None:
            return period.role_holders
        if self.rotation is None:
            return self.role_holders
        return self.rotation.on(self.role_holders, self.rotation.turn(at, self.zone))
