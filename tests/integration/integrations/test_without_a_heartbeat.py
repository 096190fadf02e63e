"""What assumed a heartbeat works for API integrations: pages, windows, opt-outs, previews, coverage, and tests."""

from datetime import timedelta

import pytest
from django.test import Client

from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from heartbeat_project.kernel import clock
from integrations.coverage.consequences import before_change
from integrations.coverage.watch import watch_coverage
from integrations.models.heartbeats import HeartbeatEvent
from integrations.models.integrations import InboundIntegration
from tests import factories

pytestmark = pytest.mark.django_db
URL = "/api/v1/integrations/"
ADMIN = "/admin/integrations/inboundintegration/"


@pytest.fixture
def ines(organization, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    return factories.UserFactory(organization=organization, name="Ines", roles=["Integrations Admin"])


@pytest.fixture
def browser(ines):
    client = Client()
    client.force_login(ines)
    return client


@pytest.fixture
def monitoring(organization):
    return factories.ApiIntegrationFactory(organization=organization, name="monitoring")


@pytest.fixture
def staffed(organization, ines):
    """An API integration whose alerts reach Ines."""
    group = factories.GroupFactory(organization=organization, primary=[ines])
    return factories.ApiIntegrationFactory(organization=organization, name="staffed", recipient_groups=[group])


# -- over REST ---------------------------------------------------------------------------------------------------------
def test_who_would_be_notified_and_opting_out(client_for, ines, staffed):
    api = client_for(ines)
    preview = api.get(f"{URL}{staffed.pk}/who-would-be-notified/")
    assert preview.status_code == 200
    assert "Ines" in preview.content.decode()
    assert api.post(f"{URL}{staffed.pk}/opt-out/").status_code in {200, 204}
    assert "staffed" in str(api.get(f"{URL}coverage-gaps/").json())
    assert api.delete(f"{URL}{staffed.pk}/opt-out/").status_code == 204


def test_it_is_among_the_coverage_gaps(client_for, ines, monitoring):
    api = client_for(ines)
    assert [row["id"] for row in api.get(f"{URL}coverage-gaps/").json()["results"]] == [monitoring.pk]
    assert [row["id"] for row in api.get(f"{URL}upcoming-coverage-gaps/").json()["results"]] == [monitoring.pk]


def test_a_change_that_leaves_nobody_names_integrations_and_not_heartbeats(ines, staffed, now):
    after_change = before_change([staffed], actor=ines, now=now)
    staffed.recipient_groups.clear()
    (consequence,) = after_change()
    assert consequence.detail == "1 integration would reach nobody from now on: “staffed”."


def test_a_maintenance_window_covers_it(client_for, ines, monitoring, now):
    api = client_for(ines)
    window = {
        "name": "Upgrade",
        "starts_at": now.isoformat(),
        "ends_at": (now + timedelta(hours=1)).isoformat(),
        "integrations": [monitoring.pk],
    }
    created = api.post("/api/v1/maintenance-windows/", window, format="json")
    assert created.status_code == 201, created.content
    assert api.get(f"{URL}{monitoring.pk}/").json()["state"] == "maintenance"
    assert api.delete(f"/api/v1/maintenance-windows/{created.json()['id']}/").status_code == 204
    assert api.get(f"{URL}{monitoring.pk}/").json()["state"] == "waiting"
    assert not HeartbeatEvent.objects.exists()


def test_a_test_of_who_is_notified_speaks_of_alerts(client_for, ines, staffed):
    answer = client_for(ines).post(f"{URL}{staffed.pk}/test-paging/", {}, format="json")
    assert answer.status_code == 201, answer.content
    alert = Alert.objects.get()
    assert alert.is_test
    assert alert.long_text.startswith("This is a TEST of who is notified of alerts of “staffed”, started by Ines.")
    assert "heartbeat “" not in alert.long_text
    assert alert.facts[0] == {"label": "Integration", "text": "staffed"}
    assert not HeartbeatEvent.objects.exists()


def test_the_mail_about_gaps_speaks_of_integrations(organization, monitoring, now):
    factories.UserFactory(organization=organization, name="Olga", roles=["Owner"])
    watch_coverage(now=now)
    watch_coverage(now=now + timedelta(minutes=11))
    mail = Notification.objects.get()
    assert "1 integration would reach nobody now" in str(mail.__dict__)


# -- pages -------------------------------------------------------------------------------------------------------------
def test_the_page_for_people_on_call_shows_it(browser, staffed):
    page = browser.get(f"/heartbeats/{staffed.pk}/").content.decode()
    assert "Waiting" in page
    assert "Last event" in page
    assert "Yes: you are notified" in page
    assert "Mute this integration for me" in page
    assert browser.post(f"/heartbeats/{staffed.pk}/notify-me/stop/").status_code == 302
    assert "Unmute" in browser.get(f"/heartbeats/{staffed.pk}/").content.decode()
    assert "staffed" in browser.get("/profile/").content.decode()


@pytest.mark.parametrize("path", ["who-would-be-notified/", "test-paging/"])
def test_previews_speak_of_its_alerts(browser, staffed, path):
    page = browser.get(f"/heartbeats/{staffed.pk}/{path}").content.decode()
    assert "fell silent" not in page
    assert "fallen silent" not in page
    assert "Ines" in page


def test_coverage_gaps_speak_of_integrations(browser, monitoring):
    page = browser.get("/heartbeats/coverage-gaps/").content.decode()
    assert "monitoring" in page
    assert "If an alert of this integration opened at the time shown" in page


def test_it_is_no_heartbeat_on_the_panel_and_in_the_usage(browser, monitoring):
    assert "monitoring" not in browser.get("/heartbeats/panel/").content.decode()


def test_the_list_of_the_admin_shows_it_with_its_state(browser, monitoring):
    factories.HeartbeatFactory(organization=monitoring.organization, name="backup")
    page = browser.get(ADMIN).content.decode()
    assert "monitoring" in page
    assert "backup" in page
    for status, found in (("waiting", True), ("healthy", False), ("storm", False), ("enabled", True)):
        assert ("monitoring" in browser.get(f"{ADMIN}?status={status}").content.decode()) == found, status


def test_its_admin_page_changes_rotates_and_deletes_it(browser, monitoring):
    page = browser.get(f"{ADMIN}{monitoring.pk}/change/")
    assert page.status_code == 200
    assert f"/POSTAlert/{monitoring.token}" in page.content.decode()
    assert "Interval" not in page.content.decode()
    assert browser.get(f"{ADMIN}{monitoring.pk}/state/").status_code == 200
    assert browser.get(f"{ADMIN}{monitoring.pk}/logs/").status_code == 200
    follows = f"policy:{monitoring.escalation_policy_id}"
    answer = browser.post(f"{ADMIN}{monitoring.pk}/change/", {"name": "Grafana", "follows": follows})
    assert answer.status_code == 302, answer.content.decode()
    stored = InboundIntegration.objects.get(pk=monitoring.pk)
    assert (stored.name, stored.enabled) == ("Grafana", False)
    assert browser.post(f"{ADMIN}{monitoring.pk}/rotate/", {"overlap_minutes": "5"}).status_code == 302
    assert InboundIntegration.objects.get(pk=monitoring.pk).token != monitoring.token
    assert browser.post(f"{ADMIN}{monitoring.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not InboundIntegration.objects.exists()


def test_the_audit_log_shows_its_settings(organization, client_for, ines, monitoring):
    rules = [{"name": "disk", "when": {"all": []}, "then": {"priority": "low"}}]
    client_for(ines).patch(f"{URL}{monitoring.pk}/", {"rules": rules}, format="json")
    owner = Client()
    owner.force_login(factories.UserFactory(organization=organization, roles=["Owner"]))
    page = owner.get(f"/audit-log/?object_type=integration&object_id={monitoring.pk}")
    assert page.status_code == 200
    assert "disk" in page.content.decode()
