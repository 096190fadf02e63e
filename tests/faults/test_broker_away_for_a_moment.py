"""A shorter form of test_without_the_broker.py: one broker that takes nobody from the start, and is full later."""

import pytest

from tests.faults.away import (
    PULSE,
    DatedPostOffice,
    alone,
    broker,
    celery_ticks_again,
    expect_few_lines,
    expect_in_time,
    measure,
    notices,
    provider,
    settle,
    stack_with,
    ticks,
)
from tests.processes import how_busy, until

pytestmark = [pytest.mark.serial, pytest.mark.long]


def test_a_broker_with_another_password_from_the_start_and_one_that_is_full_hold_up_nothing():
    with DatedPostOffice() as post, provider() as twilio, broker() as valkey:
        give_back = valkey.take_away("locked")
        with stack_with(post, valkey.url, twilio) as stack:
            until(lambda: len(ticks(stack)) == len(PULSE), seconds=60, what=f"ticks\n{stack.tail()}")
            from_the_start, addresses = measure(stack, post, twilio, seconds=1)
            give_back()
            celery_ticks_again(stack, seconds=90)
            until(
                lambda: "broker" not in stack.get("/readyz")[1]["parts"],
                seconds=60,
                what=f"no longer degraded\n{stack.tail()}",
            )
            give_back = valkey.take_away("full")
            alone(stack, seconds=30)
            full, more = measure(stack, post, seconds=1)
            give_back()
            settle(stack, post, full, addresses + more, seconds=3)
            assert "Traceback" not in stack.log.read_text("utf-8", "replace")
    for figures in (from_the_start, full):
        print(figures)  # noqa: T201 - pytest shows it with -s
        expect_in_time(figures, busy=how_busy())
        expect_few_lines(figures)
    assert notices(post) <= 1
