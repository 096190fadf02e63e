"""The management API of API integrations: their fields, what is refused, and what a change does."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models.audit import AuditEntry
from alerting.models.alerts import Alert
from heartbeat_project.kernel import clock
from integrations.api import integrations as views
from integrations.inbound.presets import NAMES
from integrations.inbound.settings_checks import PRESETS
from integrations.maintenance.windows import create_window
from integrations.models.events import EventKey, EventSettings, EventState
from integrations.models.heartbeats import HeartbeatEvent
from integrations.models.integrations import InboundIntegration
from tests import factories

pytestmark = pytest.mark.django_db
URL = "/api/v1/integrations/"


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization)


@pytest.fixture
def api(organization, client_for, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    client = client_for(factories.UserFactory(organization=organization, name="Ines", roles=["Integrations Admin"]))
    client.raise_request_exception = False
    return client


@pytest.fixture
def monitoring(organization, policy):
    return factories.ApiIntegrationFactory(organization=organization, name="monitoring", escalation_policy=policy)


@pytest.fixture
def good(policy):
    return {"type": "api", "name": "grafana", "escalation_policy": policy.pk}


def send(method, url, body):
    return method(url, json.dumps(body), content_type="application/json")


def pointers(answer):
    assert answer.status_code == 400, (answer.status_code, answer.content)
    assert answer["Content-Type"] == "application/problem+json"
    return {error["pointer"] for error in answer.json()["errors"]}


# -- create and read ---------------------------------------------------------------------------------------------------
def test_a_created_integration_has_its_defaults_and_its_url(api, good, policy):
    answer = send(api.post, URL, good)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    token = InboundIntegration.objects.get(pk=body["id"]).token
    assert body.pop("api_url") == f"http://127.0.0.1:8000/POSTAlert/{token}"
    assert body == {
        "id": body["id"],
        "type": "api",
        "name": "grafana",
        "escalation_policy": policy.pk,
        "response_play": None,
        "recipient_groups": [],
        "recipient_users": [],
        "bridge": None,
        "enabled": True,
        "tags": [],
        "description": "",
        "priority": None,
        "email_address": None,
        "request_url": None,
        "state": "waiting",
        "allow_get": False,
        "preset": "auto",
        "mapping": {},
        "status_words": {},
        "rules": [],
        "no_rule": "continue",
        "delay": {"mode": "none"},
        "group_minutes": 0,
        "auto_close_minutes": 0,
        "storm_per_minute": 60,
        "signature": None,
        "last_event_at": None,
        "event_count": 0,
        "rejected_count": 0,
        "fault": None,
    }


ALL_SETTINGS = {
    "allow_get": True,
    "preset": "grafana",
    "mapping": {"subject": "{{ payload.title }}", "each": "{{ payload.alerts }}"},
    "status_words": {"close": ["gone"], "ignore": ["maintenance", "Silenced"]},
    "no_rule": "ignore",
    "delay": {"mode": "count_within", "minutes": 2.5, "count": 3},
    "group_minutes": 5,
    "auto_close_minutes": 44640,
    "storm_per_minute": 0,
}


def test_every_setting_that_is_given_is_kept(api, good, organization):
    other = factories.PolicyFactory(organization=organization)
    then = {
        "action": "open",
        "priority": "high",
        "escalation_policy": other.pk,
        "recipient_groups": [factories.GroupFactory(organization=organization).pk],
        "recipient_users": [factories.UserFactory(organization=organization).pk],
        "replace": True,
        "subject": "{{ payload.title }}",
        "note": "Look at {{ payload.url }}",
        "delay": {"mode": "minutes", "minutes": 5},
    }
    condition = {"path": "labels.severity", "op": "equals", "value": "critical", "not": False}
    rules = [{"name": "bad", "when": {"all": [condition]}, "then": then, "stop": False}]
    given = good | ALL_SETTINGS | {"rules": rules, "enabled": False}

    answer = send(api.post, URL, given)

    assert answer.status_code == 201, answer.content
    assert {field: answer.json()[field] for field in given} == given
    assert {field: api.get(f"{URL}{answer.json()['id']}/").json()[field] for field in given} == given
    assert answer.json()["state"] == "disabled"


def test_it_has_its_settings_and_its_state_and_no_heartbeat(monitoring):
    assert EventSettings.objects.filter(pk=monitoring.pk).exists()
    assert EventState.objects.filter(pk=monitoring.pk).exists()
    assert not hasattr(InboundIntegration.objects.get(pk=monitoring.pk), "heartbeat")


# -- fields of the other type ------------------------------------------------------------------------------------------
OF_HEARTBEATS = {"interval_minutes": 5, "grace_minutes": 1, "start_timer": "when_enabled", "ping_count": 0}


@pytest.mark.parametrize("field", [*OF_HEARTBEATS, "last_ping_at", "deadline_at"])
def test_a_field_of_heartbeats_is_refused(api, good, monitoring, field):
    value = OF_HEARTBEATS.get(field)
    assert pointers(send(api.post, URL, good | {field: value})) == {f"/{field}"}
    assert pointers(send(api.patch, f"{URL}{monitoring.pk}/", {field: value})) == {f"/{field}"}


@pytest.mark.parametrize("field", [*ALL_SETTINGS.keys() - {"allow_get"}, "rules", "signature", "event_count", "fault"])
def test_a_heartbeat_has_none_of_the_settings(api, policy, organization, field):
    heartbeat = factories.HeartbeatFactory(organization=organization)
    good = {"type": "heartbeat", "name": "report", "interval_minutes": 5, "escalation_policy": policy.pk}
    value = ALL_SETTINGS.get(field)
    assert pointers(send(api.post, URL, good | {field: value})) == {f"/{field}"}
    assert pointers(send(api.patch, f"{URL}{heartbeat.pk}/", {field: value})) == {f"/{field}"}


def test_the_type_cannot_be_changed(api, organization, monitoring):
    heartbeat = factories.HeartbeatFactory(organization=organization)
    assert pointers(send(api.patch, f"{URL}{monitoring.pk}/", {"type": "email"})) == {"/type"}
    assert pointers(send(api.patch, f"{URL}{monitoring.pk}/", {"type": "heartbeat"})) == {"/type"}
    assert pointers(send(api.patch, f"{URL}{heartbeat.pk}/", {"type": "api"})) == {"/type"}
    assert send(api.patch, f"{URL}{monitoring.pk}/", {"type": "api"}).status_code == 200


# -- bad input ---------------------------------------------------------------------------------------------------------
def rule(when=None, **then):
    return {"when": when or {"all": []}, "then": then or {"action": "open"}}


def condition(**fields):
    return {"all": [{"path": "a", "op": "equals", "value": "x"} | fields]}


WRONG: dict[str, list[Any]] = {
    "allow_get": ["perhaps", None, [], {}],
    "preset": ["nagios", "", None, [], {}, "\x00", "\ud800", 5],
    "mapping": [
        None, "x", [], 5, {"colour": "x"}, {"": "x"}, {"subject": ""}, {"subject": "  "}, {"subject": None},
        {"subject": 5}, {"subject": "{{ payload.__class__ }}"}, {"subject": "{% for a in b %}{% endfor %}"},
        {"subject": "{{ 9 ** 9 }}"}, {"subject": "{{ payload"}, {"subject": "x" * 2_001}, {"subject": "a\x00b"},
        {"subject": "\ud800"}, {"each": "text {{ payload.alerts }}"}, {"\ud800": "x"},
    ],
    "status_words": [
        None, "x", [], {"open": ["x"]}, {"close": "gone"}, {"close": [""]}, {"close": [5]}, {"close": ["x" * 101]},
        {"close": ["a\x00"]}, {"close": ["\ud800"]}, {"close": ["x"] * 101}, {"close": ["Gone"], "ignore": ["gone "]},
    ],
    "rules": [
        None, "x", {}, [5], [{}], [rule()] * 101, [rule(condition(op="like"))], [rule(condition(path=""))],
        [rule(condition(path="a..b"))], [rule(condition(op="matches", value="("))], [rule(condition(value="\x00"))],
        [rule(condition(value="\ud800"))], [rule(condition(op="above", value="x"))], [rule(condition(op="in", value=1))],
        [rule(condition(op="exists", value={"a": "\x00"}))], [rule({"all": condition()["all"] * 21})],
        [rule(action="explode")], [rule(priority="huge")], [rule(subject="{{ payload.__class__ }}")],
        [rule(delay={"mode": "minutes"})], [rule(delay={"mode": "minutes", "minutes": 44_641})],
        [rule(delay={"mode": "count", "count": 1_001})], [rule(note="")], [rule(colour="red")],
        [rule(escalation_policy=True)], [rule(recipient_users=["x"])], [rule(recipient_groups=[10**30])],
        [rule(escalation_policy=999_999)], [rule(response_play=999_999)], [rule(recipient_groups=[999_999])],
        [rule(recipient_users=[999_999])],
    ],
    "no_rule": ["perhaps", "", None, 5, []],
    "delay": [
        None, 5, "none", [], {}, {"mode": "never"}, {"mode": "minutes"}, {"mode": "count"}, {"mode": "count_within"},
        {"mode": "count_within", "count": 2}, {"mode": "minutes", "minutes": 0}, {"mode": "minutes", "minutes": 0.05},
        {"mode": "minutes", "minutes": 44_641}, {"mode": "minutes", "minutes": True}, {"mode": "minutes", "minutes": "5"},
        {"mode": "count", "count": 0}, {"mode": "count", "count": 1.5}, {"mode": "count", "count": 1_001},
        {"mode": "none", "seconds": 5}, {"mode": []},
    ],
    "group_minutes": [None, -1, 0.05, 44_640.1, True, "x", [], 10**400],
    "auto_close_minutes": [None, -1, 0.05, 44_640.1, True, "x", [], 10**400],
    "storm_per_minute": [None, -1, 1.5, 100_001, True, "x", [], 10**400],
    "signature": [
        5, "x", [], {}, {"scheme": "rsa"}, {"scheme": "github"}, {"scheme": "github", "secret": ""},
        {"scheme": "github", "secret": 5}, {"scheme": "header", "secret": "s"}, {"scheme": "basic", "secret": "x"},
        {"scheme": "header", "header": "a b", "secret": "s"}, {"scheme": "github", "secret": "s", "colour": "red"},
        {"scheme": "github", "secret": "a\x00b"}, {"scheme": "github", "secret": "\ud800"},
        {"scheme": "github", "secret": "x" * 1_001}, {"scheme": []},
    ],
    "type": ["nonsense", None, [], {}, 5, "heartbeat"],
    "api_url": ["mine"],
    "email_address": ["mine"],
    "request_url": ["mine"],
    "state": ["healthy"],
    "event_count": [1, -1, "0"],
    "rejected_count": [1],
    "last_event_at": ["2026-03-02T12:00:00Z"],
    "fault": [{"field": "subject"}],
    "token": ["mine"],
    "colour": ["red"],
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_value_is_named_at_its_field_and_nothing_is_saved(api, good, monitoring, field):
    before = EventSettings.objects.filter(pk=monitoring.pk).values().get()
    for wrong in WRONG[field]:
        calls = [(api.patch, f"{URL}{monitoring.pk}/", {field: wrong})]
        if field != "type" and wrong == WRONG[field][0]:
            calls.append((api.post, URL, good | {field: wrong}))
        for method, url, body in calls:
            answer = send(method, url, body)
            found = pointers(answer)
            assert all(pointer.startswith(f"/{field}") for pointer in found), (wrong, found)
            for error in answer.json()["errors"]:
                assert error["detail"].strip().endswith((".", ")")), error
    assert InboundIntegration.objects.filter(organization=monitoring.organization).count() == 1
    assert EventSettings.objects.filter(pk=monitoring.pk).values().get() == before


def test_what_belongs_to_another_organization_is_not_named_by_a_rule(api, monitoring):
    other = factories.OrganizationFactory()
    foreign = {
        "escalation_policy": factories.PolicyFactory(organization=other).pk,
        "response_play": factories.PlayFactory(organization=other).pk,
        "recipient_groups": [factories.GroupFactory(organization=other).pk],
        "recipient_users": [factories.UserFactory(organization=other).pk],
    }
    for key, value in foreign.items():
        answer = send(api.patch, f"{URL}{monitoring.pk}/", {"rules": [rule(), rule(**{key: value})]})
        assert pointers(answer) == {"/rules"}
        assert answer.json()["errors"][0]["detail"].startswith(f"Rule 2, then: {key}: there is no ")


def test_a_rule_notifies_nobody_who_was_deactivated_but_what_it_says_already_stays(api, monitoring, organization):
    ben = factories.UserFactory(organization=organization, name="Ben")
    url, rules = f"{URL}{monitoring.pk}/", [rule(recipient_users=[ben.pk])]
    assert send(api.patch, url, {"rules": rules}).status_code == 200
    type(ben).objects.filter(pk=ben.pk).update(is_active=False)

    assert send(api.patch, url, {"rules": rules, "no_rule": "ignore"}).status_code == 200
    answer = send(api.patch, url, {"rules": rules * 2})

    assert pointers(answer) == {"/rules"}
    assert answer.json()["errors"][0]["detail"] == "Rule 1, then: recipient_users: Ben is deactivated."


def test_a_template_is_named_by_its_field(api, monitoring):
    answer = send(api.patch, f"{URL}{monitoring.pk}/", {"mapping": {"subject": "ok", "url": "{{ payload._x }}"}})
    assert pointers(answer) == {"/mapping/url"}


# -- the signature -----------------------------------------------------------------------------------------------------
GITHUB = {"scheme": "github", "secret": "s3cret"}


def test_the_secret_of_a_signature_is_written_and_never_read(api, good):
    created = send(api.post, URL, good | {"signature": GITHUB})
    url = f"{URL}{created.json()['id']}/"
    for answer in (created, api.get(url), api.get(URL), api.post(f"{url}rotate-token/")):
        assert answer.status_code in {200, 201}
        assert "s3cret" not in answer.content.decode()
        assert '"signature":{"header":null,"scheme":"github","secret":null}' in answer.content.decode()


def test_what_was_read_can_be_sent_back_and_keeps_the_secret(api, good):
    url = f"{URL}{send(api.post, URL, good | {'signature': GITHUB}).json()['id']}/"
    answer = send(api.put, url, api.get(url).json())
    assert answer.status_code == 200, answer.content
    assert EventSettings.objects.get().signature == GITHUB | {"header": None}
    assert pointers(send(api.patch, url, {"signature": {"scheme": "sentry", "secret": None}})) == {"/signature"}
    send(api.patch, url, {"signature": None})
    assert EventSettings.objects.get().signature is None


def test_a_new_secret_has_another_etag_and_an_event_has_not(api, good):
    url = f"{URL}{send(api.post, URL, good | {'signature': GITHUB}).json()['id']}/"
    first = api.get(url)["ETag"]
    EventState.objects.update(event_count=7, last_event_at=clock.now(), fault=FAULT, rejected_count=2)
    assert api.get(url)["ETag"] == first
    send(api.patch, url, {"signature": GITHUB | {"secret": "another"}})
    assert api.get(url)["ETag"] != first


def test_what_was_read_before_an_event_can_be_sent_back(api, monitoring, now):
    url = f"{URL}{monitoring.pk}/"
    before = api.get(url).json()
    EventState.objects.update(event_count=1, last_event_at=now, fault=FAULT, rejected_count=1)
    assert send(api.put, url, before).status_code == 200
    for change in (
        {"event_count": 9},
        {"state": "storm", "event_count": 1, "rejected_count": 1},
        {"event_count": None},
    ):
        found = pointers(send(api.put, url, before | change))
        assert found & {f"/{field}" for field in change}, change


# -- changes -----------------------------------------------------------------------------------------------------------
FAULT = {"at": "2026-03-02T11:00:00+00:00", "event": 812, "field": "subject", "text": "The template failed."}


def test_a_change_touches_what_it_names_and_nothing_else(api, monitoring):
    url = f"{URL}{monitoring.pk}/"
    before = api.get(url).json()
    changed = send(api.patch, url, {"group_minutes": 7.5}).json()
    assert changed == before | {"group_minutes": 7.5}
    assert send(api.patch, url, {}).json() == changed


def test_saving_clears_the_fault(api, monitoring):
    url = f"{URL}{monitoring.pk}/"
    EventState.objects.update(fault=FAULT, last_event_at=clock.now(), event_count=1)
    assert api.get(url).json()["fault"] == FAULT | {"at": "2026-03-02T11:00:00Z"}
    saved = send(api.patch, url, {"mapping": {"subject": "{{ payload.title }}"}}).json()
    assert (saved["fault"], saved["state"], saved["event_count"]) == (None, "healthy", 1)


def test_a_name_is_taken_by_any_type(api, good, organization):
    factories.HeartbeatFactory(organization=organization, name="GRAFANA")
    assert pointers(send(api.post, URL, good)) == {"/name"}


def open_alert(integration, **fields):
    return factories.AlertFactory(
        organization=integration.organization, integration_id=integration.pk, integration_type="api", **fields
    )


@pytest.mark.parametrize("end", ["disabled", "deleted"])
def test_its_end_closes_its_alerts_and_drops_what_waits(api, monitoring, now, end):
    alert, url = open_alert(monitoring, key_hash="a"), f"{URL}{monitoring.pk}/"
    EventKey.objects.create(integration=monitoring, key_hash="b", changed_at=now, waiting={}, due_at=now)
    answer = send(api.patch, url, {"enabled": False}) if end == "disabled" else api.delete(url)
    assert answer.status_code in {200, 204}
    alert.refresh_from_db()
    assert alert.status == "closed"
    assert f"its integration was {end}" in alert.timeline.get(kind="closed").text
    assert not EventKey.objects.filter(waiting__isnull=False).exists()


def test_its_changes_are_in_the_audit_log_without_the_secret_and_in_no_log_of_heartbeats(api, good):
    url = f"{URL}{send(api.post, URL, good | {'signature': GITHUB}).json()['id']}/"
    send(api.patch, url, {"storm_per_minute": 5, "signature": GITHUB | {"secret": "an0ther"}})
    api.post(f"{url}rotate-token/")
    api.delete(url)
    entries = AuditEntry.objects.filter(object_type="integration").order_by("id")
    assert [entry.action for entry in entries][:1] == ["created"]
    assert any((entry.after or {}).get("storm_per_minute") == 5 for entry in entries)
    assert "s3cret" not in str([vars(entry) for entry in entries])
    assert "an0ther" not in str([vars(entry) for entry in entries])
    assert not HeartbeatEvent.objects.exists()


def test_a_new_route_stands_in_the_timeline_of_open_alerts(api, monitoring, organization):
    other = factories.PolicyFactory(organization=organization, name="Others")
    answer = send(api.patch, f"{URL}{monitoring.pk}/", {"escalation_policy": other.pk})
    assert answer.json()["escalation_policy"] == other.pk


def test_rotating_gives_a_new_url(api, monitoring):
    old = api.get(f"{URL}{monitoring.pk}/").json()["api_url"]
    answer = api.post(f"{URL}{monitoring.pk}/rotate-token/", {"overlap_minutes": 5}, format="json")
    assert answer.json()["api_url"] != old
    assert answer.json()["api_url"].startswith("http://127.0.0.1:8000/POSTAlert/")
    assert monitoring.former_tokens.count() == 1


def test_if_match_is_compared(api, monitoring):
    url = f"{URL}{monitoring.pk}/"
    etag = api.get(url)["ETag"]
    assert api.patch(url, {"group_minutes": 1}, format="json", headers={"If-Match": etag}).status_code == 200
    assert api.patch(url, {"group_minutes": 2}, format="json", headers={"If-Match": etag}).status_code == 412


# -- states and lists --------------------------------------------------------------------------------------------------
def _in_storm(integration, now):
    minute = now.replace(second=0, microsecond=0)
    EventState.objects.filter(pk=integration.pk).update(
        last_event_at=now, minute=minute, opened_in_minute=61, storm_alert_id=5
    )


def _after_a_storm(integration, now):
    _in_storm(integration, now)
    minute = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    EventState.objects.filter(pk=integration.pk).update(minute=minute, opened_in_minute=60)


def _covered(integration, now):
    far = {"starts_at": now, "ends_at": now + timedelta(days=36_500), "now": now}
    create_window(integration.organization, name="Upgrade", integrations=[integration], **far)


STATES = {
    "waiting": lambda integration, now: None,
    "healthy": _after_a_storm,
    "faulty": lambda integration, now: EventState.objects.filter(pk=integration.pk).update(
        fault=FAULT, last_event_at=now
    ),
    "storm": _in_storm,
    "maintenance": _covered,
    "disabled": lambda integration, now: InboundIntegration.objects.filter(pk=integration.pk).update(enabled=False),
}


def test_each_state_is_shown_and_found(api, organization, now):
    for state, bring_about in STATES.items():
        bring_about(factories.ApiIntegrationFactory(organization=organization, name=state), now)
        (row,) = api.get(f"{URL}?name={state}").json()["results"]
        assert (row["state"], api.get(f"{URL}{row['id']}/").json()["state"]) == (state, state)
    for state in STATES:
        assert [row["name"] for row in api.get(f"{URL}?state={state}").json()["results"]] == [state]
    assert api.get(f"{URL}?state=missed").json()["results"] == []


def test_a_list_has_all_types_and_is_filtered_by_them(api, organization, monitoring):
    job = factories.HeartbeatFactory(organization=organization, name="job")
    rows = api.get(URL).json()["results"]
    assert [(row["id"], row["type"]) for row in rows] == [(job.pk, "heartbeat"), (monitoring.pk, "api")]
    assert ("ping_count" in rows[0], "ping_count" in rows[1]) == (True, False)
    assert ("event_count" in rows[0], "event_count" in rows[1]) == (False, True)
    assert [row["id"] for row in api.get(f"{URL}?type=api").json()["results"]] == [monitoring.pk]
    assert [row["name"] for row in api.get(f"{URL}?state=waiting").json()["results"]] == ["job", "monitoring"]


def test_the_list_costs_the_same_for_two_and_for_ten(api, organization):
    def add(count):
        for _ in range(count):
            factories.HeartbeatFactory(organization=organization)
            factories.ApiIntegrationFactory(
                organization=organization, recipient_groups=[factories.GroupFactory(organization=organization)]
            )

    def cost():
        with CaptureQueriesContext(connection) as captured:
            rows = api.get(URL).json()["results"]
        return len(rows), len(captured)

    add(1)
    cost()  # the first request of a key notes when it was used
    few, queries = cost()
    add(4)
    assert (few, cost()) == (2, (10, queries))


@pytest.mark.parametrize("role", ["Basic", "Send Message", "System Viewer"])
def test_who_only_looks_on_sees_name_and_state_alone(monitoring, organization, client_for, role):
    viewer = client_for(factories.UserFactory(organization=organization, roles=[role]))
    [listed] = viewer.get(URL).json()["results"]
    assert listed == viewer.get(f"{URL}{monitoring.pk}/").json()
    known = {name: value for name, value in listed.items() if value is not None}
    assert known == {"id": monitoring.pk, "type": "api", "name": "monitoring", "state": "waiting"}
    assert {"api_url", "rules", "signature", "event_count", "fault"} < set(listed)


def test_others_do_not_find_it(monitoring, client_for):
    stranger = client_for(factories.UserFactory(organization=factories.OrganizationFactory(), roles=["Owner"]))
    url = f"{URL}{monitoring.pk}/"
    for method in (stranger.get, stranger.patch, stranger.put, stranger.delete):
        assert method(url, {}, format="json").status_code == 404


def test_one_that_was_deleted_meanwhile_is_gone(api, monitoring, monkeypatch):
    """Between the look-up of a request and its change, somebody else deletes."""
    service = views.update_event_integration

    def late(integration, **fields):
        InboundIntegration.objects.filter(pk=integration.pk).delete()
        return service(integration, **fields)

    monkeypatch.setattr(views, "update_event_integration", late)
    answer = send(api.patch, f"{URL}{monitoring.pk}/", {"name": "late"})
    assert (answer.status_code, answer.json()["code"]) == (404, "gone")
    assert not Alert.objects.exists()


def test_every_preset_that_there_is_can_be_chosen_and_no_other():
    assert set(PRESETS) == {"auto", "none", *NAMES}
