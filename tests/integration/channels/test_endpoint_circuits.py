"""A circuit for each endpoint: who hangs again and again is left alone, and nobody else is."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from escalation.channels import CHANNELS, ENDPOINTS, Switchboard, circuits, endpoint
from escalation.channels.base import DeliveryError
from escalation.models import Circuit
from tests.providers.server import SILENCE, answer

pytestmark = pytest.mark.django_db
SECRET = "https://hooks.example.com/services/T/B/secret"
FAILURES = {
    "no answer": {"uncertain": True},
    "503": {},
    "429": {"retry_after": timedelta(seconds=20)},
    "404": {"permanent": True},
}


@pytest.fixture
def send(monkeypatch, message):
    """Send to an address over a channel that fails as told; returns whether somebody was asked."""
    asked = []

    def make(kind, address=SECRET, *, failure=None, at=timedelta(), by_hand=False):
        def take(told):
            asked.append(told.address)
            if failure:
                raise DeliveryError(failure, **FAILURES[failure])
            return "taken"

        monkeypatch.setitem(CHANNELS, kind, lambda: SimpleNamespace(send=take, close=lambda: None))
        before, told = len(asked), message(address)
        told = replace(told, at=told.at + at)
        with Switchboard() as switchboard, suppress(DeliveryError):
            switchboard.send(kind, told, by_hand=by_hand)
        return len(asked) > before

    return make


@pytest.mark.parametrize("kind", sorted(ENDPOINTS))
@pytest.mark.parametrize("failure", ["no answer", "503"])
def test_an_endpoint_that_fails_again_and_again_is_left_alone_and_no_other_is(send, kind, failure):
    assert all(send(kind, failure=failure) for _ in range(circuits.LIMIT))
    assert not send(kind)
    assert send(kind, "https://hooks.example.com/services/T/B/another")
    assert all(send(other) for other in ENDPOINTS - {kind})


@pytest.mark.parametrize("failure", ["429", "404"])
def test_who_asks_for_time_or_refuses_the_message_has_not_failed(send, failure):
    assert all(send("webhook", failure=failure) for _ in range(circuits.LIMIT * 2))
    assert not Circuit.objects.exists()


def test_after_the_pause_one_message_tries_and_an_endpoint_that_works_leaves_no_row(send):
    for _ in range(circuits.LIMIT):
        send("chat", failure="no answer")
    assert not send("chat", at=circuits.PAUSE - timedelta(seconds=1))
    assert send("chat", at=circuits.PAUSE)
    assert not Circuit.objects.exists()
    assert send("chat")


def test_mail_has_no_circuit(send):
    assert all(send("email", failure="503") for _ in range(circuits.LIMIT * 2))
    assert not Circuit.objects.exists()


@pytest.mark.parametrize("kind", sorted(ENDPOINTS))
def test_a_circuit_does_not_give_the_address_away_and_its_name_fits(kind):
    name = endpoint(kind, SECRET)
    assert len(name) <= Circuit._meta.get_field("provider").max_length
    assert "hooks" not in name
    assert name != endpoint(kind, SECRET + "/")


def test_a_healthy_endpoint_costs_one_read(send, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert send("webhook")


def test_a_hanging_webhook_is_asked_no_more_over_the_wire_and_its_neighbour_is(make_provider, message, settings):
    settings.OUTGOING_TIMEOUT_SECONDS = 0.2
    hanging, working = make_provider(), make_provider()
    hanging.answers(*[SILENCE] * (circuits.LIMIT + 1))
    working.answers(answer(200))
    with Switchboard() as switchboard:
        for _ in range(circuits.LIMIT + 1):
            with pytest.raises(DeliveryError):
                switchboard.send("webhook", message(f"{hanging.url}/hook"))
        switchboard.send("webhook", message(f"{working.url}/hook"))
    assert (len(hanging.requests), len(working.requests)) == (circuits.LIMIT, 1)


def test_a_test_by_hand_asks_an_endpoint_that_is_left_alone_and_ends_that(send):
    for _ in range(circuits.LIMIT):
        send("webhook", failure="no answer")
    assert not send("webhook")
    assert send("webhook", by_hand=True)
    assert not Circuit.objects.exists()
