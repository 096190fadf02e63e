"""Shifts: weekly windows, rotations, entries of a calendar, and the periods and people that they make (pure)."""

import calendar
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise

from escalation.rota.clocks import instant, local_time

BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
_DAY = timedelta(days=1)
_WEEK = 7
EVERY_DAY = tuple(range(_WEEK))


@dataclass(frozen=True, slots=True)
class Duty:
    """One person, by id, in one group role."""

    user: int
    role: str


@dataclass(frozen=True, slots=True)
class Period:
    """From an instant until another, which is not included; `duties`: who is on, where the period itself says it."""

    starts_at: datetime
    ends_at: datetime
    duties: tuple[Duty, ...] = ()

    @property
    def length(self) -> timedelta:
        """How long it lasts."""
        return self.ends_at - self.starts_at

    def within(self, starts_at: datetime, ends_at: datetime) -> "Period":
        """Return the part between two instants; it is empty where nothing lies between them."""
        return Period(max(self.starts_at, starts_at), min(self.ends_at, ends_at), self.duties)

    def touches(self, starts_at: datetime, ends_at: datetime) -> bool:
        """Answer whether some instant lies in it and between the two."""
        return max(self.starts_at, starts_at) < min(self.ends_at, ends_at)


ALWAYS = Period(BEGINNING, END)


@dataclass(frozen=True, slots=True)
class Window:
    """The same time on some weekdays (0 is Monday), until `ends` on the day that is `days_later` days later."""

    days: frozenset[int]
    starts: time
    ends: time
    days_later: int = 0

    def periods(self, starts_at: datetime, ends_at: datetime, zone: tzinfo) -> Iterator[Period]:
        """Yield the window's periods that touch the time between two instants, in order."""
        day = local_time(starts_at, zone).date() - (self.days_later + 1) * _DAY
        last = local_time(ends_at, zone).date() + _DAY
        while day <= last:
            if day.weekday() in self.days:
                begins = instant(datetime.combine(day, self.starts), zone)
                period = Period(begins, instant(datetime.combine(day + self.days_later * _DAY, self.ends), zone))
                if period.touches(starts_at, ends_at):
                    yield period
            day += _DAY


def handoff_days(windows: Iterable[Window], at: time) -> tuple[int, ...]:
    """Return the weekdays on which daily hand-offs at this time take place: those that have a window.

    That is: a window begins on the day, or is on at the time of the hand-off; and before the next such hand-off there
    is some time within a window, so that no turn passes in silence. Without windows it is every day.
    """
    week = [
        (_minutes(day, window.starts), _minutes(day + window.days_later, window.ends))
        for window in windows
        for day in window.days
    ]
    if not week:
        return EVERY_DAY
    # With the week before and after it, so that what crosses midnight on a Sunday needs no case of its own.
    times = [(begins + shift, ends + shift) for begins, ends in week for shift in (-_A_WEEK, 0, _A_WEEK)]
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
    return tuple(day for day, some in zip(days, busy, strict=True) if some)


def _minutes(day: int, at: time) -> float:
    """Return how many minutes after the week's beginning a weekday's time is; day 7 is the next Monday."""
    return day * 1440 + at.hour * 60 + at.minute + at.second / 60


_A_WEEK = _WEEK * 1440


