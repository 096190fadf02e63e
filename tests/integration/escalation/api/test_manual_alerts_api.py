"""Alerts made by hand over the management API: who may, what is refused, and a preview that sends nothing."""

import pytest

from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from escalation.models.policies import EscalationPolicy
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
    assert [
        (notification["name"], notification["label"], notification["channel"], notification["round"])
        for notification in step["notifications"]
    ] == [("Ana", "Email-Official", "email", 0)]
    assert (shown.json()["complete"], shown.json()["problems"], shown.json()["instead"]) == (True, [], [])
    assert not Alert.objects.exists()
    assert not Notification.objects.exists()
    made = api.post(ALERTS, given, format="json")
    assert made.status_code == 201, made.json()
    sender = organization.users.get(name="Sue")
    assert {
        key: made.json()[key] for key in ("subject", "long_text", "short_text", "priority", "source", "bridge")
    } == {
        "subject": "Smoke",
        "long_text": f"On the roof.\n\nSent by {sender}.",
        "short_text": f"Alert from {sender}: Smoke: On the roof.",
        "priority": "medium",
        "source": "Manual",
        "bridge": bridge.pk,
    }
    assert Notification.objects.get().user.name == "Ana"
    assert api.get(f"{ALERTS}{made.json()['id']}/").status_code == 200


def test_who_would_be_notified_instead_is_said(api, body, organization):
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


class TestWhatASenderChoosesFrom:
    """The role Send Message holds nothing else that shows policies, plays, groups or bridges."""

    @pytest.fixture
    def sender(self, organization, client_for):
        return client_for(factories.UserFactory(organization=organization, roles=["Send Message"]))

    def test_they_list_the_policies_that_they_may_launch_and_see_no_more_than_their_names(self, organization, sender):
        EscalationPolicy.objects.filter(organization=organization).update(quick_launch=False)
        quick = factories.PolicyFactory(organization=organization, name="Quick", quick_launch=True, repeats=3)
        other = factories.PolicyFactory(organization=organization)
        factories.PolicyFactory(organization=organization, quick_launch=True, enabled=False)
        factories.PolicyFactory(quick_launch=True)  # of another organization
        (row,) = sender.get("/api/v1/escalation-policies/").json()["results"]
        assert {name: value for name, value in row.items() if value is not None} == {
            "id": quick.pk,
            "name": "Quick",
            "description": "",
            "priority": "high",
            "enabled": True,
            "quick_launch": True,
        }
        assert sender.get(f"/api/v1/escalation-policies/{quick.pk}/").json() == row
        assert sender.get(f"/api/v1/escalation-policies/{other.pk}/").status_code == 404
        assert sender.get(f"/api/v1/escalation-policies/{quick.pk}/usage/").status_code == 403
        assert sender.patch(f"/api/v1/escalation-policies/{quick.pk}/", {}, format="json").status_code == 403
        assert sender.post(f"/api/v1/escalation-policies/{quick.pk}/clone/", {}, format="json").status_code == 403

    def test_they_list_the_plays_that_they_may_launch(self, organization, sender):
        play = factories.PlayFactory(organization=organization)
        factories.PlayFactory(organization=organization, enabled=False)
        (row,) = sender.get("/api/v1/response-plays/").json()["results"]
        assert (row["id"], row["name"], row["tiers"]) == (play.pk, play.name, None)
        assert sender.delete(f"/api/v1/response-plays/{play.pk}/").status_code == 403

    def test_they_list_all_groups_and_see_no_more_than_their_names(self, organization, sender):
        group = factories.GroupFactory(
            organization=organization, primary=[factories.UserFactory(organization=organization)]
        )
        factories.GroupFactory()  # of another organization
        (row,) = sender.get("/api/v1/groups/").json()["results"]
        assert {name: value for name, value in row.items() if value is not None} == {"id": group.pk, "name": group.name}
        assert sender.get(f"/api/v1/groups/{group.pk}/").json() == row
        for more in ("on-call", "calendar", "contacts"):
            assert sender.get(f"/api/v1/groups/{group.pk}/{more}/").status_code == 403, more
        assert sender.patch(f"/api/v1/groups/{group.pk}/", {"name": "x"}, format="json").status_code == 403

    def test_who_also_sees_their_own_groups_sees_all_of_those(self, organization, client_for):
        user = factories.UserFactory(organization=organization, roles=["Send Message", "Basic"])
        own = factories.GroupFactory(organization=organization, primary=[user])
        other = factories.GroupFactory(organization=organization)
        rows = {row["id"]: row["members"] for row in client_for(user).get("/api/v1/groups/").json()["results"]}
        assert rows == {own.pk: [{"user": user.pk, "role": "primary", "position": 0}], other.pk: None}

    def test_what_was_listed_can_be_sent_to(self, organization, sender):
        factories.PolicyFactory(organization=organization, quick_launch=True)
        factories.GroupFactory(organization=organization, primary=[factories.UserFactory(organization=organization)])
        factories.BridgeFactory(organization=organization)
        policy, group, bridge = (
            sender.get(f"/api/v1/{resource}/").json()["results"][0]["id"]
            for resource in ("escalation-policies", "groups", "bridges")
        )
        given = {"subject": "x", "escalation_policy": policy, "recipient_groups": [group], "bridge": bridge}
        assert sender.post("/api/v1/alerts/", given, format="json").status_code == 201

    def test_a_role_that_may_do_nothing_but_send_lists_the_same(self, organization, client_for):
        role = organization.roles.create(name="Sender", entitlements=["Messages_Send_GlobalAccess"])
        user = factories.UserFactory(organization=organization, roles=[])
        user.roles.set([role])
        factories.BridgeFactory(organization=organization, name="War room")
        api = client_for(user)
        for resource in ("escalation-policies", "response-plays", "groups", "users"):
            assert api.get(f"/api/v1/{resource}/").status_code == 200, resource
        (bridge,) = api.get("/api/v1/bridges/").json()["results"]
        assert (bridge["name"], bridge["access_code"]) == ("War room", None)
