"""The kinds of contact method: what each takes, what others see of it, and that only verified ones are used."""

import json
import re
from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.db import IntegrityError, transaction

from accounts.models.contact_methods import ContactMethod
from accounts.selectors import opted_out
from accounts.services.contact_methods import (
    CodeNotUsable,
    JustTested,
    NotVerified,
    OfficialStays,
    create_contact_method,
    request_test,
    update_contact_method,
    verify_contact_method,
)
from accounts.services.opt_outs import opt_in, opt_out
from accounts.signing import signing_secret
from escalation.notifications.verification import send_code, send_test
from heartbeat_project.kernel.errors import Forbidden
from tests.factories import UserFactory
from tests.integration.accounts.test_contact_methods import at
from tests.providers.server import HANG_UP, Provider, answer

pytestmark = pytest.mark.django_db

SUBSCRIPTION = {
    "endpoint": "https://push.example.net/push/abc",
    "expirationTime": None,
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}


@pytest.fixture(autouse=True)
def providers(settings):
    settings.SMS_PROVIDERS, settings.VOICE_PROVIDERS = ["gateway"], ["gateway"]
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def ana(organization):
    return UserFactory(organization=organization, name="Ana")


@pytest.fixture
def webhook(ana, provider):
    return create_contact_method(ana, actor=ana, kind="webhook", label="Hook", address=f"{provider.url}/secret-abcd")


def add(ana, kind, address, **more):
    return create_contact_method(ana, actor=ana, kind=kind, label="Other", address=address, **more)


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        ("sms", " +49 (1512) 345-6789 ", "+4915123456789"),
        ("voice", "+1 212 736 5000", "+12127365000"),
        ("chat", "https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/services/T/B/x"),
        ("webhook", "http://hooks.example.com:8080/a?b=c", "http://hooks.example.com:8080/a?b=c"),
        ("apprise", "tgram://1:a/2", "tgram://1:a/2"),
    ],
)
def test_each_kind_takes_its_addresses(ana, kind, given, stored):
    assert add(ana, kind, given).address == stored


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("sms", "01512 3456789"),
        ("sms", "+49 1"),
        ("sms", "ana@example.com"),
        ("sms", "+49 900 1234567"),
        ("voice", ""),
        ("chat", "hooks.slack.com"),
        ("chat", "ftp://x.example"),
        ("webhook", "https://ana:pw@x.example/"),
        ("webhook", "https://"),
        ("webhook", "https://x.example/a b"),
        ("webhook", "https://[::1"),
        ("webhook", "https://x.example:99999/"),
        ("webhook", "https://x.example/" + "a" * 2_000),
        ("apprise", "mailto://a:b@example.com"),
        ("apprise", "dbus://"),
        ("apprise", "tgram"),
        ("push", "{}"),
        ("push", "https://push.example.net"),
        ("push", json.dumps(SUBSCRIPTION | {"endpoint": "file:///etc/passwd"})),
        ("push", json.dumps(SUBSCRIPTION | {"keys": {"p256dh": "AAAA", "auth": "AAAA"}})),
    ],
)
def test_what_the_kind_cannot_use_is_reported_at_the_address(ana, kind, address):
    with at("address"):
        add(ana, kind, address)


def test_of_a_browsers_subscription_only_what_is_needed_is_kept(ana):
    stored = json.loads(add(ana, "push", json.dumps(SUBSCRIPTION)).address)
    assert stored == {name: SUBSCRIPTION[name] for name in ("endpoint", "keys")}


@pytest.mark.parametrize("kind", ["sms", "voice"])
def test_a_kind_without_a_provider_says_so_instead_of_failing_later(ana, settings, kind):
    settings.SMS_PROVIDERS = settings.VOICE_PROVIDERS = []
    with at("kind"):
        add(ana, kind, "+4915123456789")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("repeat_count", 21),
        ("repeat_count", -1),
        ("repeat_gap_minutes", -1),
        ("windows/0/starts", [{"days": ["monday"], "starts": "8", "ends": "9"}]),
        ("windows", [{"days": ["monday"], "starts": "08:00", "ends": "09:00"}] * 21),
    ],
)
def test_repeats_and_windows_have_bounds(ana, webhook, field, value):
    with at(field):
        update_contact_method(webhook, actor=ana, **{field.partition("/")[0]: value})


def test_email_official_is_used_at_any_time_and_the_database_holds_it(ana):
    official = ana.contact_methods.get(label="Email-Official")
    window = [{"days": ["monday"], "starts": "08:00", "ends": "09:00"}]
    with pytest.raises(OfficialStays):
        update_contact_method(official, actor=ana, windows=window)
    update_contact_method(official, actor=ana, windows=[], repeat_count=2, repeat_gap_minutes=3)
    with pytest.raises(IntegrityError), transaction.atomic():
        ContactMethod.objects.filter(pk=official.pk).update(windows=window)


