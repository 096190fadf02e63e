"""Mails over a real SMTP connection."""

import asyncio
import email
import socket
import ssl
import threading
import time
from datetime import timedelta
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from django.db import connection

from escalation.channels import email as email_channel
from escalation.notifications.deliver import deliver_due
from tests import factories
from tests.integration.escalation.posting import page
from tests.providers.certificates import make_certificate
from tests.providers.mail import MailServer

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

    async def handle_MAIL(self, server, session, message_id, address, options):  # noqa: N802
        if self.hang_up_after and getattr(session, "mails", 0) >= self.hang_up_after:
            server.transport.abort()  # the connection was dead all along, and the sender finds out now
        message_id.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, message_id, address, options):  # noqa: N802 - the server's protocol
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        if address in self.says:
            return self.says[address]
        message_id.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, message_id):  # noqa: N802
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
        self.taken.append(email.message_from_bytes(message_id.content, policy=default))
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
    settings.EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_PORT = port
    yield controller.handler
    controller.stop()


@pytest.fixture
def untrusted(settings, tmp_path):
    """A mail server whose certificate nobody trusts, over TLS from the first byte."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path, "127.0.0.1"))
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                taken, _ = listening.accept()
                with context.wrap_socket(taken, server_side=True):
                    pass
            except ssl.SSLError:
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    settings.EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", listening.getsockname()[1]
    settings.EMAIL_USE_SSL = True
    yield
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def test_a_certificate_that_is_not_trusted_can_be_mended_and_is_tried_again(organization, person, untrusted, now):
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    alert = page(organization, policy=policy, users=[person("ana")], now=now)
    deliver_due(now=now)
    notification = alert.notifications.get()
    assert notification.status == "pending"
    assert "CERTIFICATE_VERIFY_FAILED" in notification.last_error


@pytest.mark.parametrize("expired", [True, False], ids=["expired", "valid"])
def test_an_expired_certificate_can_be_mended_and_a_valid_one_is_trusted(
    organization, person, settings, now, tmp_path, monkeypatch, expired
):
    path = make_certificate(tmp_path, "127.0.0.1", expired=expired)
    # It would be trusted: that it has expired is the only fault.
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    server = MailServer(certificate=path)
    settings.EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_SSL = "127.0.0.1", server.port, True
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    alert = page(organization, policy=policy, users=[person("ana")], now=now)
    try:
        deliver_due(now=now)
    finally:
        server.close()
    notification = alert.notifications.get(kind="page")
    if expired:
        assert (notification.status, notification.unknown_outcomes, server.taken) == ("pending", 0, [])
        assert "certificate has expired" in notification.last_error
    else:
        assert (notification.status, len(server.taken)) == ("accepted", 1)


def test_a_mail_that_cannot_be_written_is_not_tried_again(organization, person, post, now, monkeypatch):
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    alert = page(organization, policy=policy, users=[person("ana")], now=now)
    monkeypatch.setattr(email_channel, "one_line", lambda text: f"{text}\nBcc: x@example.com")
    deliver_due(now=now)
    notification = alert.notifications.get()
    assert (notification.status, post.taken) == ("failed", [])
    assert "Header values" in notification.last_error


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
        assert mail["Subject"].strip() == f"High #{alert.pk} [Open] Sicherung für Łódź 💾 is silent"
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
    names = [f"Sicherung {number:03} für Łódź 💾" for number in range(300)]
    numbers = [page(organization, policy=policy, users=[ana], now=now, name=name).pk for name in names]
    deliver_due(now=now)
    deliver_due(now=now + timedelta(seconds=5))
    first, bundle = post.taken
    assert first["Subject"].strip().startswith(f"High #{numbers[0]} [Open] Sicherung 000")
    assert bundle["Subject"].strip() == (
        f"High: [Open] 299 alerts: #{numbers[1]} {names[1]}, #{numbers[2]} {names[2]} and 297 more"
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
    # What was to be tried again goes, too, now that it works.
    assert deliver_due(now=now) == (2 if said.startswith("452") else 1)
    method.refresh_from_db()
    assert (method.failing_since, method.failing_reason, method.failures) == (None, "", 0)


def test_a_mail_server_that_is_not_there_marks_nothing(organization, person, settings, now):
    settings.EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    ana = person("ana")
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    assert not ana.contact_methods.filter(failed_at__isnull=False)


class Closing:
    """A mail server that leaves at one point of the talk: it hangs there, or closes the connection."""

    def __init__(self, *, at: str, hangs: bool):
        self.at, self.hangs = at, hangs
        self.got: list[str] = []  # the Message-IDs of what it was given whole
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self):
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(taken,), daemon=True).start()

    def _talk(self, taken):
        with taken, taken.makefile("rb") as lines:
            taken.sendall(b"220 here\r\n")
            for line in lines:
                verb = line[:4].decode().upper().strip()
                if verb == self.at:
                    break
                taken.sendall(b"354 go on\r\n" if verb == "DATA" else b"250 OK\r\n")
                if verb == "DATA":
                    body = b"".join(iter(lines.readline, b".\r\n"))
                    self.got.append(str(email.message_from_bytes(body, policy=default)["Message-ID"]))
                    if self.at == "end":
                        break
                    taken.sendall(b"250 taken\r\n")
            if self.hangs:
                self._over.wait(5)


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "closes"])
@pytest.mark.parametrize("at", ["EHLO", "MAIL", "RCPT", "DATA", "end"])
def test_only_what_was_handed_over_whole_is_uncertain_and_goes_once_more_under_its_id(
    organization, person, settings, now, at, hangs, monkeypatch
):
    server = Closing(at=at, hangs=hangs)
    monkeypatch.setattr("escalation.notifications.deliver.SEND_SECONDS", 0.3)
    settings.EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    alert = page(organization, policy=policy, users=[person("ana")], now=now)
    try:
        for minute in range(5):
            deliver_due(now=now + timedelta(minutes=10 * minute))
            if at != "end" and hangs and minute == 1:
                break  # nothing new comes of it
    finally:
        server.close()
    notification = alert.notifications.get(kind="page")
    if at == "end":
        assert server.got == [f"<{notification.pk}@127.0.0.1>"] * 2
        assert (notification.status, notification.unknown_outcomes) == ("failed", 2)
    else:
        assert (notification.status, notification.unknown_outcomes, server.got) == ("pending", 0, [])
