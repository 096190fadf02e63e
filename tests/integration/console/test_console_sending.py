"""Alerts made by hand in the console, and the pages that say who would be told."""

import re

import pytest
from django.test import Client

from alerting.models import Alert
from escalation.models import Notification
from tests import factories
from tests.factories.shifts import make_shift


@pytest.fixture
def organization(db):
    return factories.OrganizationFactory()


@pytest.fixture
def person(organization):
    def make(name, *roles, **fields):
        return factories.UserFactory(organization=organization, name=name, roles=roles or ["Basic"], **fields)

    return make


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization, name="Fire brigade", quick_launch=True)


@pytest.fixture
def sue(person):
    return person("Sue", "Send Message")


def browser(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def hidden_fields(page):
    found = re.findall(r'<input type="hidden" name="([a-z_]+)"(?: value="([^"]*)")?', page)
    return {name: value for name, value in found if name != "csrfmiddlewaretoken"}


def test_an_alert_is_written_looked_at_and_sent_once(sue, person, policy):
    client, ana = browser(sue), person("Ana")
    assert b'href="/alerts/new/"' in client.get("/").content
    page = client.get("/alerts/new/").content.decode()
    assert "Fire brigade" in page
    assert "Escalate after 5 minutes" not in page  # not marked for quick launch
    said = {"subject": "Smoke <b>", "follows": f"policy:{policy.pk}", "recipient_users": [ana.pk]}
    preview = client.post("/alerts/new/", said | {"wish": "preview"})
    shown = preview.content.decode()
    assert preview.status_code == 200
    assert "Smoke &lt;b&gt;" in shown
    assert "<strong>Ana</strong>" in shown
    assert not Alert.objects.exists()
    sending = hidden_fields(shown) | {"wish": "send"}
    sent = [client.post("/alerts/new/", sending) for _ in range(2)]
    alert = Alert.objects.get()
    assert [response.url for response in sent] == [f"/alerts/{alert.pk}/"] * 2
    assert Notification.objects.get().user == ana
    assert client.get(f"/alerts/{alert.pk}/").status_code == 200
    another = hidden_fields(client.post("/alerts/new/", said | {"wish": "preview"}).content.decode())
    client.post("/alerts/new/", another | {"wish": "send"})
    assert Alert.objects.count() == 2


def test_going_back_keeps_what_was_written(sue, person, policy):
    client, ana = browser(sue), person("Ana")
    said = {"subject": "Smoke", "text": "Roof", "follows": f"policy:{policy.pk}", "recipient_users": [ana.pk]}
    page = client.post("/alerts/new/", said | {"wish": "edit"}).content.decode()
    assert 'value="Smoke"' in page
    assert "Roof</textarea>" in page
    assert re.search(rf'value="{ana.pk}"[^>]* checked', page)


@pytest.mark.parametrize("wish", ["preview", "send", "edit", "nonsense"])
def test_what_cannot_be_sent_is_marked_and_nothing_is_sent(sue, person, policy, wish):
    client, stranger = browser(sue), factories.UserFactory()
    whole = {"subject": "Smoke", "follows": f"policy:{policy.pk}", "recipient_users": [person("Ana").pk], "wish": wish}
    for change, message in (
        ({"subject": ""}, "Say what is wrong."),
        ({"subject": "   "}, "Say what is wrong."),
        ({"follows": ""}, "Choose a policy or a play."),
        ({"follows": "policy:1"}, "Select a valid choice"),
        ({"recipient_users": [stranger.pk]}, "Select a valid choice"),
        ({"text": "\x00"}, "Null characters are not allowed."),
    ):
        response = client.post("/alerts/new/", whole | change)
        assert response.status_code == 400, change
        assert message in response.content.decode(), change
    if wish != "edit":
        response = client.post("/alerts/new/", whole | {"recipient_users": []})
        assert "Name groups or users to be told." in response.content.decode()
    assert not Alert.objects.filter(organization=sue.organization).exclude(subject="Smoke").exists()
    assert not Alert.objects.exists()


def test_who_may_not_send_finds_neither_button_nor_page(person):
    client = browser(person("Basil"))
    assert b"/alerts/new/" not in client.get("/").content
    assert client.get("/alerts/new/").status_code == 403
    assert client.post("/alerts/new/", {}).status_code == 403
    assert Client().get("/alerts/new/").status_code == 302


def test_an_organization_without_quick_launch_is_told_what_to_do(sue, organization):
    organization.escalation_policies.update(quick_launch=False)
    assert "no policy marked for quick launch" in browser(sue).get("/alerts/new/").content.decode()


def test_silences_that_would_reach_nobody_are_listed_with_the_way_to_mend_them(person, organization):
    ines, olga = person("Ines", "Integrations Admin"), person("Olga", "Owner")
    client = browser(ines)
    assert "Somebody would be told" in client.get("/heartbeats/readiness/").content.decode()
    job = factories.HeartbeatFactory(organization=organization, name="Night <backup>")
    factories.HeartbeatFactory(organization=organization, name="Heard", recipient_users=[ines])
    page = client.get("/heartbeats/readiness/").content.decode()
    assert "Night &lt;backup&gt;" in page
    assert "has nobody to tell" in page
    assert "Heard" not in page
    listed = client.get("/admin/integrations/inboundintegration/").content.decode()
    assert 'href="/heartbeats/readiness/"' in listed
    team = factories.GroupFactory(organization=organization, name="Database", primary=[ines])
    make_shift(team, primary=[ines], windows=[(("monday",), "08:00", "18:00")])
    factories.HeartbeatFactory(organization=organization, name="Weekly", recipient_groups=[team])
    page = client.get("/heartbeats/readiness/").content.decode()
    assert "Weekly" in page
    assert "Nobody who can be reached is on call" in page  # the row of the group
    told = client.get(f"/heartbeats/{job.pk}/who-would-be-told/").content.decode()
    assert f"Instead {olga} and Rota Admin would be notified." in told
    assert f"/admin/integrations/inboundintegration/{job.pk}/change/" in told


def test_whom_a_silence_reaches_is_not_for_everybody(person, organization):
    job, strange = factories.HeartbeatFactory(organization=organization), factories.HeartbeatFactory()
    for role, found in (("Basic", 403), ("Send Message", 403), ("System Viewer", 200), ("Integrations Admin", 200)):
        client = browser(person(f"A {role}", role))
        assert client.get("/heartbeats/readiness/").status_code == found
        assert client.get(f"/heartbeats/{job.pk}/who-would-be-told/").status_code == found
        assert client.get(f"/heartbeats/{strange.pk}/who-would-be-told/").status_code == (404 if found == 200 else 403)