def test_others_see_where_it_leads_and_no_secret(ana, webhook, provider):
    assert webhook.masked_address == f"http://127.0.0.1:{provider.port}/…abcd"
    assert "secret" not in str(webhook)
    assert add(ana, "push", json.dumps(SUBSCRIPTION)).masked_address == "A browser, over push.example.net"
    assert ContactMethod(kind="webhook", address="https://x.example/abc").masked_address == "https://x.example/…"
    assert ContactMethod(kind="chat", address="https://x.example?token=abc").masked_address == "https://x.example/…"
    assert ContactMethod(kind="apprise", address="tgram://1:secret/2").masked_address == "tgram://…"


def test_the_masked_address_sent_back_changes_nothing(ana, webhook, now):
    ContactMethod.objects.filter(pk=webhook.pk).update(verified_at=now)
    changed = update_contact_method(webhook, actor=ana, address=webhook.masked_address, label="New")
    assert (changed.address, changed.verified_at) == (webhook.address, now)


# -- codes and tests over the wire ------------------------------------------------------------------------------------
def test_a_code_goes_over_the_method_itself_and_makes_it_usable(ana, webhook, provider, now):
    assert send_code(webhook.pk, now=now)
    code = re.search(r"\d{6}", provider.requests[0].json["long_text"]).group()
    assert verify_contact_method(webhook, code=code, actor=ana, now=now).verified_at == now


def test_an_sms_with_a_code_is_short_and_begins_with_it(ana, provider, settings, now):
    settings.GATEWAY_URL = provider.url
    assert send_code(add(ana, "sms", "+4915123456789").pk, now=now)
    text = provider.requests[0].form["text"]
    assert re.match(r"The code is \d{6}\.", text)
    assert len(text) <= 300


def test_why_a_code_could_not_be_sent_is_reported_and_a_new_one_may_be_asked_for_at_once(ana, webhook, provider, now):
    provider.answers(answer(404, b"no such hook"))
    assert not send_code(webhook.pk, now=now)
    webhook.refresh_from_db()
    assert "404" in webhook.send_error
    assert "no such hook" in webhook.send_error
    with pytest.raises(CodeNotUsable):
        verify_contact_method(webhook, code="000000", actor=ana, now=now)
    assert send_code(webhook.pk, now=now)
    webhook.refresh_from_db()
    assert webhook.send_error == ""


def test_a_code_that_may_have_arrived_stays_good(ana, webhook, provider, now):
    provider.answers(HANG_UP)
    assert not send_code(webhook.pk, now=now)
    code = re.search(r"\d{6}", provider.requests[0].json["long_text"]).group()
    assert verify_contact_method(webhook, code=code, actor=ana, now=now).verified_at


def test_a_test_message_is_sent_once_a_minute_over_what_is_verified(ana, webhook, provider, now):
    with pytest.raises(NotVerified):
        request_test(webhook, actor=ana, now=now)
    assert not send_test(webhook.pk, now=now)
    ContactMethod.objects.filter(pk=webhook.pk).update(verified_at=now)
    webhook.refresh_from_db()
    request_test(webhook, actor=ana, now=now)
    with pytest.raises(JustTested):
        request_test(webhook, actor=ana, now=now + timedelta(seconds=59))
    request_test(webhook, actor=ana, now=now + timedelta(seconds=60))
    assert send_test(webhook.pk, now=now)
    assert "This is a test" in provider.requests[0].json["long_text"]
    provider.answers(answer(500))
    assert not send_test(webhook.pk, now=now)
    webhook.refresh_from_db()
    assert "500" in webhook.send_error


def test_nobody_tests_the_methods_of_others(organization, webhook, now):
    with pytest.raises(Forbidden):
        request_test(webhook, actor=UserFactory(organization=organization), now=now)