@dataclass(frozen=True, slots=True)
class Rotation:
    """Hand-offs every `count` days, weeks or months from `first_on`, at the same time; `at_once` people are on.

    Daily ones count the weekdays in `days`. In turn `since` the first people of `order` are on, then the next ones:
    whoever had the turn when the people were changed keeps it so. Without an order it is that of the shift's people,
    and turn 0, which begins on the first of the days from `first_on` on, is the first one's.
    """

    every: str
    count: int
    first_on: date
    at: time
    at_once: int = 1
    days: tuple[int, ...] = EVERY_DAY
    since: int = 0
    order: tuple[Duty, ...] = ()

    def handoff(self, turn: int, zone: tzinfo) -> datetime:
        """Return the instant at which the numbered turn begins.

        Monthly hand-offs keep the day of the month, or take the month's last day where it has none such.
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
        """Return the number of the turn at an instant; before the first hand-off it is negative."""
        today = local_time(at, zone).date()
        if self.every == "month":
            guess = (today.year * 12 + today.month - self.first_on.year * 12 - self.first_on.month) // self.count
        elif self.every == "week":
            guess = (today - self.first_on).days // (self.count * _WEEK)
        else:
            weeks = (today - self.first_on + (self.first_on.weekday() - today.weekday()) * _DAY).days // _WEEK
            passed = weeks * len(self.days) + bisect_right(self.days, today.weekday()) - 1
            guess = (passed - bisect_left(self.days, self.first_on.weekday())) // self.count
        while self.handoff(guess, zone) > at:
            guess -= 1
        while self.handoff(guess + 1, zone) <= at:
            guess += 1
        return guess

    def handoffs(self, starts_at: datetime, ends_at: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Yield the hand-offs after one instant and before another, in order."""
        turn = self.turn(starts_at, zone) + 1
        while (at := self.handoff(turn, zone)) < ends_at:
            yield at
            turn += 1

    def on(self, duties: tuple[Duty, ...], turn: int) -> tuple[Duty, ...]:
        """Return who of the ordered people is on in a turn: in each role `at_once` people, then the next ones."""
        # The first hand-off is the first person's, also where the people were changed before it.
        ordered, since = (duties, 0) if self.since < 0 <= turn or not self.order else (self.order, self.since)
        return tuple(
            people[((turn - since) * self.at_once + index) % len(people)]
            for people in by_role(ordered).values()
            for index in range(min(self.at_once, len(people)))
        )


def by_role(duties: Iterable[Duty]) -> dict[str, list[Duty]]:
    """Return the people of each role, in order."""
    found: dict[str, list[Duty]] = {}
    for duty in duties:
        found.setdefault(duty.role, []).append(duty)
    return found


def order_from_now(
    holders: Iterable[Duty], people: Sequence[Duty], *, before: Sequence[Duty] | None = None
) -> list[Duty]:
    """Return the order of the turns from a running one on: its holders, then who follows them among `people`.

    `before` is the order that counted until now, where it was another: who comes after holders who are gone is the next
    one of it who is still there.
    """
    held, former = by_role(holders), by_role(people if before is None else before)
    found: list[Duty] = []
    for role, here in by_role(people).items():
        kept = [duty for duty in held.get(role, ()) if duty in here]
        if kept:
            after = here.index(kept[-1]) + 1
        else:
            after = here.index(_following(held.get(role, []), former.get(role, []), here))
        found += kept + [duty for duty in here[after:] + here[:after] if duty not in kept]
    return found


def _following(gone: Sequence[Duty], former: Sequence[Duty], here: Sequence[Duty]) -> Duty:
    """Return who of those here comes after the last of those who are gone."""
    after = former.index(gone[-1]) + 1 if gone and gone[-1] in former else 0
    return next((duty for duty in [*former[after:], *former[:after]] if duty in here), here[0])


@dataclass(frozen=True, slots=True)
class Shift:
    """Some people in order, and when they are on.

    Without windows that is always; between `starts_at` and `ends_at` in any case. With a rotation only those whose turn
    it is are on. With `entries`, read from a calendar, those say when and who. An `override` wins over every shift
    that is none.
    """

    id: int
    name: str
    zone: tzinfo
    duties: tuple[Duty, ...] = ()
    windows: tuple[Window, ...] = ()
    starts_at: datetime = BEGINNING
    ends_at: datetime = END
    rotation: Rotation | None = None
    entries: tuple[Period, ...] | None = field(default=None)
    override: bool = False

    @property
    def people(self) -> Iterator[Duty]:
        """Whoever is on it at some time."""
        yield from self.duties
        for entry in self.entries or ():
            yield from entry.duties

    def periods(self, starts_at: datetime, ends_at: datetime) -> list[Period]:
        """Return the shift's periods that touch the time between two instants."""
        if self.entries is not None:
            found = [entry for entry in self.entries if entry.touches(starts_at, ends_at)]
        elif self.windows:
            found = [period for window in self.windows for period in window.periods(starts_at, ends_at, self.zone)]
        else:
            found = [ALWAYS]
        clipped = [period.within(self.starts_at, self.ends_at) for period in found]
        return [period for period in clipped if period.touches(starts_at, ends_at)]

    def on(self, at: datetime, period: Period) -> tuple[Duty, ...]:
        """Return who is on at an instant of one of the shift's periods."""
        if self.entries is not None:
            return period.duties
        return (
            self.duties if self.rotation is None else self.rotation.on(self.duties, self.rotation.turn(at, self.zone))
        )
