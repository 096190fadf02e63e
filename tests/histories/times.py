"""What time brings: silence, faults of channels and workers, ticks that do not come or come twice, clocks that jump."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.histories.exchange import KINDS
from tests.histories.machine import History
from tests.world import PARTS, SECOND, minutes, seconds

TROUBLES = ["refuses", "refuses_for_good", "swallows"]


class Times(History):
    """Time, and what breaks in it."""

    @rule(by=st.sampled_from([1, 2, 5, 20, 70]).map(seconds))
    def seconds_pass(self, by: timedelta) -> None:
        self.world.advance(by)

    @rule(by=st.sampled_from([2, 3, 6, 15]).map(minutes))
    def minutes_pass(self, by: timedelta) -> None:
        self.world.advance(by, at_most_every=seconds(15))

    @rule(times=st.integers(1, 4))
    def what_is_due_happens(self, times: int) -> None:
        for _ in range(times):
            wait = self.world.next_due() - self.world.now
            if timedelta() < wait < minutes(60):
                self.world.advance(wait)
            else:
                self.world.advance(SECOND)

    @rule(by=st.sampled_from([3, 45, 400]).map(minutes))
    def a_long_time_passes(self, by: timedelta) -> None:
        self.world.advance(by, at_most_every=minutes(2))

    @rule(kind=st.sampled_from([*KINDS, "ana@example.com", "olga@example.com"]), trouble=st.sampled_from(TROUBLES))
    def a_channel_breaks(self, kind: str, trouble: str) -> None:
        self.exchange.troubles[kind] = trouble

    @rule()
    def channels_are_well(self) -> None:
        self.exchange.troubles.clear()

    @rule(when=st.sampled_from(["before", "after"]))
    def the_next_sender_dies(self, when: str) -> None:
        """Let the worker that sends the next message die just before or just after the channel has it."""
        self.exchange.worker_dies = when

    @rule(part=st.sampled_from(sorted(PARTS)), times=st.integers(2, 3))
    def a_part_works_twice(self, part: str, times: int) -> None:
        for _ in range(times):
            self.world.work(part)

    @rule(part=st.sampled_from(sorted(PARTS)))
    def a_part_goes_away_or_comes_back(self, part: str) -> None:
        self.world.away ^= {part}

    @rule(by=st.sampled_from([3, 90, 700]).map(seconds))
    def nobody_ticks(self, by: timedelta) -> None:
        self.world.ticking = False
        self.world.advance(by)
        self.world.ticking = True
        self.world.beat()

    @rule(by=st.sampled_from([3, 8, 90, 1_500, 20_000]).map(seconds))
    def everything_is_down_or_the_clock_jumps_ahead(self, by: timedelta) -> None:
        self.world.sleep(by)
        self.world.beat()

    @rule(by=st.sampled_from([2, 45, 90, 400, 5_000]).map(seconds))
    def the_clock_is_set_back(self, by: timedelta) -> None:
        self.world.now -= by
        self.world.slept = True
        self.world.beat()
