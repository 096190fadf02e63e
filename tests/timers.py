"""Random running timers around noon, for the rule that follows an outage."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from integrations.heartbeats.timing import Timer
from tests.conftest import NOON

SIX_SECONDS = timedelta(seconds=6)
MINUTE = timedelta(minutes=1)


def rota_periods(most: timedelta, *, least: timedelta = timedelta()) -> st.SearchStrategy[timedelta]:
    return st.integers(least // timedelta(milliseconds=1), most // timedelta(milliseconds=1)).map(
        lambda number: timedelta(milliseconds=number)
    )


@st.composite
def timers(draw: st.DrawFn) -> Timer:
    """Return a timer that was armed up to three days before noon, or a little after it."""
    interval = draw(st.one_of(st.integers(1, 100), st.integers(1, 446_400))) * SIX_SECONDS
    grace = draw(st.sampled_from([0, 1, 50])) * SIX_SECONDS
    armed_at = (
        NOON - draw(st.one_of(rota_periods(2 * interval), rota_periods(timedelta(days=3)))) + draw(rota_periods(MINUTE))
    )
    waiting = draw(st.booleans())
    more: dict[str, Any] = {}
    if not waiting or draw(st.booleans()):
        more["last_ping_at"] = armed_at - draw(st.one_of(st.just(timedelta()), rota_periods(2 * interval)))
        more["last_gap"] = draw(st.none() | rota_periods(2 * interval))
    if draw(st.booleans()):
        more["excused_until"] = armed_at - draw(rota_periods(2 * interval)) + draw(rota_periods(2 * interval))
    return Timer(armed_at=armed_at, interval=interval, grace=grace, waiting=waiting, **more)
