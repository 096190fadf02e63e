"""Numbers of the whole installation are for its operator: over a token, or from the machine itself."""

import os
import subprocess
import sys

import pytest
from django.test import Client

from heartbeat_project import health

pytestmark = pytest.mark.django_db
TOKEN = "a-token-of-the-operator"


def status(address="127.0.0.1", **headers):
    return Client(REMOTE_ADDR=address).get("/metrics", headers=headers).status_code


@pytest.fixture(autouse=True)
def numbers_cost_nothing(monkeypatch):
    """Say whether anything was counted."""
    counted = []
    real = health.in_time

    def count(work):
        counted.append(1)
        return real(work)

    monkeypatch.setattr(health, "in_time", count)
    return counted


@pytest.mark.parametrize("token", ["", TOKEN])
def test_a_program_on_this_machine_needs_no_token(settings, token):
    settings.METRICS_TOKEN = token
    assert [status(address) for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")] == [200] * 4


@pytest.mark.parametrize("address", ["10.1.2.3", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1", "", "nonsense"])
def test_another_machine_needs_the_token(settings, address, numbers_cost_nothing):
    settings.METRICS_TOKEN = ""
    refused = [{}, {"authorization": "Bearer "}, {"authorization": "Bearer"}, {"authorization": "Bearer \xff"}]
    assert {status(address, **headers) for headers in refused} == {401}
    settings.METRICS_TOKEN = TOKEN
    assert {status(address, **headers) for headers in [*refused, {"authorization": TOKEN}]} == {401}
    assert numbers_cost_nothing == []
    assert status(address, authorization=f"Bearer {TOKEN}") == 200


@pytest.mark.parametrize("name", ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip", "via"])
def test_what_a_proxy_on_this_machine_passes_on_needs_the_token(settings, name):
    settings.METRICS_TOKEN = TOKEN
    assert status(**{name: "127.0.0.1"}) == 401
    assert status(**{name: "127.0.0.1", "authorization": f"Bearer {TOKEN}"}) == 200


def test_behind_a_proxy_that_is_not_named_everybody_needs_the_token(settings):
    settings.METRICS_TOKEN, settings.HAS_UNKNOWN_PROXY = TOKEN, True
    assert status() == 401  # it may add no header, as nginx does that was notified nothing
    assert status(authorization=f"Bearer {TOKEN}") == 200


@pytest.mark.parametrize(
    ("address", "host", "proxies", "unknown"),
    [
        ("https://beat.example.org", "0.0.0.0", "", True),
        ("https://localhost:8443", "127.0.0.1", "", True),
        ("http://beat.example.org", "127.0.0.1", "", True),
        ("http://beat.example.org", "::1", "", True),
        ("https://beat.example.org", "127.0.0.1", "127.0.0.1", False),
        ("http://beat.example.org:8000", "0.0.0.0", "", False),
        ("http://localhost:8000", "127.0.0.1", "", False),
        ("", "127.0.0.1", "", False),
    ],
)
def test_a_proxy_is_known_by_the_address_that_is_not_our_own(address, host, proxies, unknown):
    env = {
        **os.environ,
        "HEARTBEAT_BASE_URL": address,
        "HEARTBEAT_HOST": host,
        "HEARTBEAT_TRUSTED_PROXIES": proxies,
    }
    asked = "from django.conf import settings; print(settings.HAS_UNKNOWN_PROXY)"
    done = subprocess.run([sys.executable, "-c", asked], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{unknown}\n"


def test_the_other_probes_are_for_everybody():
    client = Client(REMOTE_ADDR="192.0.2.1")
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code in {200, 503}
