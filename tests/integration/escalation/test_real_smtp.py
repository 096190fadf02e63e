"""Mails over a real SMTP connection."""

import email
import socket
from email.policy import default

import pytest
from aiosmtpd.controller import Controller

from escalation.services.delivery import deliver_due
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db


class Post:
    """Take mails for everybody but those who are gone."""

    def __init__(self):
        self.taken = []
        self.sessions = set()

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - the server's protocol
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.taken.append(email.message_from_bytes(envelope.content, policy=default))
        self.sessions.add(id(session))
        return "250 OK"


@pytest.fixture
def post(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    controller = Controller(Post(), hostname="127.0.0.1", port=port)
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_PORT = port
    yield controller.handler
    controller.stop()


def test_mails_go_over_one_connection_and_who_is_gone_fails_at_once(organization, person, post, now):
    people = [person(name) for name in ("ana", "gone", "bob")]
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    alert = page(organization, policy=policy, users=people, now=now, name="Sicherung für Łódź 💾")
    assert deliver_due(now=now) == 3
    assert dict(alert.notifications.values_list("user__name", "status")) == {
        "Ana": "accepted",
        "Gone": "failed",
        "Bob": "accepted",
    }
    assert alert.notifications.get(status="failed").last_error == "550 5.1.1 no such user"
    for mail, name in zip(post.taken, ("ana", "bob"), strict=True):
        notification = alert.notifications.get(user__name=name.title())
        assert mail["To"] == f"{name}@example.com"
        assert mail["Subject"].strip() == "[Open] Sicherung für Łódź 💾 is silent"
        assert mail["Message-ID"] == notification.provider_id
        text, html = mail.iter_parts()
        assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
        assert "Sicherung für Łódź 💾 is silent" in text.get_content()
