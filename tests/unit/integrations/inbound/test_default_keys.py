"""The default keys read any JSON: inbound.md 3, key by key."""

import hashlib

import pytest

from integrations.inbound.event import Action

from .events import one, words

CLOSE = words(
    "resolved resolve ok up closed close recovered recovery cleared clear normal success succeeded passed fixed healthy"
    " green inactive deactivated"
)
STATUS_KEYS = words(
    "source_status status state current_state newState NewStateValue event_status alertStatus monitorCondition"
    " alert_transition event.action notification-type alert_type eventType action result conclusion"
)


def auto(subject: str) -> str:
    return "auto:" + hashlib.sha256(subject.encode()).hexdigest()[:16]


@pytest.mark.parametrize("key", STATUS_KEYS)
def test_each_status_key_closes_however_it_is_spelled(key):
    assert one({key: "Resolved"}).action is Action.CLOSE
    assert one({"data": {key: "RESOLVED"}}).action is Action.CLOSE


@pytest.mark.parametrize("word", [*CLOSE, "back to normal", "  Back  to Normal "])
def test_each_close_word_closes(word):
    assert one({"status": word.upper()}).action is Action.CLOSE


@pytest.mark.parametrize("word", ["acknowledged", "Acknowledge", "ACK", "acknowledgement", "accepted"])
def test_each_acknowledge_word_acknowledges(word):
    assert one({"status": word}).action is Action.ACKNOWLEDGE


@pytest.mark.parametrize("word", ["test", "Ping"])
def test_only_test_and_ping_are_ignored(word):
    event = one({"status": word})
    assert (event.action, event.reason) == (Action.IGNORE, "test")


@pytest.mark.parametrize(
    "payload",
    [
        {"alertType": "Ping", "result": "failed"},
        {"event_type": "ping", "data": {"state": "down"}},
        {"eventType": "TEST", "status": "test", "conclusion": "timed out"},
    ],
)
def test_a_check_of_the_type_ping_or_test_that_says_more_is_not_ignored(payload):
    assert one(payload).action is Action.OPEN
    assert one({**payload, "result": "ok", "conclusion": "ok", "data": {}}).action is Action.CLOSE


@pytest.mark.parametrize("payload", [{}, {"status": "KAPUTT"}, {"status": "okay"}, {"status": None}, {"status": 7}])
def test_an_unknown_or_missing_status_opens(payload):
    assert one(payload).action is Action.OPEN


@pytest.mark.parametrize("key", ["firing", "alerting", "active"])
def test_a_flag_that_is_false_closes(key):
    assert one({key: False}).action is Action.CLOSE
    assert one({key: True}).action is Action.OPEN
    assert one({key: False, "status": "open"}).action is Action.OPEN


@pytest.mark.parametrize("key", ["severity", "level"])
@pytest.mark.parametrize("word", ["ok", "Clear", "cleared", "normal"])
def test_a_severity_decides_only_if_it_says_that_it_is_over_and_there_is_no_status(key, word):
    assert one({key: word}).action is Action.CLOSE
    assert one({key: word, "state": "down"}).action is Action.OPEN
    assert one({key: "success"}).action is Action.OPEN


def test_the_top_level_counts_before_wrappers_and_wrappers_before_other_objects():
    assert one({"data": {"state": "down"}, "state": "ok"}).action is Action.CLOSE
    assert one({"a": {"state": "down"}, "monitor": {"state": "ok"}}).action is Action.CLOSE
    assert one({"a": {"b": {"c": {"state": "ok"}}}}).action is Action.CLOSE
    assert one({"a": {"b": {"c": {"d": {"state": "ok"}}}}}).action is Action.OPEN


def test_the_first_ten_thousand_keys_count():
    many = {f"k{number}": 1 for number in range(10_000)}
    assert one(many | {"status": "ok"}).action is Action.OPEN
    assert one({"status": "ok"} | many).action is Action.CLOSE
    assert one({"data": many, "other": {"status": "ok"}}).action is Action.OPEN


def test_the_order_in_which_a_sender_writes_its_keys_does_not_count():
    payload = {"zz": {"state": "down", "title": "b"}, "aa": {"state": "ok", "title": "a"}}
    turned = dict(reversed(payload.items()))
    assert one(payload).action is one(turned).action
    assert one(payload).subject == one(turned).subject == "a"


@pytest.mark.parametrize(
    "key",
    words(
        "source_id dedup_key dedup deduplicationKey alias fingerprint incident_key alertKey alert_uid groupKey"
        " incident_id issueId problem_id alertId monitorID check_id triggerid ruleId sensorid"
    ),
)
def test_each_source_id_key_is_the_id(key):
    assert one({key: "x-17", "title": "a"}).source_id == "x-17"
    assert one({"alert": {key: 17}}).source_id == "17"


@pytest.mark.parametrize("key", ["id", "event_id", "eventId", "uuid", "_id"])
def test_an_id_that_differs_per_message_is_never_the_id(key):
    assert one({key: "1", "title": "Disk full"}).source_id == one({key: "2", "title": "Disk full"}).source_id


def test_host_and_what_runs_on_it_are_the_id():
    assert one({"host": "web1", "service": "http", "name": "n"}).source_id == "web1 - http - n"
    assert one({"host": {"name": "web1"}, "check": {"name": "cpu"}}).source_id == "web1 - cpu"
    assert one({"host": "web1", "title": "t"}).source_id == auto("t")
    assert one({"check": "cpu", "name": "load", "server": "web1", "title": "t"}).source_id == auto("t")


