"""Workers are woken after the commit, and a broker that is away or hangs is no reason to fail or to wait."""

import sys
import threading
import time

import pytest
from django.core import mail
from django.db import transaction

from accounts.services.contact_methods import create_contact_method
from heartbeat_project.kernel import wakeup
from heartbeat_project.kernel.wakeup import Waker, WakeUp, run_here
from tests import factories
from tests.faults.away import deaf_address

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def waker(monkeypatch):
    waker = Waker()
    monkeypatch.setattr(wakeup, "WAKER", waker)
    return waker


@pytest.fixture
def woken(waker, monkeypatch):
    calls = []
    monkeypatch.setattr(waker, "put", calls.append)
    return calls


def tried(waker):
    """Wait until the waker has no wake-up left to try."""
    end = time.monotonic() + 20
    while waker._waiting.qsize() or not waker.is_quiet():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_worker_is_woken_after_the_commit_and_not_at_all_after_a_rollback(woken):
    with transaction.atomic():
        wakeup.wake_on_commit("escalation.deliver_due", queue="delivery", some=1)
        assert woken == []
    assert woken == [WakeUp(task_name="escalation.deliver_due", queue="delivery", kwargs={"some": 1})]
    with transaction.atomic():
        wakeup.wake_on_commit("escalation.deliver_due", queue="delivery")
        transaction.set_rollback(True)
    assert len(woken) == 1


def test_a_broker_that_is_away_is_noticed_once_and_then_left_in_peace(caplog, waker):
    for _ in range(50):
        wakeup.wake_on_commit("escalation.deliver_due", queue="delivery")
    tried(waker)
    for _ in range(50):
        wakeup.wake_on_commit("escalation.deliver_due", queue="delivery")
    assert caplog.text.count("was not sent") == 1


def test_what_no_tick_does_is_done_here_while_the_broker_is_away(waker, monkeypatch):
    here, done = [], threading.Event()

    def run_here(wake_up):
        here.append(wake_up.kwargs["number"])
        if len(here) == 2:
            done.set()

    monkeypatch.setattr(wakeup, "run_here", run_here)
    for number in (1, 2):
        wakeup.wake_on_commit("escalation.send_verification_code", queue="delivery", or_here=True, number=number)
        wakeup.wake_on_commit("escalation.deliver_due", queue="delivery", number=number)
        tried(waker)
    assert done.wait(10)
    assert here == [1, 2], "the first was tried over the broker, the second was not"


def test_a_code_is_sent_from_here():
    person = factories.UserFactory()
    method = create_contact_method(person, actor=person, label="Other", address="other@example.com")
    wake_up = WakeUp(task_name="escalation.send_verification_code", queue="", kwargs={"contact_method_id": method.pk})
    run_here(wake_up)
    end = time.monotonic() + 10
    while not mail.outbox:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert "The code is" in mail.outbox[0].body


def test_who_wakes_a_worker_does_not_wait_for_a_broker_that_hangs(waker, monkeypatch, celery_at):
    with deaf_address() as address:
        celery_at(address)
        started = time.monotonic()
        for number in range(50):
            wakeup.wake_on_commit("escalation.deliver_due", queue="delivery", number=number)
            wakeup.wake_now("integrations.detect_misses", queue="engine")
        assert time.monotonic() - started < 0.5
        tried(waker)
        assert time.monotonic() - started < 4, "one wake-up was waited for, and the others were left out"


def test_warming_up_is_not_waited_for_long_and_then_nobody_is_woken(waker, celery_at):
    with deaf_address() as address:
        celery_at(address)
        started = time.monotonic()
        wakeup.warm_up()
        assert time.monotonic() - started < 4
    assert waker.is_quiet()


def test_after_the_pause_workers_are_woken_again(waker, monkeypatch):
    sent, broken = threading.Event(), threading.Event()

    def send(wake_up):
        if not broken.is_set():
            broken.set()
            raise OSError("away")
        sent.set()

    monkeypatch.setattr(wakeup, "send", send)
    monkeypatch.setattr(wakeup, "QUIET_SECONDS", 0.1)
    wakeup.wake_now("integrations.detect_misses", queue="engine")
    assert broken.wait(5)
    tried(waker)
    time.sleep(0.15)
    wakeup.wake_now("integrations.detect_misses", queue="engine")
    assert sent.wait(5)


def test_no_more_than_some_wake_ups_wait_and_the_same_one_waits_once(waker, monkeypatch):
    first, go_on, sent = threading.Event(), threading.Event(), []

    def send(wake_up):
        sent.append(wake_up.kwargs.get("number"))
        first.set()
        go_on.wait(20)

    monkeypatch.setattr(wakeup, "send", send)
    waker._waiting.maxsize = 3
    wakeup.wake_now("a", queue="engine", number=0)
    assert first.wait(5)
    for number in (1, 1, 1, 2, 3, 4, 5):
        wakeup.wake_now("a", queue="engine", number=number)
    go_on.set()
    end = time.monotonic() + 10
    while waker._waiting.qsize():
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.05)
    assert sent == [0, 1, 2, 3]


def test_many_threads_wake_workers_at_once_and_none_of_them_fails(waker, monkeypatch):
    failed, done = [], threading.Event()

    def wake_on(first):
        try:
            for number in range(first, first + 300):
                wakeup.wake_now("a", queue="engine", number=number)
        except RuntimeError as error:
            failed.append(error)

    # So that wake-ups are taken while others look for theirs.
    monkeypatch.setattr(wakeup, "send", lambda wake_up: done.wait(0.0001))
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=wake_on, args=(first,)) for first in range(0, 1200, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(often)
        done.set()
    assert failed == []


@pytest.fixture
def celery_at(monkeypatch):
    """Let workers be woken at another address."""
    from celery import current_app

    def at(address):
        monkeypatch.setattr(
            current_app._get_current_object(),
            "connection_for_write",
            lambda **options: current_app.connection(address, **options),
        )

    return at
