"""Configuration > Integrations > Inbound Integrations: the pages of API integrations and of their events."""

import gzip
import hmac
import json
import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.urls import reverse

from accounts.models.audit import AuditEntry
from alerting.models.alerts import Alert
from integrations.admin.event_pages import NEWCOMERS_EVENT
from integrations.inbound.decoding import decode
from integrations.inbound.edits import update_event_integration
from integrations.inbound.event import ReceivedEvent
from integrations.inbound.receive import receive
from integrations.inbound.signatures import SCHEMES
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
        "Signature",
        "Header of the signature",
        "Secret of the signature",
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
        ({"signature_scheme": "github"}, "signature_secret"),
        ({"signature_scheme": "github", "signature_secret": " s3cret"}, "signature_secret"),
        ({"signature_scheme": "basic", "signature_secret": "s3cret"}, "signature_secret"),
        ({"signature_scheme": "github", "signature_header": "X-A", "signature_secret": "s"}, "signature_header"),
        ({"signature_scheme": "header", "signature_secret": "s"}, "signature_header"),
        ({"signature_scheme": "none"}, "signature_scheme"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_saves_nothing(client, filled, values, field):
    response = client.post(f"{ADD}?type=api", {**filled, **values})
    assert list(response.context["adminform"].form.errors) == [field]
    assert not InboundIntegration.objects.filter(type="api").exists()


def test_the_form_sets_a_signature_whose_secret_no_page_shows(client, filled, shop):
    form = {**filled, "signature_scheme": "hmac_sha256", "signature_header": "X-Sum", "signature_secret": "hunter2"}
    assert client.post(page_of(shop), form).status_code == 302
    address, body = f"/POSTAlert/{shop.token}", b'{"title": "Disk full"}'
    signed = {"x-sum": hmac.new(b"hunter2", body, "sha256").hexdigest()}

    def answer(headers):
        return client.post(address, body, content_type="application/json", headers=headers).status_code

    assert (answer({}), answer(signed)) == (401, 200)
    page = client.get(page_of(shop)).content.decode()
    assert "hunter2" not in page
    assert "One is stored, which is never shown." in page
    assert "it is answered 401" in page
    assert 'name="signature_header" value="X-Sum"' in page
    # Without a secret the stored one is kept, for the same scheme alone.
    assert client.post(page_of(shop), form | {"signature_secret": ""}).status_code == 302
    assert answer(signed) == 200
    other = client.post(page_of(shop), form | {"signature_scheme": "header", "signature_secret": ""})
    assert list(other.context["adminform"].form.errors) == ["signature_secret"]
    # A page that is older than these fields changes nothing of them.
    assert client.post(page_of(shop), filled).status_code == 302
    assert (answer({}), answer(signed)) == (401, 200)
    assert not [entry for entry in AuditEntry.objects.all() if "hunter2" in str((entry.before, entry.after))]
    assert client.post(page_of(shop), filled | {"signature_scheme": ""}).status_code == 302
    assert answer({}) == 200


def test_the_form_offers_each_scheme(client, filled):
    page = client.get(f"{ADD}?type=api").content.decode()
    offered = re.findall(r'<option value="(\w*)"', page.split('name="signature_scheme"')[1].split("</select>")[0])
    assert sorted(offered) == sorted(["", *SCHEMES])


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
    addresses += [url("raw", foreign.pk, theirs.pk), url("raw", shop.pk, theirs.pk), url("raw", shop.pk, 10**30)]
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


SECRETS = {
    "password": "hush-1",
    "db": {"API-Key": "hush-2", "passwd": "hush-3", "user": "ana"},
    "auth_tokens": [{"of": "hush-4"}, "hush-5"],
    "headers": {"Authorization": "Bearer hush-6", "Set-Cookie": "hush-7"},
    "link": "https://heartbeat.example.org/POSTAlert/hush8abcdefghijkl?x=1",
    "text": "the key is hb_hush9abcdefgh",
    "token": "",
    "title": "Disk full",
}


def test_the_tree_masks_secrets_by_the_names_of_their_keys_and_as_in_logs(client, shop, send):
    event = send(shop, SECRETS)
    for address in (url("event", shop.pk, event.pk), url("mapping", shop.pk), page_of(shop)):
        page = client.get(address).content.decode()
        tree = "".join(part.split("</ul>\n")[0] for part in page.split('<ul class="tree">')[1:])
        assert tree.count("***") >= 9, address
        assert "hush" not in tree, address
        assert "Disk full" in tree
        assert "ana" in tree
        assert "(empty)" in tree  # nothing is not hidden
    # A path can be picked, whatever its value.
    assert "{{ payload.db[&quot;API-Key&quot;] }}" in client.get(url("mapping", shop.pk)).content.decode()


def test_parameters_of_the_address_are_masked_like_the_payload(client, shop, send):
    event = send(shop, {"title": "Disk full"})
    InboundEvent.objects.filter(pk=event.pk).update(query={"token": "hush-1", "severity": "high"})
    page = client.get(url("event", shop.pk, event.pk)).content.decode()
    assert "hush-1" not in page
    assert "<code>high</code>" in page


def test_an_event_over_64_kilobytes_is_read_on_its_own_page_and_said_to_be_elsewhere(client, shop, send):
    body = {"title": "Disk full", "status": "problem", "log": "x" * 70_000}
    event = send(shop, body)
    state = client.get(page_of(shop)).content.decode()
    assert "It is larger than 64.0\xa0KB, so it is read only on its own page" in state
    assert "Payload of the newest event" not in state
    page = client.get(url("event", shop.pk, event.pk))
    assert page.context["reading"]["fields"]["Subject"] == "Disk full"
    assert "What the present settings read in it" in page.content.decode()
    assert "the download has all of it" in page.content.decode()
    raw = client.get(url("raw", shop.pk, event.pk))
    assert raw.content == json.dumps(body).encode()
    assert (raw["Content-Type"], raw["Content-Disposition"]) == (
        "application/octet-stream",
        f'attachment; filename="event-{event.pk}"',
    )
    assert client.post(url("raw", shop.pk, event.pk)).status_code == 405


def test_of_an_event_that_cannot_be_unpacked_the_page_says_why_nothing_is_read(client, shop, send):
    event = send(shop, {"title": "Disk full"})
    bomb = gzip.compress(b"x" * 2_000_000)
    InboundEvent.objects.filter(pk=event.pk).update(raw=bomb, size=len(bomb), headers={"content-encoding": "gzip"})
    for address in (url("event", shop.pk, event.pk), page_of(shop)):
        assert "Nothing can be read in it." in client.get(address).content.decode()


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


# -- the form of one rule: everything works without JavaScript ----------------------------------------------------------
def sent(html):
    """Return what the form of the mapping would send as it stands, without its buttons."""
    form = html.split("data-try>")[1]
    fields = {}
    for tag in re.findall(r"<input [^>]*>", form):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        is_box = attributes.get("type") == "checkbox"
        if "name" in attributes and (not is_box or " checked" in tag):
            fields.setdefault(attributes["name"], []).append(unescape(attributes.get("value", "on" if is_box else "")))
    for name, inner in re.findall(r'<select name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        [first, *_] = re.findall(r'<option value="([^"]*)"', inner)
        fields[name] = [unescape(value) for value in re.findall(r'<option value="([^"]*)" selected', inner) or [first]]
    for name, inner in re.findall(r'<textarea name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        fields[name] = [unescape(inner).removeprefix("\r").removeprefix("\n")]
    return fields


@pytest.fixture
def mapping_page(client, shop):
    """Press buttons of the page of the mapping, as a browser without JavaScript does."""

    class Page:
        def __init__(self):
            self.show(client.get(url("mapping", shop.pk)))

        def show(self, answer):
            self.answer, self.html = answer, answer.content.decode()
            return self

        def press(self, button, value="1", **fields):
            data = sent(self.html) | fields
            return self.show(client.post(url("mapping", shop.pk), data | {button: value}, follow=True))

        @property
        def rules(self):
            return json.loads(self.answer.context["form"]["rules"].value() or "[]")

        @property
        def stored(self):
            shop.event_settings.refresh_from_db()
            return shop.event_settings.rules

    return Page()


def test_a_rule_with_several_conditions_is_filled_in_row_by_row(mapping_page, here):
    group, policy = here.objects["accounts_group"], here.objects["escalation_escalationpolicy"]
    page = mapping_page.press(
        "_rules", "row", **{"rule-name": "Databases", "rule-0-path": "host", "rule-0-value": "db"}
    )
    assert (page.rules, page.stored) == ([], [])
    page.press(
        "_rules", "row", **{"rule-1-path": "env", "rule-1-op": "in", "rule-1-value": "test, dev", "rule-1-not": "on"}
    )
    choices = {"rule-recipient_groups": [group.pk], "rule-escalation_policy": policy.pk, "rule-replace": "on"}
    page.press(
        "_rules",
        "put",
        **{"rule-2-path": "load", "rule-2-op": "above", "rule-2-value": "5", "rule-match": "any"},
        **{"rule-priority": "critical", "rule-note": "See {{ payload.host }}", "rule-goes_on": "on"},
        **choices,
    )
    rule = {
        "name": "Databases",
        "when": {
            "any": [
                {"path": "host", "op": "equals", "value": "db"},
                {"path": "env", "op": "in", "value": ["test", "dev"], "not": True},
                {"path": "load", "op": "above", "value": "5"},
            ]
        },
        "then": {
            "priority": "critical",
            "escalation_policy": policy.pk,
            "recipient_groups": [group.pk],
            "replace": True,
            "note": "See {{ payload.host }}",
        },
        "stop": False,
    }
    assert (page.rules, page.stored) == ([rule], [])
    assert page.answer.context["editor"].title == "A new rule"
    page.press("_save")
    assert page.stored == [rule]


def test_what_stands_in_the_form_is_saved_without_a_press_of_its_own_button(mapping_page):
    mapping_page.press("_save", **{"rule-0-path": "env", "rule-0-value": "test", "rule-action": "ignore"})
    condition = {"path": "env", "op": "equals", "value": "test"}
    assert mapping_page.stored == [{"when": {"all": [condition]}, "then": {"action": "ignore"}}]


def test_a_rule_is_edited_in_its_place_and_keeps_what_the_form_does_not_have(mapping_page, here, shop, now):
    ana = here.people["Basic"]
    stored: list[dict[str, Any]] = [
        {"name": "first", "when": {"all": []}, "then": {"priority": "low"}},
        {
            "name": "second",
            "when": {
                "any": [
                    {"path": "load", "op": "above", "value": 5},
                    {"path": "tags[*]", "op": "in", "value": ["a, b", 3]},
                    {"path": "down", "op": "equals", "value": True, "not": True},
                    {"path": "host", "op": "exists"},
                ]
            },
            "then": {"recipient_users": [ana.pk], "delay": {"mode": "minutes", "minutes": 5}, "subject": "Load"},
            "stop": False,
        },
    ]
    update_event_integration(shop, actor=None, now=now, rules=stored)
    ana.is_active = False  # a person who was chosen stays chosen
    ana.save()
    page = mapping_page.press("_rules", "edit:2", rules=[json.dumps(stored)])
    assert page.answer.context["editor"].title == "Rule 2"
    page.press("_rules", "put")
    assert page.rules == stored  # with nothing changed, nothing is
    page.press("_rules", "edit:2").press("_rules", "unrow:1").press("_rules", "up:2", **{"rule-3-op": "empty"})
    second = page.rules[0]
    assert [row["op"] for row in second["when"]["any"]] == ["above", "equals", "empty"]
    assert second["when"]["any"][0]["value"] == 5
    assert second["then"] == stored[1]["then"]
    assert page.rules[1] == stored[0]
    page.press("_rules", "edit:1", **{"rule-name": ""}).press("_rules", "drop", **{"rule-name": "gone"})
    assert page.rules[0] == second


def test_minutes_of_a_delay_that_was_not_chosen_are_not_dropped_in_silence(mapping_page):
    row = {"rule-0-path": "env", "rule-0-value": "test"}
    page = mapping_page.press("_rules", "put", **row, **{"rule-delay_minutes": "5"})
    assert list(page.answer.context["editor"].errors) == ["delay_mode"]
    page.press("_rules", "put", **{"rule-delay_mode": "minutes"})
    assert page.rules[0]["then"] == {"delay": {"mode": "minutes", "minutes": 5}}


def test_a_rule_has_a_delay_of_its_own(mapping_page):
    delay = {"rule-delay_mode": "count_within", "rule-delay_minutes": "2.5"}
    page = mapping_page.press("_rules", "put", **{"rule-0-path": "env", "rule-0-value": "test"}, **delay)
    assert page.answer.context["editor"].errors == {"delay_count": ["Enter the number of events."]}
    page.press("_rules", "put", **{"rule-delay_count": "3"})
    [rule] = page.rules
    assert rule["then"] == {"delay": {"mode": "count_within", "minutes": 2.5, "count": 3}}
    assert page.answer.context["rule_list"][0]["words"] == "if env equals test: delay 3 events in 2.5 minutes"
    page.press("_rules", "edit:1").press("_rules", "put", **{"rule-delay_mode": "none"})
    assert page.rules[0]["then"] == {"delay": {"mode": "none"}}
    page.press("_rules", "edit:1").press("_rules", "put", **{"rule-delay_mode": "", "rule-priority": "low"})
    assert page.rules[0]["then"] == {"priority": "low"}


def test_rules_are_moved_and_removed_by_buttons(mapping_page):
    first, second = ({"name": name, "when": {"all": []}, "then": {"priority": "high"}} for name in ("first", "second"))
    text = json.dumps([first, second])
    assert mapping_page.press("_rules", "up:2", rules=text).rules == [second, first]
    assert mapping_page.press("_rules", "down:1", rules=text).rules == [second, first]
    assert mapping_page.press("_rules", "remove:1", rules=text).rules == [second]
    for nonsense in ("up:1", "down:2", "remove:3", "remove:0", "up:x", "up:99999", "fly:1", "edit:3", "unrow:x"):
        assert mapping_page.press("_rules", nonsense, rules=text).rules == [first, second]
    assert mapping_page.stored == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"rule-0-path": "a[", "rule-0-value": "x"}, "condition 1: "),
        ({"rule-0-value": "x"}, "A path is missing"),
        ({"rule-0-path": "a", "rule-0-op": "matches", "rule-0-value": "("}, "condition 1: "),
        ({"rule-0-path": "a", "rule-0-op": "above", "rule-0-value": "much"}, "needs a number"),
        ({"rule-0-path": "a", "rule-0-op": "explodes", "rule-0-value": "x"}, "is not known"),
        ({"rule-note": "{{ payload._x }}"}, "names that begin with"),
    ],
)
@pytest.mark.parametrize("button", [("_rules", "put"), ("_save", "1"), ("_try", "1")])
def test_a_rule_that_cannot_be_stays_in_the_form_with_its_fault(mapping_page, fields, text, button):
    mapping_page.press(*button, **fields)
    assert text in mapping_page.answer.context["editor"].non_field_errors()[0]
    assert text.replace("'", "&#x27;") in mapping_page.html
    assert (mapping_page.rules, mapping_page.stored) == ([], [])
    kept = {name: values[0] for name, values in sent(mapping_page.html).items() if name in fields}
    unknown = {"rule-0-op": "equals"} if fields.get("rule-0-op") == "explodes" else {}
    assert kept == fields | unknown
    # The mapping is not changed either, and is still there.
    assert ("Nothing was saved." in mapping_page.html) is (button[0] == "_save")


