"""The same person's next method, over real connections: used as soon as a mail fails, however it fails."""

import time
from ipaddress import ip_network

import pytest

from escalation.notifications import deliver
from escalation.notifications.deliver import deliver_due
from tests import factories
from tests.integration.escalation.posting import page
from tests.providers.certificates import make_certificate
from tests.providers.mail import VERBS, MailServer, deaf_port
from tests.providers.server import Provider

pytestmark = pytest.mark.django_db
# The limit of a whole send in these tests; 30 s in the product.
LIMIT = 0.4
# Beyond the limit, for a busy machine.
GRACE = 5.0
BEFORE_THE_END = [verb for verb in VERBS if verb not in {"END", "QUIT"}]


@pytest.fixture
def hook():
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def mail(settings, monkeypatch):
    """Return a function that makes the mail server, with this behaviour."""
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    settings.EMAIL_BACKEND = "escalation.channels.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    monkeypatch.setattr(deliver, "SEND_SECONDS", LIMIT)
    made = []

    def make(**behaviour):
        made.append(MailServer(**behaviour))
        settings.EMAIL_PORT = made[-1].port
        verbs = set(behaviour.values())
        settings.EMAIL_USE_TLS = "STARTTLS" in verbs
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = "x" if "AUTH" in verbs else ""
        settings.EMAIL_USE_SSL = "certificate" in behaviour
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def notify(organization, person, hook, now):
    """Page somebody with e-mail, and with a webhook for half an hour later; return the alert, and the seconds it took."""

    def run():
        ana = person("ana")
        ana.contact_methods.create(
            kind="webhook", label="Hook", address=f"{hook.url}/hook", position=5, delay_minutes=30, verified_at=now
        )
        policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
        alert = page(organization, policy=policy, users=[ana], now=now)
        began = time.monotonic()
        deliver_due(now=now)
        return alert, time.monotonic() - began

    return run


def was_used(hook, alert):
    """Return whether the webhook got the page, beside the mail that is tried again, and the timeline says so."""
    mail = alert.notifications.get(channel="email", kind="page")
    lines = list(alert.timeline.filter(kind="notification_failed").values_list("text", flat=True))
    assert mail.status == "pending"
    assert mail.failing_since is not None
    assert [line.startswith("E-mail to Ana (Email-Official): ") for line in lines] == [True]
    assert alert.notifications.get(channel="webhook").status == "accepted"
    return [request.path for request in hook.requests] == ["/hook"]


@pytest.mark.parametrize("verb", [*BEFORE_THE_END, "END"])
def test_behind_a_mail_server_that_hangs_the_next_method_waits_for_the_limit_of_one_send(mail, notify, hook, verb):
    mail(hang_at=verb)
    alert, took = notify()
    assert was_used(hook, alert)
    assert took < LIMIT + GRACE


@pytest.mark.parametrize("behaviour", [{"drip": 0.05}, {"pause": 0.15}], ids=["drips", "answers late"])
def test_a_mail_server_that_is_slow_all_the_way_holds_the_next_method_no_longer(mail, notify, hook, behaviour):
    mail(**behaviour)
    alert, took = notify()
    assert was_used(hook, alert)
    assert took < LIMIT + GRACE


def test_a_host_that_answers_no_connection_holds_the_next_method_no_longer(mail, notify, hook, settings):
    mail()
    settings.EMAIL_PORT, kept = deaf_port()
    alert, took = notify()
    for one in kept:
        one.close()
    assert was_used(hook, alert)
    assert took < LIMIT + GRACE


@pytest.mark.parametrize("trouble", ["drop_at", "refuse_at"])
@pytest.mark.parametrize("verb", [*BEFORE_THE_END, "END"])
def test_a_mail_server_that_drops_or_refuses_is_followed_by_the_next_method_at_once(
    mail, notify, hook, monkeypatch, trouble, verb
):
    # Nothing waits for the limit: a send that did would take longer than this test allows.
    monkeypatch.setattr(deliver, "SEND_SECONDS", 30.0)
    mail(**{trouble: verb})
    alert, took = notify()
    assert was_used(hook, alert)
    assert took < GRACE


def test_a_mail_server_that_is_not_there_is_followed_by_the_next_method_at_once(mail, notify, hook, monkeypatch):
    monkeypatch.setattr(deliver, "SEND_SECONDS", 30.0)
    mail().refuse_connections()
    alert, took = notify()
    assert was_used(hook, alert)
    assert took < GRACE


def test_an_expired_certificate_is_followed_by_the_next_method_at_once(mail, notify, hook, monkeypatch, tmp_path):
    monkeypatch.setattr(deliver, "SEND_SECONDS", 30.0)
    path = make_certificate(tmp_path, "127.0.0.1", expired=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    mail(certificate=path)
    alert, took = notify()
    assert was_used(hook, alert)
    assert took < GRACE
    assert "certificate has expired" in alert.notifications.get(channel="email").last_error
