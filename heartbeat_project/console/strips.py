"""Strips: what a heartbeat was in each part of a time, as the rectangles of a small picture with a title each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import groupby
from typing import Final

from heartbeat_project.kernel.durations import in_words
from integrations.availability.numbers import Cell, Condition, History, Numbers

HEIGHT: Final = 10
# The top of the rectangle of each condition, beside its colour: no meaning by colour alone.
_TOPS: Final = {
    Condition.UP: 4,
    Condition.DOWN: 0,
    Condition.MAINTENANCE: 6,
    Condition.OUTAGE: 7,
    Condition.DISABLED: 8,
    Condition.NO_DATA: 9,
}
WORDS: Final = {
    Condition.UP: "healthy",
    Condition.DOWN: "silent",
    Condition.MAINTENANCE: "in maintenance",
    Condition.OUTAGE: "Heartbeat itself was not running",
    Condition.DISABLED: "disabled",
    Condition.NO_DATA: "no data",
}
HALF_AN_HOUR: Final = timedelta(minutes=30)
_ABOVE: Final = (86_400_000_000, 86_400, 3_600, 60)  # what each unit is left over from, in seconds
_WHOLE_DAY: Final = timedelta(hours=23)  # cells of a day may be an hour shorter


@dataclass(frozen=True, slots=True)
class StripLength:
    """One length of time that a page shows as a strip."""

    slug: str
    label: str
    length: timedelta
    cell: timedelta


STRIP_LENGTHS: Final = (
    StripLength("24h", "24 hours", timedelta(days=1), HALF_AN_HOUR),
    StripLength("7d", "7 days", timedelta(days=7), timedelta(hours=3)),
    StripLength("30d", "30 days", timedelta(days=30), timedelta(hours=12)),
    StripLength("90d", "90 days", timedelta(days=90), timedelta(days=1)),
)
DAY: Final = STRIP_LENGTHS[0]


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle, from cell `x` on for `width` cells."""

    x: int
    width: int
    condition: str
    title: str

    @property
    def top(self) -> int:
        """Return where it begins, from the top."""
        return _TOPS[Condition(self.condition)]

    @property
    def height(self) -> int:
        """Return how high it is."""
        return HEIGHT - self.top


LEGEND: Final = [Bar(0, HEIGHT, condition.value, WORDS[condition]) for condition in reversed(Condition)]


@dataclass(frozen=True, slots=True)
class Strip:
    """A strip of `width` cells, and what it says in words."""

    label: str
    bars: list[Bar]
    width: int
    summary: str

    @property
    def description(self) -> str:
        """Return all that it says in words."""
        return f"{self.label}: {self.summary}"


def strip_of(history: History, strip_length: StripLength, *, zone: tzinfo) -> Strip:
    """Return the strip of a time that ends with the cell in which the history ends; cells begin at round times."""
    edges = edges_of(strip_length, until=history.until, zone=zone)
    return Strip(
        label=f"The last {strip_length.label}",
        bars=_bars(history.cells(edges), zone=zone),
        width=len(edges) - 1,
        summary=summary_of(history.numbers(history.until - strip_length.length, history.until)),
    )


def edges_of(strip_length: StripLength, *, until: datetime, zone: tzinfo) -> list[datetime]:
    """Return the bounds of the cells of a strip: of days at midnight in the zone, of others at round times of day."""
    count = strip_length.length // strip_length.cell
    midnight = until.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if strip_length.cell >= timedelta(days=1):
        first = midnight + timedelta(days=1)
        return [(first - timedelta(days=number)).astimezone(until.tzinfo) for number in range(count, -1, -1)]
    start = midnight.astimezone(until.tzinfo)
    last = start + ((until - start) // strip_length.cell + 1) * strip_length.cell
    return [last - number * strip_length.cell for number in range(count, -1, -1)]


def summary_of(numbers: Numbers) -> str:
    """Return the numbers of a time in words."""
    if numbers.availability is None:
        return "no data."
    percent = percent_of(numbers.availability)
    if not numbers.time("down"):
        return f"{percent} available, never silent."
    count = "1 silence" if numbers.silences == 1 else f"{numbers.silences} silences"
    return f"{percent} available, {count}, silent for {in_words(numbers.time('down'))}."


def briefly(length: timedelta) -> str:
    """Return a length in at most two units, for tables: 1 d 3 h, 5 min, 6 s."""
    seconds = round(length.total_seconds())
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    parts = [f"{seconds % above // size} {unit}" for (size, unit), above in zip(units, _ABOVE, strict=True)]
    first = next((number for number, (size, _) in enumerate(units) if seconds >= size), len(units) - 1)
    return " ".join(part for part in parts[first : first + 2] if not part.startswith("0 ")) or "0 s"


def percent_of(part: float) -> str:
    """Return a part of one as per cent, cut and never rounded up to 100 %."""
    return f"{int(part * 10_000) / 100:.2f}".rstrip("0").rstrip(".") + " %"


def _bars(cells: Sequence[Cell], *, zone: tzinfo) -> list[Bar]:
    """Return one rectangle for each run of cells in the same condition: most strips are a few rectangles."""
    bars, x = [], 0
    for condition, run in groupby(cells, key=lambda cell: cell.condition):
        same = list(run)
        bars.append(Bar(x, len(same), condition.value, _title(same, condition, zone=zone)))
        x += len(same)
    return bars


def _title(cells: Sequence[Cell], condition: Condition, *, zone: tzinfo) -> str:
    start, end = cells[0].started_at.astimezone(zone), cells[-1].ended_at.astimezone(zone)
    if cells[0].ended_at - cells[0].started_at >= _WHOLE_DAY:
        last = end - timedelta(hours=1)
        when = f"{start.day} {start:%b}" if start.date() == last.date() else f"{_day(start)} to {_day(last)}"
    else:
        same_day = start.date() == end.date()
        when = f"{start:%a} {_day(start)} {start:%H:%M} to {end:%H:%M}"
        if not same_day:
            when = f"{start:%a} {_day(start)} {start:%H:%M} to {end:%a} {_day(end)} {end:%H:%M}"
    words = WORDS[condition]
    if condition is Condition.DOWN:
        seconds = sum(cell.seconds.get(condition, 0.0) for cell in cells)
        words = f"silent for {in_words(timedelta(seconds=seconds))}"
    return f"{when}: {words}"


def _day(at: datetime) -> str:
    return f"{at.day} {at:%b}"
