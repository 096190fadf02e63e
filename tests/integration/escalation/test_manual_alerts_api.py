"""Alerts made by hand over the management API: who may, what is refused, and a preview that sends nothing."""

import pytest

from alerting.models import Alert
from escalation.models import Notification
from tests import factories

pytestmark = pytest.mark.django_db

ALERTS, PREVIEW = "/api/v1/alerts/", "/api/v1/alerts/preview/"


@pytest.fixture
def api(person, client_for):
    return client_for(person("sue", roles=["Send Message"]))


@pytest.fixture
def body(organization, person):
    policy = factories.PolicyFactory(organization=organization, quick_launch=True, priority="medium")
    return {"subject": "Smoke", "escalation_policy": policy.pk, "recipient_users": [person("ana").pk]}


def test_an_alert_is_previewed_and_sent(api, body, organization):
    bridge = factories.BridgeFactory(organization=organization)
    given = body | {"text": "On the roof.", "bridge": bridge.pk}
    shown = api.post(PREVIEW, given, format="json")
    assert shown.status_code == 200, shown.json()
    (step,) = shown.json()["steps"]
    assert [(told["name"], told["label"], told["channel"], told["round"]) for told in step["told"]] == [
        ("Ana", "Email-Official", "email", 0)
    ]
    assert (shown.json()["complete"], shown.json()["problems"], shown.json()["instead"]) == (True, [], [])
    assert not Alert.objects.exists()
    assert not Notification.objects.exists()
    made = api.post(ALERTS, given, format="json")
    assert made.status_code == 201, made.json()
    assert {
        key: made.json()[key] for key in ("subject", "long_text", "short_text", "priority", "source", "bridge")
    } == {
        "subject": "Smoke",
        "long_text": "On the roof.",
        "short_text": "Smoke: On the roof.",
        "priority": "medium",
        "source": "Manual",
        "bridge": bridge.pk,
    }
    assert Notification.objects.get().user.name == "Ana"
    assert api.get(f"{ALERTS}{made.json()['id']}/").status_code == 200


def test_who_would_be_told_instead_is_said(api, body, organization):
    owner = factories.UserFactory(organization=organization, name="Olga", roles=["Owner"])
    empty = factories.GroupFactory(organization=organization, name="Empty")
    given = body | {"recipient_users": [], "recipient_groups": [empty.pk]}
    shown = api.post(PREVIEW, given, format="json").json()
    assert shown["instead"] == [{"user": owner.pk, "name": "Olga"}]
    assert [problem["detail"] for problem in shown["problems"]] == [
        f"{role} of Empty: nobody is in it." for role in ("Primary", "Secondary", "Manager")
    ]


@pytest.mark.parametrize("url", [ALERTS, PREVIEW])
def test_what_cannot_be_sent_is_refused_at_its_field(api, body, organization, url):
    play = factories.PlayFactory(organization=organization, enabled=False)
    slow = factories.PolicyFactory(organization=organization)
    off = factories.PolicyFactory(organization=organization, quick_launch=True, enabled=False)
    strangers = factories.PolicyFactory(quick_launch=True)
    for change, pointer in (
        ({"subject": " "}, "/subject"),
        ({"subject": None}, "/subject"),
        ({"subject": "a" * 201}, "/subject"),
        ({"text": "\x00"}, "/text"),
        ({"priority": "urgent"}, "/priority"),
        ({"escalation_policy": None}, "/escalation_policy"),
        ({"escalation_policy": slow.pk}, "/escalation_policy"),
        ({"escalation_policy": off.pk}, "/escalation_policy"),
        ({"escalation_policy": strangers.pk}, "/escalation_policy"),
        ({"response_play": play.pk}, "/escalation_policy"),
        ({"escalation_policy": None, "response_play": play.pk}, "/response_play"),
        ({"recipient_users": []}, "/recipient_groups"),
        ({"recipient_users": [factories.UserFactory().pk]}, "/recipient_users"),
        ({"bridge": factories.BridgeFactory().pk}, "/bridge"),
        ({"status": "closed"}, "/status"),
    ):
        answer = api.post(url, body | change, format="json")
        assert answer.status_code == 400, (change, answer.json())
        assert answer.json()["errors"][0]["pointer"] == pointer, (change, answer.json())
    assert not Alert.objects.exists()


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("Owner", True),
        ("App Admin", True),
        ("Integrations Admin", True),
        ("Send Message", True),
        ("Basic", False),
        ("Billing Admin", False),
        ("System Viewer", False),
    ],
)
def test_only_who_may_send_sends(organization, client_for, body, role, allowed):
    api = client_for(factories.UserFactory(organization=organization, roles=[role]))
    assert api.post(PREVIEW, body, format="json").status_code == (200 if allowed else 403)
    assert api.post(ALERTS, body, format="json").status_code == (201 if allowed else 403)


def test_a_custom_role_that_may_only_send_sends_and_sees_nothing_else(organization, client_for, body):
    user = factories.UserFactory(organization=organization, roles=[])
    user.roles.add(organization.roles.create(name="Desk", entitlements=["Messages_Send_GlobalAccess"]))
    api = client_for(user)
    assert api.post(ALERTS, body, format="json").status_code == 201
    assert api.get(ALERTS).status_code == 403
