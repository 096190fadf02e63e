"""A worker ticks by itself when no tick reaches it, and only then; time is a number here, and the tasks do nothing."""

import contextlib
import threading
import time
from itertools import pairwise

import pytest

from heartbeat_project import ticks
from heartbeat_project.ticks import Ticker

EACH_SECOND, EACH_MINUTE = "detect", "remind"
TASKS = {EACH_SECOND: 1.0, "advance": 1.0, EACH_MINUTE: 60.0}


class SharedBook:
    """What stands in the database, in memory: for each task when it was begun last, and how it was counted."""

    def __init__(self, time_of):
        self.time_of = time_of
        self.begun = dict.fromkeys(TASKS, -1e9)
        self.by_celery, self.by_itself = dict.fromkeys(TASKS, 0), dict.fromkeys(TASKS, 0)
        self.away = False

    def ages(self, tasks):
        self._ask()
        return {task: self.time_of() - self.begun[task] for task in tasks}

    def note(self, task, *, count, age):
        self._ask()
        self.by_celery[task] += count
        self.begun[task] = max(self.begun[task], self.time_of() - age)

    def claim(self, task, *, every):
        self._ask()
        if self.time_of() - self.begun[task] < every:
            return False
        self.begun[task] = self.time_of()
        self.by_itself[task] += 1
        return True

    def _ask(self):
        if self.away:
            raise OSError("the database is away")


class Workers:
    """Workers on one queue, a beat, and the clock that they share."""

    def __init__(self, count=1, *, ready=True, threads=2, each_in_turn=False):
        self.each_in_turn = each_in_turn
        self.now = 1_000.0
        self.book = SharedBook(lambda: self.now)
        self.ran, self.notices, self.hung = [], [], threading.Event()
        self.hang, self.next_worker = set(), 0
        self.tickers = [
            Ticker(
                TASKS,
                book=self.book,
                run_task=self.run,
                threads=threads,
                label="engine worker",
                notice=lambda: self.notices.append(self.now),
                monotonic=lambda: self.now,
            )
            for _ in range(count)
        ]
        if ready:
            for ticker in self.tickers:
                ticker.reached_the_broker()

    def run(self, name):
        self.ran.append((self.now, name))
        if name in self.hang:
            self.hung.wait(20)

    def beat(self, *, minute=False):
        """Let one of the workers, in turn, get each tick."""
        for task in TASKS if minute else (EACH_SECOND, "advance"):
            ticker = self.tickers[self.next_worker % len(self.tickers)]
            with ticker.woken(task):
                pass
            self.next_worker += self.each_in_turn
        self.next_worker += not self.each_in_turn

    def go(self, seconds, *, beat=True, every=1.0):
        """Let time pass in quarters of a second, with or without ticks over the broker."""
        next_beat = self.now + every
        end = self.now + seconds
        while self.now < end:
            self.now += 0.25
            if beat and self.now >= next_beat:
                self.beat()
                next_beat += every
            for ticker in self.tickers:
                ticker.step()
                finished(ticker, but=self.hang)

    def itself(self, name=EACH_SECOND):
        return [at for at, ran in self.ran if ran == name]


def finished(ticker, *, but=()):
    end = time.monotonic() + 10
    while any(watched.under_way for name, watched in ticker.tasks.items() if name not in but):
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def alone():
    workers = Workers()
    yield workers
    workers.hung.set()


def test_with_a_beat_it_never_ticks_by_itself_and_counts_celerys_ticks(alone):
    alone.go(600)
    assert alone.ran == []
    assert alone.book.by_itself == dict.fromkeys(TASKS, 0)
    assert 585 <= alone.book.by_celery[EACH_SECOND] <= 600


def test_two_seconds_after_the_last_tick_it_ticks_each_second_until_they_come_again(alone):
    alone.go(20)
    last = alone.now
    alone.go(40, beat=False)
    times = alone.itself()
    assert 2 <= times[0] - last <= 2.5
    assert all(0.9 <= later - earlier <= 1.3 for earlier, later in pairwise(times))
    alone.go(1)
    alone.ran.clear()
    alone.go(60)
    assert alone.ran == []


