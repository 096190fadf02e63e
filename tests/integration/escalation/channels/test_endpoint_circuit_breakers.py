"""A circuit breaker for each endpoint: who hangs again and again is left alone, and nobody else is."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from accounts.contact_kinds import ENDPOINTS
from escalation.channels.base import DeliveryError
from escalation.models.sending import CircuitBreaker
from escalation.notifications.providers import circuit_breakers
from escalation.notifications.providers.channel_pool import CHANNELS, ChannelPool, endpoint
from tests.providers.server import SILENCE, answer

pytestmark = pytest.mark.django_db
SECRET = "https://hooks.example.com/services/T/B/secret"
FAILURES = {
    "no answer": {"uncertain": True},
    "503": {},
    "429": {"retry_after": timedelta(seconds=20)},
    "404": {"permanent": True},
    "of host": {"of_host": True},
}


@pytest.fixture
def send(monkeypatch, message):
    """Send to an address over a channel that fails as asked; returns whether somebody was asked."""
    asked = []

    def make(kind, address=SECRET, *, failure=None, at=timedelta(), by_hand=False, organization=1):
        def take(notification):
            asked.append(notification.address)
            if failure:
                raise DeliveryError(failure, **FAILURES[failure])
            return "taken"

        monkeypatch.setitem(CHANNELS, kind, lambda: SimpleNamespace(send=take, close=lambda: None))
        before, notification = len(asked), message(address)
        notification = replace(notification, at=notification.at + at, organization=organization)
        with ChannelPool() as channel_pool, suppress(DeliveryError):
            channel_pool.send(kind, notification, by_hand=by_hand)
        return len(asked) > before

    return make


@pytest.mark.parametrize("kind", sorted(ENDPOINTS))
@pytest.mark.parametrize("failure", ["no answer", "503"])
def test_an_endpoint_that_fails_again_and_again_is_left_alone_and_no_other_is(send, kind, failure):
    assert all(send(kind, failure=failure) for _ in range(circuit_breakers.LIMIT))
    assert not send(kind)
    assert send(kind, "https://hooks.example.com/services/T/B/another")
    assert all(send(other) for other in ENDPOINTS - {kind})


@pytest.mark.parametrize("failure", ["429", "404"])
def test_who_asks_for_time_or_refuses_the_message_has_not_failed(send, failure):
    assert all(send("webhook", failure=failure) for _ in range(circuit_breakers.LIMIT * 2))
    assert not CircuitBreaker.objects.exists()


def test_after_the_pause_one_message_tries_and_an_endpoint_that_works_leaves_no_row(send):
    for _ in range(circuit_breakers.LIMIT):
        send("chat", failure="no answer")
    assert not send("chat", at=circuit_breakers.PAUSE - timedelta(seconds=1))
    assert send("chat", at=circuit_breakers.PAUSE)
    assert not CircuitBreaker.objects.exists()
    assert send("chat")


def test_what_a_mail_server_says_about_one_mailbox_is_held_against_no_other_nor_another_organization(send):
    assert all(send("email", "ana@example.com", failure="503") for _ in range(circuit_breakers.LIMIT))
    assert not send("email", "ana@example.com")
    assert send("email", "bob@example.com")
    assert send("email", "ana@example.com", organization=2)


def test_a_mail_server_that_cannot_be_reached_is_left_alone_by_all_mail_and_by_nothing_else(send):
    for number in range(circuit_breakers.LIMIT):
        assert send("email", f"p{number}@example.com", failure="of host")
    assert not send("email", "bob@example.com")
    assert send("webhook")


def test_an_answer_about_one_mail_says_that_the_mail_server_works(send):
    for number in range(circuit_breakers.LIMIT * 2):
        assert send("email", f"p{number}@example.com", failure="404" if number % 2 else "of host")


def test_after_the_pause_one_mail_tries_the_server_and_one_refusal_of_a_mail_is_enough_to_use_it_again(send):
    for number in range(circuit_breakers.LIMIT):
        send("email", f"p{number}@example.com", failure="of host")
    assert send("email", "ana@example.com", failure="404", at=circuit_breakers.PAUSE)
    assert send("email", "bob@example.com", at=circuit_breakers.PAUSE)
    assert not CircuitBreaker.objects.filter(provider="mail server").exists()


def test_whoever_wants_to_know_is_called_once_when_a_provider_works_again(send, monkeypatch):
    called = []
    monkeypatch.setattr(circuit_breakers, "_hooks", [])
    circuit_breakers.on_recovery(lambda provider, *, now: called.append((provider.channel, provider.address)))
    send("webhook")
    send("webhook", failure="503")
    send("webhook")
    send("webhook")
    send("email", "ana@example.com", failure="of host")
    send("email", "bob@example.com")
    assert called == [("webhook", SECRET), ("email", "")]


@pytest.mark.parametrize("kind", sorted(ENDPOINTS))
def test_a_circuit_breaker_does_not_give_the_address_away_and_its_name_fits(kind):
    name = endpoint(kind, SECRET)
    assert len(name) <= CircuitBreaker._meta.get_field("provider").max_length
    assert "hooks" not in name
    assert name != endpoint(kind, SECRET + "/")


def test_a_healthy_endpoint_costs_one_read(send, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert send("webhook")


def test_a_hanging_webhook_is_asked_no_more_over_the_wire_and_its_neighbour_is(make_provider, message, settings):
    settings.OUTGOING_TIMEOUT_SECONDS = 0.2
    hanging, working = make_provider(), make_provider()
    hanging.answers(*[SILENCE] * (circuit_breakers.LIMIT + 1))
    working.answers(answer(200))
    with ChannelPool() as channel_pool:
        for _ in range(circuit_breakers.LIMIT + 1):
            with pytest.raises(DeliveryError):
                channel_pool.send("webhook", message(f"{hanging.url}/hook"))
        channel_pool.send("webhook", message(f"{working.url}/hook"))
    assert (len(hanging.requests), len(working.requests)) == (circuit_breakers.LIMIT, 1)


def test_a_test_by_hand_asks_an_endpoint_that_is_left_alone_and_ends_that(send):
    for _ in range(circuit_breakers.LIMIT):
        send("webhook", failure="no answer")
    assert not send("webhook")
    assert send("webhook", by_hand=True)
    assert not CircuitBreaker.objects.exists()
