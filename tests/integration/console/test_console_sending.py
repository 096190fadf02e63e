"""Alerts made by hand in the console, and the pages that say who would be notified."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from escalation.policies.plays import TierRule, create_play
from tests import factories
from tests.factories.shifts import make_shift


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


def fields_of(page):
    """Return what the page's form would send as it stands, without its words."""
    fields = {}
    for tag in re.findall(r"<input [^>]*>", page.split('class="new-alert"')[1]):
        tagged = dict(re.findall(r'([a-z_]+)="([^"]*)"', tag))
        if tagged.get("type") == "hidden" or " checked" in tag:
            fields.setdefault(tagged["name"], []).append(tagged["value"])
    fields.pop("csrfmiddlewaretoken")
    chosen = re.search(r'<option value="([a-z]+:\d+)" selected>', page)
    return fields | {"follows": chosen[1] if chosen else ""}


def test_an_alert_is_written_looked_at_and_sent_once(sue, person, policy):
    client, ana = browser(sue), person("Ana")
    assert b'href="/alerts/new/"' in client.get("/alerts/").content
    page = client.get("/alerts/new/").content.decode()
    assert "Fire brigade" in page
    assert "Escalate after 5 minutes" not in page  # not marked for quick launch
    said = {"subject": "Smoke <b>", "follows": f"policy:{policy.pk}", "recipient_users": [ana.pk]}
    preview = client.post("/alerts/new/", said | {"wish": "preview"})
    shown = preview.content.decode()
    assert preview.status_code == 200
    assert "Smoke &lt;b&gt;" in shown
    assert "<strong>Notified now:</strong> Ana" in shown
    assert ">Send alert to 1 person</button>" in shown
    assert not Alert.objects.exists()
    sending = said | fields_of(shown) | {"wish": "send"}
    sent = [client.post("/alerts/new/", sending) for _ in range(2)]
    alert = Alert.objects.get()
    assert [response.url for response in sent] == [f"/alerts/{alert.pk}/"] * 2
    assert Notification.objects.get().user == ana
    assert client.get(f"/alerts/{alert.pk}/").status_code == 200
    # Gone back to and changed, or written anew, it is another alert.
    client.post("/alerts/new/", sending | {"subject": "Fire"})
    another = fields_of(client.post("/alerts/new/", said | {"wish": "preview"}).content.decode())
    client.post("/alerts/new/", said | another | {"wish": "send"})
    assert Alert.objects.count() == 3


def test_only_those_whom_the_page_showed_are_notified(sue, person, policy):
    client, ana, bob = browser(sue), person("Ana"), person("Bob")
    said = {"subject": "Smoke", "follows": f"policy:{policy.pk}", "recipient_users": [ana.pk]}
    shown = fields_of(client.post("/alerts/new/", said | {"wish": "preview"}).content.decode())
    changed = {"recipient_users": [ana.pk, bob.pk], "wish": "send"}
    answer = client.post("/alerts/new/", said | shown | changed)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Nothing was sent yet" in page
    assert re.search(r"autofocus>Send alert to 2 people</button>", page)
    assert not Alert.objects.exists()
    client.post("/alerts/new/", said | fields_of(page) | {"wish": "send"})
    assert set(Notification.objects.values_list("user__name", flat=True)) == {"Ana", "Bob"}


def test_the_page_opens_with_what_was_used_last_and_ones_own_group(sue, person, policy, organization):
    client = browser(sue)
    organization.escalation_policies.exclude(pk=policy.pk).update(quick_launch=False)
    page = client.get("/alerts/new/").content.decode()
    assert fields_of(page)["follows"] == f"policy:{policy.pk}"  # there is no other
    assert "Name groups or people to be notified." in page
    assert re.search(r'name="subject"[^>]* autofocus', page)
    factories.PolicyFactory(organization=organization, name="Another", quick_launch=True)
    assert fields_of(client.get("/alerts/new/").content.decode())["follows"] == ""

    first = factories.GroupFactory(organization=organization, name="Builders", primary=[sue])
    factories.GroupFactory(organization=organization, name="Climbers", primary=[person("Cem")])
    own = factories.GroupFactory(organization=organization, name="Drivers", primary=[sue, person("Dee")])
    assert fields_of(client.get("/alerts/new/").content.decode())["recipient_groups"] == [str(first.pk)]
    said = {"subject": "Smoke", "follows": f"policy:{policy.pk}", "recipient_groups": [own.pk]}
    shown = fields_of(client.post("/alerts/new/", said | {"wish": "preview"}).content.decode())
    client.post("/alerts/new/", said | shown | {"wish": "send"})
    page = client.get("/alerts/new/").content.decode()
    fields = fields_of(page)
    assert (fields["follows"], fields["recipient_groups"]) == (f"policy:{policy.pk}", [str(own.pk)])
    assert ">Send alert to 2 people</button>" in page
    assert fields_of(browser(person("Other", "Send Message")).get("/alerts/new/").content.decode())["follows"] == ""

    policy.quick_launch = False
    policy.save()
    assert fields_of(client.get("/alerts/new/").content.decode())["follows"].startswith("policy:")  # the only one left


