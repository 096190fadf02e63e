"""Who waits for a turn: one source stands behind itself, and what waits is bounded."""

import threading
import time
from functools import partial

import pytest

from heartbeat_project.kernel.fair_queue import FairQueue, Full, Pauses
from tests.processes import until


def queue(**bounds):
    return FairQueue(1, **{"per_source": 10, "in_all": 100, **bounds})


class Line:
    """Threads that wait for a turn, and the order in which they had it."""

    def __init__(self, queue):
        self.queue = queue
        self.order = []
        self.left = []
        self.threads = []

    def _start(self, source):
        def wait():
            try:
                with self.queue.turn(source, seconds=30):
                    self.order.append(source)
            except Full:
                self.left.append(source)

        self.threads.append(threading.Thread(target=wait))
        self.threads[-1].start()

    def join(self, source):
        waiting = self.queue.waiting
        self._start(source)
        until(lambda: self.queue.waiting == waiting + 1, seconds=30, what="a place in the queue", every=0.001)

    def joins_and_somebody_leaves(self, source):
        left = len(self.left)
        self._start(source)
        until(lambda: len(self.left) > left, seconds=30, what="that somebody leaves", every=0.001)

    def end(self):
        for thread in self.threads:
            thread.join(30)


def test_sources_take_turns_however_often_one_asks():
    line = Line(queue())
    with line.queue.turn("first", seconds=0):
        for source in ("flood", "flood", "flood", "ana", "ben"):
            line.join(source)
    line.end()

    assert line.order == ["flood", "ana", "ben", "flood", "flood"]
    with line.queue.turn("later", seconds=0):  # the place is free again
        pass


def test_never_more_have_a_turn_than_there_are_places():
    crowd = FairQueue(2, per_source=50, in_all=50)
    now, most = [], []

    def work(source):
        with crowd.turn(source, seconds=10):
            now.append(source)
            most.append(len(now))
            time.sleep(0.002)
            now.remove(source)

    threads = [threading.Thread(target=work, args=(str(number % 7),)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(most) == 40
    assert max(most) == 2


def test_sources_within_one_source_take_its_turns():
    line = Line(queue())
    with line.queue.turn("first", seconds=0):
        for source in [("forger", "a"), ("forger", "b"), ("forger", "c"), ("ana", "x"), ("forger", "a"), ("ana", "x")]:
            line.join(source)
    line.end()

    assert ["".join(source)[0] + source[1] for source in line.order] == ["fa", "ax", "fb", "ax", "fc", "fa"]


def test_what_waits_of_one_source_is_bounded():
    line = Line(queue(per_source=2))
    with line.queue.turn("first", seconds=0):
        line.join("flood")
        line.join("flood")
        with pytest.raises(Full), line.queue.turn("flood", seconds=5):
            pass
        line.join("ana")
    line.end()

    assert line.order == ["flood", "ana", "flood"]


def test_where_too_many_wait_the_newest_of_who_has_most_leaves():
    line = Line(queue(in_all=4))
    with line.queue.turn("first", seconds=0):
        for number in range(3):
            line.join(("forger", str(number)))
        line.join(("office", "ben"))
        line.joins_and_somebody_leaves(("ana",))
        assert line.left == [("forger", "2")]
        with pytest.raises(Full), line.queue.turn(("forger", "3"), seconds=5):
            pass
        line.joins_and_somebody_leaves(("known", "chris"))
        assert line.left == [("forger", "2"), ("forger", "1")]
        with pytest.raises(Full), line.queue.turn(("one", "more"), seconds=5):
            pass
    line.end()

    assert line.order == [("forger", "0"), ("office", "ben"), ("ana",), ("known", "chris")]


def test_nothing_is_kept_of_who_does_not_wait_any_more():
    line = Line(queue(in_all=2))
    with line.queue.turn("first", seconds=0):
        line.join(("a", "b"))
        line.join(("a", "c"))
        line.joins_and_somebody_leaves(("d",))
        with pytest.raises(Full), line.queue.turn("impatient", seconds=0.01):
            pass
    line.end()

    assert line.queue.waiting == 0
    assert not line.queue._waiting._all.within


def test_who_gave_up_is_passed_over():
    line = Line(queue())
    with line.queue.turn("first", seconds=0):
        with pytest.raises(Full), line.queue.turn("impatient", seconds=0.01):
            pass
        assert line.queue.waiting == 0
        line.join("ana")
    line.end()

    assert line.order == ["ana"]


def test_a_turn_ends_with_what_was_done_in_it_also_when_that_fails():
    alone = queue()
    with pytest.raises(ZeroDivisionError), alone.turn("ana", seconds=0):
        raise ZeroDivisionError
    with alone.turn("ben", seconds=0):
        pass


class Paused:
    """Threads that are made to wait until `end`, and what became of them."""

    def __init__(self, pauses):
        self.pauses = pauses
        self.refused, self.let_through = [], []
        self.threads = []

    def add(self, *sources):
        for source in sources:
            done = len(self.refused) + self.pauses.waiting
            self.threads.append(threading.Thread(target=self._wait, args=(source,)))
            self.threads[-1].start()
            until(partial(self._has_more_than, done), seconds=30, what="that it waits or is refused", every=0.001)

    def _has_more_than(self, done):
        return len(self.refused) + self.pauses.waiting > done

    def has_refused(self, number):
        return len(self.refused) == number

    def _wait(self, source):
        try:
            self.pauses.pause(source, seconds=600, per_source=2)
            self.let_through.append(source)
        except Full:
            self.refused.append(source)

    def end(self):
        """Let their time be over."""
        for ticket in tickets(self.pauses._waiting._all):
            ticket.came.set()
        for thread in self.threads:
            thread.join(30)


def tickets(share):
    found = list(share.tickets)
    for within in share.within.values():
        found += tickets(within)
    return found


def test_a_pause_lasts_as_long_as_it_should():
    pauses, begun = Pauses(in_all=1), time.monotonic()
    pauses.pause("ana", seconds=0.05, per_source=1)
    assert time.monotonic() - begun >= 0.05
    assert pauses.waiting == 0


def test_pauses_are_bounded_for_each_source():
    paused = Paused(Pauses(in_all=5))
    paused.add("ana", "ana", "ana", "ben")
    assert paused.refused == ["ana"]
    paused.end()
    assert sorted(paused.let_through) == ["ana", "ana", "ben"]
    assert paused.pauses.waiting == 0


def test_a_flood_of_pauses_from_one_network_keeps_nobody_out_and_lets_nobody_through_early():
    paused = Paused(Pauses(in_all=3))
    flood = [("2001:db8:1::/48", f"2001:db8:1:{number}::/64") for number in range(5)]
    paused.add(*flood)
    assert paused.refused == flood[3:]

    for left, place in enumerate(["198.51.100.1", "198.51.100.2"], start=3):
        paused.add((place,))
        # One after the other, for two threads that leave may come in any order.
        until(partial(paused.has_refused, left), seconds=30, what="one of the flood leaves", every=0.001)
    assert paused.refused[2:] == [flood[2], flood[1]]
    assert paused.let_through == []
    paused.end()
    assert set(paused.let_through) == {flood[0], ("198.51.100.1",), ("198.51.100.2",)}
