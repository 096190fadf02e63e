"""The numbers of a heartbeat's history, against an oracle that looks at every second."""

import itertools
import time
from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from integrations.availability.numbers import Condition, History, Period
from tests.conftest import NOON

LENGTH = 120  # seconds
SECOND = timedelta(seconds=1)
STATES = ("missed", "waiting", "disabled", "unknown")
seconds_of_time = st.integers(-20, LENGTH + 20)


def at(second):
    return NOON + second * SECOND


@st.composite
def histories(draw):
    """Return a history of LENGTH seconds: states one after another, maintenance and outages anywhere."""
    edges = sorted(draw(st.lists(seconds_of_time, min_size=2, max_size=14, unique=True)))
    periods = []
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        kind = draw(st.sampled_from((*STATES, "healthy", "missed")))
        if kind == "healthy":
            continue
        is_last = number == len(edges) - 2
        periods.append(Period(kind, at(start), None if is_last and draw(st.booleans()) else at(end)))
    for _ in range(draw(st.integers(0, 3))):
        start, length = draw(seconds_of_time), draw(st.integers(0, 60))
        periods.append(Period("maintenance", at(start), at(start + length)))
    outages = []
    for _ in range(draw(st.integers(0, 3))):
        start, length = draw(seconds_of_time), draw(st.integers(1, 30))
        outages.append((at(start), at(start + length)))
    periods = draw(st.permutations(periods))
    return History(periods=periods, outages=outages, known_since=at(draw(st.integers(0, LENGTH - 1))), until=at(LENGTH))


def condition_at(history, second):
    """Return what the heartbeat was in one second, and the number of its silence, by asking all that is stored."""
    now = at(second)
    if not history.known_since <= now < history.until:
        return None, None
    held = {
        period.kind: number
        for number, period in enumerate(history.periods)
        if period.started_at <= now and (period.ended_at is None or now < period.ended_at)
    }
    if "disabled" in held:
        return "disabled", None
    if "maintenance" in held:
        return "maintenance", None
    if any(start <= now < end for start, end in history.outages):
        return "outage", None
    if held.keys() & {"waiting", "unknown"}:
        return "no_data", None
    return ("down", held["missed"]) if "missed" in held else ("up", None)


def numbers_by_the_second(history, first, last):
    """Return the seconds of each condition, and the lengths of the silences that began in this time."""
    seconds = Counter()
    lengths, begun = Counter(), {}
    for second in range(-30, LENGTH + 30):
        condition, silence = condition_at(history, second)
        if condition is None and at(second) < history.known_since:
            condition = "no_data"
        if condition is not None and first <= second < last:
            seconds[condition] += 1
        if silence is not None:
            lengths[silence] += 1
            begun.setdefault(silence, second)
    silences = [number for number, second in begun.items() if first <= second < last]
    disabled = {period.started_at for period in history.periods if period.kind == "disabled"}
    recovered = []
    for number in silences:
        ended_at = history.periods[number].ended_at
        if ended_at is not None and ended_at <= history.until and ended_at not in disabled:
            recovered.append(lengths[number])
    return seconds, [lengths[number] for number in silences], recovered


@given(histories(), seconds_of_time, seconds_of_time)
def test_numbers_are_those_of_an_oracle_that_looks_at_every_second(history, one, other):
    first, last = sorted((one, other))
    seconds, lengths, recovered = numbers_by_the_second(history, first, last)
    numbers = history.numbers(at(first), at(last))
    assert numbers.seconds == dict(seconds)
    assert numbers.silences == len(lengths)
    assert numbers.longest == max(lengths, default=0) * SECOND
    mean = sum(recovered) * SECOND / len(recovered) if recovered else None
    assert numbers.mean_recovery == mean
    counted = seconds["up"] + seconds["down"]
    assert numbers.availability == (seconds["up"] / counted if counted else None)


@given(histories(), st.integers(1, 40))
def test_the_cells_of_a_strip_say_what_each_second_was(history, width):
    edges = [at(second) for second in range(0, LENGTH + width, width)]
    for cell in history.cells(edges):
        first = (cell.started_at - NOON) // SECOND
        found = Counter(condition_at(history, second)[0] for second in range(first, first + width))
        assert (cell.condition is Condition.DOWN) == bool(found["down"])
        if not found["down"]:
            found["no_data"] += sum(at(second) < history.known_since for second in range(first, first + width))
            del found[None]
            assert not found or found[cell.condition.value] == max(found.values())


@given(histories())
def test_stretches_follow_one_another_without_a_gap_from_the_first_moment_to_the_last(history):
    found = history.stretches
    assert found[0].started_at == history.known_since
    assert found[-1].ended_at == history.until
    for one, other in itertools.pairwise(found):
        assert one.ended_at == other.started_at
        assert (one.condition, one.silence) != (other.condition, other.silence)


def test_no_data_is_never_up_and_a_silence_ended_by_disabling_has_not_recovered():
    history = History(
        periods=[
            Period("waiting", at(0), at(10)),
            Period("missed", at(20), at(30)),
            Period("disabled", at(30), at(40)),
            Period("missed", at(50), None),
        ],
        known_since=at(0),
        until=at(60),
    )
    numbers = history.numbers(at(-10), at(60))
    assert numbers.time("up") == 20 * SECOND
    assert numbers.time("no_data") == 20 * SECOND
    assert [silence.has_recovered for silence in history.silences] == [False, False]
    assert numbers.mean_recovery is None
    assert numbers.availability == 0.5


def test_ninety_days_of_one_heartbeat_take_milliseconds():
    """A job that fails every half hour for 90 days: far more than one whose history is read."""
    half_an_hour = timedelta(minutes=30)
    start = NOON - timedelta(days=90)
    periods = [Period("missed", start + n * half_an_hour, start + n * half_an_hour + 9 * SECOND) for n in range(3_000)]
    began = time.process_time()
    history = History(periods=periods, known_since=start, until=NOON)
    cells = history.cells(start + n * timedelta(days=1) for n in range(91))
    months = [history.numbers(start + n * timedelta(days=30), start + (n + 1) * timedelta(days=30)) for n in range(3)]
    assert time.process_time() - began < 0.5  # about 20 ms; the limit is for a busy machine
    assert len(cells) == 90
    assert sum(month.silences for month in months) == 3_000
