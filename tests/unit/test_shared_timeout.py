import asyncio

import pytest

from integrations.ping_lane.shared_timeout import SharedTimeout


class Clockwork(asyncio.SelectorEventLoop):
    """A loop in which time passes only when nothing else is left to do."""

    passed = 0.0

    def time(self):
        return self.passed

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.passed = max(self.passed, self._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]  # every turn of asyncio's own loops, in no stub


def run(story):
    with asyncio.Runner(loop_factory=Clockwork) as runner:
        return runner.run(story())


def test_what_is_done_in_time_is_returned_and_nothing_is_kept():
    async def story():
        timeout = SharedTimeout(60)
        assert await timeout.run(asyncio.sleep(59, "done")) == "done"
        return timeout._since, timeout._ended

    assert run(story) == ({}, set())


def test_each_of_many_is_ended_when_its_own_time_is_up_and_goes_on():
    async def story():
        timeout, loop = SharedTimeout(10), asyncio.get_running_loop()

        async def one(start):
            await asyncio.sleep(start)
            with pytest.raises(TimeoutError):
                await timeout.run(asyncio.Event().wait())
            ended_at = loop.time()
            await asyncio.sleep(1)
            return ended_at, loop.time()

        return await asyncio.gather(one(0), one(3), one(30))

    assert run(story) == [(10, 11), (13, 14), (40, 41)]


def test_one_that_ends_lets_the_next_wait_its_whole_time():
    async def story():
        timeout = SharedTimeout(10)
        await timeout.run(asyncio.sleep(5))
        return await timeout.run(asyncio.sleep(9, "in time"))

    assert run(story) == "in time"


def test_who_is_cancelled_by_somebody_else_is_cancelled():
    async def story():
        timeout = SharedTimeout(60)
        waiting = asyncio.create_task(timeout.run(asyncio.Event().wait()))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait({waiting})
        return waiting.cancelled(), timeout._since

    assert run(story) == (True, {})
