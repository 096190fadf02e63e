"""Circuit breakers and rate limits, which all workers share."""

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from accounts.models.contact_methods import ContactMethod
from escalation.channels.base import DeliveryError
from escalation.models.sending import CircuitBreaker
from escalation.notifications.providers import circuit_breakers, rate_limits
from escalation.notifications.providers.channel_pool import ChannelPool
from escalation.notifications.verification import send_code
from heartbeat_project.kernel.sql import statement
from tests import factories
from tests.providers.server import answer

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
TWILIO = circuit_breakers.Provider("Twilio", "sms")


def fail(times, *, at):
    for _ in range(times):
        circuit_breakers.record_failure(TWILIO, now=at)


def is_closed(name, *, now):
    circuit_breaker = CircuitBreaker.objects.filter(provider=name).first()
    return circuit_breaker is None or circuit_breakers.remaining_pause(circuit_breaker, now=now) is None


def test_a_provider_is_left_alone_from_the_fifth_failure_in_a_row(now):
    fail(circuit_breakers.LIMIT - 1, at=now)
    assert is_closed("Twilio", now=now)
    fail(1, at=now)
    assert not is_closed("Twilio", now=now)
    assert is_closed("The gateway", now=now)


def test_a_success_between_begins_anew(now):
    fail(circuit_breakers.LIMIT - 1, at=now)
    circuit_breakers.record_success(TWILIO, now=now)
    fail(circuit_breakers.LIMIT - 1, at=now)
    assert is_closed("Twilio", now=now)


def test_failures_far_apart_are_not_in_a_row(now):
    for number in range(circuit_breakers.LIMIT * 2):
        fail(1, at=now + number * (circuit_breakers.FORGET + SECOND))
    assert CircuitBreaker.objects.get().open_until is None


def test_after_the_pause_one_message_tries_and_its_success_lets_all_through(now):
    fail(circuit_breakers.LIMIT, at=now)
    later = now + circuit_breakers.PAUSE
    assert not is_closed("Twilio", now=later - SECOND)
    assert [is_closed("Twilio", now=later) for _ in range(3)] == [True, False, False]
    circuit_breakers.record_success(TWILIO, now=now)
    assert is_closed("Twilio", now=later)


def test_a_pause_from_before_the_clock_was_set_back_holds_nobody_up(now):
    fail(circuit_breakers.LIMIT, at=now)
    earlier = now - timedelta(hours=3)
    assert [is_closed("Twilio", now=earlier) for _ in range(3)] == [True, False, False]


def test_a_try_that_was_lost_is_followed_by_another(now):
    fail(circuit_breakers.LIMIT, at=now)
    later = now + circuit_breakers.PAUSE
    assert is_closed("Twilio", now=later)
    assert is_closed("Twilio", now=later + circuit_breakers.PROBE)


def test_no_pause_is_longer_than_thirty_seconds_so_that_a_provider_that_is_back_is_used_soon(now):
    fail(circuit_breakers.LIMIT, at=now)
    pauses = []
    for _ in range(8):
        now = CircuitBreaker.objects.get().open_until
        fail(1, at=now)
        pauses.append((CircuitBreaker.objects.get().open_until - now).total_seconds())
    assert pauses == [30] * 8


def test_what_was_under_way_when_it_was_left_alone_makes_no_pause_longer(now):
    fail(circuit_breakers.LIMIT, at=now)
    fail(7, at=now + circuit_breakers.PAUSE - SECOND)
    assert CircuitBreaker.objects.get().open_until == now + circuit_breakers.PAUSE
    fail(1, at=now + circuit_breakers.PAUSE)
    assert CircuitBreaker.objects.get().open_until == now + circuit_breakers.PAUSE * 2


def test_a_message_that_was_taken_is_taken_though_that_cannot_be_written_down(now, monkeypatch, caplog):
    def lost(*_, now):
        raise OperationalError("no connection")

    fail(1, at=now)
    monkeypatch.setattr(circuit_breakers, "record_success", lost)
    assert circuit_breakers.call(TWILIO, lambda: "taken", counts=lambda _: True, now=now) == "taken"
    assert "could not be recorded" in caplog.text