def test_a_play_needs_no_recipients(sue, person, policy, organization):
    factories.GroupFactory(organization=organization, name="Drivers", primary=[sue])
    play = create_play(organization, name="All hands", tiers=[TierRule(offset_minutes=0, users=[person("Ana")])])
    client, said = browser(sue), {"subject": "Smoke", "follows": f"play:{play.pk}"}
    page = client.post("/alerts/new/", said | {"wish": "preview"}).content.decode()
    assert ">Send alert to 1 person</button>" in page
    assert re.search(r'<details class="recipients"><summary>', page)  # closed
    client.post("/alerts/new/", said | fields_of(page) | {"wish": "send"})
    assert Notification.objects.get().user.name == "Ana"
    page = client.get("/alerts/new/").content.decode()
    fields = fields_of(page)
    assert (fields["follows"], fields.get("recipient_groups")) == (f"play:{play.pk}", None)
    assert "<strong>Notified now:</strong> Ana" in page


def test_recipients_are_found_by_typing_a_few_at_a_time(sue, person, organization, policy):
    client = browser(sue)
    factories.UserFactory(name="Anatol the stranger", email="ana.stranger@example.com")
    factories.GroupFactory(name="Analysts elsewhere")
    gone = person("Ana the former")
    gone.is_active = False
    gone.save()
    for number in range(30):
        person(f"Ana {number:02}")
        factories.GroupFactory(organization=organization, name=f"Analysis {number:02}")
    person("Diana", email="zz@example.com")
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/alerts/new/recipients/", {"q": "ana"}).content.decode()
    assert len(queries) < 10
    assert page.count("<label") == 12
    assert "There are more" in page
    for name in ("stranger", "elsewhere", "former", "Diana"):  # those that begin with it come first
        assert name not in page
    assert "Diana" in client.get("/alerts/new/recipients/", {"q": "dian"}).content.decode()
    assert "Diana" in client.get("/alerts/new/recipients/", {"q": "ZZ@ex"}).content.decode()
    for nonsense in ("nobody of this name", "a" * 101, "%"):
        answer = client.get("/alerts/new/recipients/", {"q": nonsense})
        assert (answer.status_code, b"<label" in answer.content) == (200, False), nonsense
    assert client.get("/alerts/new/").content.count(b'type="checkbox"') == 6
    # Without a script the same is found by a button, and what was chosen and written stays.
    said = {"subject": "Smoke", "recipient_users": [sue.pk], "q": "ana 07", "wish": "find"}
    page = client.post("/alerts/new/", said).content.decode()
    assert re.search(rf'value="{sue.pk}" checked', page)
    assert "Ana 07" in page
    assert 'value="Smoke"' in page
    assert "errorlist" not in page


def test_who_would_be_notified_is_answered_without_words(sue, person, policy):
    client, ana = browser(sue), person("Ana")
    said = {"follows": f"policy:{policy.pk}", "recipient_users": [ana.pk]}
    page = client.post("/alerts/new/preview/", said).content.decode()
    assert "<strong>Notified now:</strong> Ana" in page
    assert 'data-button="Send alert to 1 person"' in page
    nobody = client.post("/alerts/new/preview/", said | {"recipient_users": []}).content.decode()
    assert "Name groups or people to be notified." in nobody
    assert 'data-button="Send alert"' in nobody
    stranger = client.post("/alerts/new/preview/", said | {"recipient_users": [factories.UserFactory().pk]})
    assert "Select a valid choice" in stranger.content.decode()
    assert client.get("/alerts/new/preview/").status_code == 405
    assert not Alert.objects.exists()


def test_an_alert_that_would_reach_nobody_says_who_is_notified_instead(sue, person, policy, organization):
    person("Olga", "Owner")
    empty = factories.GroupFactory(organization=organization, name="Empty")
    said = {"subject": "Smoke", "follows": f"policy:{policy.pk}", "recipient_groups": [empty.pk], "wish": "preview"}
    page = browser(sue).post("/alerts/new/", said).content.decode()
    assert re.search(r"Nobody would be reached\. Instead: [^<]*Olga", page)


