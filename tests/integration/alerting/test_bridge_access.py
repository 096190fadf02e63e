"""How to get into a bridge is for who takes part in an alert with it, and for who maintains bridges."""

import pytest
from django.test import Client

from alerting.models.alerts import Alert
from tests import factories
from tests.integration.escalation.posting import draft, opened

pytestmark = pytest.mark.django_db
CODE, NUMBER, MEETING = "4711#", "1234567", "meet.example.com"


@pytest.fixture
def bridge(organization):
    return factories.BridgeFactory(organization=organization, name="Ops")


def person(organization, *roles, **more):
    return factories.UserFactory(organization=organization, roles=list(roles) or ["Basic"], **more)


def alert(organization, bridge, **fields):
    (made,) = opened([draft(organization, bridge_id=bridge.pk, **fields)], now=factories.WHEN)
    return made


def shown(client_for, user, bridge):
    api = client_for(user)
    one = api.get(f"/api/v1/bridges/{bridge.pk}/").json()
    (listed,) = (row for row in api.get("/api/v1/bridges/").json()["results"] if row["id"] == bridge.pk)
    assert one == listed
    return one


def may_join(client_for, user, bridge):
    found = shown(client_for, user, bridge)
    assert (found["id"], found["name"]) == (bridge.pk, "Ops")
    secrets = [found[name] for name in ("phone_number", "access_code", "meeting_url")]
    assert secrets in (["+49 30 1234567", CODE, "https://meet.example.com/ops"], [None, None, None])
    return secrets[0] is not None


@pytest.mark.parametrize(
    ("role", "sees"),
    [
        ("Owner", True),
        ("App Admin", True),
        ("Integrations Admin", True),
        ("Basic", False),
        ("Send Message", False),
        ("System Viewer", False),
    ],
)
def test_a_role_alone_opens_a_bridge_only_with_the_right_to_maintain_it(client_for, organization, bridge, role, sees):
    alert(organization, bridge)  # somebody else's
    assert may_join(client_for, person(organization, role), bridge) is sees


def test_who_takes_part_in_an_alert_sees_its_bridge_until_it_is_over(client_for, organization, bridge):
    notified, viewer = person(organization), person(organization, "System Viewer")
    member, former, owner = person(organization), person(organization), person(organization)
    team = factories.GroupFactory(organization=organization, primary=[member, former])
    made = alert(organization, bridge, user_ids=[notified.pk, viewer.pk], group_ids=[team.pk])
    Alert.objects.filter(pk=made.pk).update(owner=owner, status="assigned", assigned_at=factories.WHEN)
    team.members.filter(user=former).delete()
    for user in (notified, viewer, member, owner):
        assert may_join(client_for, user, bridge)
    assert not may_join(client_for, former, bridge)
    assert not may_join(client_for, person(organization), bridge)
    other = factories.BridgeFactory(organization=organization, name="Other")
    assert client_for(notified).get(f"/api/v1/bridges/{other.pk}/").json()["access_code"] is None
    Alert.objects.filter(pk=made.pk).update(status="closed", closed_at=factories.WHEN)
    assert not may_join(client_for, notified, bridge)


def test_no_filter_search_or_order_of_bridges_goes_by_what_is_hidden(client_for, organization, bridge):
    factories.BridgeFactory(organization=organization, name="Quiet", access_code="", phone_number="")
    api = client_for(person(organization))
    names = [row["name"] for row in api.get("/api/v1/bridges/").json()["results"]]
    for query in ("access_code=4711%23", "access_code__startswith=4", "search=4711", "ordering=access_code"):
        answer = api.get(f"/api/v1/bridges/?{query}")
        assert answer.status_code == 400 or [row["name"] for row in answer.json()["results"]] == names, query


@pytest.mark.parametrize("path", ["", "progress/"])
def test_the_page_of_an_alert_shows_the_bridge_to_who_takes_part(organization, bridge, path):
    notified = person(organization)
    made = alert(organization, bridge, user_ids=[notified.pk])

    def page(user):
        browser = Client()
        browser.force_login(user)
        return browser.get(f"/alerts/{made.pk}/{path}").content.decode()

    for user in (notified, person(organization, "Owner")):
        for secret in (CODE, NUMBER, MEETING):
            assert secret in page(user)
    onlooker = page(person(organization, "System Viewer"))
    assert "Bridge: Ops</h2>" in onlooker
    assert not any(secret in onlooker for secret in (CODE, NUMBER, MEETING))


def test_nothing_else_about_an_alert_shows_its_bridges_code(client_for, organization, bridge):
    made = alert(organization, bridge, user_ids=[person(organization).pk])
    api = client_for(person(organization, "System Viewer"))
    for path in ("", f"{made.pk}/", f"{made.pk}/timeline/", f"{made.pk}/notifications/"):
        answer = api.get(f"/api/v1/alerts/{path}")
        assert answer.status_code == 200
        assert not any(secret in answer.content.decode() for secret in (CODE, NUMBER, MEETING))
