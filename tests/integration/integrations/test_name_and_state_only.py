"""Who may see an integration's name and state sees nothing else of it."""

import pytest
from django.test import Client

from tests import factories

pytestmark = pytest.mark.django_db
ONLOOKERS = ["Basic", "Send Message", "System Viewer"]


@pytest.fixture
def job(organization):
    group = factories.GroupFactory(organization=organization)
    bridge = factories.BridgeFactory(organization=organization)
    return factories.HeartbeatFactory(
        organization=organization, name="backup", interval_minutes=37, recipient_groups=[group], bridge=bridge
    )


@pytest.mark.parametrize("role", ONLOOKERS)
def test_all_but_name_and_state_is_null(client_for, organization, job, role):
    api = client_for(factories.UserFactory(organization=organization, roles=[role]))
    one = api.get(f"/api/v1/integrations/{job.pk}/").json()
    (listed,) = api.get("/api/v1/integrations/").json()["results"]
    assert one == listed
    known = {name: value for name, value in one.items() if value is not None}
    assert known == {"id": job.pk, "type": "heartbeat", "name": "backup", "state": one["state"]}
    assert {"interval_minutes", "recipient_groups", "recipient_users", "bridge", "api_url", "ping_count"} < set(one)
    assert api.get(f"/api/v1/integrations/{job.pk}/pings/").status_code == 403


def test_who_may_change_it_sees_all_of_it(client_for, organization, job):
    api = client_for(factories.UserFactory(organization=organization, roles=["Integrations Admin"]))
    one = api.get(f"/api/v1/integrations/{job.pk}/").json()
    assert (float(one["interval_minutes"]), one["bridge"], one["ping_count"]) == (37, job.bridge_id, 0)
    assert job.token in one["api_url"]


@pytest.mark.parametrize("role", ONLOOKERS)
def test_the_pages_show_no_interval_and_no_times(organization, job, role):
    browser = Client()
    browser.force_login(factories.UserFactory(organization=organization, roles=[role]))
    page = browser.get(f"/heartbeats/{job.pk}/").content.decode()
    assert "backup" in page
    assert "37 minutes" not in page
    assert "Last ping" not in page
    panel = browser.get("/heartbeats/panel/").content.decode()
    assert ">backup</a>" in panel
    assert "<time" not in panel


@pytest.mark.parametrize("query", ["ordering=deadline_at", "search=backup", "last_ping_at__gt=2020-01-01", "bridge=1"])
def test_no_filter_search_or_order_goes_by_what_is_hidden(client_for, organization, job, query):
    factories.HeartbeatFactory(organization=organization, name="other backup")
    api = client_for(factories.UserFactory(organization=organization))
    assert api.get("/api/v1/integrations/?search=37").json()["results"] == []  # minutes of the interval
    names = [row["name"] for row in api.get("/api/v1/integrations/").json()["results"]]
    answer = api.get(f"/api/v1/integrations/?{query}")
    assert answer.status_code == 400 or [row["name"] for row in answer.json()["results"]] == names


def test_the_schema_says_which_fields_may_be_null(client_for, organization):
    api = client_for(factories.UserFactory(organization=organization))
    schemas = api.get("/api/v1/schema/?format=json").json()["components"]["schemas"]
    answered = schemas["HeartbeatIntegration"]["properties"]
    assert answered["interval_minutes"]["nullable"]
    assert answered["start_timer"]["nullable"]
    assert not answered["name"].get("nullable")
    assert schemas["EventIntegration"]["properties"]["rules"]["nullable"]
    assert not schemas["HeartbeatIntegrationRequest"]["properties"]["interval_minutes"].get("nullable")
    assert set(schemas["Integration"]["discriminator"]["mapping"]) == {"heartbeat", "api", "email", "chat"}
    assert schemas["Bridge"]["properties"]["access_code"]["nullable"]
