"""The hard limit of requests to one address."""

import pytest

from integrations.inbound import flood
from integrations.inbound.flood import FloodLimit, Refusals


@pytest.fixture
def limit():
    return FloodLimit()


def let_in(limit, token, *, at, tries):
    return sum(limit.seconds_to_wait(token, at=at) is None for _ in range(tries))


@pytest.mark.parametrize("start", [0.0, 0.1, 1e6 + 1 / 3, 1e9])
def test_a_burst_of_a_hundred_is_let_in_and_then_fifty_a_second(limit, start):
    assert let_in(limit, "a", at=start, tries=500) == 100
    assert limit.seconds_to_wait("a", at=start) == 1
    assert let_in(limit, "a", at=start + 1, tries=500) == 50
    assert let_in(limit, "a", at=start + 1.5, tries=500) == 25
    assert let_in(limit, "a", at=start + 100, tries=500) == 100


def test_fifty_a_second_are_let_in_for_ever(limit):
    assert all(limit.seconds_to_wait("a", at=number / 50) is None for number in range(10_000))


def test_tokens_do_not_share_a_limit(limit):
    assert let_in(limit, "a", at=0, tries=200) == 100
    assert let_in(limit, "b", at=0, tries=200) == 100


def test_the_token_used_least_recently_is_forgotten_first(limit, monkeypatch):
    monkeypatch.setattr(flood, "MAX_TOKENS", 3)
    for token in "abc":
        let_in(limit, token, at=0, tries=100)
    let_in(limit, "a", at=1, tries=50)
    let_in(limit, "d", at=1, tries=100)
    assert let_in(limit, "a", at=1, tries=1) == 0
    assert let_in(limit, "b", at=1, tries=100) == 100
    assert len(limit._full_at) == 3


def test_long_tokens_take_no_memory(limit):
    limit.seconds_to_wait("a" * 100_000, at=0)
    assert [len(key) for key in limit._full_at] == [64]


def test_what_is_refused_is_stored_once_a_second_and_none_is_lost():
    refusals = Refusals()
    stored = [refusals.to_store(1, at=number / 100, more=1) for number in range(250)]
    assert [count for count in stored if count] == [1, 100, 100]
    assert refusals.to_store(2, at=2.4, more=1) == 1, "each integration has a second of its own"
    assert refusals.to_store(1, at=2.9) == 0
    assert refusals.to_store(1, at=3.0) == 49, "what is left comes with the next request"
    assert refusals.to_store(1, at=5.0) == 0
