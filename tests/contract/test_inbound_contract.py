"""What the contract says of events, over HTTP alone: they are posted to the address, and what became of them is read by REST.

Bad input has a row in the contract for each case; the others are in test_post_alert.py, test_hostile_events.py and
tests/faults/test_processes_die.py.
"""

import base64
import gzip
import hashlib
import hmac
import json
import time
import urllib.parse
import zlib
from datetime import timedelta

import brotli
import pytest
import zstandard

from alerting.models.alerts import Alert
from heartbeat_project.kernel import clock
from integrations.api import events
from integrations.inbound.flood import BURST, FloodLimit, Refusals
from integrations.inbound.presets import NAMES
from tests import factories
from tests.unit.integrations.inbound.events import body_of, headers_of
from tests.unit.integrations.inbound.test_presets import KEPT, changed

pytestmark = pytest.mark.django_db

PROBLEM = {"alertKey": "db1", "status": "firing", "title": "db1 is down"}
OVER = {"alertKey": "db1", "status": "resolved"}


@pytest.fixture(autouse=True)
def no_flood(monkeypatch):
    """Give each test its own flood limit."""
    monkeypatch.setattr(events, "FLOOD", FloodLimit())
    monkeypatch.setattr(events, "REFUSALS", Refusals())


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana", roles=["App Admin"])


@pytest.fixture
def api(ana, client_for):
    return client_for(ana)


@pytest.fixture
def make(api, ana):
    """Create an API integration over REST with these fields; return it as REST shows it."""

    def make(**fields):
        policy = ana.organization.escalation_policies.order_by("id").first()
        body = {"type": "api", "name": "Shop", "escalation_policy": policy.pk, "recipient_users": [ana.pk], **fields}
        answer = api.post("/api/v1/integrations/", body, format="json")
        assert answer.status_code == 201, answer.content
        return answer.json()

    return make


@pytest.fixture
def post(client):
    """POST a body to an integration's address, with a path and headers of its own; return the answer as JSON."""

    def post(integration, body=b"", *, path="", status=200, content_type="application/json", **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        address = urllib.parse.urlsplit(integration["api_url"]).path + path
        answer = client.generic("POST", address, raw, content_type=content_type, **named)
        assert answer.status_code == status, answer.content
        return answer.json()

    return post


@pytest.fixture
def read(api):
    """Return what REST answers at a path below /api/v1/."""

    def read(path):
        answer = api.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.content
        return answer.json()

    return read


def results_of(answer):
    return [(one["action"], one["reason"]) for one in answer["results"]]


# -- bad input -----------------------------------------------------------------------------------------------------------
def test_not_json_is_kept_opens_with_its_text_and_is_a_fault(make, post, read):
    shop = make()
    answer = post(shop, b'{"title": "disk "full" on db1"}')
    assert answer["action"] == "opened"
    assert answer["fault"]["text"].startswith("not JSON")
    assert 'disk "full" on db1' in read(f"alerts/{answer['alert']}/")["long_text"]
    state = read(f"integrations/{shop['id']}/")
    assert (state["state"], state["fault"]["event"], state["fault"]["field"]) == ("faulty", answer["event"], "payload")
    assert read(f"integrations/{shop['id']}/events/{answer['event']}/")["raw"] == '{"title": "disk "full" on db1"}'
    post(shop, PROBLEM)
    state = read(f"integrations/{shop['id']}/")
    assert (state["state"], state["fault"]) == ("healthy", None)


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b'{"title": "x", "value": NaN}', "NaN"),
        (b'{"title": "x", "value": -Infinity}', "-Infinity"),
        (b'{"title": "x", "value": 1e400}', "1e400"),
        (b'{"title": "x", "value": %s}' % (b"9" * 5_000), "9" * 5_000),
        (rb'{"title": "x", "value": "a\u0000b\ud800"}', "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"),
        (b'{"title": "x", "value": 1, "value": 2}', 2),
    ],
)
def test_what_postgresql_cannot_store_is_cleaned_and_the_bytes_are_kept(make, post, read, body, payload):
    shop = make()
    answer = post(shop, body)
    assert (answer["action"], answer["fault"]) == ("opened", None)
    event = read(f"integrations/{shop['id']}/events/{answer['event']}/")
    assert (event["payload"]["value"], event["raw"]) == (payload, body.decode())


