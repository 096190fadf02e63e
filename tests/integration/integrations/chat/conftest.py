"""A fake Slack and a fake Mattermost on loopback, and integrations whose requests come over the wire."""

import itertools
from ipaddress import ip_network

import pytest

from heartbeat_project.kernel import clock
from integrations.inbound.chat.outbox import send_due
from integrations.inbound.chat.threads import write_changes
from tests.chats import FORM, signed
from tests.providers.server import Provider, answer

MATTERMOST = {"command_token": "mm-command", "bot_token": "mm-bot", "webhook_token": "mm-hook"}


@pytest.fixture(autouse=True)
def at_noon(monkeypatch, world, settings):
    """Let the views read the world's clock, and requests go to loopback."""
    settings.OUTGOING_ALLOW = (ip_network("127.0.0.0/8"),)
    monkeypatch.setattr(clock, "now", lambda: world.now)


@pytest.fixture
def platform():
    """Take every message, as Slack and Mattermost do, and number it."""
    numbers = itertools.count(1)

    def usual(request):
        number = next(numbers)
        if request.path == "/api/v4/posts":
            return answer(201, {"id": f"post{number}"})
        return answer(200, {"ok": True, "channel": "C1", "ts": f"170000000{number}.000100"})

    provider = Provider(usual=usual)
    yield provider
    provider.close()


@pytest.fixture
def slack(world, platform):
    """Return a Chat integration of the fake Slack, whose alerts are for Ana."""
    secrets = {"signing_secret": "slack-secret", "bot_token": "xoxb-token"}
    return world.chat("Operations", recipients=["ana"], secrets=secrets, api_base=platform.url)


@pytest.fixture
def mattermost(world, platform):
    """Return a Chat integration of the fake Mattermost, whose alerts are for Ana."""
    return world.chat(
        "Operations", recipients=["ana"], platform="mattermost", secrets=MATTERMOST, api_base=platform.url
    )


@pytest.fixture
def post(client):
    """Send a body to an integration, signed as Slack does."""

    def post(integration, body, *, kind=FORM, **how):
        url = f"/chat/{integration.token}"
        return client.post(url, body, content_type=kind, headers=signed(body, **how))

    return post


@pytest.fixture
def written(world, platform):
    """Do what the workers do; return what the platform got since, as (path, JSON)."""

    def written():
        seen = len(platform.requests)
        write_changes(now=world.now)
        send_due(now=world.now)
        return [(request.path, request.json) for request in platform.requests[seen:]]

    return written