def test_it_begins_before_the_broker_was_ever_reached():
    workers = Workers(ready=False)
    workers.go(10, beat=False)
    assert workers.itself()[0] - 1_000 <= 5.5


def test_a_broker_that_comes_back_before_beat_does_is_no_reason_to_pause():
    workers = Workers(ready=False)
    workers.go(20, beat=False)
    workers.tickers[0].reached_the_broker()
    workers.ran.clear()
    workers.go(20, beat=False)
    assert len(workers.itself()) >= 16


def test_a_beat_that_starts_after_the_worker_is_waited_for(alone):
    alone.go(8, beat=False)
    alone.go(60)
    assert alone.ran == []


def test_a_beat_that_never_starts_is_not_waited_for_long(alone):
    alone.go(15, beat=False)
    assert alone.itself()[0] - 1_000 <= 10.5


def test_what_is_due_each_minute_runs_as_often_without_the_broker(alone):
    alone.go(5)
    alone.beat(minute=True)
    alone.go(60, beat=True)
    assert alone.itself(EACH_MINUTE) == []
    alone.go(300, beat=False)
    times = alone.itself(EACH_MINUTE)
    assert len(times) in {5, 6}
    assert all(later - earlier >= 54 for earlier, later in pairwise(times))


def test_a_tick_in_progress_on_all_threads_counts_as_one_but_not_for_ever(alone):
    [ticker] = alone.tickers
    alone.go(10)
    with ticker.woken(EACH_SECOND), ticker.woken("advance"):
        alone.go(8, beat=False)
        assert alone.ran == []
        alone.go(8, beat=False)
        assert alone.ran != []


def test_a_long_tick_on_one_of_two_threads_is_no_reason_to_wait(alone):
    [ticker] = alone.tickers
    alone.go(10)
    with ticker.woken(EACH_SECOND):
        alone.go(4, beat=False)
    assert alone.ran != []


def test_its_own_tick_that_hangs_has_others_beside_it_but_not_without_end(alone):
    alone.go(10)
    alone.hang = {EACH_SECOND}
    alone.go(60, beat=False)
    assert len(alone.itself(EACH_SECOND)) == 2, "as many as the worker has threads"
    assert len(alone.itself("advance")) > 50


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("each_in_turn", [False, True])
def test_of_workers_on_one_queue_none_ticks_by_itself_however_the_ticks_fall(count, each_in_turn):
    """Of two, one may get all ticks of one kind, and the other those of the other kind."""
    workers = Workers(count, each_in_turn=each_in_turn)
    workers.go(200)
    assert workers.ran == []


@pytest.mark.parametrize("each_in_turn", [False, True])
def test_a_worker_that_joins_ticks_no_more_by_itself(each_in_turn):
    workers = Workers(2, each_in_turn=each_in_turn)
    late = workers.tickers.pop()
    workers.go(60)
    late._hold_until = late._stepped_at = late._forgiven_at = workers.now
    for watched in late.tasks.values():
        watched.begun = workers.now
    late.reached_the_broker()
    workers.tickers.append(late)
    workers.go(200)
    assert workers.ran == []


def test_of_two_workers_on_one_queue_neither_ticks_by_itself_while_the_other_gets_them():
    workers = Workers(2)
    workers.go(120)
    assert workers.ran == []
    # A third of the time all come to one.
    workers.tickers.reverse()
    workers.next_worker = 0
    pair, workers.tickers = workers.tickers, workers.tickers[:1]
    for _ in range(120):
        workers.now += 0.25
        if workers.now % 1 == 0:
            workers.beat()
        for ticker in pair:
            ticker.step()
    assert workers.ran == []


