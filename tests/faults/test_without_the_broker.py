"""The broker is taken away: alerts open, people are notified, pages and links answer, and nothing comes twice.

The short forms: with a frozen broker among the tests of processes that die, the others in
test_broker_away_for_a_moment.py.
"""

import contextlib
import os
import signal
import time

import pytest

from tests.faults.away import (
    PULSE,
    Broker,
    DatedPostOffice,
    Figures,
    alone,
    broker,
    celery_ticks_again,
    deaf_address,
    expect_few_lines,
    expect_in_time,
    measure,
    notices,
    provider,
    settle,
    stack_with,
    ticks,
)
from tests.figures import record_figure
from tests.processes import Stack, until
from tests.providers.twilio import Twilio

SECONDS = float(os.environ.get("HEARTBEAT_TEST_BROKER_SECONDS", "40"))

pytestmark = [pytest.mark.serial, pytest.mark.long, pytest.mark.timeout(300 + 2 * SECONDS)]

WAYS = ("killed", "frozen", "full", "locked")


@pytest.fixture(scope="module")
def post():
    with DatedPostOffice() as office:
        yield office


@pytest.fixture(scope="module")
def valkey():
    with broker() as one:
        yield one


@pytest.fixture(scope="module")
def twilio():
    with provider() as one:
        yield one


@pytest.fixture(scope="module")
def shared(post, valkey, twilio):
    with stack_with(post, valkey.url, twilio) as stack:
        until(
            lambda: len(ticks(stack)) == len(PULSE) and all(celery for celery, _ in ticks(stack).values()),
            seconds=60,
            what="ticks come by Celery",
        )
        assert [by_itself for _, by_itself in ticks(stack).values()] == [0] * len(PULSE), stack.tail()
        yield stack


def keep(fault: str, figures: Figures) -> None:
    """Record the figures for docs/reliability.md."""
    record_figure(fault, "alerts after their deadline", max(figures.deadline_to_alert), unit="s", at_most=3)
    record_figure(fault, "first messages after their alert", max(figures.alert_to_message), unit="s", at_most=2)
    record_figure(fault, "slowest request", max(figures.requests), unit="s", at_most=1)
    record_figure(fault, "messages that came twice", figures.twice, unit="", at_most=0)
    record_figure(fault, "log lines a minute", figures.log_lines_a_minute, unit="")


def test_on_a_healthy_day_no_worker_ticks_by_itself_nor_does_one_of_two(shared: Stack):
    before = ticks(shared)
    with shared.beside("engine"), shared.beside("delivery"):
        time.sleep(SECONDS)
    time.sleep(12)
    now = ticks(shared)
    assert {task: by_itself for task, (_, by_itself) in now.items()} == {
        task: by_itself for task, (_, by_itself) in before.items()
    }, shared.tail()
    assert all(now[task][0] - before[task][0] > SECONDS * 0.8 for task in now)


@pytest.mark.parametrize("way", WAYS)
def test_taken_away_for_long(shared: Stack, post: DatedPostOffice, valkey: Broker, twilio: Twilio, way: str):
    """HEARTBEAT_TEST_BROKER_SECONDS=3600 makes an hour of it."""
    before, mark = notices(post), shared.log.stat().st_size
    give_back = valkey.take_away(way)
    try:
        alone(shared)
        figures, addresses = measure(shared, post, twilio, seconds=SECONDS, log_from=mark)
    finally:
        give_back()
    figures.until_celery_ticks_again = celery_ticks_again(shared, seconds=90)
    settle(shared, post, figures, addresses, seconds=10)
    keep(f"broker {way} for {SECONDS:g} s", figures)
    expect_in_time(figures)
    expect_few_lines(figures)
    # One for an incident, and at most one an hour: another way may have come just before.
    assert notices(post) - before <= 1, figures


@pytest.mark.parametrize("way", ["nowhere", "deaf", "wrong password", "full"])
def test_away_from_the_start(post: DatedPostOffice, valkey: Broker, twilio: Twilio, way: str):
    with contextlib.ExitStack() as after:
        deaf = after.enter_context(deaf_address())
        if way == "full":
            after.callback(valkey.take_away("full"))
        address = {
            "nowhere": "redis://127.0.0.1:1/0",
            "deaf": deaf,
            "full": valkey.url,
            "wrong password": valkey.url.replace(valkey.server.password, "wrong"),
        }[way]
        before = notices(post)
        with stack_with(post, address, twilio) as stack:
            until(lambda: len(ticks(stack)) == len(PULSE), seconds=60, what="ticks")
            figures, addresses = measure(stack, post, twilio, seconds=SECONDS)
            settle(stack, post, figures, addresses, seconds=10)
    keep(f"broker {way} from the start", figures)
    expect_in_time(figures)
    expect_few_lines(figures)
    assert notices(post) - before == 1


def test_a_beat_that_hangs_is_done_without(shared: Stack, post: DatedPostOffice):
    beat = shared.pid("beat")
    assert beat is not None
    os.kill(beat, signal.SIGSTOP)
    try:
        alone(shared)
        figures, addresses = measure(shared, post, seconds=1, at_once=3)
    finally:
        os.kill(beat, signal.SIGCONT)
    celery_ticks_again(shared, seconds=60)
    settle(shared, post, figures, addresses, seconds=5)
    expect_in_time(figures)


def test_a_stack_whose_broker_is_frozen_stops_in_time(post: DatedPostOffice, twilio: Twilio):
    with broker() as one, stack_with(post, one.url, twilio) as stack:
        until(lambda: len(ticks(stack)) == len(PULSE), seconds=60, what="ticks")
        one.child.send_signal(signal.SIGSTOP)
        alone(stack, seconds=30)
