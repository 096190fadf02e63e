"""The slots of a channel: who is quick uses them, and who is slow leaves them."""

import threading

import pytest

from escalation.notifications.providers import sender_pool
from escalation.notifications.providers.sender_pool import AHEAD, PoolClosedError, SenderPool


@pytest.fixture
def pool(settings, monkeypatch):
    settings.CHANNEL_CONCURRENCY = {"email": 2, "kept": 1}
    # Whatever is under way is slow when the pool looks.
    monkeypatch.setattr(sender_pool, "SLOW_SECONDS", -1.0)
    monkeypatch.setattr(sender_pool.connections, "close_all", lambda: None)
    return SenderPool()


@pytest.fixture
def hang():
    """Return a call that waits for the end of the test, or for `go`, and counts how many began."""

    class Hang:
        def __init__(self):
            self.began, self.go = threading.Semaphore(0), threading.Event()

        def __call__(self):
            self.began.release()
            assert self.go.wait(30)
            return "sent"

        def expect(self, count):
            """Wait until so many more have begun, and see that there are no others."""
            for _ in range(count):
                assert self.began.acquire(timeout=10)
            assert not self.began.acquire(blocking=False)

    made = Hang()
    yield made
    made.go.set()


def start(pool, call, count):
    assert pool.reserve("email") >= count
    pool.release("email", AHEAD * 2 - count)
    return [pool.start("email", call) for _ in range(count)]


def test_no_more_are_sent_at_once_than_there_are_slots_and_all_are_sent(pool, hang):
    futures = start(pool, hang, 4)
    hang.expect(2)
    assert pool.reserve("email") == 0
    hang.go.set()
    assert [future.result(10) for future in futures] == ["sent"] * 4
    assert pool.reserve("email") == AHEAD * 2


def test_what_is_slow_leaves_its_slot_to_what_waits_and_its_place_to_a_claim(pool, hang):
    futures = start(pool, hang, 4)
    hang.expect(2)
    pool.leave_slow()
    hang.expect(2)
    assert pool.reserve("email") == 2
    pool.release("email", 2)
    hang.go.set()
    assert [future.result(10) for future in futures] == ["sent"] * 4
    assert pool.reserve("email") == AHEAD * 2


def test_so_many_are_slow_and_no_more(pool, hang, monkeypatch):
    monkeypatch.setattr(sender_pool, "SLOW_SENDS", 3)
    start(pool, hang, 4)
    assert pool.has_room_for_retries("email")
    pool.leave_slow()
    assert not pool.has_room_for_retries("email"), "the rest is for first tries"
    pool.leave_slow()
    start_more = pool.reserve("email")
    assert start_more == 3
    for _ in range(start_more):
        pool.start("email", hang)
    pool.leave_slow()
    assert pool.reserve("email") == 0


def test_where_a_server_allows_few_connections_nothing_leaves_its_slot(pool, hang, settings):
    settings.CHANNEL_SLOW_SENDS = {"email": 0}
    start(pool, hang, 4)
    hang.expect(2)
    pool.leave_slow()
    hang.expect(0)
    assert pool.reserve("email") == 0


def test_a_channel_with_one_slot_sends_in_the_callers_thread(pool):
    pool.reserve("kept")
    assert pool.start("kept", threading.get_ident).result() == threading.get_ident()
    assert pool.reserve("kept") == 1, "of two that were reserved, one was used"


def test_what_fails_frees_its_place_and_says_why(pool):
    def fail():
        raise ValueError("no")

    (future,) = start(pool, fail, 1)
    with pytest.raises(ValueError, match="no"):
        future.result(10)
    assert pool.reserve("email") == AHEAD * 2


def test_what_comes_when_the_process_ends_is_said_not_to_be_sent(pool, monkeypatch):
    class Ended:
        def submit(self, *_):
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(pool, "_threads_of", lambda _: Ended())
    (future,) = start(pool, lambda: "sent", 1)
    with pytest.raises(PoolClosedError):
        future.result(10)
    assert pool.reserve("email") == AHEAD * 2
