"""What a heartbeat was at each moment, and the numbers that follow from it (pure).

Up is what remains: a moment after the heartbeat was created for which nothing else is stored. Of several conditions at
one moment the first in the order of `Condition` holds. Only up and down count for availability: maintenance, our own
outages, and time without data stand apart.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple

ZERO: Final = timedelta()


class Condition(StrEnum):
    """What a heartbeat was; of two that hold at one moment, the earlier one here counts."""

    DISABLED = "disabled"
    MAINTENANCE = "maintenance"
    OUTAGE = "outage"  # ours: nobody could know
    NO_DATA = "no_data"  # no ping yet, or nothing is stored
    DOWN = "down"  # silent: from the passed deadline until the next ping
    UP = "up"


# The conditions of stored periods, by kind.
_CONDITIONS: Final = {
    "missed": Condition.DOWN,
    "waiting": Condition.NO_DATA,
    "unknown": Condition.NO_DATA,
    "disabled": Condition.DISABLED,
    "maintenance": Condition.MAINTENANCE,
}
_ORDER: Final = {condition: number for number, condition in enumerate(Condition)}


class Period(NamedTuple):
    """A stored period: a kind of StatePeriod, its start, and its end; None: it has not ended."""

    kind: str
    started_at: datetime
    ended_at: datetime | None


class Stretch(NamedTuple):
    """A time in which one condition held; `silence` numbers the silence that it belongs to, if it is down."""

    condition: Condition
    started_at: datetime
    ended_at: datetime
    silence: int | None = None

    @property
    def length(self) -> timedelta:
        """Return how long it lasted."""
        return self.ended_at - self.started_at


class Silence(NamedTuple):
    """A silence: its first moment that counts as down, how long it was down, and whether a ping has ended it."""

    started_at: datetime
    length: timedelta
    has_recovered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What happened between two moments: time by condition, and the silences that began then, with their whole length.

    `availability` is the part of up in up and down, from 0 to 1; None without either. `mean_recovery` is the mean
    length of the silences that a ping ended, None without any.
    """

    seconds: dict[Condition, float]
    silences: int
    longest: timedelta
    mean_recovery: timedelta | None

    @property
    def availability(self) -> float | None:
        """Return the part of the time that counts in which the heartbeat was up."""
        up, down = self.seconds.get(Condition.UP, 0.0), self.seconds.get(Condition.DOWN, 0.0)
        return up / (up + down) if up + down else None

    def time(self, *conditions: str) -> timedelta:
        """Return how long these conditions held."""
        return timedelta(seconds=sum(self.seconds.get(Condition(name), 0.0) for name in conditions))


class Cell(NamedTuple):
    """A part of a strip: down if there was any silence, else the condition that held for most of it."""

    started_at: datetime
    ended_at: datetime
    condition: Condition
    seconds: dict[Condition, float]


