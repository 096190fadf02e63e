"""`POST /POSTAlert/<token>`: any body is an event; the table of bad input in docs/integrations/api.md, row by row."""

import gzip
import hashlib
import hmac
import json
import time
from datetime import timedelta

import pytest
from django.db import OperationalError

from alerting.models.alerts import Alert
from integrations.api import events
from integrations.configuration.edits import rotate_token
from integrations.inbound import subscriptions
from integrations.inbound.flood import BURST, FloodLimit
from integrations.inbound.sns import Confirmation
from integrations.models.events import EventState, InboundEvent
from integrations.tasks import confirm_subscription
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_flood(monkeypatch):
    """Give each test its own flood limit."""
    monkeypatch.setattr(events, "FLOOD", FloodLimit())


@pytest.fixture
def shop():
    ana = factories.UserFactory(name="Ana")
    return factories.ApiIntegrationFactory(organization=ana.organization, name="Shop", recipient_users=[ana])


@pytest.fixture
def post(client, shop):
    """POST a body to the integration's address; return the answer."""

    def post(body=b"", *, path=None, content_type="application/json", method="POST", **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        return client.generic(method, path or f"/POSTAlert/{shop.token}", raw, content_type=content_type, **named)

    return post


def settings_of(integration, **values):
    for name, value in values.items():
        setattr(integration.event_settings, name, value)
    integration.event_settings.save()


PROBLEM = {"alertKey": "db1", "status": "firing", "title": "db1 is down"}


def test_the_answer_says_what_became_of_each_part(post):
    answer = post(PROBLEM)
    alert, event = Alert.objects.get(), InboundEvent.objects.get()
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "event": event.pk,
        "action": "opened",
        "alert": alert.pk,
        "results": [{"action": "opened", "alert": alert.pk, "source_id": "db1", "reason": ""}],
        "fault": None,
    }
    assert bytes(event.raw) == json.dumps(PROBLEM).encode()


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/POSTAlert/{}", "API"),
        ("/POSTAlert/{}/", "API"),
        ("/postalert/{}", "API"),
        ("/PostAlert/{}/Nagios", "Nagios"),
        ("/POSTAlert/{}/Nagios/", "Nagios"),
        ("/POSTAlert/{}/Heartbeat", "API: Heartbeat"),
        ("/POSTAlert/{}/manual", "API: Manual"),
    ],
)
def test_the_address_in_any_case_with_a_source_that_never_takes_our_own_names(post, shop, path, source):
    assert post(PROBLEM, path=path.format(shop.token)).status_code == 200
    assert Alert.objects.get().source == source


def test_an_unknown_token_is_404_and_changes_nothing(post):
    for path in ("/POSTAlert/unknown", "/POSTAlert/" + "x" * 5_000, "/POSTAlert/%00", "/POSTAlert/a%2Fb"):
        assert post(PROBLEM, path=path).status_code == 404
    assert not InboundEvent.objects.exists()


def test_the_token_of_a_heartbeat_takes_no_events(post):
    backup = factories.HeartbeatFactory()
    assert post(PROBLEM, path=f"/POSTAlert/{backup.token}").status_code == 404


def test_a_rotated_token_works_for_its_overlap(post, shop, monkeypatch):
    now = events.clock.now()
    old = shop.token
    rotate_token(shop, actor=None, now=now, overlap=timedelta(minutes=5))
    assert post(PROBLEM, path=f"/POSTAlert/{shop.token}").status_code == 200
    assert post(PROBLEM, path=f"/POSTAlert/{old}").status_code == 200
    monkeypatch.setattr(events.clock, "now", lambda: now + timedelta(minutes=6))
    assert post(PROBLEM, path=f"/POSTAlert/{old}").status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405_with_allow(post, method):
    answer = post(method=method)
    assert (answer.status_code, answer["Allow"]) == (405, "POST, OPTIONS")


def test_get_with_a_query_if_it_is_allowed(post, shop):
    settings_of(shop, allow_get=True)
    answer = post(method="GET", path=f"/POSTAlert/{shop.token}?title=db1+is+down&alertKey=db1")
    assert answer.json()["action"] == "opened"
    assert Alert.objects.get().subject == "db1 is down"


def test_options_allow_the_sender_of_cloud_events(post):
    answer = post(method="OPTIONS", **{"WebHook-Request-Origin": "events.example.com"})
    assert (answer.status_code, answer["WebHook-Allowed-Origin"]) == (200, "events.example.com")


def test_a_large_event_is_413_packed_or_unpacked(post):
    for body, more in (
        (b"x" * ((1 << 20) + 1), {}),
        (gzip.compress(b"x" * ((1 << 20) + 1)), {"Content-Encoding": "gzip"}),
    ):
        assert post(body, **more).status_code == 413
    assert not InboundEvent.objects.exists()
    assert post(b"x" * (1 << 20)).status_code == 200


BAD_BODIES = {
    "no json": b"{this is not json",
    "empty": b"",
    "deep": b"[" * 100_000,
    "deep and closed": b'{"a":' * 500 + b"1" + b"}" * 500,
    "nan": b'{"title": "x", "value": NaN, "more": Infinity}',
    "5,000 digits": b'{"title": "x", "value": ' + b"9" * 5_000 + b"}",
    "exponent": b'{"title": "x", "value": 1e999999}',
    "nul": rb'{"title": "a\u0000b"}',
    "lone surrogate": rb'{"title": "\ud800"}',
    "raw nul": b'{"title": "a\x00b"}',
    "not utf-8": b'{"title": "\xff\xfe"}',
    "duplicate keys": b'{"title": "first", "title": "second"}',
    "list": b'["a", "b"]',
    "number": b"42",
    "null": b"null",
    "wrong types": b'{"title": ["a", {"b": 1}], "status": {"x": []}, "alertKey": [1, 2], "severity": 7}',
    "text": b"disk full on db1",
    "xml": b"<alert><title>x</title></alert>",
    "form": b"payload=%7B%22title%22%3A+%22x%22%7D",
}


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "", "multipart/form-data"])
def test_whatever_the_body_is_the_event_is_stored_and_opens(post, name, content_type):
    answer = post(BAD_BODIES[name], content_type=content_type)
    assert answer.status_code == 200, answer.content
    assert answer.json()["action"] == "opened"
    assert bytes(InboundEvent.objects.get().raw) == BAD_BODIES[name]
    assert Alert.objects.get().subject


