"""Who gets one of a few threads: sources take turns, and none of them gets all threads."""

import threading

import pytest

from heartbeat_project.kernel.fair_queue import Full
from heartbeat_project.kernel.fair_threads import FairThreads
from tests.processes import until


class Work:
    """Jobs that run until they are let go, and the order in which they began."""

    def __init__(self, threads):
        self.threads = threads
        self.begun = []
        self.gates = {}

    def submit(self, wide, narrow, name):
        self.gates[name] = threading.Event()

        def run():
            self.begun.append(name)
            assert self.gates[name].wait(30)
            return name

        return self.threads.submit((wide, narrow), run)

    def expect(self, *names):
        until(lambda: self.begun == [*names], seconds=30, what=f"{names} begin, not {self.begun}", every=0.001)

    def end(self, *names):
        for name in names:
            self.gates[name].set()


@pytest.fixture
def ended():
    return threading.Semaphore(0)


@pytest.fixture
def make(ended):
    def work(max_threads, *, per_source=10, in_all=100, idle_seconds=0.0):
        limits = {"per_source": per_source, "in_all": in_all, "idle_seconds": idle_seconds}
        return Work(FairThreads(max_threads, name="test", at_end=ended.release, **limits))

    return work


def test_sources_take_turns_however_often_one_asks(make):
    work = make(1)
    work.submit("a", "1", "first")
    work.expect("first")
    for number in range(3):
        work.submit("a", f"{number}", f"a{number}")
    work.submit("b", "1", "b")
    work.end("first", "a0", "a1", "a2", "b")
    work.expect("first", "a0", "b", "a1", "a2")


def test_work_of_one_narrow_source_is_done_one_after_the_other(make):
    work = make(3)
    jobs = [work.submit("a", "1", name) for name in ("x", "y")]
    work.submit("b", "1", "z")
    work.expect("x", "z")
    work.end("x", "y")
    assert [job.future.result(30) for job in jobs] == ["x", "y"]
    work.end("z")


def test_a_wide_source_leaves_a_thread_to_the_others(make):
    work = make(3)
    for name in "xyz":
        work.submit("a", name, name)
    work.expect("x", "y")
    work.submit("b", "1", "other")
    work.expect("x", "y", "other")
    work.end("other", "x", "y", "z")
    work.expect("x", "y", "other", "z")


def test_what_waits_is_bounded_and_the_source_that_has_most_gives_way(make):
    work = make(1, per_source=2, in_all=3)
    work.submit("a", "1", "first")
    work.expect("first")
    waiting = [work.submit("a", "1", "x"), work.submit("a", "1", "y")]
    with pytest.raises(Full):
        work.submit("a", "1", "too much of one")
    work.submit("b", "1", "z")
    work.submit("c", "1", "last")
    assert isinstance(waiting[1].future.exception(30), Full)
    work.end("first", "x", "z", "last")
    work.expect("first", "x", "z", "last")


def test_a_job_can_be_taken_back_until_it_is_begun(make):
    work = make(1)
    begun = work.submit("a", "1", "first")
    work.expect("first")
    waiting = work.submit("a", "1", "taken back")
    assert not work.threads.give_up(begun)
    assert work.threads.give_up(waiting)
    assert not work.threads.give_up(waiting)
    assert work.threads.waiting == 0
    work.end("first")
    assert begun.future.result(30) == "first"


def test_an_error_is_raised_where_the_result_is_awaited_and_the_thread_goes_on(make, ended):
    work = make(1, idle_seconds=30)
    failed = work.threads.submit(("a", "1"), lambda: 1 / 0)
    assert isinstance(failed.future.exception(30), ZeroDivisionError)
    assert work.threads.submit(("a", "1"), threading.get_ident).future.result(30)
    assert not ended.acquire(blocking=False)


def test_a_caller_who_waits_no_more_stops_neither_the_work_nor_the_thread(make, ended):
    work = make(1, idle_seconds=30)
    begun = work.submit("a", "1", "first")
    work.expect("first")
    waiting = work.submit("a", "1", "second")
    assert not begun.future.cancel()
    assert waiting.future.cancel()
    work.end("first", "second")
    assert work.threads.submit(("a", "1"), lambda: "third").future.result(30) == "third"
    assert begun.future.result(30) == "first"
    assert work.begun == ["first"]
    assert not ended.acquire(blocking=False)


def test_a_thread_without_work_ends_and_a_new_one_takes_the_next_job(make, ended):
    work = make(2)
    for _ in range(3):
        assert work.threads.submit(("a", "1"), lambda: "done").future.result(30) == "done"
        assert ended.acquire(timeout=30)
