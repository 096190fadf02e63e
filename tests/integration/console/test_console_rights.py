"""What a user is shown who lacks a right: that they lack it, not that there is nothing."""

import pytest
from django.test import Client

from tests import factories

pytestmark = pytest.mark.django_db
LACKS = "You have no right to see alerts"


@pytest.fixture
def browser(organization):
    def sign_in(*roles):
        client = Client()
        client.force_login(factories.UserFactory(organization=organization, roles=roles))
        return client

    return sign_in


@pytest.mark.parametrize("roles", [["Billing Admin"], []])
def test_who_may_see_no_alerts_is_shown_that_and_not_that_there_are_none(organization, browser, roles):
    factories.AlertFactory(organization=organization, subject="hidden")
    client = browser(*roles)
    for address in ("/alerts/", "/alerts/?tab=all&q=hidden", "/alerts/list/?tab=assigned"):
        page = client.get(address).content.decode()
        assert LACKS in page, address
        assert "No open alerts" not in page
        assert "hidden</a>" not in page
        assert "Search alerts" not in page
        assert "Export" not in page


@pytest.mark.parametrize("role", ["Owner", "App Admin", "Integrations Admin", "Basic", "Send Message", "System Viewer"])
def test_everybody_else_is_shown_that_there_are_none(browser, role):
    page = browser(role).get("/alerts/").content.decode()
    assert LACKS not in page
    assert "No open alerts" in page


def test_the_outbound_settings_are_for_the_outbound_entitlement(organization, browser, client_for, settings):
    settings.SMS_PROVIDERS = ["twilio", "gateway"]
    settings.TWILIO_AUTH_TOKEN = "very-secret"
    for role, expected in {
        "Owner": 200,
        "App Admin": 200,
        "Integrations Admin": 200,
        "Basic": 403,
        "Billing Admin": 403,
        "Send Message": 403,
        "System Viewer": 403,
    }.items():
        user = factories.UserFactory(organization=organization, roles=[role])
        client = Client()
        client.force_login(user)
        page = client.get("/outbound-integrations/")
        assert page.status_code == expected, role
        assert ("Sent over Twilio, then the gateway." in page.content.decode()) == (expected == 200)
        assert ('href="/outbound-integrations/"' in client.get("/admin/").content.decode()) == (expected == 200), role
        api = client_for(user)
        answer = api.get("/api/v1/outbound-integrations/")
        assert answer.status_code == expected, role
        assert "very-secret" not in answer.content.decode() + page.content.decode()
    assert (
        client_for(factories.UserFactory(organization=organization)).post("/api/v1/outbound-integrations/").status_code
        == 403
    )


def test_a_role_with_nothing_but_the_outbound_entitlement_finds_its_page(organization):
    role = organization.roles.create(name="Messenger", entitlements=["OutboundIntegrations_GlobalAccess"])
    user = factories.UserFactory(organization=organization, roles=[])
    user.roles.set([role])
    client = Client()
    client.force_login(user)
    assert 'href="/outbound-integrations/"' in client.get("/alerts/").content.decode()
    assert client.get("/outbound-integrations/").status_code == 200


def test_each_channel_says_whether_it_is_set_up(client_for, organization, settings):
    api = client_for(factories.UserFactory(organization=organization, roles=["App Admin"]))

    def channels():
        return {row["channel"]: row for row in api.get("/api/v1/outbound-integrations/").json()["channels"]}

    settings.EMAIL_BACKEND = settings.STORED_MAIL_BACKEND
    settings.SMS_PROVIDERS, settings.VOICE_PROVIDERS, settings.APPRISE_SERVICES = [], [], []
    found = channels()
    assert [name for name, row in found.items() if row["is_set_up"]] == ["push", "chat", "webhook"]
    assert "EMAIL_URL" in found["email"]["variables"]
    assert "is stored and not sent" in found["email"]["text"]

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.SMS_PROVIDERS, settings.VOICE_PROVIDERS, settings.APPRISE_SERVICES = ["gateway"], ["twilio"], ["ntfy"]
    found = channels()
    assert all(row["is_set_up"] for row in found.values())
    assert found["voice"]["text"] == "Sent over Twilio."
