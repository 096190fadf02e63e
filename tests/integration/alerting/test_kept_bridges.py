"""A bridge that is used is not deleted, and an alert keeps a copy of the bridge that it was opened with."""

import pytest
from django.test import Client

from alerting.models.alerts import Alert
from alerting.models.bridges import Bridge
from escalation.notifications.message import snapshot
from tests import factories
from tests.integration.escalation.posting import draft, opened

pytestmark = pytest.mark.django_db
FIELDS = {
    "name": "Ops",
    "phone_number": "+49 30 1234567",
    "access_code": "4711#",
    "meeting_url": "https://meet.example.com/ops",
}


@pytest.fixture
def bridge(organization):
    return factories.BridgeFactory(organization=organization, **FIELDS)


@pytest.fixture
def owner(organization):
    return factories.UserFactory(organization=organization, roles=["Owner"])


@pytest.fixture
def api(client_for, owner):
    return client_for(owner)


@pytest.fixture
def alert(organization, bridge):
    (made,) = opened([draft(organization, bridge_id=bridge.pk)], now=factories.WHEN)
    return made


def shown(api, alert):
    one = api.get(f"/api/v1/alerts/{alert.pk}/").json()
    (listed,) = api.get("/api/v1/alerts/").json()["results"]
    assert one == listed
    return one["bridge"], one["bridge_details"]


def end(alert):
    Alert.objects.filter(pk=alert.pk).update(status="closed", closed_at=factories.WHEN)
    alert.refresh_from_db()


@pytest.mark.parametrize("count", [1, 12])
def test_a_bridge_that_integrations_use_is_not_deleted_and_the_answer_names_them(api, organization, bridge, count):
    for number in range(count):
        factories.HeartbeatFactory(organization=organization, name=f"job {number:02}", bridge=bridge)

    response = api.delete(f"/api/v1/bridges/{bridge.pk}/")

    assert (response.status_code, response.json()["code"]) == (409, "in_use")
    assert "“job 00”" in response.json()["detail"]
    assert ("and others" in response.json()["detail"]) == (count > 10)
    assert Bridge.objects.filter(pk=bridge.pk).exists()


def test_the_admin_keeps_a_bridge_that_integrations_use_and_says_why(organization, owner, bridge):
    factories.HeartbeatFactory(organization=organization, name="backup", bridge=bridge)
    browser = Client()
    browser.force_login(owner)

    answer = browser.post(f"/admin/alerting/bridge/{bridge.pk}/delete/", {"post": "yes"}, follow=True)

    assert "“Ops” is used by “backup”" in answer.content.decode()
    assert Bridge.objects.filter(pk=bridge.pk).exists()


@pytest.mark.parametrize("is_live", [True, False])
def test_an_alert_keeps_a_bridge_that_was_deleted(api, owner, bridge, alert, is_live):
    if not is_live:
        end(alert)

    assert api.delete(f"/api/v1/bridges/{bridge.pk}/").status_code == 204

    assert shown(api, alert) == (bridge.pk, FIELDS)
    browser = Client()
    browser.force_login(owner)
    page = browser.get(f"/alerts/{alert.pk}/").content.decode()
    assert "Bridge: Ops</h2>" in page
    assert "4711#" in page
    message = snapshot(Alert.objects.get(pk=alert.pk))
    assert message.bridge is not None
    assert {name: getattr(message.bridge, name) for name in FIELDS} == FIELDS


def test_a_corrected_number_reaches_who_works_on_the_alert_and_not_the_record_of_one_that_is_over(api, bridge, alert):
    changed = {"access_code": "0815#", "name": "War room"}
    assert api.patch(f"/api/v1/bridges/{bridge.pk}/", changed, format="json").status_code == 200

    assert shown(api, alert) == (bridge.pk, FIELDS | changed)
    end(alert)
    assert shown(api, alert) == (bridge.pk, FIELDS)


def test_who_may_not_join_reads_the_name_of_an_alerts_bridge_alone(client_for, organization, bridge, alert):
    viewer = client_for(factories.UserFactory(organization=organization, roles=["System Viewer"]))

    assert shown(viewer, alert) == (bridge.pk, dict.fromkeys(FIELDS) | {"name": "Ops"})


def test_an_alert_without_a_bridge_says_so(api, organization):
    (made,) = opened([draft(organization)], now=factories.WHEN)

    assert shown(api, made) == (None, None)


def test_an_alert_from_before_copies_were_kept_shows_its_bridge(api, bridge, alert):
    Alert.objects.filter(pk=alert.pk).update(bridge_copy=None)
    assert shown(api, alert) == (bridge.pk, FIELDS)
    end(alert)
    assert shown(api, alert) == (bridge.pk, FIELDS)


def test_a_list_of_alerts_with_bridges_asks_no_more_for_more_of_them(
    client_for, organization, bridge, django_assert_max_num_queries
):
    person = client_for(factories.UserFactory(organization=organization, roles=["System Viewer"]))
    opened([draft(organization, bridge_id=bridge.pk) for _ in range(20)], now=factories.WHEN)
    person.get("/api/v1/alerts/")

    with django_assert_max_num_queries(8):
        assert len(person.get("/api/v1/alerts/").json()["results"]) == 20