@pytest.mark.parametrize("key", ["host", "hostname", "Server", "node", "instance", "device", "resource", "service"])
def test_events_without_a_subject_of_two_places_are_two(key):
    first, later, other = ({key: "web1", "value": 5}, {key: "web1", "value": 9}, {key: "db1", "value": 5})
    assert one(first).source_id == one(later).source_id == one({"status": "ok", **first}).source_id
    assert one(other).source_id != one(first).source_id
    named = {"subject": "Disk full"}
    assert one({**first, **named}).source_id == one({**other, **named}).source_id == auto("Disk full")


def test_the_hash_of_the_subject_is_the_last_id_and_the_payload_never_counts():
    assert one({"title": "Disk full", "at": 1}).source_id == one({"title": "Disk full", "at": 2}).source_id
    assert one({"title": "Disk full"}).source_id == auto("Disk full")
    assert one({"title": "web1 is down"}).source_id != one({"title": "web2 is down"}).source_id
    assert one({"a": 1}).source_id == auto("Shop: event")


@pytest.mark.parametrize(
    "key", words("subject title summary alertname name headline message msg text description reason")
)
def test_each_subject_key_is_the_subject(key):
    assert one({key: "Disk full\nmore"}).subject == "Disk full"


def test_a_subject_is_text_only():
    assert one({"title": 7, "summary": {"a": 1}, "message": "Disk full"}).subject == "Disk full"
    assert one({"title": ["Disk full", "on db2"]}).subject == "Disk full, on db2"
    assert one({}).subject == "Shop: event"


@pytest.mark.parametrize(
    "text",
    [
        "[FIRING:1] Disk full",
        "[Resolved] Disk full",
        "RESOLVED: Disk full",
        "🔴 Disk full",
        "✅ ok - Disk full",
        "⚠️ [Alerting] Disk full",
        "(recovered) Disk full",
        "PROBLEM Disk full",
        "🔥 CRITICAL: [FIRING:2, RESOLVED:1] Disk full",
        "No data: Disk full",
        "Down | Disk full",
        "\n\n  OK \N{EM DASH} Disk full",
    ],
)
def test_state_words_and_emoji_in_front_are_taken_off(text):
    assert one({"title": text}).subject == "Disk full"


@pytest.mark.parametrize(
    "text", ["Error rate high", "Up time is low", "OK", "ALERT WEB1 DOWN", "[db2] Disk full", "-5 degrees", "db2: ok"]
)
def test_words_that_say_what_it_is_about_stay(text):
    assert one({"title": text}).subject == text


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("critical fatal disaster emergency page P1 sev0 Sev-1", "critical"),
        ("high ERROR major p2 sev2", "high"),
        ("warning warn medium average minor moderate p3 sev3", "medium"),
        ("low info information notice debug p4 p5 sev4", "low"),
        ("none unknown 1 5", ""),
    ],
)
def test_each_priority_word_means_a_priority(text, priority):
    for word in text.split():
        assert one({"severity": word}).priority == priority
        assert one({"data": {"importance": word}}).priority == priority


@pytest.mark.parametrize("key", words("source_url url link html_url externalURL generatorURL incident_url issueUrl"))
def test_each_url_key_is_the_url(key):
    assert one({key: "https://x.example/1"}).url == "https://x.example/1"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://x.example", "//x.example", "https://x.example/a b", "https://x/" + "a" * 2000]
)
def test_a_url_that_leads_to_no_web_page_is_none(url):
    assert one({"url": url}).url == ""
    assert one({"url": url, "link": "http://x.example"}).url == "http://x.example"


def test_the_long_text_has_the_description_and_then_each_scalar():
    text = one({"title": "t", "message": "Two\nlines", "n": 1.5, "b": True, "none": None, "o": {"l": ["x", {"y": 2}]}})
    assert text.long_text == "Two\nlines\ntitle: t\nn: 1.5\nb: true\no.l[0]: x\no.l[1].y: 2"


def test_the_long_text_has_sixty_lines():
    assert len(one({f"k{n}": n for n in range(100)}).long_text.splitlines()) == 60
    assert len(one({"message": "a\n" * 100, "k": 1}).long_text.splitlines()) == 60


@pytest.mark.parametrize(
    "key", ["password", "db_password", "Access-Token", "client_secret", "Authorization", "api key", "X-API-Key"]
)
def test_what_names_a_secret_is_masked(key):
    event = one({key: "hunter2", "a": {key: {"description": "hunter2", "list": ["hunter2"]}}})
    assert "hunter2" not in event.long_text + event.subject
    assert "***" in event.long_text


def test_text_that_is_not_json_is_the_text_and_its_first_line_the_subject():
    event = one("Disk full\non db2")
    assert (event.action, event.subject, event.long_text) == (Action.OPEN, "Disk full", "Disk full\non db2")
    broken = one('{"title": ', fault="not JSON")
    assert (broken.subject, broken.long_text) == ("Shop: event", '{"title": ')
    assert [fault.text for fault in broken.faults] == ["not JSON"]


def test_the_query_counts_where_the_body_says_nothing():
    event = one({"severity": "low"}, query={"severity": "critical", "source_id": "q1", "status": "ok"})
    assert (event.priority, event.source_id, event.action) == ("low", "q1", Action.CLOSE)


def test_the_texts_can_be_stored():
    event = one({"title": "a\0b\ud800c", "source_id": "\0\ud800", "\ud800": "\0"})
    for text in (event.subject, event.source_id, event.long_text, event.short_text):
        assert "\0" not in text
        text.encode()
