"""Fixtures of the stories."""

from ipaddress import ip_network

import pytest
from django.core import mail

from heartbeat_project.kernel import clock
from tests.providers.mailbox import Arrived, Mailbox
from tests.providers.twilio import SID, TOKEN, Twilio
from tests.stories.phones import BASE, Phones


@pytest.fixture(scope="session")
def mail_server():
    """The mail server of all stories. Its mails stand in `mail.outbox`, where a World reads those of any backend."""

    def keep(arrived: Arrived) -> None:
        mail.outbox.append(arrived)  # each test gets a new list

    server = Mailbox(keep)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def mailbox(mail_server, mail_stays_in_memory, settings):
    """Let mails go out over SMTP, and World read what arrived."""
    settings.EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mail_server.port
    mail_server.refusals.clear()
    return mail_server


@pytest.fixture
def nothing_else_was_sent(world, request):
    """End a story with a look at its mailbox, and at its phones: nothing came that it did not expect."""
    phones = request.getfixturevalue("phones") if "phones" in request.fixturenames else None
    yield
    (phones or world).expect_nothing_else()


@pytest.fixture
def phones(world, client, settings, monkeypatch):
    """Let people be reached by phone, and the pages and callbacks read the world's clock."""
    server = Twilio()
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    settings.BASE_URL = BASE
    settings.TWILIO_URL = server.url
    settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN = SID, TOKEN
    settings.TWILIO_FROM = settings.TWILIO_VOICE_FROM = "+15550001111"
    settings.SMS_PROVIDERS = settings.VOICE_PROVIDERS = ["twilio"]
    monkeypatch.setattr(clock, "now", lambda: world.now)
    yield Phones(world, server, client)
    server.close()
