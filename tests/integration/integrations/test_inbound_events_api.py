"""The events of API integrations over REST: the list, one event, replays, and mappings that are only tried."""

import base64
import gzip
import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert
from alerting.services.alerts import close_alerts
from escalation.models.notifications import Notification
from heartbeat_project.kernel import clock
from integrations.inbound.event import ReceivedEvent
from integrations.inbound.receive import receive
from integrations.maintenance.windows import create_window
from integrations.models.events import EventKey, EventState, InboundEvent
from tests import factories

pytestmark = pytest.mark.django_db
URL = "/api/v1/integrations/"
DISK = {"title": "Disk full", "severity": "critical", "status": "firing", "labels": {"host": "db1"}}
BY_HOST = [
    {
        "name": "databases",
        "when": {"all": [{"path": "labels.host", "op": "starts_with", "value": "db"}]},
        "then": {"priority": "low", "subject": "DB: {{ payload.title }}"},
    }
]


@pytest.fixture
def api(organization, client_for, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)
    return client_for(factories.UserFactory(organization=organization, name="Ines", roles=["Integrations Admin"]))


@pytest.fixture
def monitoring(organization):
    return factories.ApiIntegrationFactory(organization=organization, name="monitoring")


@pytest.fixture
def received(monitoring, now):
    """Receive an event, and return its id and its alert's."""

    def receive_it(payload, at=now, **fields):
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        value = None if isinstance(payload, bytes) else payload
        event = ReceivedEvent(raw=raw, received_at=at, payload=value, **fields)
        result = receive(monitoring, event, now=at)
        return result.event_id, result.results[0].alert_id

    return receive_it


def post(api, address, body):
    return api.post(address, body, format="json")


# -- the list ----------------------------------------------------------------------------------------------------------
def test_an_event_is_listed_with_what_became_of_it(api, monitoring, received, now):
    event, alert = received(DISK, headers={"content-type": "application/json", "authorization": "Bearer s3cret"})
    (row,) = api.get(f"{URL}{monitoring.pk}/events/").json()["results"]
    source_id = row["results"][0]["source_id"]
    assert row == {
        "id": event,
        "received_at": "2026-03-02T12:00:00Z",
        "action": "opened",
        "alert": alert,
        "results": [{"action": "opened", "alert": alert, "source_id": source_id, "reason": ""}],
        "fault": None,
        "external_id": "",
        "source": "",
        "query": {},
        "headers": {"content-type": "application/json", "authorization": "(not kept)"},
        "size": len(json.dumps(DISK)),
        "payload": DISK,
        "raw": json.dumps(DISK),
        "raw_encoding": "text",
        "truncated": False,
    }
    assert api.get(f"{URL}{monitoring.pk}/events/{event}/").json() == row


def test_events_are_newest_first_in_pages_and_of_this_integration_alone(api, organization, monitoring, received, now):
    ids = [received({"title": f"Disk {number}"}, at=now + timedelta(seconds=number))[0] for number in range(5)]
    other = factories.ApiIntegrationFactory(organization=organization)
    receive(other, ReceivedEvent(raw=b"{}", received_at=now, payload={}), now=now)
    found, url = [], f"{URL}{monitoring.pk}/events/?page_size=2"
    while url:
        page = api.get(url).json()
        found += [row["id"] for row in page["results"]]
        url = page["next"]
    assert found == ids[::-1]
    other_event = InboundEvent.objects.get(integration=other).pk
    for address in (f"events/{other_event}/", "events/999999999/", f"events/{10**17}/"):
        assert api.get(f"{URL}{monitoring.pk}/{address}").status_code == 404


def test_a_page_has_25_events_and_its_queries_do_not_grow(api, monitoring, received, now):
    def cost():
        with CaptureQueriesContext(connection) as captured:
            rows = api.get(f"{URL}{monitoring.pk}/events/").json()["results"]
        return len(rows), len(captured)

    rows = [
        InboundEvent(integration=monitoring, type="api", received_at=now, raw=b"{}", size=2, state="read")
        for _ in range(30)
    ]
    InboundEvent.objects.bulk_create(rows[:1])
    cost()
    few, queries = cost()
    InboundEvent.objects.bulk_create(rows[1:])
    assert (few, cost()) == (1, (25, queries))


def test_a_long_body_is_cut_in_the_list_and_whole_in_the_event(api, monitoring, received):
    text = "ü" * 100_000
    event, _ = received({"title": "Long", "text": text})
    (row,) = api.get(f"{URL}{monitoring.pk}/events/").json()["results"]
    whole = api.get(f"{URL}{monitoring.pk}/events/{event}/").json()
    assert (row["truncated"], row["payload"], len(row["raw"])) == (True, None, 65_536)
    assert (whole["truncated"], whole["payload"]["text"]) == (False, text)
    assert whole["raw"] == json.dumps({"title": "Long", "text": text})


