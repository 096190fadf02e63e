"""A provider that is left alone: pages use the person's next method at once, news waits at no cost."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from accounts.contact_kinds import PAUSES
from escalation.channels.base import DeliveryError
from escalation.engine.advance import advance_escalations
from escalation.models.notifications import RETRIED, Notification
from escalation.models.sending import CircuitBreaker
from escalation.notifications.after_failures import TOO_LONG, go_on_without_what_fails
from escalation.notifications.deliver import deliver_due
from escalation.notifications.providers import circuit_breakers, phone
from escalation.notifications.providers.channel_pool import CHANNELS, MAIL_SERVER
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
    """Ana is notified by SMS, and by e-mail ten minutes later."""
    made = person("ana")
    made.contact_methods.update(delay_minutes=10, position=1)
    made.contact_methods.create(kind="sms", label="SMS", address=PHONE, position=0, verified_at=now)
    return made


TWILIO = circuit_breakers.Provider("Twilio", "sms")


def break_twilio(now, *, pause=circuit_breakers.PAUSE):
    for _ in range(circuit_breakers.LIMIT):
        circuit_breakers.record_failure(TWILIO, now=now)
    CircuitBreaker.objects.update(open_until=now + pause)


def test_a_page_uses_the_next_method_at_once_and_is_itself_tried_on(organization, ana, policy, server, twilio, now):
    break_twilio(now)
    alert = page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    assert server.sent_to() == ["ana@example.com"]
    sms = alert.notifications.get(label="SMS")
    assert (sms.status, sms.attempts, twilio) == ("pending", 0, [])
    assert sms.next_attempt_at == now + circuit_breakers.PAUSE, "nobody was asked: it waits for the end of the pause"

    circuit_breakers.record_success(TWILIO, now=now)
    deliver_due(now=sms.next_attempt_at)
    assert twilio == [PHONE]
    assert server.sent_to() == ["ana@example.com"], "the next method was used once"


def test_it_is_urgent_as_the_page_whose_place_it_takes(organization, ana, policy, server, now):
    break_twilio(now)
    alert = page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    first = Notification.Urgency.FIRST
    assert dict(alert.notifications.values_list("label", "urgency")) == {
        "SMS": first + RETRIED,
        "Email-Official": first,
    }


def test_without_another_method_the_walk_goes_on_after_a_minute_and_the_page_goes_when_the_pause_is_over(
    organization, ana, person, policy, server, twilio, now
):
    person("olga", roles=["Owner"])
    break_twilio(now)
    alert = page(organization, policy=policy, users=[ana], now=now)
    alert.notifications.exclude(label="SMS").delete()
    sms = alert.notifications.filter(label="SMS")
    deliver_due(now=now)
    break_twilio(now + circuit_breakers.PAUSE)
    deliver_due(now=now + circuit_breakers.PAUSE)
    assert go_on_without_what_fails(now=now + TOO_LONG - SECOND) == 0
    assert go_on_without_what_fails(now=now + TOO_LONG) == 1
    assert go_on_without_what_fails(now=now + TOO_LONG) == 0, "once"
    advance_escalations(now=now + TOO_LONG)
    sms.update(next_attempt_at=now + TOO_LONG + SECOND)
    deliver_due(now=now + TOO_LONG)
    assert server.sent_to() == ["olga@example.com"]
    assert (sms.get().status, twilio) == ("pending", [])
    assert alert.timeline.filter(kind="notification_failed").count() == 1
    deliver_due(now=now + TOO_LONG + SECOND)
    assert (sms.get().status, twilio) == ("accepted", [PHONE])


def test_news_waits_for_what_is_left_of_the_pause_at_no_cost(organization, ana, policy, server, twilio, now):
    page(organization, policy=policy, users=[ana], now=now)
    Notification.objects.filter(label="SMS").update(kind="notice")
    break_twilio(now - 10 * SECOND)
    deliver_due(now=now)
    news = Notification.objects.get(label="SMS")
    assert (news.status, news.attempts) == ("pending", 0)
    assert news.next_attempt_at == now - 10 * SECOND + circuit_breakers.PAUSE
    assert server.sent_to() == [], "nothing else is expedited for it"
    deliver_due(now=news.next_attempt_at)
    assert twilio == [PHONE]


def test_news_that_waits_for_a_provider_is_given_up_after_a_day(organization, ana, policy, twilio, now):
    page(organization, policy=policy, users=[ana], now=now)
    Notification.objects.filter(label="SMS").update(kind="notice", alert=None, run=None)
    later = now + timedelta(days=1)
    for moment, status in ((now, "pending"), (later - PAUSES[-1], "pending"), (later, "failed")):
        break_twilio(moment)
        deliver_due(now=moment)
        assert Notification.objects.get(label="SMS").status == status


def test_all_that_travels_in_one_message_uses_the_next_method(organization, ana, policy, server, twilio, now):
    organization.bundle_seconds = 5
    organization.save()
    alerts = [page(organization, policy=policy, users=[ana], now=now, name=f"job {number}") for number in range(4)]
    deliver_due(now=now)
    assert twilio == [PHONE]
    break_twilio(now)
    deliver_due(now=now + 5 * SECOND)
    left = Notification.objects.filter(label="SMS", status="pending", failing_since__isnull=False)
    assert (left.count(), set(left.values_list("message_id", flat=True))) == (3, {None})
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
    assert not CircuitBreaker.objects.exists()


def break_mail(provider, *, now):
    for _ in range(circuit_breakers.LIMIT):
        circuit_breakers.record_failure(provider, now=now)


def test_after_the_pause_one_message_that_waits_finds_out_whether_the_mail_server_is_back(
    organization, person, policy, server, now
):
    break_mail(MAIL_SERVER, now=now)
    people = [person(f"p{number}") for number in range(3)]
    alert = page(organization, policy=policy, users=people, now=now)
    deliver_due(now=now)
    hours = now + timedelta(hours=2)
    alert.notifications.update(next_attempt_at=hours)
    assert circuit_breakers.send_probes(now=now + circuit_breakers.PAUSE - SECOND) == 0
    assert circuit_breakers.send_probes(now=now + circuit_breakers.PAUSE) == 1
    assert circuit_breakers.send_probes(now=now + circuit_breakers.PAUSE) == 0, "one is on its way"
    deliver_due(now=now + circuit_breakers.PAUSE)
    assert len(server.seen) == 3, "it was taken, so the others need not wait any longer"
    assert not CircuitBreaker.objects.exists()


def test_what_is_held_again_and_again_waits_longer_and_goes_when_the_provider_is_back(
    organization, person, policy, server, now
):
    alert = page(organization, policy=policy, users=[person("ana")], now=now)
    moment, waits = now, []
    while moment < now + timedelta(minutes=20):
        break_mail(MAIL_SERVER, now=moment)
        deliver_due(now=moment)
        next_at = alert.notifications.get().next_attempt_at
        waits.append((next_at - moment).total_seconds())
        moment = next_at
    assert waits == [30, 30, 60, 120, 240, 300, 300, 300]
    for _ in range(2):
        circuit_breakers.record_success(MAIL_SERVER, now=moment)
        assert alert.notifications.get().next_attempt_at == moment, "also when it comes and goes"
        break_mail(MAIL_SERVER, now=moment)
        deliver_due(now=moment)
        moment += circuit_breakers.PAUSE


def test_providers_for_which_nothing_waits_any_more_take_no_probe_from_others(
    organization, person, policy, server, now
):
    alert = page(organization, policy=policy, users=[person("ana")], now=now)
    alert.notifications.update(urgency=RETRIED, attempts=1, next_attempt_at=now + timedelta(hours=2))
    for number in range(circuit_breakers.PROBES):
        gone = circuit_breakers.Provider(f"gone {number}", "webhook", f"https://gone{number}.example.com")
        break_mail(gone, now=now - timedelta(days=number + 1))
    break_mail(MAIL_SERVER, now=now)
    assert circuit_breakers.send_probes(now=now + circuit_breakers.PAUSE) == 1


def test_while_it_is_not_back_there_is_a_try_every_thirty_seconds(organization, person, policy, server, now):
    break_mail(MAIL_SERVER, now=now)
    alert = page(organization, policy=policy, users=[person("ana")], now=now)
    deliver_due(now=now)
    tried = []
    for second in range(1, 151):
        moment = now + second * SECOND
        alert.notifications.update(next_attempt_at=now + timedelta(hours=2), attempts=1)
        if circuit_breakers.send_probes(now=moment):
            tried.append(second)
            circuit_breakers.record_failure(MAIL_SERVER, now=moment)
    assert tried == [30, 60, 90, 120, 150]


def test_a_probe_goes_to_the_mailbox_that_is_left_alone_and_phones_get_none(
    organization, person, policy, server, twilio, now
):
    ana, bob = person("ana"), person("bob")
    alert = page(organization, policy=policy, users=[ana, bob], now=now)
    alert.notifications.update(urgency=RETRIED, attempts=1, next_attempt_at=now + timedelta(hours=2))
    break_mail(circuit_breakers.Provider("email x", "email", "bob@example.com"), now=now)
    break_twilio(now)
    assert circuit_breakers.send_probes(now=now + circuit_breakers.PAUSE) == 1
    due = alert.notifications.filter(next_attempt_at=now + circuit_breakers.PAUSE)
    assert list(due.values_list("address", flat=True)) == ["bob@example.com"]


def test_a_mail_server_that_is_left_alone_has_the_next_method_used_at_once(
    organization, ana, policy, server, twilio, now
):
    ana.contact_methods.filter(label="Email-Official").update(delay_minutes=0, position=0)
    ana.contact_methods.filter(label="SMS").update(delay_minutes=10, position=1)
    break_mail(MAIL_SERVER, now=now)
    page(organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    deliver_due(now=now)
    assert (server.seen, twilio) == ([], [PHONE])
