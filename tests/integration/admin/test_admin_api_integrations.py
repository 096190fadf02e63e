"""Configuration > Integrations > Inbound Integrations: the pages of API integrations and of their events."""

import json
import re
from decimal import Decimal

import pytest
from django.urls import reverse

from alerting.models.alerts import Alert
from integrations.admin.event_pages import NEWCOMERS_EVENT
from integrations.inbound.decoding import decode
from integrations.inbound.edits import update_event_integration
from integrations.inbound.event import ReceivedEvent
from integrations.inbound.receive import receive
from integrations.models.events import InboundEvent
from integrations.models.integrations import InboundIntegration
from tests import factories
from tests.integration.admin.test_admin_integrations import ADD, LIST, page_of, said

GRAFANA = {
    "orgId": 1,
    "status": "firing",
    "groupKey": "g1",
    "commonAnnotations": {"summary": "Shop is slow"},
    "alerts": [{"status": "firing", "fingerprint": "f1", "labels": {"alertname": "Slow"}}],
}


@pytest.fixture
def client(here, signed_in):
    return signed_in(here.people["Integrations Admin"])


@pytest.fixture
def shop(here):
    here.objects["integrations_maintenancewindow"].delete()
    return factories.ApiIntegrationFactory(
        organization=here.organization, name="Shop", recipient_users=[here.people["Basic"]]
    )