def test_what_was_written_is_kept(sue, person, policy):
    client, ana = browser(sue), person("Ana")
    said = {"subject": "Smoke", "text": "Roof", "follows": f"policy:{policy.pk}", "recipient_users": [ana.pk]}
    page = client.post("/alerts/new/", said | {"wish": "preview"}).content.decode()
    assert 'value="Smoke"' in page
    assert "Roof</textarea>" in page
    assert re.search(rf'value="{ana.pk}" checked', page)


@pytest.mark.parametrize("wish", ["preview", "send", "nonsense"])
def test_what_cannot_be_sent_is_marked_and_nothing_is_sent(sue, person, policy, wish):
    client, stranger, ana = browser(sue), factories.UserFactory(), person("Ana")
    whole = {"subject": "Smoke", "follows": f"policy:{policy.pk}", "recipient_users": [ana.pk], "wish": wish}
    for change, message, focused in (
        ({"subject": ""}, "Say what is wrong.", "subject"),
        ({"subject": "   "}, "Say what is wrong.", "subject"),
        ({"follows": ""}, "Choose a policy or a play.", "follows"),
        ({"follows": "policy:1"}, "Select a valid choice", "follows"),
        ({"recipient_users": [ana.pk, stranger.pk]}, "Select a valid choice", "q"),
        ({"recipient_users": []}, "Name groups or people to be notified.", "q"),
        ({"text": "\x00"}, "Null characters are not allowed.", "text"),
    ):
        response = client.post("/alerts/new/", whole | change)
        page = response.content.decode()
        assert response.status_code == 400, change
        assert message in page, change
        assert re.findall(r'name="([a-z_]+)"[^>]* autofocus', page) == [focused], change
        if "recipient_users" not in change:
            assert re.search(rf'value="{ana.pk}" checked', page)
    assert not Alert.objects.exists()


def test_who_may_not_send_finds_neither_button_nor_page(person):
    client = browser(person("Basil"))
    assert b"/alerts/new/" not in client.get("/alerts/").content
    assert client.get("/alerts/new/").status_code == 403
    assert client.post("/alerts/new/", {}).status_code == 403
    assert client.post("/alerts/new/preview/", {}).status_code == 403
    assert client.get("/alerts/new/recipients/").status_code == 403
    assert Client().get("/alerts/new/").status_code == 302


def test_an_organization_without_quick_launch_reads_what_to_do(sue, person, organization):
    organization.escalation_policies.update(quick_launch=False)
    page = browser(sue).get("/alerts/new/").content.decode()
    assert "Ask an App Admin" in page
    assert 'class="new-alert"' not in page
    assert (
        "/admin/escalation/escalationpolicy/" in browser(person("Olga", "Owner")).get("/alerts/new/").content.decode()
    )


def test_silences_that_would_reach_nobody_are_listed_with_the_way_to_mend_them(person, organization):
    ines, olga = person("Ines", "Integrations Admin"), person("Olga", "Owner")
    client = browser(ines)
    assert "would reach somebody at its first step" in client.get("/heartbeats/coverage-gaps/").content.decode()
    job = factories.HeartbeatFactory(organization=organization, name="Night <backup>")
    factories.HeartbeatFactory(organization=organization, name="Heard", recipient_users=[ines])
    page = client.get("/heartbeats/coverage-gaps/").content.decode()
    assert "Night &lt;backup&gt;" in page
    assert "has nobody to notify" in page
    assert "Heard" not in page
    listed = client.get("/admin/integrations/inboundintegration/").content.decode()
    assert 'href="/heartbeats/coverage-gaps/"' in listed
    team = factories.GroupFactory(organization=organization, name="Database", primary=[ines])
    make_shift(team, primary=[ines], windows=[(("monday",), "08:00", "18:00")])
    factories.HeartbeatFactory(organization=organization, name="Weekly", recipient_groups=[team])
    page = client.get("/heartbeats/coverage-gaps/").content.decode()
    assert "Weekly" in page
    assert "Nobody who can be reached is on call" in page  # the row of the group
    content = client.get(f"/heartbeats/{job.pk}/who-would-be-notified/").content.decode()
    assert f"Instead {olga} and Rota Admin would be notified." in content
    assert f"/admin/integrations/inboundintegration/{job.pk}/change/" in content


def test_whom_a_silence_reaches_is_not_for_everybody(person, organization):
    job, strange = factories.HeartbeatFactory(organization=organization), factories.HeartbeatFactory()
    for role, found in (("Basic", 403), ("Send Message", 403), ("System Viewer", 200), ("Integrations Admin", 200)):
        client = browser(person(f"A {role}", role))
        assert client.get("/heartbeats/coverage-gaps/").status_code == found
        assert client.get(f"/heartbeats/{job.pk}/who-would-be-notified/").status_code == found
        assert client.get(f"/heartbeats/{strange.pk}/who-would-be-notified/").status_code == (
            404 if found == 200 else 403
        )