def test_what_is_not_json_is_a_fault_and_its_text_is_kept(post, shop):
    answer = post(BAD_BODIES["no json"])
    assert answer.json()["fault"]["field"] == "payload"
    assert answer.json()["fault"]["text"].startswith("not JSON")
    assert "this is not json" in Alert.objects.get().long_text
    fault = EventState.objects.get(pk=shop.pk).fault
    assert fault
    assert fault["field"] == "payload"


def test_the_last_of_two_equal_keys_wins(post):
    post(BAD_BODIES["duplicate keys"])
    assert Alert.objects.get().subject == "second"


def test_a_wrong_signature_is_401_and_only_counted(post, shop):
    settings_of(shop, signature={"scheme": "github", "secret": "s3cret"})
    for more in ({}, {"X-Hub-Signature-256": "sha256=" + "0" * 64}, {"X-Hub-Signature-256": "\xe9"}):
        answer = post(PROBLEM, **more)
        assert answer.status_code == 401
        assert answer.json()["detail"]
    assert not InboundEvent.objects.exists()
    state = EventState.objects.get(pk=shop.pk)
    assert (state.rejected_count, state.event_count) == (3, 0)
    assert (str(state.last_rejected_from), state.last_rejected_at is not None) == ("127.0.0.1", True)

    body = json.dumps(PROBLEM).encode()
    proof = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert post(body, **{"X-Hub-Signature-256": f"sha256={proof}"}).json()["action"] == "opened"


def test_a_replay_gets_the_first_answer_and_equal_bytes_without_an_id_append(post):
    first = post(PROBLEM, **{"X-GitHub-Delivery": "d1"}).json()
    again = post(PROBLEM, **{"X-GitHub-Delivery": "d1"}).json()
    assert (again["action"], again["alert"]) == ("replayed", first["alert"])
    assert post(PROBLEM).json()["action"] == "appended"
    assert Alert.objects.get().event_count == 2


def test_a_flood_is_429_that_names_integration_and_limit(post, shop):
    assert post(PROBLEM).status_code == 200
    # As if the bucket had been emptied in a minute: this machine may be too slow to empty it now.
    in_a_minute = time.monotonic() + 60
    for _ in range(BURST):
        events.FLOOD.seconds_to_wait(shop.token, at=in_a_minute)
    answer = post(PROBLEM)
    assert answer.status_code == 429
    assert 50 < int(answer["Retry-After"]) <= 61
    assert (answer.json()["integration"], answer.json()["limit"]) == ("Shop", 50)
    other = factories.ApiIntegrationFactory(organization=shop.organization)
    assert post(PROBLEM, path=f"/POSTAlert/{other.token}").status_code == 200


def test_a_store_that_is_away_is_503_with_retry_after(post, monkeypatch):
    def away(*_, **__):
        raise OperationalError("gone")

    monkeypatch.setattr(events, "receive", away)
    answer = post(PROBLEM)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_secrets_in_headers_are_not_kept(post):
    post(PROBLEM, Authorization="Bearer abc", **{"X-Gitlab-Token": "abc", "X-Custom": "kept"})
    headers = InboundEvent.objects.get().headers
    assert headers["x-custom"] == "kept"
    assert "abc" not in json.dumps(headers)


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_a_subscription_of_sns_opens_nothing_and_is_confirmed_after_the_commit(post, shop, monkeypatch, is_confirmed):
    asked = []

    def confirm(payload, *, now):
        asked.append(payload["TopicArn"])
        return Confirmation(is_confirmed, "The subscription was looked at.")

    monkeypatch.setattr(subscriptions.sns, "confirm", confirm)
    waked = []
    monkeypatch.setattr(subscriptions, "wake_on_commit", lambda name, **options: waked.append((name, options)))
    body = {"Type": "SubscriptionConfirmation", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": "You have chosen"}
    answer = post(body)
    assert (answer.status_code, answer.json()["action"], Alert.objects.count()) == (200, "ignored", 0)
    assert asked == []
    [(name, options)] = waked
    assert options["or_here"], "without the broker nobody would confirm it"
    assert name == confirm_subscription.name
    confirm_subscription.run(event_id=options["event_id"])
    assert asked == ["arn:aws:sns:eu-west-1:1:t"]
    event = InboundEvent.objects.get()
    fault = EventState.objects.get(pk=shop.pk).fault
    if is_confirmed:
        assert (event.result[0]["reason"], event.fault, fault) == ("The subscription was looked at.", "", None)
    else:
        assert event.fault == "payload: The subscription was looked at."
        assert fault
        assert fault["text"] == "The subscription was looked at."


def test_a_message_of_sns_whose_certificate_cannot_be_had_now_is_503_and_stored_nowhere(post, shop, monkeypatch):
    settings_of(shop, signature={"scheme": "sns", "secret": ""})
    monkeypatch.setattr(events.sns, "verdict", lambda payload, *, now: events.sns.Verdict.UNKNOWN)
    monkeypatch.setattr(events.sns, "fetch_certificate", lambda payload, *, now: False)
    answer = post({"Type": "Notification"})
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert not InboundEvent.objects.exists()
