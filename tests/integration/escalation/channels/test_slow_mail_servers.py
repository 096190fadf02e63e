"""A send ends with its limit, however a mail server or another one spends the time."""

import threading
import time

import pytest

from escalation.channels.base import DeliveryError
from escalation.channels.email import EmailChannel
from escalation.channels.http_client import post
from escalation.channels.send_deadline import seconds_left, send_deadline
from tests.providers.mail import VERBS, MailServer, deaf_port
from tests.providers.server import Drip

pytestmark = pytest.mark.django_db
LIMIT = 0.4
# Beyond the limit: for a busy machine, and half a second for the QUIT.
GRACE = 1.6
# Where it hangs, and whether that is held against the whole server.
OF_HOST = dict.fromkeys(VERBS, True) | {"RCPT": False, "DATA": False, "END": False}


@pytest.fixture
def mail(settings):
    """Return a mail server of this behaviour, to which mail goes."""
    made = []

    def make(**behaviour):
        made.append(MailServer(**behaviour))
        settings.EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", made[-1].port
        return made[-1]

    yield make
    for one in made:
        one.close()


def send(message, channel=None):
    """Send a mail; return the failure, and how long it took with closing the connection."""
    channel, began, failure = channel or EmailChannel(), time.monotonic(), None
    with send_deadline(LIMIT):
        try:
            channel.send(message("ana@example.com"))
        except DeliveryError as error:
            failure = error
    channel.close()
    return failure, time.monotonic() - began


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "QUIT"])
def test_a_mail_server_that_hangs_at_a_verb_holds_a_mail_no_longer_than_its_limit(mail, message, settings, verb):
    mail(hang_at=verb)
    settings.EMAIL_USE_TLS = verb == "STARTTLS"
    if verb == "AUTH":
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = "x"
    failure, took = send(message)
    assert failure is not None
    assert took < LIMIT + GRACE
    assert failure.of_host == OF_HOST[verb]


def test_a_mail_server_that_hangs_at_the_goodbye_has_taken_the_mail_and_holds_nobody(mail, message):
    server = mail(hang_at="QUIT")
    failure, took = send(message)
    assert (failure, len(server.taken)) == (None, 1)
    assert took < LIMIT + GRACE


@pytest.mark.parametrize("behaviour", [{"drip": 0.05}, {"pause": 0.15}], ids=["drips", "answers each command late"])
def test_bytes_or_answers_that_come_now_and_then_begin_no_new_limit(mail, message, behaviour):
    server = mail(**behaviour)
    failure, took = send(message)
    assert (failure is not None, server.taken) == (True, [])
    assert took < LIMIT + GRACE


def test_a_server_that_drips_in_the_midst_of_tls_holds_a_mail_no_longer_than_its_limit(mail, message, settings):
    mail(drip=0.05)
    settings.EMAIL_USE_SSL = True
    failure, took = send(message)
    assert failure.of_host
    assert took < LIMIT + GRACE


def test_a_host_that_answers_no_connection_holds_a_mail_no_longer_than_its_limit(mail, message, settings):
    mail()
    settings.EMAIL_PORT, kept = deaf_port()
    failure, took = send(message)
    for one in kept:
        one.close()
    assert failure.of_host
    assert took < LIMIT + GRACE


def test_each_mail_over_a_connection_has_a_limit_of_its_own(mail, message):
    server = mail(pause=0.2)
    channel = EmailChannel()
    for _ in range(3):
        with send_deadline(3.0):
            channel.send(message("ana@example.com"))
    channel.close()
    assert (len(server.taken), server.connections) == (3, 1)


def test_a_connection_that_stood_open_for_long_is_not_used_again(mail, message, monkeypatch):
    server = mail()
    channel = EmailChannel()
    channel.send(message("ana@example.com"))
    monkeypatch.setattr("escalation.channels.email.IDLE_SECONDS", 0.0)
    channel.send(message("ana@example.com"))
    channel.close()
    assert (len(server.taken), server.connections) == (2, 2)


def test_a_request_ends_with_the_limit_of_its_send(make_provider):
    provider = make_provider()
    provider.answers(Drip())
    began = time.monotonic()
    with send_deadline(LIMIT), pytest.raises(DeliveryError, match="No answer in time"):
        post(f"{provider.url}/hook", body=b"x", headers={}, seconds=20.0)
    assert time.monotonic() - began < LIMIT + GRACE


def test_the_limit_holds_in_the_thread_that_sends_and_in_no_other():
    others = []
    with send_deadline(1.0):
        thread = threading.Thread(target=lambda: others.append(seconds_left(20.0)))
        thread.start()
        thread.join()
        assert seconds_left(20.0) <= 1.0
    assert others == [20.0] == [seconds_left(20.0)]
