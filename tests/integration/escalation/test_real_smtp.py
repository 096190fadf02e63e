"""Mails over a real SMTP connection."""

import asyncio
import email
import socket
import time
from datetime import timedelta
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from django.db import connection

from escalation.services.delivery import deliver_due
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db


class Post:
    """Take mails for everybody but those who are gone."""

    def __init__(self):
        self.says = {}  # to RCPT, by address
        self.after_data = ""
        self.taken = []
        self.sessions = set()
        self.hang_up_after = 0
        self.all_hang = None  # so many wait in the middle of a mail, then a look is taken, and they go on
        self.hanging = []

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
        if self.hang_up_after and getattr(session, "mails", 0) >= self.hang_up_after:
            server.transport.abort()  # the connection was dead all along, and the sender finds out now
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - the server's protocol
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        if address in self.says:
            return self.says[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.all_hang:
            many, look = self.all_hang
            self.hanging.append(asyncio.get_running_loop().create_future())
            if len(self.hanging) == many:
                look()
                for one in self.hanging:
                    one.set_result(None)
            await asyncio.wait_for(self.hanging[-1], 5)
        if self.after_data:
            return self.after_data
        self.taken.append(email.message_from_bytes(envelope.content, policy=default))
        self.sessions.add(session.peer)
        session.mails = getattr(session, "mails", 0) + 1
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
    mails = {mail["To"]: mail for mail in post.taken}  # which of the two goes first is not promised
    assert (sorted(mails), len(post.taken)) == (["ana@example.com", "bob@example.com"], 2)
    for name in ("ana", "bob"):
        notification = alert.notifications.get(user__name=name.title())
        mail = mails[f"{name}@example.com"]
        assert mail["Subject"].strip() == "[Open] Sicherung für Łódź 💾 is silent"
        assert mail["Message-ID"] == notification.provider_id
        text, html = mail.iter_parts()
        assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
        assert "Sicherung für Łódź 💾 is silent" in text.get_content()


def test_many_mails_at_once_go_over_as_many_connections_as_the_limit_allows(
    post, now, settings, transactional_db, close_connections
):
    settings.CHANNEL_CONCURRENCY = {"email": 4}
    organization = factories.OrganizationFactory()
    people = [factories.UserFactory(organization=organization) for _ in range(40)]
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    alert = page(organization, policy=policy, users=people, now=now)
    assert deliver_due(now=now) == 40
    assert set(alert.notifications.values_list("status", "attempts")) == {("accepted", 1)}
    assert len({mail["Message-ID"] for mail in post.taken}) == len(post.taken) == 40
    assert 1 <= len(post.sessions) <= 4


def test_while_the_mail_server_hangs_no_line_keeps_a_connection_to_the_database(
    post, now, settings, transactional_db, close_connections
):
    settings.CHANNEL_CONCURRENCY = {"email": 4}
    organization = factories.OrganizationFactory()
    people = [factories.UserFactory(organization=organization) for _ in range(4)]
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    page(organization, policy=policy, users=people, now=now)
    kept = []

    def look():
        # The pool also counts what it is just opening; a line that keeps one keeps it for as long as all hang.
        end = time.monotonic() + 2
        while not kept or (kept[-1] > 1 and time.monotonic() < end):
            stats = connection.pool.get_stats()
            kept.append(stats["pool_size"] - stats["pool_available"])
            time.sleep(0.02)

    post.all_hang = (4, look)
    assert deliver_due(now=now) == 4
    assert kept[-1] == 1, "that of the thread that claims"


def test_a_connection_that_died_between_two_mails_is_replaced_and_nothing_is_lost_or_doubled(
    organization, person, post, now
):
    people = [person(f"p{number}") for number in range(9)]
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    alert = page(organization, policy=policy, users=people, now=now)
    post.hang_up_after = 3
    assert deliver_due(now=now) == 9
    assert set(alert.notifications.values_list("status", "attempts")) == {("accepted", 1)}
    assert len({mail["Message-ID"] for mail in post.taken}) == len(post.taken) == 9
    assert len(post.sessions) == 3


def test_a_bundle_is_one_mail_over_smtp(person, post, now, organization):
    organization.bundle_seconds = 5
    organization.save()
    ana = person("ana")
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    for number in range(300):
        page(organization, policy=policy, users=[ana], now=now, name=f"Sicherung {number:03} für Łódź 💾")
    deliver_due(now=now)
    deliver_due(now=now + timedelta(seconds=5))
    first, bundle = post.taken
    assert first["Subject"].strip().startswith("[Open] Sicherung 000")
    assert bundle["Subject"].strip() == (
        "[Open] 299 alerts: Sicherung 001 für Łódź 💾, Sicherung 002 für Łódź 💾 and 297 more"
    )
    text, html = (part.get_content() for part in bundle.iter_parts())
    for body in (text, html):
        assert "Sicherung 200 für Łódź 💾" in body
        assert "Sicherung 201 für Łódź 💾" not in body
        assert "99 more" in body


@pytest.mark.parametrize(
    ("said", "after_data", "failing"),
    [
        ("550 5.1.1 no such user", "", True),
        ("550 5.7.1 not from you", "", False),
        ("452 4.2.2 full", "", False),
        ("550-5.1.1 no such user\r\n550 5.1.1 in two lines", "", True),
        ("", "550 5.1.1 no such user", True),
        ("", "550 5.7.1 this looks like spam", False),
    ],
)
def test_what_the_mail_server_says_marks_an_address_or_not_and_taking_a_mail_clears_it(
    organization, person, post, now, said, after_data, failing
):
    ana = person("ana")
    method = ana.contact_methods.get()
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    post.says, post.after_data = {"ana@example.com": said} if said else {}, after_data
    page(organization, policy=policy, users=[ana], now=now)
    assert deliver_due(now=now) == 1
    method.refresh_from_db()
    assert (method.failing_since, method.failures) == ((now, 1) if failing else (None, 0))
    assert (method.enabled, method.verified_at is not None) == (True, True)
    post.says, post.after_data = {}, ""
    page(organization, policy=policy, users=[ana], now=now, name="other")
    assert deliver_due(now=now) == 1
    method.refresh_from_db()
    assert (method.failing_since, method.failing_reason, method.failures) == (None, "", 0)


def test_a_mail_server_that_is_not_there_marks_nothing(organization, person, settings, now):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    ana = person("ana")
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    assert not ana.contact_methods.filter(failed_at__isnull=False)
