"""Chat integrations: their fields in the management API."""

import json

import pytest

from integrations.models.chat import ChatSettings
from integrations.models.integrations import InboundIntegration
from tests import factories
from tests.integration.integrations.test_api_integrations import URL, pointers, send

pytestmark = pytest.mark.django_db
OWN = ("platform", "api_base", "channels", "command", "open_from", "updates", "who_may_open")


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization)


@pytest.fixture
def api(organization, client_for):
    return client_for(factories.UserFactory(organization=organization, name="Ines", roles=["Integrations Admin"]))


@pytest.fixture
def good(policy):
    return {"type": "chat", "name": "ops", "escalation_policy": policy.pk, "platform": "slack"}


def test_a_created_one_has_its_defaults_its_address_and_its_manifest(api, good):
    answer = send(api.post, URL, good)
    assert answer.status_code == 201, answer.content
    body = answer.json()
    stored = InboundIntegration.objects.get(pk=body["id"])
    url = f"http://127.0.0.1:8000/chat/{stored.token}"
    assert (body["request_url"], body["api_url"], body["email_address"], body["state"]) == (url, None, None, "waiting")
    defaults = ("slack", "", [], "/heartbeat", ["command"], "thread", "anybody")
    assert tuple(body[name] for name in OWN) == defaults
    assert body["secrets"] == {}
    assert not {"allow_get", "signature", "interval_minutes", "aliases"} & body.keys()
    manifest = body["manifest"]
    assert manifest["features"]["slash_commands"][0] | {"description": "", "usage_hint": ""} == {
        "command": "/heartbeat",
        "url": url,
        "description": "",
        "usage_hint": "",
        "should_escape": False,
    }
    assert manifest["settings"]["interactivity"] == {"is_enabled": True, "request_url": url}
    assert "event_subscriptions" not in manifest["settings"]
    assert send(api.put, f"{URL}{stored.pk}/", body).status_code == 200


def test_the_manifest_asks_for_the_events_that_open_alerts(api, good):
    body = send(api.post, URL, good | {"open_from": ["mention", "message"]}).json()
    events = body["manifest"]["settings"]["event_subscriptions"]
    assert events == {
        "request_url": body["request_url"],
        "bot_events": ["app_mention", "message.channels", "message.groups"],
    }
    scopes = body["manifest"]["oauth_config"]["scopes"]["bot"]
    assert {"app_mentions:read", "channels:history", "groups:history", "chat:write"} <= set(scopes)
    assert send(api.post, URL, good | {"name": "mm", "platform": "generic"}).json()["manifest"] is None


def test_secrets_are_written_kept_forgotten_and_never_read(api, good):
    secrets = {"signing_secret": "s1gn", "bot_token": "xoxb-1"}
    body = send(api.post, URL, good | {"secrets": secrets}).json()
    one = f"{URL}{body['id']}/"
    assert body["secrets"] == {"bot_token": None, "signing_secret": None}
    assert "s1gn" not in json.dumps(api.get(one).json())
    assert send(api.put, one, api.get(one).json()).status_code == 200
    assert ChatSettings.objects.get().secrets == secrets
    send(api.patch, one, {"secrets": {"bot_token": "", "signing_secret": "n3w"}})
    assert ChatSettings.objects.get().secrets == {"signing_secret": "n3w"}
    assert "n3w" not in api.get("/api/v1/audit-log/").content.decode()
    # Those of another platform are forgotten.
    send(api.patch, one, {"platform": "generic"})
    assert ChatSettings.objects.get().secrets == {}


def test_a_stored_token_is_never_sent_to_an_address_that_was_entered_without_it(api, good):
    body = send(api.post, URL, good | {"secrets": {"signing_secret": "s", "bot_token": "xoxb-1"}}).json()
    one = f"{URL}{body['id']}/"
    for secrets in ({}, {"bot_token": None}):
        answer = send(api.patch, one, {"api_base": "https://evil.example", "secrets": secrets})
        assert pointers(answer) == {"/secrets/bot_token"}
    assert ChatSettings.objects.get().api_base == ""
    answer = send(api.patch, one, {"platform": "mattermost", "api_base": "https://evil.example"})
    assert answer.status_code == 200
    assert ChatSettings.objects.get().secrets == {}
    known = {"api_base": "https://other.example", "secrets": {"bot_token": "xoxb-1"}}
    assert send(api.patch, one, known).status_code == 200
    assert send(api.patch, one, {"api_base": "https://third.example", "secrets": {"bot_token": ""}}).status_code == 200


