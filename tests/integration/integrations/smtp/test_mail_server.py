"""The mail server over SMTP, with the database of the tests: what it takes, what it refuses, and what it stores."""

import contextlib
import smtplib
import socket
import ssl
from dataclasses import replace

import pytest
from django.db import connection

from escalation.models.notifications import Notification
from escalation.responses import tokens
from heartbeat_project.kernel import clock
from integrations.inbound import mails
from integrations.inbound.edits import update_event_integration
from integrations.inbound.mails import read_events
from integrations.models.events import InboundEvent
from integrations.smtp.server import Limits
from integrations.smtp.store import MAX_MAIL, SHARES
from tests import factories
from tests.integration.escalation.posting import page
from tests.mail_servers import DOMAIN, MailServer, config_of
from tests.providers.certificates import make_certificate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


@pytest.fixture
def server(settings):
    """Return what starts a mail server with other limits or settings."""
    stack = contextlib.ExitStack()

    def start(limits=None, **changes):
        config = config_of(connection, secret=settings.SECRET_KEY)
        return stack.enter_context(MailServer(replace(config, **changes), limits or Limits()))

    with stack:
        yield start


@pytest.fixture
def shop(organization):
    return factories.ApiIntegrationFactory(organization=organization, type="email", name="Shop")


def address(integration, key=""):
    return f"{integration.mail_token}{f'+{key}' if key else ''}@{DOMAIN}"


def read_all():
    while read_events(now=clock.now()):
        pass


def refusal(client, recipient):
    """Return the answer to a recipient."""
    client.ehlo_or_helo_if_needed()
    client.mail("a@x.org")
    code, text = client.rcpt(recipient)
    client.rset()
    return code, text.decode().split()[0]


def test_the_shares_are_those_of_the_endpoint():
    names = {"attempts": "MAX_ATTEMPTS", "of_message": "MAX_OF_MESSAGE", "in_all": "MAX_WAITING"}
    names["in_all_bytes"] = "MAX_WAITING_BYTES"
    assert {name: getattr(mails, names.get(name, name.upper())) for name in SHARES} == SHARES
    assert mails.MAX_MAIL == MAX_MAIL


def test_a_mail_is_stored_before_250_and_opens_an_alert_when_it_is_read(server, shop):
    with server().client() as client:
        refused = client.sendmail(
            "mon@x.org", [address(shop, "db1").upper()], b"Subject: web1 is DOWN\r\n\r\n.dot\r\n..\r\n"
        )
        assert refused == {}
        event = InboundEvent.objects.get()  # stored when the answer is here
    assert (event.state, event.integration_id, event.organization_id) == ("waiting", shop.pk, shop.organization_id)
    assert event.query == {"key": "DB1", "sender": "mon@x.org"}
    assert bytes(event.raw).endswith(b"\r\n\r\n.dot\r\n..\r\n")
    read_all()
    event.refresh_from_db()
    assert (event.result[0]["action"], event.result[0]["source_id"]) == ("opened", "DB1")


def test_two_recipients_of_two_integrations_get_an_event_each(server, shop, organization):
    other = factories.ApiIntegrationFactory(organization=organization, type="email", name="Other")
    with server().client() as client:
        client.sendmail("a@x.org", [address(shop), address(other), address(shop)], b"Subject: down\r\n\r\n")
    assert sorted(InboundEvent.objects.values_list("integration_id", flat=True)) == sorted([shop.pk, other.pk])


def test_unknown_addresses_and_other_domains_are_refused_and_the_fifth_ends_the_connection(server, shop):
    api = factories.ApiIntegrationFactory(organization=shop.organization, name="API")
    with server().client() as client:
        assert refusal(client, f"{'a' * 26}@{DOMAIN}") == (550, "5.1.1")
        assert refusal(client, f"nobody@{DOMAIN}") == (550, "5.1.1")
        assert refusal(client, address(api)) == (550, "5.1.1")
        assert refusal(client, "a@elsewhere.org") == (550, "5.7.1")
        assert refusal(client, address(shop)) == (250, "2.1.5")
        client.mail("a@x.org")
        assert client.rcpt("b@elsewhere.org")[0] == 421
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            client.noop()


def test_an_alias_of_any_domain_is_taken(server, organization):
    factories.ApiIntegrationFactory(organization=organization, type="email", name="S", aliases=["alerts@corp.org"])
    with server().client() as client:
        client.sendmail("a@x.org", ["Alerts@Corp.org"], b"Subject: down\r\n\r\n")
    assert InboundEvent.objects.get().query["alias"] == "alerts@corp.org"


