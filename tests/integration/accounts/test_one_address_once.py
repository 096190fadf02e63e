"""One address is one contact method of a person or group; a second one of the same kind is refused at its field."""

import json

import pytest
from django.test import Client

from accounts.addresses import clean_address
from accounts.models.contact_methods import ContactMethod
from accounts.services.contact_methods import create_contact_method, update_contact_method
from accounts.services.users import update_user
from tests.factories import GroupFactory, UserFactory
from tests.integration.accounts.test_contact_kinds import SUBSCRIPTION
from tests.integration.accounts.test_contact_methods import at

pytestmark = pytest.mark.django_db

NUMBER = "+4915123456789"


@pytest.fixture(autouse=True)
def providers(settings):
    settings.SMS_PROVIDERS, settings.VOICE_PROVIDERS = ["gateway"], ["gateway"]


@pytest.fixture
def ana(organization):
    return UserFactory(organization=organization, name="Ana", email="ana@example.com")


def add(holder, kind, address, *, label="Other", actor=None):
    return create_contact_method(holder, actor=actor or holder, kind=kind, label=label, address=address)


def browser(endpoint, **keys):
    return json.dumps({"endpoint": endpoint, "keys": SUBSCRIPTION["keys"] | keys})


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("sms", NUMBER, "+49 (1512) 345-6789"),
        ("voice", NUMBER, "+49 1512 3456789"),
        ("email", "ana@home.example.com", "Ana@Home.Example.com"),
        ("webhook", "https://hooks.example.com/a", "https://HOOKS.example.com:443/a"),
        ("webhook", "https://hooks.example.com", "https://hooks.example.com/#x"),
        ("chat", "https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/services/T/B/x"),
        ("apprise", "tgram://1:a/2", "TGRAM://1:a/2"),
        ("push", browser("https://push.example.net/a"), browser("https://push.example.net/a", auth="A" * 22)),
    ],
)
def test_the_same_address_is_refused_however_it_is_written(ana, kind, first, second):
    add(ana, kind, first, label="First")
    with at("address") as caught:
        add(ana, kind, second)
    assert "already, as “First”. Verify that one with its code, or remove it first." in str(caught.value)
    assert not ana.contact_methods.filter(label="Other").exists()


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("sms", NUMBER, "+4915123456780"),
        ("webhook", "https://hooks.example.com/a", "https://hooks.example.com/A"),
        ("webhook", "https://hooks.example.com/a", "https://hooks.example.com:8443/a"),
        ("webhook", "https://hooks.example.com/a?b", "https://hooks.example.com/a"),
        ("push", browser("https://push.example.net/a"), browser("https://push.example.net/b")),
    ],
)
def test_what_leads_elsewhere_is_taken(ana, kind, first, second):
    add(ana, kind, first, label="First")
    add(ana, kind, second)


def test_one_number_takes_sms_and_calls_and_may_be_two_peoples(ana, organization):
    add(ana, "sms", NUMBER, label="SMS")
    add(ana, "voice", NUMBER, label="Call")
    add(UserFactory(organization=organization), "sms", NUMBER)


def test_the_address_of_email_official_is_no_second_one(ana):
    with at("address"):
        add(ana, "email", "ANA@example.com")


def test_an_address_is_not_changed_to_another_ones(ana):
    sms = add(ana, "sms", NUMBER, label="SMS")
    other = add(ana, "sms", "+4915123456780")
    with at("address"):
        update_contact_method(other, actor=ana, address="+49 1512 3456789", label="New")
    other.refresh_from_db()
    assert (other.label, other.address) == ("Other", "+4915123456780")
    update_contact_method(sms, actor=ana, address="+49 1512 3456789", label="New")
    mail = add(ana, "email", "ana@home.example.com", label="Home")
    assert update_contact_method(mail, actor=ana, address="Ana@home.example.com").address == "Ana@home.example.com"


def test_whose_e_mail_address_changes_has_it_once(ana, organization, now):
    admin = UserFactory(organization=organization, roles=["App Admin"])
    home = add(ana, "email", "ana@home.example.com", label="Home")
    with at("email") as caught:
        update_user(ana, actor=admin, now=now, email="Ana@Home.example.com")
    assert "as “Home”" in str(caught.value)
    ana.refresh_from_db()
    assert ana.email == ana.contact_methods.get(label="Email-Official").address == "ana@example.com"
    home.delete()
    update_user(ana, actor=admin, now=now, email="ana@home.example.com")
    assert ana.contact_methods.get().address == "ana@home.example.com"


def test_duplicates_of_an_earlier_time_stay_and_can_be_changed(ana, now):
    one, two = (
        ContactMethod.objects.create(user=ana, kind="sms", label=label, address=NUMBER, verified_at=now)
        for label in ("One", "Two")
    )
    assert update_contact_method(two, actor=ana, label="Second", delay_minutes=5, address=NUMBER).label == "Second"
    with at("address") as caught:
        add(ana, "sms", NUMBER)
    assert "Use that one, or remove it first." in str(caught.value)
    one.delete()


def test_a_group_has_an_address_once_and_its_people_may_have_it_too(ana, organization):
    mia = UserFactory(organization=organization)
    group = GroupFactory(organization=organization, managers=[mia])
    add(group, "email", "ops@example.org", actor=mia)
    with at("address") as caught:
        add(group, "email", "OPS@example.org", label="Again", actor=mia)
    assert str(caught.value).startswith("This group has this address already")
    add(ana, "email", "ops@example.org")


def test_a_browser_that_was_added_anew_is_not_renewed_into_a_second_one(ana, now):
    old, new = ("https://push.example.net/old", "https://push.example.net/new")
    for label, endpoint in (("Old", old), ("New", new)):
        address = clean_address("push", browser(endpoint))
        ana.contact_methods.create(kind="push", label=label, address=address, verified_at=now)
    given = {"old": json.loads(browser(old)), "new": json.loads(browser(new))}
    assert Client().post("/push/renew/", given, content_type="application/json").status_code == 204
    assert [json.loads(row.address)["endpoint"] for row in ana.contact_methods.filter(kind="push")] == [old, new]


def test_the_api_and_the_page_say_it_at_the_field(ana, client_for, client):
    add(ana, "sms", NUMBER, label="SMS-Personal")
    body = {"kind": "sms", "label": "Again", "address": "+49 1512 3456789"}
    refused = client_for(ana).post("/api/v1/contact-methods/", body, format="json")
    assert refused.status_code == 400
    (error,) = refused.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/address", "duplicate")
    client.force_login(ana)
    page = client.post("/profile/contact-methods/add/", body)
    assert page.status_code == 400
    assert page.context["adding"][1]["form"].errors["address"] == [error["detail"]]
