"""Fixtures of the channel tests: providers on loopback, which the tests' settings allow."""

from ipaddress import ip_network

import pytest

from tests.providers.server import Provider


@pytest.fixture(autouse=True)
def loopback_is_allowed(settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    settings.OUTGOING_TIMEOUT_SECONDS = 0.5


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.close()