def test_below_64_levels_a_part_is_text(make, post, read):
    shop = make()
    answer = post(shop, b'{"a":' * 100 + b"1" + b"}" * 100)
    value = read(f"integrations/{shop['id']}/events/{answer['event']}/")["payload"]
    for _ in range(64):
        value = value["a"]
    assert value == '{"a":' * 36 + "1" + "}" * 36


@pytest.mark.parametrize(
    ("title", "subject"),
    [
        ("text", "text"),
        (["db1", "db2"], "db1, db2"),
        ({"host": "db1"}, '{"host": "db1"}'),
        (7, "7"),
        (None, "Shop: event"),
    ],
)
def test_a_mapped_value_of_another_type_becomes_text(make, post, read, title, subject):
    shop = make(mapping={"subject": "{{ payload.about }}"})
    answer = post(shop, {"about": title})
    assert read(f"alerts/{answer['alert']}/")["subject"] == subject


def test_a_mapping_that_fails_takes_the_default_opens_and_names_field_text_and_event(make, post, read):
    shop = make(mapping={"priority": "{{ payload.title }}"})
    answer = post(shop, {**PROBLEM, "severity": "high"})
    assert (answer["action"], answer["fault"]["field"]) == ("opened", "priority")
    assert read(f"alerts/{answer['alert']}/")["priority"] == "high"
    fault = read(f"integrations/{shop['id']}/")["fault"]
    assert (fault["field"], fault["text"], fault["event"]) == ("priority", answer["fault"]["text"], answer["event"])


def test_a_key_appends_and_an_external_id_gets_the_first_answer(make, post, read):
    shop = make()
    first = post(shop, PROBLEM, **{"Idempotency-Key": "1"})
    assert post(shop, PROBLEM)["action"] == "appended"
    again = post(shop, PROBLEM, **{"Idempotency-Key": "1"})
    assert (again["action"], again["alert"], results_of(again)) == (
        "replayed",
        first["alert"],
        [("replayed", "opened")],
    )
    assert read(f"alerts/{first['alert']}/")["event_count"] == 2


@pytest.mark.parametrize(
    "header",
    ["Idempotency-Key", "webhook-id", "X-GitHub-Delivery", "X-Gitlab-Event-UUID", "x-amz-sns-message-id"],
)
def test_each_header_of_an_external_id_counts_within_24_hours_of_the_first(make, post, monkeypatch, header):
    shop, now = make(), clock.now()
    post(shop, PROBLEM, **{header: "1"})
    post(shop, OVER)
    for later, action in ((timedelta(hours=20), "replayed"), (timedelta(hours=25), "opened")):
        monkeypatch.setattr(clock, "now", lambda at=now + later: at)
        assert post(shop, PROBLEM, **{header: "1"})["action"] == action


def test_ids_of_cloudevents_and_sentry_count(make, post):
    shop = make()
    for pair in ({"ce-source": "a", "ce-id": "1"}, {"Sentry-Hook-Resource": "event_alert", "Request-ID": "1"}):
        assert post(shop, {"title": f"{pair}"}, **pair)["action"] == "opened"
        assert post(shop, {"title": f"{pair}"}, **pair)["action"] == "replayed"
    assert post(shop, {"title": "more"}, **{"ce-source": "b", "ce-id": "1"})["action"] == "opened"
    assert post(shop, {"title": "much more"}, **{"Request-ID": "1"})["action"] == "opened"


def test_what_is_signed_is_replayed_within_five_minutes_and_refused_after(make, post, monkeypatch):
    key = b"0123456789abcdef01234567"
    shop = make(signature={"scheme": "standard", "secret": f"whsec_{base64.b64encode(key).decode()}"})
    now, body = clock.now(), json.dumps(PROBLEM).encode()
    signed = f"m1.{int(now.timestamp())}.".encode() + body
    proof = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    headers = {"webhook-id": "m1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": f"v1,{proof}"}
    assert post(shop, body, **headers)["action"] == "opened"
    assert post(shop, body, **headers)["action"] == "replayed"
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=6))
    post(shop, body, status=401, **headers)


