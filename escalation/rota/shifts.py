"""Shifts: weekly windows, rotations, entries of a calendar, and the periods and people that they make (pure)."""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from escalation.rota.clocks import instant, local_time

BEGINNING = datetime.min.replace(tzinfo=UTC)
END = datetime.max.replace(tzinfo=UTC)
_DAY = timedelta(days=1)


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


@dataclass(frozen=True, slots=True)
class Rotation:
    """Hand-offs every `count` days, weeks or months from `first_on`, at the same time; `at_once` people are on."""

    every: str
    count: int
    first_on: date
    at: time
    at_once: int = 1

    def handoff(self, turn: int, zone: tzinfo) -> datetime:
        """Return the instant at which the numbered turn begins; turn 0 begins on `first_on`.

        Monthly hand-offs keep the day of the month, or take the month's last day where it has none such.
        """
        if self.every == "month":
            year, month = divmod(self.first_on.year * 12 + self.first_on.month - 1 + turn * self.count, 12)
            month += 1
            day = date(year, month, min(self.first_on.day, calendar.monthrange(year, month)[1]))
        else:
            day = self.first_on + turn * self.count * (7 if self.every == "week" else 1) * _DAY
        return instant(datetime.combine(day, self.at), zone)

    def turn(self, at: datetime, zone: tzinfo) -> int:
        """Return the number of the turn at an instant; before `first_on` it is negative."""
        today = local_time(at, zone).date()
        if self.every == "month":
            guess = (today.year * 12 + today.month - self.first_on.year * 12 - self.first_on.month) // self.count
        else:
            guess = (today - self.first_on).days // (self.count * (7 if self.every == "week" else 1))
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
        by_role: dict[str, list[Duty]] = {}
        for duty in duties:
            by_role.setdefault(duty.role, []).append(duty)
        return tuple(
            people[(turn * self.at_once + index) % len(people)]
            for people in by_role.values()
            for index in range(min(self.at_once, len(people)))
        )


@dataclass(frozen=True, slots=True)
class Shift:
    """Some people in order, and when they are on.

    Without windows that is always; between `starts_at` and `ends_at` in any case. With a rotation only those whose turn
    it is are on. With `entries`, read from a calendar, those say when and who.
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

    @property
    def everybody(self) -> tuple[Duty, ...]:
        """Everybody who is on at some time, by the list of people or by the entries of a calendar."""
        return self.duties + tuple(duty for entry in self.entries or () for duty in entry.duties)

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