@dataclass(frozen=True, kw_only=True)
class History:
    """What is stored of a heartbeat, from `known_since` to `until`; outages are pairs of start and end."""

    periods: Sequence[Period]
    outages: Sequence[tuple[datetime, datetime]] = field(default=())
    known_since: datetime
    until: datetime

    @cached_property
    def stretches(self) -> list[Stretch]:
        """Return the conditions in the order of time, without gaps."""
        return _stretches(self)

    @cached_property
    def silences(self) -> list[Silence]:
        """Return the silences that were down at all, in the order of time."""
        return _silences(self)

    @cached_property
    def _starts(self) -> list[datetime]:
        return [stretch.started_at for stretch in self.stretches]

    @cached_property
    def _silence_starts(self) -> list[datetime]:
        return [silence.started_at for silence in self.silences]

    def seconds(self, start: datetime, end: datetime) -> dict[Condition, float]:
        """Return the seconds of each condition between two moments; before and after what is known, nothing counts."""
        seconds: Counter[Condition] = Counter()
        first = max(0, bisect_right(self._starts, start) - 1)
        for position in range(first, bisect_left(self._starts, end)):
            stretch = self.stretches[position]
            length = min(stretch.ended_at, end) - max(stretch.started_at, start)
            if length > ZERO:
                seconds[stretch.condition] += length.total_seconds()  # type: ignore[assignment]
        unknown = min(end, self.known_since) - start
        if unknown > ZERO:
            seconds[Condition.NO_DATA] += unknown.total_seconds()  # type: ignore[assignment]
        return dict(seconds)

    def numbers(self, start: datetime, end: datetime) -> Numbers:
        """Return the numbers of the time between two moments."""
        first, last = bisect_left(self._silence_starts, start), bisect_left(self._silence_starts, end)
        begun = self.silences[first:last]
        recovered = [silence.length for silence in begun if silence.has_recovered]
        return Numbers(
            seconds=self.seconds(start, end),
            silences=len(begun),
            longest=max((silence.length for silence in begun), default=ZERO),
            mean_recovery=sum(recovered, ZERO) / len(recovered) if recovered else None,
        )

    def cells(self, edges: Iterable[datetime]) -> list[Cell]:
        """Return the cells of a strip between these moments; the last ones may reach beyond `until`."""
        return [self._cell(start, end) for start, end in pairwise(edges)]

    def _cell(self, start: datetime, end: datetime) -> Cell:
        seconds = self.seconds(start, end)
        condition = Condition.NO_DATA
        if seconds.get(Condition.DOWN):
            condition = Condition.DOWN
        elif seconds:
            condition = max(seconds, key=lambda name: (seconds[name], -_ORDER[name]))
        return Cell(start, end, condition, seconds)


def _stretches(history: History) -> list[Stretch]:
    """Sweep over the starts and ends of everything that is stored, and keep count of what holds."""
    begin, until = history.known_since, history.until
    changes: list[tuple[datetime, int, Condition, int | None]] = []
    timed: list[tuple[Condition, datetime, datetime, int | None]] = []
    for number, period in enumerate(history.periods):
        condition = _CONDITIONS[period.kind]
        silence = number if condition is Condition.DOWN else None
        timed.append((condition, period.started_at, period.ended_at or until, silence))
    timed.extend((Condition.OUTAGE, started_at, ended_at, None) for started_at, ended_at in history.outages)
    for condition, started_at, ended_at, silence in timed:
        start, end = max(started_at, begin), min(ended_at, until)
        if start < end:
            changes += [(start, 1, condition, silence), (end, -1, condition, silence)]
    changes.sort(key=lambda change: change[0])
    holding: Counter[Condition] = Counter({Condition.UP: 1})
    silent: set[int] = set()
    stretches: list[Stretch] = []
    since = begin
    for at, step, condition, silence in [*changes, (until, 0, Condition.UP, None)]:
        if at > since:
            _append(stretches, holding, silent, since, at)
            since = at
        holding[condition] += step
        if silence is not None:
            (silent.add if step > 0 else silent.discard)(silence)
    return stretches


def _append(
    stretches: list[Stretch], holding: Counter[Condition], silent: set[int], start: datetime, end: datetime
) -> None:
    """Append a stretch, or make the last one longer if it is the same."""
    condition = next(condition for condition in Condition if holding[condition] > 0)
    silence = min(silent) if condition is Condition.DOWN else None
    if stretches and stretches[-1].condition is condition and stretches[-1].silence == silence:
        stretches[-1] = stretches[-1]._replace(ended_at=end)
    else:
        stretches.append(Stretch(condition, start, end, silence))


def _silences(history: History) -> list[Silence]:
    """Return each silence with the time for which it was down.

    One that ended because its heartbeat was disabled has not recovered. One that began before `known_since` counts as
    begun then.
    """
    disabled = {period.started_at for period in history.periods if period.kind == "disabled"}
    starts: dict[int, datetime] = {}
    lengths: Counter[int] = Counter()
    for stretch in history.stretches:
        if stretch.silence is not None:
            starts.setdefault(stretch.silence, stretch.started_at)
            lengths[stretch.silence] += stretch.length // timedelta(microseconds=1)
    silences = []
    for number, started_at in starts.items():
        ended_at = history.periods[number].ended_at
        has_recovered = ended_at is not None and ended_at <= history.until and ended_at not in disabled
        silences.append(Silence(started_at, timedelta(microseconds=lengths[number]), has_recovered))
    return sorted(silences)
