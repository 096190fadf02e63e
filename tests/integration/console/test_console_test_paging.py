"""Testing who is notified about a heartbeat: asked first, then shown as it happens; and the same over the API."""

import pytest
from django.test import Client

from alerting.models.alerts import Alert
from alerting.services import alerts
from escalation.models.notifications import Notification
from integrations.heartbeats.paging_tests import start_test
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def ivy(organization):
    return factories.UserFactory(organization=organization, name="Ivy", roles=["Integrations Admin"])


@pytest.fixture
def job(organization):
    ben = factories.UserFactory(organization=organization, name="Ben")
    return factories.HeartbeatFactory(organization=organization, name="Night <backup>", recipient_users=[ben])


@pytest.fixture
def client(ivy):
    client = Client()
    client.force_login(ivy)
    return client


def text(response, status=200):
    assert response.status_code == status
    return response.content.decode()


def test_it_is_asked_for_on_both_pages_and_says_who_will_be_notified_before_it_is_done(client, job):
    page = f"/heartbeats/{job.pk}/test-paging/"
    for shown in (f"/heartbeats/{job.pk}/", f"/admin/integrations/inboundintegration/{job.pk}/change/"):
        assert f'href="{page}"' in text(client.get(shown))
    asked = text(client.get(page))
    assert "<strong>Ben</strong>" in asked
    assert "closes by itself after 1 hour" in asked
    assert not Alert.objects.exists()
    started = client.post(page)
    test = Alert.objects.get()
    assert started["Location"] == f"/alerts/{test.pk}/"
    shown = text(client.get(f"/alerts/{test.pk}/"))
    assert "This is a test" in shown
    assert "Ben" in shown
    assert Notification.objects.get(alert=test).user.name == "Ben"


def test_a_second_press_starts_no_second_test_and_leads_to_the_first(client, ivy, job, now):
    test = start_test(job, actor=ivy, now=now)
    page = f"/heartbeats/{job.pk}/test-paging/"
    again = text(client.post(page, follow=True))
    assert "still open" in again
    assert f'href="/alerts/{test.pk}/"' in again
    assert "Yes, notify them now" not in again
    assert Alert.objects.count() == 1


def test_where_the_policy_is_disabled_the_page_says_so_and_offers_no_button(client, job):
    job.escalation_policy.enabled = False
    job.escalation_policy.save()
    asked = text(client.get(f"/heartbeats/{job.pk}/test-paging/"))
    assert "is disabled" in asked
    assert "Yes, notify them now" not in asked


def test_a_test_is_no_alert_of_the_heartbeat(client, ivy, job, now):
    test = start_test(job, actor=ivy, now=now)
    pages = {
        f"/heartbeats/{job.pk}/": ">Test #",
        f"/admin/integrations/inboundintegration/{job.pk}/state/": "Last test</dt>",
    }
    for page, named in pages.items():
        shown = text(client.get(page))
        assert named in shown
        assert "<dt>Alerts</dt>" not in shown
    assert 'heartbeat_alerts_live{status="open"} 0.0' in text(client.get("/metrics"))
    alerts.assign(test, actor=ivy, to=ivy, now=now)
    assert 'heartbeat_alerts_live{status="assigned"} 0.0' in text(client.get("/metrics"))


def test_who_started_it_may_end_it(client, ivy, job, now):
    test = start_test(job, actor=ivy, now=now)
    client.post(f"/alerts/{test.pk}/close/", {"close-reason": "seen"})
    test.refresh_from_db()
    assert test.status == "closed"


def test_the_api_answers_the_alert_and_where_to_look_at_it(client_for, ivy, job, settings):
    settings.BASE_URL = "https://heartbeat.example.com"
    api = client_for(ivy)
    address = f"/api/v1/integrations/{job.pk}/test-paging/"
    started = api.post(address, {}, format="json")
    test = Alert.objects.get()
    assert started.status_code == 201
    assert started.json() == {"id": test.pk, "url": f"https://heartbeat.example.com/alerts/{test.pk}/"}
    assert api.get(f"/api/v1/alerts/{test.pk}/").json()["source"] == "Test"
    assert len(api.get(f"/api/v1/alerts/{test.pk}/notifications/").json()["results"]) == 1
    again = api.post(address)
    assert (again.status_code, again.json()["code"]) == (409, "test_running")
    job.escalation_policy.enabled = False
    job.escalation_policy.save()
    refused = api.post(address)
    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_be_paged")