def test_a_wrong_signature_is_counted_and_nothing_else_is_stored(make, post, read):
    shop = make(signature={"scheme": "header", "header": "X-Key", "secret": "s3cret"})
    assert post(shop, PROBLEM, status=401, **{"X-Key": "wrong"})["detail"]
    seen = read(f"integrations/{shop['id']}/")
    assert (seen["rejected_count"], seen["event_count"], seen["state"]) == (1, 0, "waiting")
    assert read(f"integrations/{shop['id']}/events/")["results"] == []
    assert post(shop, PROBLEM, **{"X-Key": "s3cret"})["action"] == "opened"


def test_beyond_the_hard_limit_is_429_and_counted(make, post, read, monkeypatch):
    shop, started = make(), time.monotonic()
    token = shop["api_url"].rpartition("/")[2]
    for _ in range(BURST):
        # As if the bucket had been emptied in a minute: this machine may be too slow to empty it now.
        events.FLOOD.seconds_to_wait(token, at=started + 60)
    answer = post(shop, PROBLEM, status=429)
    assert (answer["integration"], answer["limit"], answer["window_seconds"]) == ("Shop", 50, 1)
    assert read(f"integrations/{shop['id']}/")["rejected_count"] == 1
    monkeypatch.setattr(events, "FLOOD", FloodLimit())
    post(shop, PROBLEM)
    assert read(f"integrations/{shop['id']}/")["rejected_count"] == 1


def test_a_storm_is_one_alert_that_keeps_all(make, post, read, monkeypatch):
    shop, now = make(storm_per_minute=2), clock.now().replace(second=1)
    monkeypatch.setattr(clock, "now", lambda: now)
    answers = [post(shop, {"alertKey": f"db{n}", "title": f"db{n} is down"}) for n in range(5)]
    assert [answer["action"] for answer in answers] == ["opened", "opened", "folded", "folded", "folded"]
    (storm,) = {answer["alert"] for answer in answers[2:]}
    assert read(f"alerts/{storm}/")["subject"] == "3 more events from Shop in this minute"
    assert len(read(f"integrations/{shop['id']}/events/")["results"]) == 5
    assert read(f"integrations/{shop['id']}/")["state"] == "storm"
    for n in (2, 3, 4):
        assert read(f"alerts/{storm}/")["status"] == "open"
        assert post(shop, {"alertKey": f"db{n}", "status": "ok"})["alert"] == storm
    assert read(f"alerts/{storm}/")["status"] == "closed"


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_closes_what_it_opened_when_all_other_fields_have_changed(make, post, name):
    shop = make()
    opening, closing = body_of(name, "open"), changed(body_of(name, "close"), KEPT[name])
    opened = post(shop, opening, **{**headers_of(name), "X-GitHub-Delivery": "1", "Request-ID": "1"})
    closed = post(shop, closing, **{**headers_of(name), "X-GitHub-Delivery": "2", "Request-ID": "2"})
    assert (opened["action"], closed["action"], closed["alert"]) == ("opened", "closed", opened["alert"])


# -- the address ---------------------------------------------------------------------------------------------------------
def test_whatever_the_host_header_says_an_event_is_taken_as_a_ping_is(make, post):
    shop = make()
    for host in ("10.0.0.7", "heartbeat.internal:8000", "", "not a host!", "a_b:99999"):
        assert post(shop, PROBLEM, Host=host)["status"] == "ok"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/Icinga2", "Icinga2"),
        ("/a/b", "a/b"),
        ("/a%2Fb/", "a/b"),
        ("//", "API"),
        ("/%20", "API"),
        ("/" + "x" * 200, "x" * 100),
        ("/%EF%BC%A8eartbeat", "API: Heartbeat"),
        ("/MANUAL", "API: Manual"),
    ],
)
def test_any_source_behind_the_token_is_taken(make, post, read, path, source):
    answer = post(make(), PROBLEM, path=path)
    assert read(f"alerts/{answer['alert']}/")["source"] == source


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_each_encoding_is_unpacked(make, post, read, encoding, pack):
    answer = post(make(), pack(json.dumps(PROBLEM).encode()), **{"Content-Encoding": encoding})
    assert (answer["action"], answer["fault"]) == ("opened", None)
    assert read(f"alerts/{answer['alert']}/")["source_id"] == "db1"