def test_a_healthy_provider_costs_one_read_and_leaves_no_row(now, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert circuit_breakers.call(TWILIO, lambda: "taken", counts=lambda _: True, now=now) == "taken"
    fail(1, at=now)
    circuit_breakers.call(TWILIO, lambda: "taken", counts=lambda _: True, now=now)
    assert not CircuitBreaker.objects.exists()


def send(message):
    with ChannelPool() as channel_pool:
        return channel_pool.send("sms", message)


def test_nobody_waits_for_a_provider_that_failed_again_and_again(twilio, gateway, message, now):
    twilio.answers(*[answer(503)] * circuit_breakers.LIMIT)
    for _ in range(circuit_breakers.LIMIT):
        send(message("+4915112345678"))
    assert len(twilio.requests) == circuit_breakers.LIMIT
    send(message("+4915112345678"))
    assert len(twilio.requests) == circuit_breakers.LIMIT
    assert len(gateway.requests) == circuit_breakers.LIMIT + 1


def test_when_all_are_left_alone_it_may_be_tried_again(settings, twilio, message, now):
    fail(circuit_breakers.LIMIT, at=now)
    with pytest.raises(DeliveryError, match="failed again and again") as caught:
        send(message("+4915112345678"))
    error = caught.value
    assert (error.permanent, error.untried, error.circuit_open) == (False, True, True)
    assert error.retry_after == circuit_breakers.PAUSE
    assert twilio.requests == []


def test_where_one_provider_is_left_alone_and_the_other_refuses_the_pause_holds_no_page_up(
    twilio, gateway, message, now
):
    fail(circuit_breakers.LIMIT, at=now)
    gateway.answers(answer(400))
    with pytest.raises(DeliveryError, match="failed again and again") as caught:
        send(message("+4915112345678"))
    assert (caught.value.permanent, caught.value.circuit_open) == (False, True)
    gateway.answers(answer(503))
    with pytest.raises(DeliveryError, match="failed again and again") as caught:
        send(message("+4915112345678"))
    assert (caught.value.circuit_open, caught.value.retry_after) == (False, None)


def test_a_number_that_is_refused_is_no_failure_of_the_provider(twilio, message):
    for _ in range(circuit_breakers.LIMIT):
        with pytest.raises(DeliveryError):
            send(message("nowhere"))
    assert not CircuitBreaker.objects.exists()


# -- rate limits
# --------------------------------------------------------------------------------------------------------
THREE_A_MINUTE = rate_limits.Limit(3, timedelta(minutes=1))


def test_a_limit_may_be_used_at_once_and_then_as_it_refills(now):
    assert [rate_limits.acquire("a", THREE_A_MINUTE, now=now) for _ in range(3)] == [None] * 3
    assert rate_limits.acquire("a", THREE_A_MINUTE, now=now) == timedelta(seconds=20)
    assert rate_limits.acquire("b", THREE_A_MINUTE, now=now) is None
    assert rate_limits.acquire("a", THREE_A_MINUTE, now=now + timedelta(seconds=19)) == SECOND
    assert rate_limits.acquire("a", THREE_A_MINUTE, now=now + timedelta(seconds=20)) is None
    assert rate_limits.acquire("a", THREE_A_MINUTE, now=now + timedelta(seconds=20)) is not None


def test_asking_in_vain_uses_nothing(now):
    for _ in range(50):
        rate_limits.acquire("a", THREE_A_MINUTE, now=now)
    assert rate_limits.acquire("a", THREE_A_MINUTE, now=now + timedelta(seconds=20)) is None


def test_after_a_long_rest_there_is_no_more_than_the_whole(now):
    rate_limits.acquire("a", THREE_A_MINUTE, now=now)
    later = now + timedelta(days=1)
    assert [rate_limits.acquire("a", THREE_A_MINUTE, now=later) is None for _ in range(5)] == [True] * 3 + [False] * 2


@pytest.mark.django_db(transaction=True)
def test_workers_at_the_same_time_do_not_get_more(now, close_connections):
    barrier, taken = threading.Barrier(8), []

    def work():
        barrier.wait()
        taken.append(rate_limits.acquire("a", THREE_A_MINUTE, now=now) is None)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == THREE_A_MINUTE.count


def test_a_person_cannot_have_codes_sent_to_everybody(now, mailoutbox):
    ana = factories.UserFactory()
    for number in range(rate_limits.CODES_PER_HOLDER.count + 1):
        method = ContactMethod.objects.create(user=ana, label=f"L{number}", address=f"stranger{number}@example.com")
        send_code(method.pk, now=now)
    assert len(mailoutbox) == rate_limits.CODES_PER_HOLDER.count
    method.refresh_from_db()
    assert method.send_error == "Too many codes were asked for. Ask again in 6 minutes."
    assert send_code(method.pk, now=now + timedelta(minutes=6))


def test_a_limit_that_was_used_before_the_clock_was_set_back_holds_nobody_up(now):
    assert [rate_limits.acquire("a", THREE_A_MINUTE, now=now) for _ in range(3)] == [None] * 3
    earlier = now - timedelta(hours=3)
    assert [rate_limits.acquire("a", THREE_A_MINUTE, now=earlier) for _ in range(3)] == [None] * 3
    assert rate_limits.acquire("a", THREE_A_MINUTE, now=earlier) == timedelta(seconds=20)


# -- plans
# --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "index", "more"),
    [
        (
            "acquire_rate_limit",
            "escalation_ratelimitstate_pkey",
            {"key": "a", "interval": SECOND, "slack": SECOND, "furthest": factories.WHEN},
        ),
        (
            "count_failure",
            "escalation_circuitbreaker_pkey",
            {"provider": "p", "channel": "", "address": "", "limit": 5, "pause": SECOND},
        ),
    ],
)
def test_the_row_is_found_by_its_primary_key(now, name, index, more):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS OFF) {statement('escalation', name)}", {"now": now, "forget": now, **more})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert f"Conflict Arbiter Indexes: {index}" in plan, plan
