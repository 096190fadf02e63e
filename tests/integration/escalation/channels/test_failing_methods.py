"""Which answers of providers mark a contact method as failing, over the true wire; and what clears the mark."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models.contact_methods import ContactMethod
from accounts.services.contact_methods import update_contact_method
from accounts.services.failing_methods import Refusal, record_refusals, record_working
from accounts.services.users import update_user
from escalation.models.notifications import Notification
from escalation.notifications.deliver import deliver_due
from escalation.notifications.notices.failing_methods import notify_of_failing
from escalation.notifications.verification import send_test
from tests import factories
from tests.integration.escalation.channels.test_receipts import report
from tests.integration.escalation.posting import page, race
from tests.providers.push import PushService
from tests.providers.server import HANG_UP, answer
from tests.providers.twilio import signature

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana", roles=["App Admin"])


@pytest.fixture
def policy(ana):
    return factories.PolicyFactory(organization=ana.organization, steps=[{"role": "primary"}])


@pytest.fixture
def use(ana, now):
    """Give Ana a contact method and return it."""

    def make(kind, address, **fields):
        return ContactMethod.objects.create(
            user=ana, kind=kind, label=kind.title(), address=address, verified_at=now, **fields
        )

    return make


@pytest.fixture
def alert_ana(ana, policy, now):
    def make():
        made = page(ana.organization, policy=policy, users=[ana], now=now, name=f"job {Notification.objects.count()}")
        deliver_due(now=now)
        return made

    return make


def state(method):
    method.refresh_from_db()
    return method.failing_since, method.failures


@pytest.mark.parametrize(
    ("kind", "said", "failing"),
    [
        ("webhook", answer(410), True),
        ("webhook", answer(404), False),
        ("webhook", answer(400), False),
        ("webhook", answer(500), False),
        ("webhook", answer(307, Location="https://x.example/"), False),
        ("webhook", HANG_UP, False),
        ("push", answer(404), True),
        ("push", answer(410), True),
        ("push", answer(403, b"invalid VAPID"), False),
        ("push", answer(500), False),
        ("chat", answer(404, b"no_service"), True),
        ("chat", answer(410, b"channel_is_archived"), True),
        ("chat", answer(404, b"channel_not_found"), True),
        ("chat", answer(404, b"<html>nginx</html>"), False),
        ("chat", answer(403, b"action_prohibited"), False),
        ("chat", answer(400, b"invalid_payload"), False),
        ("chat", answer(500, b"no_service"), False),
        ("apprise", answer(410), True),
        ("apprise", answer(404), False),
        ("apprise", answer(500), False),
    ],
)
def test_only_what_is_said_about_the_address_marks_it(
    use, alert_ana, provider, make_provider, now, kind, said, failing
):
    host = provider.url.removeprefix("http://")
    subscription = json.loads(make_provider(PushService).subscription)
    method = use(
        kind,
        {
            "webhook": f"{provider.url}/hook",
            "chat": f"{provider.url}/services/T/B/x",
            "push": json.dumps({**subscription, "endpoint": f"{provider.url}/push"}),
            "apprise": f"gotify://{host}/abcdefghijklmno",
        }[kind],
    )
    provider.answers(said)
    alert_ana()
    assert state(method) == ((now, 1) if failing else (None, 0))
    provider.answers(answer(201 if kind == "push" else 200))
    alert_ana()
    assert state(method) == (None, 0), "it works again"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("discord://123456789/abcdefghijkl?template=/etc/shadow", "“template” is not permitted in the URL"),
        ("gotify://example.org", "not a complete URL"),
        ("nosuch://example.org/x", "is not permitted here. Use another one"),
    ],
)
def test_an_apprise_url_that_was_stored_before_it_was_refused_fails_and_says_what_to_do(
    use, alert_ana, ana, client_for, settings, now, url, said
):
    settings.APPRISE_SERVICES = ["discord", "gotify"]
    method = use("apprise", url)
    alert_ana()
    assert state(method)[1] == 1
    assert method.failing_since is not None
    assert said in method.failing_reason
    [shown] = [
        one for one in client_for(ana).get("/api/v1/contact-methods/").json()["results"] if one["id"] == method.pk
    ]
    assert said in shown["failing_reason"]
    notify_of_failing(now=now + timedelta(minutes=2))
    notice = Notification.objects.get(user=ana, alert=None)
    assert notice.label == "Email-Official"
    assert said in notice.text


def test_an_address_in_a_private_network_is_our_own_guard(use, alert_ana, provider, settings):
    method = use("webhook", f"{provider.url}/hook")
    settings.OUTGOING_ALLOW = []
    alert_ana()
    assert state(method) == (None, 0)


def test_an_sms_that_is_not_delivered_twice_in_a_row_marks_the_number(use, alert_ana, twilio):
    method = use("sms", "+4915112345678")
    alert = alert_ana()
    sms = alert.notifications.get(channel="sms")
    for _ in range(2):  # a replay counts once
        assert report(sms, "undelivered", ErrorCode="30003") == 204
    assert state(method) == (None, 1)
    assert report(alert_ana().notifications.get(channel="sms"), "undelivered", ErrorCode="30003") == 204
    since, failures = state(method)
    assert since is not None
    assert failures == 2
    assert method.failing_reason == "Twilio: undelivered (code 30003)"
    taken = alert_ana().notifications.get(channel="sms")
    assert (taken.status, state(method)) == ("accepted", (since, 2)), "that Twilio takes it says nothing"
    assert report(taken, "delivered") == 204
    assert state(method) == (None, 0)


def test_an_sms_that_is_delivered_in_between_begins_the_count_anew(use, alert_ana, twilio):
    method = use("sms", "+4915112345678")
    for status in ("undelivered", "delivered", "undelivered"):
        assert report(alert_ana().notifications.get(channel="sms"), status) == 204
    assert state(method) == (None, 1)


@pytest.mark.parametrize(
    ("status", "code"), [("failed", "30003"), ("undelivered", "30007"), ("undelivered", "30034"), ("canceled", "")]
)
def test_what_twilio_or_a_filter_kept_back_says_nothing_about_the_number(use, alert_ana, twilio, status, code):
    method = use("sms", "+4915112345678")
    for _ in range(3):
        assert report(alert_ana().notifications.get(channel="sms"), status, ErrorCode=code) == 204
    assert state(method) == (None, 0)


@pytest.mark.parametrize(("status", "code", "failing"), [(400, 21211, True), (400, 21408, False), (401, 20003, False)])
def test_a_number_that_twilio_refuses_counts_like_one_that_is_not_reached(
    use, alert_ana, twilio, now, status, code, failing
):
    method = use("sms", "+4915112345678")
    for number in (1, 2):
        twilio.answers(answer(status, {"code": code, "message": "no"}))
        alert_ana()
        assert state(method) == ((now if number == 2 else None, number) if failing else (None, 0))


@pytest.mark.parametrize("status", ["no-answer", "busy", "failed"])
def test_a_call_that_nobody_takes_says_nothing(use, alert_ana, twilio, status):
    method = use("voice", "+4915112345678")
    for _ in range(3):
        call = alert_ana().notifications.get(channel="voice")
        path = f"/api/v1/provider-callbacks/twilio/{call.pk}/"
        fields = {"CallSid": call.provider_id, "CallStatus": status}
        signed = signature(f"https://heartbeat.example.org{path}", fields)
        assert Client().post(path, fields, headers={"X-Twilio-Signature": signed}).status_code == 204
    assert state(method) == (None, 0)


def test_a_test_message_marks_and_clears(use, provider, now):
    method = use("webhook", f"{provider.url}/hook")
    provider.answers(answer(410))
    assert not send_test(method.pk, now=now)
    assert state(method) == (now, 1)
    assert send_test(method.pk, now=now)
    assert state(method) == (None, 0)


def test_a_test_over_sms_clears_nothing(use, twilio, now):
    method = use("sms", "+4915112345678", failing_since=now, failed_at=now, failures=2)
    assert send_test(method.pk, now=now)
    assert state(method) == (now, 2)


def test_another_address_does_not_fail(ana, use, now):
    method = use("webhook", "https://hooks.example.com/old", failing_since=now, failed_at=now, failures=2)
    update_contact_method(method, actor=ana, label="Same address")
    assert state(method) == (now, 2)
    update_contact_method(method, actor=ana, address="https://hooks.example.com/new")
    assert state(method) == (None, 0)
    ana.contact_methods.filter(label="Email-Official").update(failing_since=now, failed_at=now, failures=1)
    update_user(ana, actor=ana, email="other@example.com", now=now)
    assert state(ana.contact_methods.get(label="Email-Official")) == (None, 0)


def test_what_is_said_about_an_address_that_was_changed_meanwhile_marks_nothing(use, now):
    method = use("webhook", "https://hooks.example.com/new")
    record_refusals([Refusal(method.pk, "https://hooks.example.com/old", "410 Gone")], now=now)
    assert state(method) == (None, 0)
    record_refusals([Refusal(method.pk, method.address, "410 \x00Gone")] * 2, now=now)
    assert state(method) == (now, 2)


def test_the_api_says_what_fails_and_nobody_can_write_it(ana, use, now, client_for):
    method = use("webhook", "https://hooks.example.com/x", failing_since=now, failed_at=now, failing_reason="410 Gone")
    client = client_for(ana)
    path = f"/api/v1/contact-methods/{method.pk}/"
    said = client.get(path).json()
    assert (said["failing_since"], said["failing_reason"]) == ("2026-03-02T12:00:00Z", "410 Gone")
    client.patch(path, {"failing_since": None}, format="json")
    assert state(method)[0] == now
    assert client.post(f"{path}send-code/").status_code == 202
    ContactMethod.objects.filter(pk=method.pk).update(failing_since=None)
    assert client.post(f"{path}send-code/").status_code == 409
    team = factories.GroupFactory(organization=ana.organization, name="Database", managers=[ana])
    shared = ContactMethod.objects.create(
        group=team, label="Mailbox", address="t@example.com", verified_at=now, failing_since=now, failed_at=now
    )
    said = client.get(f"/api/v1/groups/{team.pk}/contacts/{shared.pk}/").json()
    assert said["failing_since"] == "2026-03-02T12:00:00Z"


def test_messages_over_what_works_cost_nothing_more(use, ana, now):
    with CaptureQueriesContext(connection) as captured:
        record_refusals([], now=now)
    assert not captured
    record_working([method.pk for method in ana.contact_methods.all()])


@pytest.mark.django_db(transaction=True)
def test_of_workers_that_fail_at_once_the_last_sees_all_others(now, close_connections):
    people = [factories.UserFactory(email=f"p{number}@example.com") for number in range(7)]
    methods = [person.contact_methods.get() for person in people]
    waiting = list(methods)

    def fail():
        method = waiting.pop()
        record_refusals([Refusal(method.pk, method.address, "550 5.1.1 no")], now=now)

    race(fail, workers=7)
    assert not ContactMethod.objects.filter(failing_since__isnull=False)
    race_again = methods[0]
    waiting += [race_again] * 4
    race(fail, workers=4)
    assert state(race_again)[0] is None, "it lasts"
    waiting += [race_again] * 4
    record_refusals([Refusal(race_again.pk, race_again.address, "550")], now=now + timedelta(minutes=11))
    assert state(race_again)[0] == now + timedelta(minutes=11)