def test_a_mail_that_is_too_large_is_refused_before_or_behind_its_data(server, shop):
    with server(Limits(size=100_000)).client() as client:
        client.ehlo()
        assert client.mail("a@x.org", ["size=100001"])[0] == 552
        client.mail("a@x.org")
        client.rcpt(address(shop))
        assert client.data(b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" * 60_000)[0] == 552
        client.sendmail("a@x.org", [address(shop)], b"Subject: x\r\n\r\n")  # the connection goes on
    assert InboundEvent.objects.count() == 1


def test_a_disabled_integration_gets_250_and_the_mail_is_ignored(server, shop):
    update_event_integration(shop, actor=None, now=clock.now(), enabled=False)
    with server().client() as client:
        client.sendmail("a@x.org", [address(shop)], b"Subject: down\r\n\r\n")
    read_all()
    assert InboundEvent.objects.get().result[0]["reason"] == "disabled"


@pytest.mark.parametrize("at", ["RCPT", "DATA"])
def test_without_the_database_the_answer_is_451_and_no_alert_comes_of_it(server, shop, at):
    running = server()
    with running.client() as client:
        client.ehlo()
        client.mail("a@x.org")
        if at == "RCPT":
            running.lose_the_database()
            assert client.rcpt(address(shop))[0] == 451
        else:
            assert client.rcpt(address(shop))[0] == 250
            running.lose_the_database()
            code, text = client.data(b"Subject: down\r\n\r\n")
            assert (code, text.split()[0]) == (451, b"4.3.0")
        # The same connection works again once the database is back.
        running.store._config = running.config
        client.rset()
        client.sendmail("a@x.org", [address(shop)], b"Subject: other\r\n\r\n")
    read_all()
    assert [str(event) for event in InboundEvent.objects.all()] == ["other"]


def test_two_recipients_are_stored_both_or_not_at_all(server, shop, monkeypatch):
    other = factories.ApiIntegrationFactory(type="email", name="Other")  # of another organization
    factories_share = 3
    monkeypatch.setitem(SHARES, "share", factories_share)
    monkeypatch.setitem(SHARES, "kept_free", 0)
    with server().client() as client:
        for number in range(factories_share):
            client.sendmail("a@x.org", [address(other)], f"Subject: {number}\r\n\r\n".encode())
        with pytest.raises(smtplib.SMTPDataError) as raised:
            client.sendmail("a@x.org", [address(shop), address(other)], b"Subject: both\r\n\r\n")
        assert (raised.value.smtp_code, raised.value.smtp_error.split()[0]) == (451, b"4.3.1")
    assert InboundEvent.objects.filter(integration=shop).count() == 0


SMUGGLED = [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\r\n\x00.\r\n"]


@pytest.mark.parametrize("end", SMUGGLED)
def test_a_smuggled_end_of_data_makes_one_event(server, shop, end):
    rcpt = address(shop).encode()
    mail = (
        b"Subject: outer\r\n\r\ntext"
        + end
        + b"MAIL FROM:<evil@x>\r\nRCPT TO:<"
        + rcpt
        + b">\r\nDATA\r\nSubject: inner\r\n\r\n"
    )
    start = b"EHLO x\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<" + rcpt + b">\r\nDATA\r\n"
    answers = server(Limits(seconds=5)).say(start, mail, b"\r\n.\r\n", b"QUIT\r\n")
    assert answers.count("\r\n250 2.0.0") == 1
    assert "221" in answers
    assert bytes(InboundEvent.objects.get().raw).startswith(b"Subject: outer\r\n")


def test_a_line_of_20_000_bytes_is_taken_and_one_of_70_000_is_refused(server, shop):
    with server().client() as client:
        client.sendmail("a@x.org", [address(shop)], b"Subject: x\r\n\r\n" + b"y" * 20_000 + b"\r\n")
        with pytest.raises(smtplib.SMTPDataError) as raised:
            client.sendmail("a@x.org", [address(shop)], b"Subject: x\r\n\r\n" + b"z" * 200_000 + b".\r\nmore\r\n")
        assert raised.value.smtp_code == 500
        client.sendmail("a@x.org", [address(shop)], b"Subject: again\r\n\r\n")
    assert sorted(event.size for event in InboundEvent.objects.all()) == [18, 20_016]


def test_of_a_long_mail_the_beginning_is_stored(server, shop):
    with server().client() as client:
        client.sendmail("a@x.org", [address(shop)], b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" * 1_500_000)
    assert InboundEvent.objects.get().size == MAX_MAIL


def test_connections_recipients_and_mails_have_limits(server, shop):
    running = server(Limits(of_address=2, recipients=2, mails_per_minute=3))
    with running.client() as first, running.client():
        with pytest.raises(smtplib.SMTPConnectError) as raised:
            running.client()
        assert raised.value.smtp_code == 421
        first.ehlo()
        first.mail("a@x.org")
        assert [first.rcpt(address(shop, key))[0] for key in "abc"] == [250, 250, 452]
        assert first.data(b"Subject: x\r\n\r\n")[0] == 250
        assert [first.mail("a@x.org")[0], first.rset()[0], first.mail("a@x.org")[0], first.rset()[0]] == [250] * 4
        assert first.mail("a@x.org")[0] == 451
    with running.client() as later:
        later.ehlo()
        assert later.mail("a@x.org")[0] == 451
    assert InboundEvent.objects.count() == 2


def test_a_silent_client_is_dropped(server):
    running = server(Limits(seconds=0.3))
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as talk:
        answers = b""
        while part := talk.recv(1_000):
            answers += part
    assert answers.startswith(b"220 alerts.example.org")


def test_a_connection_that_ends_within_the_mail_stores_nothing(server, shop):
    start = f"EHLO x\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<{address(shop)}>\r\nDATA\r\nSubject: x\r\n\r\n".encode()
    running = server()
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as talk:
        talk.sendall(start)
        while b"354" not in talk.recv(1_000):
            pass
    with running.client() as client:
        client.sendmail("a@x.org", [address(shop)], b"Subject: y\r\n\r\n")
    assert bytes(InboundEvent.objects.get().raw).startswith(b"Subject: y")


def test_commands_out_of_order_and_nonsense_are_answered(server, shop):
    rcpt = address(shop).encode()
    lines = [b"DATA", b"EHLO x", b"DATA", b"MAIL FROM:<a@x>", b"DATA", b"RCPT TO:<" + rcpt + b">", b"RSET", b"DATA"]
    answers = server(Limits(seconds=5)).say(
        b"".join(line + b"\r\n" for line in lines), b"\xff\xfe\r\nVRFY a\r\nQUIT\r\n"
    )
    assert "354" not in answers
    assert not InboundEvent.objects.exists()


def test_a_bounce_has_an_empty_sender_and_opens_nothing(server, shop):
    report = b"Subject: down\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b--\r\n"
    with server().client() as client:
        client.sendmail("", [address(shop)], report)
    assert InboundEvent.objects.get().query == {"sender": "<>"}
    read_all()
    assert InboundEvent.objects.get().result[0]["reason"] == "loop"


def test_an_answer_to_one_of_our_mails_acts_and_a_forged_one_is_refused(server, settings, organization, now):
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    ana = factories.UserFactory(organization=organization, name="Ana")
    alert = page(
        organization,
        policy=factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}]),
        users=[ana],
        now=now,
    )
    Notification.objects.update(status="accepted", accepted_at=now, next_attempt_at=None)
    reply_address = tokens.reply_address(Notification.objects.get().pk)
    forged = reply_address.replace("+", "+a")[: -len("@reply.example.org") - 1] + "@reply.example.org"
    raw = f"To: {reply_address}\r\nMessage-ID: <1@x>\r\n\r\nack\r\n".encode()
    with server().client() as client:
        assert refusal(client, forged)[0] == 550
        client.sendmail("ana@x.org", [reply_address], raw)
    while read_events(now=now):
        pass
    event = InboundEvent.objects.get()
    assert (event.integration_id, event.result[0]["action"]) == (None, "answered")
    alert.refresh_from_db()
    assert alert.acknowledged_at is not None


def test_starttls_is_offered_with_a_certificate(server, shop, tmp_path):
    certificate = make_certificate(tmp_path, "localhost")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with server(certificate=str(certificate), key=str(certificate)).client() as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert client.starttls(context=context)[0] == 220
        client.ehlo()
        assert not client.has_extn("auth")
        client.sendmail("a@x.org", [address(shop)], b"Subject: x\r\n\r\n")
    assert InboundEvent.objects.count() == 1
    with server().client() as client:
        client.ehlo()
        assert not client.has_extn("starttls")