def test_email_official_is_used_for_every_alert_and_the_database_holds_it(ana):
    official = ana.contact_methods.get(label="Email-Official")
    with pytest.raises(OfficialStays):
        update_contact_method(official, actor=ana, from_priority="critical")
    update_contact_method(official, actor=ana, from_priority="none", critical_outside_windows=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        ana.contact_methods.filter(pk=official.pk).update(from_priority="low")


def test_the_api_takes_priorities_and_the_end_of_the_day(ana, webhook, client_for):
    url, client = f"/api/v1/contact-methods/{webhook.pk}/", client_for(ana)
    window = {"days": ["saturday"], "starts": "18:00", "ends": "24:00", "days_later": 0}
    body = {"from_priority": "high", "critical_outside_windows": True, "windows": [window]}
    changed = client.patch(url, body, format="json").json()
    assert {name: changed[name] for name in body} == body
    assert client.patch(url, {"from_priority": None}, format="json").json()["from_priority"] == "none"
    assert client.patch(url, {"from_priority": "urgent"}, format="json").status_code == 400
    official = ana.contact_methods.get(label="Email-Official")
    refused = client.patch(f"/api/v1/contact-methods/{official.pk}/", {"from_priority": "low"}, format="json")
    assert refused.json()["code"] == "email_official"


# -- the management API
# -------------------------------------------------------------------------------------------------
def test_the_api_takes_every_field_and_gives_it_back(ana, client_for):
    window = {"days": ["friday", "monday"], "starts": "22:00", "ends": "06:00"}
    body = {
        "kind": "sms", "label": "SMS-Personal", "address": "+49 1512 3456789", "delay_minutes": 0.5,
        "repeat_count": 2, "repeat_gap_minutes": 2.5, "windows": [window],
    }  # fmt: skip
    made = client_for(ana).post("/api/v1/contact-methods/", body, format="json")
    assert made.status_code == 201, made.json()
    said = made.json()
    assert said["address"] == "+4915123456789"
    assert said["windows"] == [{"days": ["monday", "friday"], "starts": "22:00", "ends": "06:00", "days_later": 1}]
    assert (said["repeat_count"], said["repeat_gap_minutes"], said["verified_at"]) == (2, 2.5, None)
    assert (said["signing_secret"], said["send_error"], said["tested_at"]) == (None, "", None)


@pytest.mark.parametrize(
    ("windows", "pointer"),
    [
        ([{"days": ["monday"], "starts": "x", "ends": "09:00"}], "/windows/0/starts"),
        ([{"days": ["monday"], "starts": "08:00", "ends": "09:00", "zone": "UTC"}], "/windows/0/zone"),
        ([{"days": ["monday"], "from": "08:00", "ends": "09:00"}], "/windows/0/from"),
        ([{"days": ["monday"], "starts": "08:00", "to": "09:00"}], "/windows/0/to"),
        ([{"days": [["monday"]], "starts": "08:00", "ends": "09:00"}], "/windows/0/days/0"),
        ([{"days": ["mon"], "starts": "08:00", "ends": "09:00"}], "/windows/0/days/0"),
        ([{"days": ["monday"], "starts": "24:00", "ends": "09:00"}], "/windows/0/starts"),
        ([1], "/windows/0"),
        ({}, "/windows"),
    ],
)
def test_the_api_points_at_the_window_that_is_wrong(ana, client_for, windows, pointer):
    body = {"label": "Home", "address": "ana@home.example.com", "windows": windows}
    refused = client_for(ana).post("/api/v1/contact-methods/", body, format="json")
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == pointer


def test_the_secret_is_shown_to_its_owner_alone_and_only_once_verified(organization, ana, webhook, client_for, now):
    admin = UserFactory(organization=organization, roles=["App Admin"])
    url = f"/api/v1/contact-methods/{webhook.pk}/"
    assert client_for(ana).get(url).json()["signing_secret"] is None
    ContactMethod.objects.filter(pk=webhook.pk).update(verified_at=now)
    mine, theirs = client_for(ana).get(url).json(), client_for(admin).get(url).json()
    assert (mine["signing_secret"], mine["address"]) == (signing_secret(webhook.address), webhook.address)
    assert (theirs["signing_secret"], theirs["address"]) == (None, webhook.masked_address)


def test_the_api_tests_a_method(ana, webhook, client_for, now):
    client = client_for(ana)
    url = f"/api/v1/contact-methods/{webhook.pk}/test/"
    assert client.post(url).json()["code"] == "not_verified"
    ContactMethod.objects.filter(pk=webhook.pk).update(verified_at=now)
    assert client.post(url).status_code == 202
    again = client.post(url)
    assert (again.status_code, again.json()["code"]) == (429, "tested_just_now")


# -- opting out
# ---------------------------------------------------------------------------------------------------------
def test_a_person_opts_out_of_one_integration_and_in_again(ana, now, django_assert_num_queries):
    opt_out(ana, integration_id=7, now=now)
    opt_out(ana, integration_id=7, now=now)
    with django_assert_num_queries(1):
        assert opted_out([7, 8]) == {7: frozenset({ana.pk})}
    opt_in(ana, integration_id=7)
    assert opted_out([7, 8]) == {}
