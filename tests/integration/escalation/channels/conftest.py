"""Fixtures of the channel tests: providers on loopback, which the tests' settings allow."""

import uuid
from ipaddress import ip_network

import pytest

from accounts.signing import signing_secrets
from alerting.models.alerts import Alert
from escalation.channels.base import Message
from escalation.notifications.message import snapshot
from tests.providers.server import Provider
from tests.providers.twilio import SID, TOKEN, Twilio


@pytest.fixture(autouse=True)
def loopback_is_allowed(settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    settings.OUTGOING_TIMEOUT_SECONDS = 0.5


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def make_provider():
    """Return a provider of the given class; all are closed in the end."""
    made = []

    def make(kind=Provider, **more):
        made.append(kind(**more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def twilio(settings, make_provider):
    """Have Twilio take SMS and calls."""
    server = make_provider(Twilio)
    settings.BASE_URL = "https://heartbeat.example.org"
    settings.TWILIO_URL = server.url
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = SID, TOKEN
    settings.TWILIO_FROM = settings.TWILIO_VOICE_FROM = "+15550001111"
    settings.SMS_PROVIDERS = settings.VOICE_PROVIDERS = ["twilio"]
    return server


@pytest.fixture
def gateway(settings, make_provider):
    """Have a gateway stand behind Twilio."""
    server = make_provider()
    settings.GATEWAY_URL, settings.GATEWAY_BODY, settings.GATEWAY_HEADERS = f"{server.url}/send", None, {}
    settings.SMS_PROVIDERS = settings.VOICE_PROVIDERS = ["twilio", "gateway"]
    return server


@pytest.fixture
def message(now):
    """Return a message about a silent heartbeat, not stored anywhere; `about` are fields of its alert."""

    def make(address, *, kind="page", has_alert=True, about=None, **more):
        facts = {
            "pk": 7,
            "status": "open",
            "priority": "high",
            "subject": "backup <b> is silent",
            "short_text": "backup is silent. Expected every 5 minutes, last ping 11:55 UTC on 02 Mar.",
            "long_text": "The heartbeat “backup” & co has stayed silent.\nInterval: 5 minutes",
            "source": "Heartbeat",
            "integration_type": "heartbeat",
            "source_name": "backup",
            "source_id": "3",
            "opened_at": now,
        }
        alert = snapshot(Alert(**facts | (about or {}))) if has_alert else None
        fields = {"id": uuid.UUID(int=5), "kind": kind, "address": address, "reader": "Ana", "time_zone": "UTC"}
        return Message(**fields, at=now, alert=alert, signing_secrets=signing_secrets(address), **more)

    return make