def test_the_query_overrides_nothing_in_the_body(make, post, read):
    answer = post(make(), {"title": "x", "severity": "low"}, path="?severity=critical&url=https://a.example/")
    alert = read(f"alerts/{answer['alert']}/")
    assert (alert["priority"], alert["url"]) == ("low", "https://a.example/")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"payload=" + urllib.parse.quote(json.dumps(PROBLEM)).encode(), "application/x-www-form-urlencoded"),
        (b"data=" + urllib.parse.quote(json.dumps(PROBLEM)).encode(), "application/x-www-form-urlencoded"),
        (b"alertKey=db1&title=db1+is+down", "application/x-www-form-urlencoded"),
        (
            b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n%s\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (json.dumps(PROBLEM).encode(), "text/plain"),
        (json.dumps(PROBLEM).encode(), ""),
        (json.dumps(PROBLEM).encode(), "application/x-www-form-urlencoded"),
    ],
)
def test_each_form_of_a_body_is_read_and_a_missing_type_is_guessed(make, post, read, body, content_type):
    answer = post(make(), body.replace(b"%s", json.dumps(PROBLEM).encode()), content_type=content_type)
    assert answer["fault"] is None
    alert = read(f"alerts/{answer['alert']}/")
    assert (alert["source_id"], alert["subject"]) == ("db1", "db1 is down")


# -- what becomes of an event --------------------------------------------------------------------------------------------
def test_rest_shows_the_life_of_an_alert(make, post, read):
    shop = make()
    assert (shop["state"], shop["last_event_at"], shop["event_count"]) == ("waiting", None, 0)
    for status, action, reason in (
        ("resolved", "ignored", "nothing_to_close"),
        ("acknowledged", "ignored", "nothing_to_update"),
        ("test", "ignored", "test"),
    ):
        answer = post(shop, {**PROBLEM, "status": status})
        assert results_of(answer) == [(action, reason)]
        assert answer["alert"] is None
    opened = post(shop, {**PROBLEM, "severity": "warning", "url": "https://db1.example/"})
    assert post(shop, {**PROBLEM, "title": "db1 is still down"})["action"] == "appended"
    assert post(shop, {**PROBLEM, "status": "ack"})["action"] == "acknowledged"
    alert = read(f"alerts/{opened['alert']}/")
    assert {field: alert[field] for field in ("subject", "priority", "url", "event_count", "status")} == {
        "subject": "db1 is still down",
        "priority": "medium",
        "url": "https://db1.example/",
        "event_count": 2,
        "status": "open",
    }
    assert alert["acknowledged_at"] is not None
    assert alert["acknowledged_by"] is None
    assert alert["last_event_at"] > alert["opened_at"]
    assert post(shop, OVER)["action"] == "closed"
    alert = read(f"alerts/{opened['alert']}/")
    assert (alert["status"], alert["close_reason"]) == ("closed", "closed by Shop")
    lines = [(line["kind"], line["actor"], line["text"]) for line in read(f"alerts/{alert['id']}/timeline/")["results"]]
    assert ("opened", None, "Opened by Shop (API): db1 is down.") in lines
    assert ("updated", None, "Update 1 from Shop: db1 is still down.") in lines
    assert ("acknowledged", None, "Acknowledged in Shop.") in lines
    assert ("closed", None, "Closed by Shop.") in lines
    assert post(shop, PROBLEM)["action"] == "opened"
    seen = read(f"integrations/{shop['id']}/")
    assert (seen["state"], seen["event_count"]) == ("healthy", 8)
    assert seen["last_event_at"] is not None
    newest, *_, oldest = read(f"integrations/{shop['id']}/events/")["results"]
    assert {*newest} >= {"id", "received_at", "action", "alert", "fault", "external_id", "headers", "payload", "raw"}
    assert (newest["action"], oldest["action"]) == ("opened", "ignored")


