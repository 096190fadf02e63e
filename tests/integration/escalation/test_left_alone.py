"""A provider that is left alone: pages use the person's next method at once, news waits at no cost."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from escalation.channels import CHANNELS, circuits, phone
from escalation.channels.base import DeliveryError
from escalation.models import Circuit, Notification
from escalation.services.delivery import deliver_due
from escalation.services.engine import advance_escalations
from escalation.services.outcomes import BACK_OFF, max_attempts
from tests import factories
from tests.integration.escalation.posting import PHONE, page

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def twilio(settings, monkeypatch):
    """Have Twilio take every SMS, once it is asked; returns what it was given."""
    settings.SMS_PROVIDERS = ["twilio"]
    taken = []

    def send(kind, *, message, text):
        taken.append(message.address)
        return "SM1"

    monkeypatch.setitem(phone.PROVIDERS, "twilio", phone.Provider("Twilio", send))
    return taken


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization, name="Rota", steps=[{"role": "primary"}])


@pytest.fixture
def ana(person, now):
    """Ana is told by SMS, and by e-mail ten minutes later."""
    made = person("ana")
    made.contact_methods.update(delay_minutes=10, position=1)
    made.contact_methods.create(kind="sms", label="SMS", address=PHONE, position=0, verified_at=now)
    return made


def break_twilio(now, *, pause=circuits.PAUSE):
    for _ in range(circuits.LIMIT):
        circuits.record_failure("Twilio", now=now)
    Circuit.objects.update(open_until=now + pause)


def test_a_page_uses_the_next_method_at_once_and_is_itself_tried_on(organization, ana, policy, server, twilio, now):
    break_twilio(now)
    alert = page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    assert server.sent_to() == ["ana@example.com"]
    sms = alert.notifications.get(label="SMS")
    assert (sms.status, sms.attempts, twilio) == ("pending", 1, [])

    circuits.record_success("Twilio")
    deliver_due(now=sms.next_attempt_at)
    assert twilio == [PHONE]
    assert server.sent_to() == ["ana@example.com"], "the next method was used once"


def test_it_is_urgent_as_the_page_whose_place_it_takes(organization, ana, policy, server, now):
    break_twilio(now)
    alert = page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    assert set(alert.notifications.values_list("urgency", flat=True)) == {Notification.Urgency.FIRST}


def test_without_another_method_the_page_is_tried_and_given_up_as_ever(organization, ana, person, policy, server, now):
    person("olga", roles=["Owner"])
    break_twilio(now, pause=circuits.LONGEST)
    alert = page(organization, policy=policy, users=[ana], now=now)
    alert.notifications.exclude(label="SMS").delete()
    moment, sms = now, alert.notifications.filter(label="SMS")
    for attempt in range(1, max_attempts("sms")):
        deliver_due(now=moment)
        waits = sms.get().next_attempt_at - moment
        assert (sms.get().status, sms.get().attempts) == ("pending", attempt)
        assert BACK_OFF["sms"][attempt - 1] <= waits <= BACK_OFF["sms"][attempt - 1] * 1.2
        assert server.sent_to() == []
        moment += waits
    deliver_due(now=moment)
    advance_escalations(now=moment)
    deliver_due(now=moment)
    assert sms.get().status == "failed"
    assert server.sent_to() == ["olga@example.com"]


def test_news_waits_for_what_is_left_of_the_pause_at_no_cost(organization, ana, policy, server, twilio, now):
    page(organization, policy=policy, users=[ana], now=now)
    Notification.objects.filter(label="SMS").update(kind="notice")
    break_twilio(now - 10 * SECOND)
    deliver_due(now=now)
    news = Notification.objects.get(label="SMS")
    assert (news.status, news.attempts) == ("pending", 0)
    assert news.next_attempt_at == now - 10 * SECOND + circuits.PAUSE
    assert server.sent_to() == [], "nothing else is hurried for it"
    deliver_due(now=news.next_attempt_at)
    assert twilio == [PHONE]


def test_all_that_travels_in_one_message_uses_the_next_method(organization, ana, policy, server, twilio, now):
    organization.bundle_seconds = 5
    organization.save()
    alerts = [page(organization, policy=policy, users=[ana], now=now, name=f"job {number}") for number in range(4)]
    deliver_due(now=now)
    assert twilio == [PHONE]
    break_twilio(now)
    deliver_due(now=now + 5 * SECOND)
    left = Notification.objects.filter(label="SMS", status="pending", attempts=1)
    assert (left.count(), left.values("envelope").distinct().count()) == (3, 1)
    deliver_due(now=now + 10 * SECOND)
    mails = Notification.objects.filter(label="Email-Official", alert__in=left.values("alert"))
    assert list(mails.values_list("status", flat=True)) == ["accepted"] * 3
    assert len(alerts) == 4


def test_a_limit_that_is_used_up_for_a_moment_sends_nobody_elsewhere(
    organization, ana, policy, server, now, monkeypatch
):
    def full(message):
        raise DeliveryError("full", retry_after=20 * SECOND, untried=True)

    monkeypatch.setitem(CHANNELS, "sms", lambda: SimpleNamespace(send=full, close=lambda: None))
    alert = page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    assert server.sent_to() == []
    assert alert.notifications.get(label="SMS").next_attempt_at == now + 20 * SECOND
    assert not Circuit.objects.exists()