def test_the_rule_in_the_form_is_tried_before_it_is_put_into_the_list(client, shop, send, mapping_page):
    send(shop, {"title": "Disk full", "env": "test"})
    fields = sent(mapping_page.html) | {
        "rule-0-path": "env",
        "rule-0-value": "test",
        "rule-action": "ignore",
        "_try": "1",
    }
    live = client.post(url("mapping", shop.pk), fields, headers={"X-Requested-With": "fetch"}).content.decode()
    assert "if env equals test: action ignore" in live
    assert "holds for the sample" in live
    assert "it asks to: <strong>nothing</strong>" in live


def test_recipients_of_a_rule_are_searched_for_and_nothing_is_saved_by_it(mapping_page, here, shop):
    for number in range(60):
        factories.UserFactory(organization=here.organization, name=f"Person {number:02}")
    page = mapping_page.show(mapping_page.answer.client.get(url("mapping", shop.pk)))
    page.press("_find", "1", **{"rule-recipient_users-find": "Person 4", "rule-0-path": "env", "rule-0-value": "x"})
    assert "> Person 41" in page.html
    assert "> Person 51" not in page.html
    assert sent(page.html)["rule-0-path"] == ["env"]
    assert (page.rules, page.stored) == ([], [])


def test_a_rule_has_at_most_twenty_conditions_in_the_form(mapping_page):
    rows = {f"rule-{index}-{part}": "x" for index in range(25) for part in ("path", "value")}
    page = mapping_page.press("_rules", "row", **rows)
    assert page.html.count('class="condition"') == 20