def test_an_open_older_than_a_close_is_ignored_even_if_that_close_found_no_alert(make, post):
    shop = make(mapping={"event_at": "{{ payload.at }}"})
    assert results_of(post(shop, {**OVER, "at": "2026-01-01T12:00:00Z"})) == [("ignored", "nothing_to_close")]
    assert results_of(post(shop, {**PROBLEM, "at": "2026-01-01T11:59:59Z"})) == [("ignored", "older_than_close")]
    assert results_of(post(shop, {**PROBLEM, "at": "2026-01-01T12:00:01Z"})) == [("opened", "")]


def test_waiting_and_settled(make, post, read):
    shop = make(delay={"mode": "count", "count": 3})
    assert post(shop, PROBLEM)["action"] == "waiting"
    assert results_of(post(shop, OVER)) == [("ignored", "settled")]
    assert [post(shop, PROBLEM)["action"] for _ in range(3)] == ["waiting", "waiting", "opened"]


def test_grouped_and_closed_with_the_last_member(make, post, read):
    shop = make(group_minutes=5)
    first, second = (post(shop, {"alertKey": key, "title": key}) for key in ("db1", "db2"))
    assert (first["action"], second["action"], second["alert"]) == ("opened", "grouped", first["alert"])
    assert post(shop, {"alertKey": "db1", "status": "ok"})["action"] == "closed"
    assert read(f"alerts/{first['alert']}/")["status"] == "open"
    assert post(shop, {"alertKey": "db2", "status": "ok"})["action"] == "closed"
    assert read(f"alerts/{first['alert']}/")["status"] == "closed"


def test_a_disabled_integration_keeps_events_and_opens_nothing(make, post, read, api):
    shop = make()
    api.patch(f"/api/v1/integrations/{shop['id']}/", {"enabled": False}, format="json")
    assert results_of(post(shop, PROBLEM)) == [("ignored", "disabled")]
    assert [event["action"] for event in read(f"integrations/{shop['id']}/events/")["results"]] == ["ignored"]
    assert read(f"integrations/{shop['id']}/")["state"] == "disabled"


def test_rules_decide_and_what_none_holds_for_is_ignored_if_the_integration_says_so(make, post, read):
    rule = {
        "name": "db",
        "when": {"any": [{"path": "host", "op": "starts_with", "value": "DB"}]},
        "then": {"note": "x"},
    }
    shop = make(rules=[rule], no_rule="ignore")
    assert results_of(post(shop, {"title": "a", "host": "web1"})) == [("ignored", "rule")]
    opened = post(shop, {"title": "a", "host": "db1"})
    assert opened["action"] == "opened"
    assert "x" in [line["text"] for line in read(f"alerts/{opened['alert']}/timeline/")["results"]]


def test_a_rule_may_wait_for_part_of_a_minute(make, post):
    delay = {"mode": "minutes", "minutes": 2.5}
    shop = make(rules=[{"name": "slow", "when": {"all": []}, "then": {"delay": delay}}])
    assert results_of(post(shop, PROBLEM)) == [("waiting", "delay")]


def test_a_list_is_split_and_the_rest_beyond_200_is_one_member(make, post):
    answer = post(make(storm_per_minute=0), [{"alertKey": f"db{n}", "title": "x"} for n in range(230)])
    assert len(answer["results"]) == 201
    assert {one["action"] for one in answer["results"]} == {"opened"}


@pytest.mark.parametrize("length", [200, 201])
def test_a_long_id_is_its_hash(make, post, read, length):
    answer = post(make(), {"alertKey": "k" * length, "title": "t" * 400})
    alert = read(f"alerts/{answer['alert']}/")
    long = hashlib.sha256(("k" * length).encode()).hexdigest()
    assert alert["source_id"] == ("k" * length if length == 200 else long)
    assert alert["subject"] == "t" * 300