def test_a_character_at_the_cut_is_left_out(api, monitoring, received):
    received(b"a" + "ü".encode() * 40_000)
    (row,) = api.get(f"{URL}{monitoring.pk}/events/").json()["results"]
    assert (row["raw"], row["raw_encoding"]) == ("a" + "ü" * 32_767, "text")


def test_bytes_that_are_no_text_are_base64_and_their_payload_is_unpacked(api, monitoring, received):
    raw = gzip.compress(json.dumps({"title": "Packed", "text": "x" * 80_000}).encode())
    event, _ = received(raw, headers={"content-encoding": "gzip"})
    (row,) = api.get(f"{URL}{monitoring.pk}/events/").json()["results"]
    whole = api.get(f"{URL}{monitoring.pk}/events/{event}/").json()
    assert (row["raw_encoding"], base64.b64decode(row["raw"])) == ("base64", raw)
    assert (row["truncated"], row["payload"]) == (True, None)
    assert (whole["truncated"], whole["payload"]["title"]) == (False, "Packed")


def test_a_heartbeat_has_no_events(api, organization):
    job = factories.HeartbeatFactory(organization=organization)
    assert api.get(f"{URL}{job.pk}/events/").json()["results"] == []
    answer = post(api, f"{URL}{job.pk}/test-mapping/", {"payload": DISK})
    assert (answer.status_code, answer.json()["code"]) == (409, "has_no_events")


# -- replays -----------------------------------------------------------------------------------------------------------
def test_a_replay_is_dry_by_default_and_leaves_no_trace(api, monitoring, received, now):
    event, alert = received(DISK)
    close_alerts([alert], reason="a person has closed it", now=now)
    monitoring.event_settings.rules = BY_HOST
    monitoring.event_settings.save()
    before = (
        list(Alert.objects.values()),
        list(InboundEvent.objects.values()),
        list(EventState.objects.values()),
        list(EventKey.objects.values()),
        Notification.objects.count(),
    )

    answer = post(api, f"{URL}{monitoring.pk}/events/{event}/replay/", {})

    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["dry_run"], body["event"], body["action"], body["alert"]) == (True, event, "opened", None)
    assert (body["mapped"]["subject"], body["mapped"]["priority"]) == ("DB: Disk full", "low")
    assert body["mapped"]["rules"] == [{"number": 1, "name": "databases"}]
    assert before == (
        list(Alert.objects.values()),
        list(InboundEvent.objects.values()),
        list(EventState.objects.values()),
        list(EventKey.objects.values()),
        Notification.objects.count(),
    )


def test_a_replay_that_is_carried_out_opens_an_alert_whose_timeline_says_so(api, monitoring, received, now):
    event, alert = received(DISK)
    close_alerts([alert], reason="a person has closed it", now=now)

    body = post(api, f"{URL}{monitoring.pk}/events/{event}/replay/", {"dry_run": False}).json()

    opened = Alert.objects.exclude(pk=alert).get()
    assert (body["action"], body["alert"], opened.subject) == ("opened", opened.pk, "Disk full")
    lines = list(opened.timeline.values_list("text", flat=True))
    expected = f"This came from a replay of event {event}, received at 2026-03-02 12:00:00 UTC, which Ines started."
    assert expected in lines
    stored = InboundEvent.objects.get()
    assert stored.result == body["results"]
    assert EventState.objects.get(pk=monitoring.pk).event_count == 1


def test_a_replay_appends_to_the_live_alert(api, monitoring, received):
    event, alert = received(DISK)
    for dry_run in (True, False):
        body = post(api, f"{URL}{monitoring.pk}/events/{event}/replay/", {"dry_run": dry_run}).json()
        assert (body["action"], body["alert"]) == ("appended", alert)
    assert Alert.objects.get().event_count == 2


def test_a_replay_in_maintenance_opens_nothing(api, monitoring, received, now):
    event, alert = received(DISK)
    close_alerts([alert], reason="a person has closed it", now=now)
    far = {"starts_at": now, "ends_at": now + timedelta(hours=1), "now": now}
    create_window(monitoring.organization, name="Upgrade", integrations=[monitoring], **far)
    body = post(api, f"{URL}{monitoring.pk}/events/{event}/replay/", {"dry_run": False}).json()
    assert (body["action"], body["results"][0]["reason"]) == ("ignored", "maintenance")