@pytest.fixture
def send(now):
    """Let an integration receive a body; return its event."""

    def send(integration, body, **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        integration = InboundIntegration.objects.get(pk=integration.pk)
        decoded = decode(raw, headers=headers, query={})
        event = ReceivedEvent(raw=raw, received_at=now, payload=decoded.payload, headers=headers, fault=decoded.fault)
        return InboundEvent.objects.get(pk=receive(integration, event, now=now).event_id)

    return send


@pytest.fixture
def filled(here):
    return {
        "name": "Grafana of the shop",
        "follows": f"policy:{here.objects['escalation_escalationpolicy'].pk}",
        "recipient_groups": [here.objects["accounts_group"].pk],
        "recipient_users": [here.people["Basic"].pk],
        "bridge": here.objects["alerting_bridge"].pk,
        "enabled": "on",
    }


def url(what, *args):
    return reverse(f"admin:integrations_inboundintegration_{what}", args=args)


# -- list and form -----------------------------------------------------------------------------------------------------
def test_choosing_api_filters_the_list_and_turns_the_button(client, here, shop, send):
    assert "+ ADD API</a>" in client.get(f"{LIST}?type=api").content.decode()
    send(shop, {"title": "Disk full"})
    page = client.get(f"{LIST}?type=api")
    assert [(row.integration, row.state) for row in page.context["rows"]] == [(shop, "healthy")]
    assert f'href="{ADD}?type=api"' in page.content.decode()
    assert here.objects["integrations_inboundintegration"].name not in page.content.decode()
    InboundIntegration.objects.filter(type="api").delete()
    assert "There is no API integration yet" in client.get(f"{LIST}?type=api").content.decode()
    assert client.get(f"{ADD}?type=chat").status_code == 302


def test_the_form_asks_in_the_order_of_the_heartbeats(client):
    page = client.get(f"{ADD}?type=api").content.decode()
    assert "<h1>Add API integration</h1>" in page
    labels = [
        "Integration Name",
        "Escalation Policy / Response Play",
        "Recipient Group(s)",
        "Recipient User(s)",
        "Bridge",
        "Enabled",
        "More settings",
        "Accept GET",
        "Close by itself after (minutes)",
        "Group alerts for (minutes)",
        "Alerts per minute",
        "Open the alert",
        "Submit</button>",
    ]
    form = page[page.index("<form", page.index('id="content-start"')) :]
    places = [form.index(label) for label in labels]
    assert places == sorted(places)
    assert "Heartbeat Interval" not in form


def test_the_form_saves_through_the_service(client, here, filled):
    more = {"auto_close_minutes": "30", "delay_mode": "count_within", "delay_minutes": "5", "delay_count": "3"}
    response = client.post(f"{ADD}?type=api", {**filled, **more})
    shop = InboundIntegration.objects.get(name="Grafana of the shop")
    assert response["Location"] == page_of(shop)
    assert said(response)[0].endswith("let your systems POST their events to it.")
    assert (shop.type, shop.organization, shop.enabled) == ("api", here.organization, True)
    assert list(shop.recipient_groups.all()) == [here.objects["accounts_group"]]
    settings = shop.event_settings
    assert (settings.allow_get, settings.storm_per_minute, settings.group_minutes) == (False, 60, 0)
    assert (settings.auto_close_minutes, settings.delay) == (
        Decimal(30),
        {"mode": "count_within", "minutes": 5, "count": 3},
    )

    page = client.get(page_of(shop)).content.decode()
    assert re.search(r'name="delay_count" value="3"', page)
    client.post(page_of(shop), {**filled, "allow_get": "on", "storm_per_minute": "0", "enabled": ""})
    shop = InboundIntegration.objects.get(pk=shop.pk)
    settings = shop.event_settings
    assert (shop.enabled, settings.allow_get, settings.storm_per_minute) == (False, True, 0)
    assert (settings.auto_close_minutes, settings.delay) == (0, {"mode": "none"})


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": ""}, "name"),
        ({"follows": ""}, "follows"),
        ({"storm_per_minute": "-1"}, "storm_per_minute"),
        ({"auto_close_minutes": "44641"}, "auto_close_minutes"),
        ({"delay_mode": "count"}, "delay_count"),
        ({"delay_mode": "minutes"}, "delay_minutes"),
        ({"delay_mode": "minutes", "delay_minutes": "0"}, "delay_minutes"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_saves_nothing(client, filled, values, field):
    response = client.post(f"{ADD}?type=api", {**filled, **values})
    assert list(response.context["adminform"].form.errors) == [field]
    assert not InboundIntegration.objects.filter(type="api").exists()


def test_a_name_that_is_taken_is_said_at_its_field(client, filled, shop):
    response = client.post(f"{ADD}?type=api", {**filled, "name": "SHOP"})
    assert list(response.context["adminform"].form.errors) == ["name"]


# -- who may -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("role", ["Owner", "App Admin", "Integrations Admin"])
def test_three_roles_create_change_and_delete(here, signed_in, filled, role):
    client = signed_in(here.people[role])
    client.post(f"{ADD}?type=api", filled)
    shop = InboundIntegration.objects.get(type="api")
    client.post(page_of(shop), {**filled, "name": "Renamed"})
    assert InboundIntegration.objects.get(type="api").name == "Renamed"
    asked = client.get(f"{LIST}{shop.pk}/delete/").content.decode()
    assert "those that it received are deleted" in asked
    client.post(f"{LIST}{shop.pk}/delete/", {"post": "yes"})
    assert not InboundIntegration.objects.filter(type="api").exists()


@pytest.mark.parametrize("role", ["Basic", "Billing Admin", "Send Message", "System Viewer"])
def test_other_roles_are_refused(here, signed_in, shop, send, filled, role):
    event, client = send(shop, {"title": "Disk full"}), signed_in(here.people[role])
    pages = [page_of(shop), f"{ADD}?type=api", f"{LIST}{shop.pk}/delete/", url("mapping", shop.pk)]
    pages += [url(name, shop.pk, event.pk) for name in ("event", "replay")]
    for page in (*pages, url("state", shop.pk), url("logs", shop.pk)):
        assert client.get(page).status_code == 403, page
        assert client.post(page, {**filled, "post": "yes", "_save": "1"}).status_code == 403, page
    assert InboundIntegration.objects.get(type="api").name == "Shop"
    assert Alert.objects.get().event_count == 1


def test_nothing_of_other_organizations_is_shown_or_changed(here, elsewhere, client, send, shop):
    foreign = factories.ApiIntegrationFactory(organization=elsewhere.organization)
    theirs, own = send(foreign, {"title": "Secret"}), send(shop, {"title": "Disk full"})
    heartbeat = here.objects["integrations_inboundintegration"]
    addresses = [url("mapping", foreign.pk), url("event", foreign.pk, theirs.pk), url("replay", foreign.pk, theirs.pk)]
    addresses += [url("event", shop.pk, theirs.pk), url("replay", shop.pk, theirs.pk), url("event", foreign.pk, own.pk)]
    addresses += [f"{url('mapping', shop.pk)}?event={theirs.pk}", url("mapping", heartbeat.pk)]
    addresses += [url("event", shop.pk, 10**30), f"{url('mapping', shop.pk)}?event={'9' * 19}"]
    for address in addresses:
        assert client.get(address).status_code == 404, address
        if "?" not in address:
            assert client.post(address, {"_save": "1", "preset": "none", "no_rule": "continue"}).status_code == 404


# -- the saved page ----------------------------------------------------------------------------------------------------
def test_the_address_stands_on_top_with_a_line_that_works(client, shop):
    page = client.get(page_of(shop)).content.decode()
    address = f"http://127.0.0.1:8000/POSTAlert/{shop.token}"
    assert f'<input id="api-url" type="text" readonly value="{address}">' in page
    assert page.index(address) < page.index("Waiting for the first event") < page.index("Integration Name")
    [line] = re.findall(r'id="curl-line" type="text" readonly value="([^"]*)"', page)
    line = line.replace("&quot;", '"')
    assert line.startswith(f"curl -X POST '{address}' ")
    assert json.loads(line.split("-d ")[1].strip("'")) == NEWCOMERS_EVENT


def test_the_first_event_appears_in_the_live_part(client, shop, send):
    state, logs = url("state", shop.pk), url("logs", shop.pk)
    assert "Waiting for the first event" in client.get(state).content.decode()
    assert "No event has arrived yet" in client.get(logs).content.decode()
    event = send(shop, GRAFANA)
    alert = Alert.objects.get()
    shown = client.get(state).content.decode()
    assert "Waiting for the first event" not in shown
    assert "Recognized: <strong>Grafana</strong>" in shown
    assert "<dt>Subject</dt><dd>Shop is slow</dd>" in shown
    assert '<span class="key">groupKey</span> <code>g1</code>' in shown
    assert f'<a href="/alerts/{alert.pk}/">Alert {alert.pk}</a>' in shown
    assert url("event", shop.pk, event.pk) in client.get(logs).content.decode()


def test_the_last_twenty_events_say_what_became_of_each_and_why(client, shop, send):
    for number in range(21):
        send(shop, {"title": f"Job {number}", "status": "ok"})
    shown = client.get(url("logs", shop.pk)).content.decode()
    assert shown.count("data-row=") == 20
    assert shown.count("no alert of it is open") == 20
    assert "Ignored" in shown


def test_a_fault_says_what_to_do_and_where(client, shop, send):
    shop.event_settings.mapping = {"each": "{{ payload.name }}"}
    shop.event_settings.save()
    event = send(shop, {"name": "x"})
    shown = client.get(url("state", shop.pk)).content.decode()
    assert "Faulty" in shown
    assert f'href="{url("mapping", shop.pk)}?event={event.pk}#id_map_each"' in shown
    send(shop, b"{not json")
    shown = client.get(url("state", shop.pk)).content.decode()
    assert "right Content-Type" in shown


# -- one event ---------------------------------------------------------------------------------------------------------
def test_an_event_shows_payload_and_headers_and_no_secret(client, shop, send):
    shop.event_settings.signature = {"scheme": "header", "header": "x-key", "secret": "hush-hush"}
    shop.event_settings.save()
    headers = {"user-agent": "<b>Grafana", "authorization": "Bearer hush-hush", "x-api-key": "hush-hush"}
    event = send(shop, {"title": "<i>Disk", "a": {"b": [{"c": 7}]}}, **headers)
    for address in (url("event", shop.pk, event.pk), page_of(shop), url("mapping", shop.pk)):
        page = client.get(address).content.decode()
        assert "hush-hush" not in page
        assert "<i>Disk" not in page
    page = client.get(url("event", shop.pk, event.pk)).content.decode()
    assert "&lt;b&gt;Grafana" in page
    assert "(not kept)" in page
    assert '<span class="key">c</span> <code>7</code>' in page


def test_a_large_payload_is_cut_to_five_hundred_lines(client, shop, send):
    event = send(shop, {"rows": [[n] for n in range(5_000)]})
    page = client.get(url("event", shop.pk, event.pk)).content.decode()
    assert page.count('class="key"') == 500
    assert "Only 500 lines are shown" in page


def test_a_replay_is_tried_first_and_carried_out_only_by_the_button(client, here, shop, send, now):
    event = send(shop, {"title": "Disk full", "status": "ok"})
    update_event_integration(shop, actor=None, now=now, mapping={"status": "problem"})
    replay = url("replay", shop.pk, event.pk)
    shown = client.get(replay).content.decode()
    assert "Opened an alert" in shown
    assert "Disk full" in shown
    assert not Alert.objects.exists()
    response = client.post(replay)
    assert response["Location"] == url("event", shop.pk, event.pk)
    assert said(response) == [f"Event {event.pk} was carried out again: opened an alert."]
    assert Alert.objects.get().subject == "Disk full"


# -- mapping and rules -------------------------------------------------------------------------------------------------
MAPPING = {"preset": "auto", "no_rule": "continue"}


def test_each_field_shows_what_comes_out_of_the_sample(client, shop, send):
    older, _ = send(shop, {"name": "older", "a-b": [{"c": "deep"}]}), send(shop, {"name": "newer"})
    address = url("mapping", shop.pk)
    assert "newer" in client.get(address).content.decode()
    page = client.get(f"{address}?event={older.pk}").content.decode()
    assert 'data-template="{{ payload[&quot;a-b&quot;][0].c }}"' in page
    assert 'data-path="a-b[0].c"' in page
    tried = {**MAPPING, "event": older.pk, "map_subject": '{{ payload["a-b"][0].c }} in {{ integration }}', "_try": "1"}
    whole = client.post(address, tried)
    assert whole.context["results"]["subject"] == "deep in Shop"
    assert "deep in Shop" in whole.content.decode()
    part = client.post(address, tried, headers={"X-Requested-With": "fetch"}).content.decode()
    assert "deep in Shop" in part
    assert "<html" not in part
    shop.event_settings.refresh_from_db()
    assert shop.event_settings.mapping == {}


def test_before_the_first_event_the_example_is_the_sample(client, shop):
    page = client.get(url("mapping", shop.pk))
    assert page.context["results"]["subject"] == "Disk full on db1"


def test_mapping_words_and_rules_are_saved_through_the_service(client, shop):
    rules = [
        {
            "name": "Tests",
            "when": {"all": [{"path": "env", "op": "equals", "value": "test"}]},
            "then": {"action": "ignore"},
        }
    ]
    form = {
        "preset": "grafana",
        "no_rule": "ignore",
        "map_subject": "{{ payload.title }}",
        "words_close": "done,  finished ,",
        "rules": json.dumps(rules),
        "_save": "1",
    }
    response = client.post(url("mapping", shop.pk), form)
    assert response["Location"] == page_of(shop)
    stored = shop.event_settings
    stored.refresh_from_db()
    assert (stored.preset, stored.no_rule, stored.rules) == ("grafana", "ignore", rules)
    assert stored.mapping == {"subject": "{{ payload.title }}"}
    assert stored.status_words == {"close": ["done", "finished"]}
    page = client.get(url("mapping", shop.pk)).content.decode()
    assert "done, finished" in page
    assert "{{ payload.title }}" in page


@pytest.mark.parametrize(
    ("values", "field", "text"),
    [
        ({"map_subject": "{{ payload._x }}"}, "map_subject", "names that begin with"),
        ({"map_each": "a {{ payload }}"}, "map_each", "without text around it"),
        ({"words_close": "up", "words_ignore": "UP"}, "words_ignore", "among the words of close"),
        ({"rules": "[{]"}, "rules", "not JSON"),
        ({"rules": "[" * 100_000}, "rules", ""),
        ({"rules": '[{"then": {"action": "explode"}}]'}, "rules", "Rule 1"),
        ({"rules": '[{"then": {"recipient_users": [987654]}}]'}, "rules", "there is no user 987654"),
        ({"preset": "nagios"}, "preset", ""),
    ],
)
def test_what_the_service_refuses_stands_at_its_field(client, shop, values, field, text):
    for button in ("_save", "_try"):
        response = client.post(url("mapping", shop.pk), {**MAPPING, "map_source": "Mine", **values, button: "1"})
        assert response.status_code == 200
        assert list(response.context["form"].errors) == [field]
        assert text in response.context["form"].errors[field][0]
        assert ("Nothing was saved." in response.content.decode()) is (button == "_save")
        # The other fields are tried all the same.
        assert response.context["results"]["source"] == "Mine"
    shop.event_settings.refresh_from_db()
    assert (shop.event_settings.mapping, shop.event_settings.rules) == ({}, [])


def test_the_rules_that_hold_are_named(client, shop, send):
    send(shop, {"title": "Disk full", "env": "test"})
    rules = [
        {"when": {"all": [{"path": "env", "op": "equals", "value": "live"}]}, "then": {"priority": "high"}},
        {
            "name": "<Tests>",
            "when": {"all": [{"path": "env", "op": "equals", "value": "test"}]},
            "then": {"action": "ignore"},
        },
    ]
    answer = client.post(url("mapping", shop.pk), {**MAPPING, "rules": json.dumps(rules), "_try": "1"})
    page = answer.content.decode()
    assert [(rule["words"], rule["holds"]) for rule in answer.context["rule_list"]] == [
        ("if env equals live: priority high", False),
        ("if env equals test: action ignore", True),
    ]
    assert "<strong>&lt;Tests&gt;</strong>" in page
    assert "it asks to: <strong>nothing</strong>" in page


def test_rules_are_added_moved_and_removed_by_buttons_and_saved_with_the_rest(client, shop):
    first = {"name": "first", "then": {"priority": "high"}, "stop": False}
    form = {**MAPPING, "rules": json.dumps([first]), "map_subject": "{{ payload.title }}"}
    new = {"new_name": "second", "new_path": "env", "new_op": "in", "new_value": "test, dev", "new_action": "ignore"}
    second = {
        "name": "second",
        "when": {"all": [{"path": "env", "op": "in", "value": ["test", "dev"]}]},
        "then": {"action": "ignore"},
    }

    def pressed(button, rules, **values):
        answer = client.post(url("mapping", shop.pk), {**form, **values, "rules": json.dumps(rules), "_rules": button})
        assert answer.context["form"]["map_subject"].value() == "{{ payload.title }}"
        return json.loads(answer.context["form"]["rules"].value() or "[]")

    both = pressed("add", [first], **new)
    assert both == [first, second]
    assert pressed("up:2", both) == pressed("down:1", both) == [second, first]
    assert pressed("remove:1", both) == [second]
    assert pressed("remove:1", [second]) == []
    for nonsense in ("up:1", "down:2", "remove:3", "remove:0", "up:x", "up:99999", "fly:1"):
        assert pressed(nonsense, both) == both
    shop.event_settings.refresh_from_db()
    assert shop.event_settings.rules == []
    client.post(url("mapping", shop.pk), {**form, "rules": json.dumps(both), "_save": "1"})
    shop.event_settings.refresh_from_db()
    assert shop.event_settings.rules == both


def test_a_new_rule_that_cannot_be_is_refused_at_the_rules(client, shop):
    new = {"new_path": "a[", "new_op": "equals", "new_value": "x", "new_action": "ignore"}
    answer = client.post(url("mapping", shop.pk), {**MAPPING, **new, "_rules": "add"})
    assert list(answer.context["form"].errors) == ["rules"]