def test_every_field_is_kept(api, good):
    given = {
        "platform": "mattermost",
        "secrets": {"command_token": "c", "bot_token": "b", "webhook_token": "w"},
        "api_base": "https://chat.example.org/",
        "channels": ["#ops", "ops", "c9abc"],
        "command": "/page",
        "open_from": ["command", "message"],
        "updates": "channel",
        "who_may_open": "linked",
        "rules": [{"name": "r", "when": {"all": []}, "then": {"priority": "high"}}],
    }
    body = send(api.post, URL, good | given).json()
    kept = given | {"api_base": "https://chat.example.org", "channels": ["ops", "c9abc"]}
    assert {name: body[name] for name in (*OWN, "rules")} == {name: kept[name] for name in (*OWN, "rules")}
    changed = send(api.patch, f"{URL}{body['id']}/", {"updates": "none"}).json()
    assert {name: changed[name] for name in OWN} == {name: (kept | {"updates": "none"})[name] for name in OWN}


WRONG: dict[str, list] = {
    "platform": [None, "", "teams", 7, [], "\ud800"],
    "secrets": [
        None,
        [],
        "x",
        {"token": "x"},
        {"signing_secret": 7},
        {"signing_secret": " x"},
        {"signing_secret": "ä"},
        {"signing_secret": "x\ny"},
        {"signing_secret": "x" * 1_001},
        {"signing_secret": "\x00"},
        {"signing_secret": []},
    ],
    "api_base": [
        None,
        7,
        "ftp://x.org",
        "x.org",
        "https://",
        "https://u:p@x.org",
        "https://x.org?a=1",
        "https://x.org#a",
        "https://x y.org",
        "https://x.org:99999",
        "javascript:alert(1)",
        "https://[::1",
        "x" * 501,
    ],
    "channels": [None, "ops", [7], [""], ["#"], ["x" * 101], ["a\nb"], ["\x00"], [None], ["c"] * 101],
    "command": [None, "", "heartbeat", "/", "/a b", "/" + "x" * 33, "/ä", 7],
    "open_from": [None, "command", ["command", "command"], ["shout"], [7], [["command"]], {}],
    "updates": [None, "", "everywhere", 7],
    "who_may_open": [None, "", "nobody", 7],
    "manifest": [{"a": 1}],
    "request_url": ["https://mine.org"],
    "allow_get": [True],
    "signature": [None],
    "aliases": [[]],
    "interval_minutes": [5],
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_value_is_named_at_its_field_and_nothing_is_saved(api, good, field):
    one = f"{URL}{send(api.post, URL, good).json()['id']}/"
    before = ChatSettings.objects.values().get()
    for number, value in enumerate(WRONG[field]):
        answers = (
            send(api.post, URL, good | {"name": f"n{number}", field: value}),
            send(api.patch, one, {field: value}),
        )
        for answer in answers:
            assert answer.status_code == 400, (field, value, answer.content)
            assert all(pointer.startswith(f"/{field}") for pointer in pointers(answer)), (value, answer.content)
    assert ChatSettings.objects.filter(pk=before["integration_id"]).values().get() == before


def test_a_bot_of_mattermost_needs_the_address_of_its_server(api, good):
    answer = send(api.post, URL, good | {"platform": "mattermost", "secrets": {"bot_token": "b"}})
    assert pointers(answer) == {"/api_base"}


def test_other_types_have_none_of_the_fields(api, good):
    for kind in ("api", "email", "heartbeat"):
        body = {"type": kind, "name": kind, "escalation_policy": good["escalation_policy"], "platform": "slack"}
        if kind == "heartbeat":
            body["interval_minutes"] = 5
        assert pointers(send(api.post, URL, body)) == {"/platform"}


def test_its_token_is_rotated_and_the_old_address_works_for_the_overlap(api, good, client):
    body = send(api.post, URL, good | {"platform": "generic", "secrets": {"token": "s"}}).json()
    rotated = send(api.post, f"{URL}{body['id']}/rotate-token/", {"overlap_minutes": 5}).json()
    assert rotated["request_url"] != body["request_url"]

    def status(url):
        path = url.removeprefix("http://127.0.0.1:8000")
        return client.post(path, b"help", content_type="text/plain", headers={"Authorization": "Bearer s"}).status_code

    assert [status(url) for url in (body["request_url"], rotated["request_url"])] == [200, 200]
    send(api.post, f"{URL}{body['id']}/rotate-token/", {})
    assert [status(url) for url in (body["request_url"], rotated["request_url"])] == [404, 404]


def test_an_event_is_tried_and_replayed_as_it_was_written(api, good, client):
    body = send(api.post, URL, good | {"platform": "generic", "secrets": {"token": "s"}}).json()
    path = body["request_url"].removeprefix("http://127.0.0.1:8000")
    answer = client.post(path, b"!high Disk full", content_type="text/plain", headers={"Authorization": "Bearer s"})
    event = answer.json()["event"]
    one = f"{URL}{body['id']}/"
    listed = api.get(f"{one}events/").json()["results"][0]
    assert (listed["id"], listed["action"]) == (event, "opened")
    replayed = send(api.post, f"{one}events/{event}/replay/", {}).json()
    assert replayed["results"][0]["action"] == "appended"
    tried = send(
        api.post,
        f"{one}test-mapping/",
        {"payload": listed["payload"], "mapping": {"subject": "{{ payload.text|upper }}"}},
    )
    assert "!HIGH DISK FULL" in tried.content.decode()