@pytest.mark.parametrize("body", [{"dry_run": "perhaps"}, {"dry_run": None}, {"wet": True}])
def test_a_replay_takes_dry_run_alone(api, monitoring, received, body):
    event, _ = received(DISK)
    assert post(api, f"{URL}{monitoring.pk}/events/{event}/replay/", body).status_code == 400
    assert Alert.objects.get().event_count == 1


# -- mappings that are tried -------------------------------------------------------------------------------------------
def test_a_mapping_is_tried_and_nothing_is_stored(api, monitoring):
    wish = {
        "payload": DISK,
        "headers": {"Content-Type": "application/json"},
        "mapping": {"subject": "{{ payload.labels.host }}: {{ payload.title }}", "url": "{{ payload.title }}"},
        "rules": BY_HOST,
    }
    answer = post(api, f"{URL}{monitoring.pk}/test-mapping/", wish)
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert (body["action"], body["subject"], body["priority"]) == ("open", "DB: Disk full", "low")
    assert body["rules"] == [{"number": 1, "name": "databases"}]
    assert [fault["field"] for fault in body["faults"]] == ["url"]
    assert body["fault"] == body["faults"][0]
    assert {name: body[name] for name in body["results"][0]} == body["results"][0]
    assert body["result_count"] == 1
    assert not Alert.objects.exists()
    assert not InboundEvent.objects.exists()
    monitoring.event_settings.refresh_from_db()
    assert (monitoring.event_settings.rules, monitoring.event_settings.mapping) == ([], {})


def test_without_settings_those_of_the_integration_are_used(api, monitoring):
    monitoring.event_settings.status_words = {"close": ["calm"]}
    monitoring.event_settings.save()
    calm = {"payload": {"title": "Disk", "status": "calm"}}
    body = post(api, f"{URL}{monitoring.pk}/test-mapping/", calm).json()
    assert (body["action"], body["preset"], body["then"]) == ("close", "", {})
    body = post(api, f"{URL}{monitoring.pk}/test-mapping/", calm | {"status_words": {}}).json()
    assert body["action"] == "open"


@pytest.mark.parametrize(
    "payload", [None, 5, True, [], {}, "plain text", "\ud800", "a=1&b=2", '{"title": "x"}', "\x00"]
)
def test_any_payload_can_be_tried(api, monitoring, payload):
    content = json.dumps({"payload": payload})
    answer = api.post(f"{URL}{monitoring.pk}/test-mapping/", content, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["subject"]


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({}, "/payload"),
        ({"payload": {}, "mapping": {"subject": "{{ payload._x }}"}}, "/mapping/subject"),
        ({"payload": {}, "rules": [{"then": {"action": "explode"}}]}, "/rules"),
        ({"payload": {}, "preset": "nagios"}, "/preset"),
        ({"payload": {}, "status_words": {"open": []}}, "/status_words"),
        ({"payload": {}, "headers": []}, "/headers"),
        ({"payload": {}, "headers": {str(number): "" for number in range(101)}}, "/headers"),
        ({"payload": {}, "delay": {"mode": "none"}}, "/delay"),
    ],
)
def test_what_cannot_be_tried_is_named(api, monitoring, wish, pointer):
    answer = post(api, f"{URL}{monitoring.pk}/test-mapping/", wish)
    assert answer.status_code == 400, answer.content
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


# -- who may -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("role", ["Basic", "Send Message", "System Viewer", "Billing Admin"])
def test_events_are_for_who_manages_integrations(organization, client_for, monitoring, received, role):
    event, _ = received(DISK)
    viewer = client_for(factories.UserFactory(organization=organization, roles=[role]))
    address = f"{URL}{monitoring.pk}"
    assert viewer.get(f"{address}/events/").status_code == 403
    assert viewer.get(f"{address}/events/{event}/").status_code == 403
    assert post(viewer, f"{address}/events/{event}/replay/", {"dry_run": False}).status_code == 403
    assert post(viewer, f"{address}/test-mapping/", {"payload": DISK}).status_code == 403
    assert Alert.objects.get().event_count == 1


def test_others_do_not_find_them(client_for, monitoring, received):
    event, _ = received(DISK)
    stranger = client_for(factories.UserFactory(organization=factories.OrganizationFactory(), roles=["Owner"]))
    address = f"{URL}{monitoring.pk}"
    assert stranger.get(f"{address}/events/").status_code == 404
    assert stranger.get(f"{address}/events/{event}/").status_code == 404
    assert post(stranger, f"{address}/events/{event}/replay/", {}).status_code == 404
    assert post(stranger, f"{address}/test-mapping/", {"payload": DISK}).status_code == 404