def test_two_workers_that_are_both_without_the_broker_tick_no_oftener_than_one():
    workers = Workers(2)
    workers.go(20)
    workers.go(60, beat=False)
    assert 50 <= len(workers.itself()) <= 62
    assert len(workers.itself(EACH_MINUTE)) <= 2


def test_a_stall_of_the_worker_itself_is_not_taken_for_a_missing_beat(alone):
    alone.go(20)
    alone.now += 9
    alone.tickers[0].step()
    alone.go(60)
    assert alone.ran == []


def test_a_worker_that_stalls_again_and_again_ticks_all_the_same(alone):
    alone.go(20)
    for _ in range(20):
        alone.now += 3
        alone.tickers[0].step()
        finished(alone.tickers[0])
    assert len(alone.itself()) > 10


def test_the_thread_outlives_a_lost_database_and_a_task_that_fails(alone, caplog):
    alone.go(20)
    [ticker] = alone.tickers

    def fail(name):
        alone.ran.append((alone.now, name))
        raise RuntimeError("no")

    ticker._run_task = fail
    alone.go(5, beat=False)
    assert len(alone.ran) >= 4
    assert "detect failed" in caplog.text
    alone.book.away = True
    with pytest.raises(OSError):
        alone.go(5, beat=False)
    ticker.start()
    time.sleep(0.05)
    assert ticker._thread.is_alive()
    ticker.stop(seconds=1)
    assert caplog.text.count("the ticker failed") == 1


def test_the_log_has_a_line_a_minute_and_the_operator_one_notice(alone, caplog):
    alone.go(20)
    caplog.clear()
    alone.go(600, beat=False)
    lines = [record for record in caplog.records if "no tick comes" in record.getMessage()]
    assert 10 <= len(lines) <= 11
    assert len(alone.notices) == 1
    assert alone.notices[0] - 1_020 >= 30
    alone.go(20)
    assert caplog.text.count("ticks come over the broker again") == 1


def test_a_notice_that_could_not_be_written_is_tried_again(alone):
    [ticker] = alone.tickers
    alone.go(20)

    def fail():
        alone.notices.append(alone.now)
        raise OSError("the database is away")

    ticker._notice = fail
    alone.go(29, beat=False)
    for _ in range(500):
        alone.now += 0.25
        with contextlib.suppress(OSError):
            ticker.step()
            finished(ticker)
    assert 2 <= len(alone.notices) <= 3


def test_a_short_break_notifies_nobody(alone):
    alone.go(20)
    alone.go(20, beat=False)
    alone.go(100)
    assert alone.notices == []


def test_a_worker_that_is_asked_to_stop_begins_nothing_and_waits_for_what_runs(alone):
    [ticker] = alone.tickers
    alone.go(20)
    alone.hang = {EACH_SECOND}
    alone.go(3, beat=False)
    assert ticker.tasks[EACH_SECOND].under_way
    ticker._monotonic = time.monotonic
    ticker.finish()
    threading.Timer(0.1, alone.hung.set).start()
    ticker.stop(seconds=5)
    assert not ticker.tasks[EACH_SECOND].under_way


def test_all_that_celery_runs_passes_the_one_place_and_counts_as_a_tick(monkeypatch, alone):
    from celery import current_app
    from celery.app.trace import build_tracer

    done = []

    @current_app.task(name=EACH_SECOND, base=ticks.Task)
    def detect(**_):
        done.append("body")

    def run(name, body):
        done.append(name)
        body()

    monkeypatch.setattr(ticks, "run", run)
    monkeypatch.setattr(ticks, "_current_ticker", alone.tickers[0])
    try:
        build_tracer(EACH_SECOND, detect, app=current_app)("some-id", (), {}, None)
    finally:
        current_app.tasks.pop(EACH_SECOND)
    assert done == [EACH_SECOND, "body"]
    assert alone.tickers[0].tasks[EACH_SECOND].to_note == 1
    current_app.loader.import_default_modules()
    assert type(current_app.tasks["integrations.detect_misses"]).__call__ is ticks.Task.__call__