def test_a_new_name_of_the_integration_keeps_open_alerts_and_their_closes_together(make, post, read, api):
    shop = make()
    opened = post(shop, PROBLEM)
    answer = api.patch(f"/api/v1/integrations/{shop['id']}/", {"name": "Shop of Rome"}, format="json")
    assert answer.status_code == 200
    assert post(shop, PROBLEM)["action"] == "appended"
    closed = post(shop, OVER)
    assert (closed["action"], closed["alert"]) == ("closed", opened["alert"])


# -- chat ----------------------------------------------------------------------------------------------------------------
@pytest.fixture
def write(client):
    """Write a text to a Chat integration of anything else; return the answer as JSON."""

    def write(integration, text, *, status=200, token="s3cret", **fields):
        path = urllib.parse.urlsplit(integration["request_url"]).path
        body = json.dumps({"text": text, "channel": "ops", "user": "ann", **fields})
        answer = client.post(path, body, content_type="application/json", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status, answer.content
        return answer.json()

    return write


@pytest.fixture
def chat(make):
    return make(type="chat", name="Operations", platform="generic", secrets={"token": "s3cret"})


def test_a_text_opens_with_its_first_line_priority_and_group(chat, write, read, ana):
    team = factories.GroupFactory(organization=ana.organization, name="Night shift", primary=[ana])
    answer = write(chat, "!high Disk full on db1 #night-shift\nSince noon", id="814")
    alert = read(f"alerts/{answer['alert']}/")
    assert (alert["subject"], alert["priority"], alert["source"]) == ("Disk full on db1", "high", "Chat")
    assert (alert["source_name"], alert["source_id"]) == ("Operations", "generic:ops:814")
    assert alert["long_text"] == "Disk full on db1\nSince noon"
    assert Alert.objects.get(pk=answer["alert"]).recipients.filter(group=team).exists()
    timeline = read(f"alerts/{answer['alert']}/timeline/")["results"]
    assert "Opened in a chat #ops by ann: Disk full on db1." in [entry["text"] for entry in timeline]
    assert read(f"integrations/{chat['id']}/")["state"] == "healthy"


def test_the_same_message_opens_one_alert_in_a_chat(chat, write):
    first, again = write(chat, "Disk full", id="1"), write(chat, "Disk full", id="1")
    assert (first["action"], again["action"], again["alert"]) == ("opened", "replayed", first["alert"])


def test_who_is_not_linked_may_open_if_anybody_may_and_nothing_else(chat, write, read, api):
    alert = write(chat, "Disk full", id="1")["alert"]
    for number, text in enumerate(
        [f"ack {alert}", f"assign {alert}", f"escalate {alert}", f"close {alert}: x", "list"]
    ):
        answer = write(chat, text, id=f"a{number}")
        assert "does not know who you are" in answer["text"]
        assert answer["action"] is None
    assert read(f"alerts/{alert}/")["status"] == "open"
    assert "Your code is" in write(chat, "link")["text"]
    assert "opens an alert" in write(chat, "help")["text"]
    api.patch(f"/api/v1/integrations/{chat['id']}/", {"who_may_open": "linked"}, format="json")
    assert write(chat, "Disk full", id="2")["alert"] is None


def test_a_wrong_token_in_a_chat_is_counted_and_nothing_else_is_stored(chat, write, read):
    assert write(chat, "Disk full", token="wrong", status=401)["detail"]
    seen = read(f"integrations/{chat['id']}/")
    assert (seen["rejected_count"], seen["event_count"], seen["state"]) == (1, 0, "waiting")


def test_the_text_chooses_the_policy(make, write, ana):
    other = factories.PolicyFactory(organization=ana.organization)
    rule = {
        "name": "payments",
        "when": {"any": [{"path": "text", "op": "contains", "value": "payment"}]},
        "then": {"escalation_policy": other.pk},
    }
    chat = make(type="chat", name="Ops", platform="generic", secrets={"token": "s3cret"}, rules=[rule])
    answer = write(chat, "Payment fails", id="1")
    assert Alert.objects.get(pk=answer["alert"]).run.policy == other
