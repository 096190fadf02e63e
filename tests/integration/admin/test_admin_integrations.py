"""Configuration > Integrations > Inbound Integrations: the list, the form, the saved page."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from alerting.models.alerts import Alert
from integrations.heartbeats.log import log_events
from integrations.heartbeats.selectors import api_url
from integrations.models.heartbeats import HeartbeatEvent
from integrations.models.integrations import InboundIntegration
from integrations.ping_lane.batch import Arrival, record_pings
from tests import factories

LIST = "/admin/integrations/inboundintegration/"
ADD = f"{LIST}add/"


@pytest.fixture
def client(here, signed_in):
    return signed_in(here.people["Integrations Admin"])


@pytest.fixture
def filled(here):
    policy = here.objects["escalation_escalationpolicy"]
    return {
        "name": "Nightly backup",
        "follows": f"policy:{policy.pk}",
        "interval_minutes": "0.1",
        "recipient_groups": [here.objects["accounts_group"].pk],
        "recipient_users": [here.people["Basic"].pk],
        "bridge": here.objects["alerting_bridge"].pk,
        "enabled": "on",
        "grace_minutes": "0",
        "start_timer": "when_enabled",
    }


def page_of(integration):
    return f"{LIST}{integration.pk}/change/"


def said(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


# -- the list ----------------------------------------------------------------------------------------------------------
def test_the_types_stand_in_their_order(client):
    page = client.get(LIST).content.decode()
    [options] = re.findall(r'<select id="type".*?</select>', page, re.DOTALL)
    assert re.findall(r">([^<]+)</option>", options) == ["All types", "API", "Email", "Chat", "Heartbeat"]


def test_choosing_heartbeat_filters_the_list_and_turns_the_button(client, here):
    shown = client.get(f"{LIST}?type=heartbeat").content.decode()
    assert "+ ADD HEARTBEAT" in shown
    assert f'href="{ADD}?type=heartbeat"' in shown
    assert here.objects["integrations_inboundintegration"].name in shown
    plain = client.get(LIST).content.decode()
    assert "+ ADD HEARTBEAT" not in plain
    assert "Choose a type" in plain


def test_search_and_status_narrow_the_list(client, here, now):
    factories.HeartbeatFactory(organization=here.organization, name="Sleeping", enabled=False)

    def names(query):
        return {row.integration.name for row in client.get(f"{LIST}?{query}").context["rows"]}

    other = here.objects["integrations_inboundintegration"].name
    assert names("") == {other, "Sleeping"}
    assert names("status=disabled") == {"Sleeping"}
    assert names("status=enabled") == {other}
    assert names("status=missed") == set()
    assert names("status=healthy") == set()
    assert names("q=SLEEP") == {"Sleeping"}
    assert names("q=nothing+of+this+kind") == set()


def test_sixty_integrations_cost_as_many_queries_as_one_and_stand_on_two_pages(client, here):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            response = client.get(LIST)
        return len(captured), response

    one, _ = queries()
    for _ in range(60):
        factories.HeartbeatFactory(organization=here.organization, bridge=here.objects["alerting_bridge"])
    many, response = queries()
    # Of several pages, the ids of one are found first.
    assert many <= one + 1
    assert many <= 12
    assert len(response.context["rows"]) == 50
    assert len(client.get(f"{LIST}?p=2").context["rows"]) == 11


def test_an_empty_list_teaches(here, client):
    InboundIntegration.objects.all().delete()
    assert "A heartbeat is a signal" in client.get(LIST).content.decode()
    assert "Press <strong>+ ADD HEARTBEAT</strong>" in client.get(f"{LIST}?type=heartbeat").content.decode()


# -- the form ----------------------------------------------------------------------------------------------------------
def test_the_form_asks_in_the_given_order(client):
    page = client.get(ADD).content.decode()
    labels = [
        "Integration Name",
        "Escalation Policy / Response Play",
        "Heartbeat Interval (minutes)",
        "Recipient Group(s)",
        "Recipient User(s)",
        "Bridge",
        "Enabled",
        "More settings",
        "Grace (minutes)",
        "Start the timer",
        "Accept GET/HEAD pings",
        "Submit</button>",
    ]
    form = page[page.index("<form", page.index('id="content-start"')) :]
    places = [form.index(label) for label in labels]
    assert places == sorted(places)
    assert re.search(r'<input type="checkbox" name="enabled"[^>]* checked', form)
    assert "novalidate" in form
    assert '<optgroup label="Escalation Policies">' in form
    assert '<optgroup label="Response Plays">' in form


def test_submit_saves_and_shows_the_url_on_top_with_copy(client, here, filled):
    response = client.post(ADD, filled)
    integration = InboundIntegration.objects.get(name="Nightly backup")
    assert response["Location"] == page_of(integration)
    assert integration.organization == here.organization
    assert integration.heartbeat.interval_minutes == Decimal("0.1")
    assert integration.heartbeat.deadline_at is not None
    assert list(integration.recipient_groups.all()) == [here.objects["accounts_group"]]
    assert integration.bridge == here.objects["alerting_bridge"]
    page = client.get(page_of(integration)).content.decode()
    url = api_url(integration)
    assert f'<input id="api-url" type="text" readonly value="{url}">' in page
    assert re.search(r'<button type="button"[^>]* data-copy="api-url"[^>]*>COPY</button>', page)
    assert page.index("API URL") < page.index("Integration Name")
    assert f"curl -X POST &#x27;{url}&#x27;" in page or f"curl -X POST '{url}'" in page
    assert "Invoke-RestMethod -Method Post" in page


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("name", "Enter a name for the integration."),
        ("follows", "Choose an escalation policy or a response play."),
        ("interval_minutes", "Enter the interval in minutes."),
    ],
)
def test_a_missing_required_field_is_said_at_the_field_and_saves_nothing(client, filled, missing, message):
    before = InboundIntegration.objects.count()
    response = client.post(ADD, {**filled, missing: ""})
    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [missing]
    page = response.content.decode()
    field = page[: page.index(f'name="{missing}"')]
    assert message in field[field.rindex('<div class="field') :]
    assert InboundIntegration.objects.count() == before


@pytest.mark.parametrize(
    "interval", ["0", "0.05", "-1", "44640.1", "0.15", "1e9", "NaN", "Infinity", "five", "9" * 5000]
)
def test_an_interval_out_of_bounds_is_refused_at_its_field(client, filled, interval):
    response = client.post(ADD, {**filled, "interval_minutes": interval})
    assert list(response.context["adminform"].form.errors) == ["interval_minutes"]
    assert not InboundIntegration.objects.filter(name="Nightly backup").exists()


@pytest.mark.parametrize("interval", ["0.1", "44640"])
def test_an_interval_at_its_bounds_is_taken(client, filled, interval):
    assert client.post(ADD, {**filled, "interval_minutes": interval}).status_code == 302


def test_a_name_is_taken_whatever_its_case(client, here, filled):
    client.post(ADD, filled)
    response = client.post(ADD, {**filled, "name": "nightly BACKUP"})
    assert response.status_code == 200
    [message] = response.context["adminform"].form.errors["name"]
    assert "already an inbound integration" in message
    assert InboundIntegration.objects.filter(name__iexact="nightly backup").count() == 1


@pytest.mark.parametrize("field", ["recipient_groups", "recipient_users", "bridge", "follows"])
def test_what_belongs_to_another_organization_cannot_be_chosen(client, elsewhere, filled, field):
    foreign = {
        "recipient_groups": elsewhere.objects["accounts_group"].pk,
        "recipient_users": elsewhere.people["Basic"].pk,
        "bridge": elsewhere.objects["alerting_bridge"].pk,
        "follows": f"policy:{elsewhere.objects['escalation_escalationpolicy'].pk}",
    }
    for wrong in (foreign[field], "x", "9" * 30, "\x00"):
        response = client.post(ADD, {**filled, field: wrong})
        assert list(response.context["adminform"].form.errors) == [field]
    assert not InboundIntegration.objects.filter(name="Nightly backup").exists()


def test_a_name_that_cannot_be_stored_is_refused_at_its_field(client, filled):
    for name in ("a\x00b", "x" * 201, "   "):
        response = client.post(ADD, {**filled, "name": name})
        assert list(response.context["adminform"].form.errors) == ["name"]


def test_a_policy_without_anybody_named_is_saved_with_a_warning(client, filled):
    response = client.post(ADD, {**filled, "recipient_groups": [], "recipient_users": []})
    assert response.status_code == 302
    assert any("nobody who can answer is notified" in message for message in said(response))
    assert any("name a group or a person" in message for message in said(response))


def test_the_form_says_who_cannot_answer_and_when_the_first_person_is_notified(client, here, filled):
    ana = here.people["Basic"]
    ana.contact_methods.update(delay_minutes=4)
    policy = here.organization.escalation_policies.create(name="Wait")
    policy.roles.create(role="primary", retries=1, retry_interval_minutes=10)
    both = {**filled, "recipient_groups": [], "recipient_users": [ana.pk], "follows": f"policy:{policy.pk}"}
    assert any("is notified 4 minutes later" in message for message in said(client.post(ADD, both)))
    ana.roles.clear()
    response = client.post(ADD, {**both, "name": "Another"})
    assert any("nobody who can answer is notified" in message for message in said(response))


def test_a_play_can_be_followed_instead(client, here, filled):
    play = here.objects["escalation_responseplay"]
    client.post(ADD, {**filled, "follows": f"play:{play.pk}"})
    integration = InboundIntegration.objects.get(name="Nightly backup")
    assert (integration.response_play, integration.escalation_policy) == (play, None)


def test_a_change_goes_through_the_service_and_is_logged(client, here, filled):
    client.post(ADD, filled)
    integration = InboundIntegration.objects.get(name="Nightly backup")
    response = client.post(page_of(integration), {**filled, "interval_minutes": "7", "enabled": ""})
    assert response["Location"] == page_of(integration)
    integration = InboundIntegration.objects.get(pk=integration.pk)
    assert (integration.enabled, integration.heartbeat.state) == (False, "disabled")
    assert integration.heartbeat.interval_minutes == 7
    assert {"created", "changed", "disabled"} == set(integration.events.values_list("kind", flat=True))
    assert integration.events.filter(actor=here.people["Integrations Admin"]).count() == 3


def test_a_refused_change_shows_what_is_stored_above_the_form(client, filled):
    client.post(ADD, filled)
    integration = InboundIntegration.objects.get(name="Nightly backup")
    response = client.post(page_of(integration), {**filled, "name": "", "interval_minutes": "9"})
    assert response.context["title"] == "Nightly backup"
    integration.refresh_from_db()
    assert integration.name == "Nightly backup"


# -- the saved page ----------------------------------------------------------------------------------------------------
def test_a_ping_is_visible_at_once(client, here, now):
    integration = here.objects["integrations_inboundintegration"]
    state = reverse("admin:integrations_inboundintegration_state", args=[integration.pk])
    logs = reverse("admin:integrations_inboundintegration_logs", args=[integration.pk])
    assert "never" in client.get(state).content.decode()
    assert "No ping has arrived yet" in client.get(logs).content.decode()
    record_pings([Arrival(integration.token, now, source_ip="192.0.2.7", user_agent="<b>curl")])
    assert now.isoformat() in client.get(state).content.decode()
    assert "<dt>Pings</dt><dd>1</dd>" in client.get(state).content.decode()
    assert "POST from 192.0.2.7 with &lt;b&gt;curl" in client.get(logs).content.decode()


def test_who_configures_a_heartbeat_is_led_to_the_alerts_that_it_opened(client, here, now):
    integration = here.objects["integrations_inboundintegration"]
    alert = factories.AlertFactory(organization=here.organization, integration_id=integration.pk)
    texts = [f"Alert {alert.pk} opened: no ping by <b>", f"It says Alert {alert.pk}"]
    log_events(HeartbeatEvent.Kind.MISSED, [(integration.pk, text) for text in texts], now=now)
    link = f'<a href="/alerts/{alert.pk}/">'
    logs = client.get(reverse("admin:integrations_inboundintegration_logs", args=[integration.pk])).content.decode()
    assert f"{link}Alert {alert.pk}</a> opened: no ping by &lt;b&gt;" in logs
    assert logs.count(link) == 1
    for page in (page_of(integration), f"/heartbeats/{integration.pk}/", "/alerts/"):
        assert f'href="/alerts/{alert.pk}/"' in client.get(page).content.decode(), page
    shown = client.get(f"/alerts/{alert.pk}/").content.decode()
    assert "You can see this alert but not act on it: it is for groups that you are not in." in shown
    assert client.post(f"/alerts/{alert.pk}/take/").status_code == 403


def test_rotating_asks_first_and_then_gives_a_new_url(client, here):
    integration = here.objects["integrations_inboundintegration"]
    rotate = reverse("admin:integrations_inboundintegration_rotate", args=[integration.pk])
    assert "stops working at once" in client.get(rotate).content.decode()
    before = integration.token
    integration.refresh_from_db()
    assert integration.token == before
    assert client.post(rotate)["Location"] == page_of(integration)
    integration.refresh_from_db()
    assert integration.token != before


def test_deleting_says_what_happens_and_closes_the_open_alert(client, here, now):
    integration = here.objects["integrations_inboundintegration"]
    alert = factories.AlertFactory(
        organization=here.organization,
        integration_id=integration.pk,
        source="Heartbeat",
        integration_type="heartbeat",
        expected_at=now - timedelta(1),
    )
    delete = f"{LIST}{integration.pk}/delete/"
    asked = client.get(delete).content.decode()
    assert "404" in asked
    assert "closed with a note" in asked
    assert InboundIntegration.objects.filter(pk=integration.pk).exists()
    client.post(delete, {"post": "yes"})
    assert not InboundIntegration.objects.filter(pk=integration.pk).exists()
    assert Alert.objects.get(pk=alert.pk).status == "closed"


def test_the_form_says_that_disabling_closes_the_open_alert(client, here, now):
    integration = here.objects["integrations_inboundintegration"]
    assert "Its open alert is closed." in client.get(page_of(integration)).content.decode()
    alert = factories.AlertFactory(
        organization=here.organization,
        integration_id=integration.pk,
        source="Heartbeat",
        integration_type="heartbeat",
        expected_at=now - timedelta(1),
    )

    shown = client.get(page_of(integration)).content.decode()

    assert f"Alert #{alert.pk} is open. If you disable this heartbeat, it is closed." in shown


def test_rotating_keeps_the_old_url_for_the_minutes_that_were_entered(client, here, now):
    integration = here.objects["integrations_inboundintegration"]
    rotate = reverse("admin:integrations_inboundintegration_rotate", args=[integration.pk])
    refused = client.post(rotate, {"overlap_minutes": "-1"})
    assert refused.status_code == 200
    assert refused.context["form"].errors["overlap_minutes"]

    done = client.post(rotate, {"overlap_minutes": "1441"})

    assert said(done) == ["The API URL was rotated. The old one works for another 1 day 1 minute."]
    former = set(integration.former_tokens.values_list("token", flat=True))
    assert former == {integration.token, f"mail:{integration.mail_token}"}
    integration.refresh_from_db()
    assert not former & {integration.token, f"mail:{integration.mail_token}"}
