"""Anything that can POST a text with a token."""

import json

import pytest

from alerting.models.alerts import Alert
from tests.chats import known_in_chat

pytestmark = pytest.mark.django_db


@pytest.fixture
def any_chat(world):
    return world.chat("Any", recipients=["ana"], platform="generic", secrets={"token": "s3cret"})


@pytest.fixture
def send(client, any_chat):
    def send(body, *, kind="application/json", token="s3cret", **headers):
        headers = {"Authorization": f"Bearer {token}", **headers} if token is not None else headers
        body = json.dumps(body) if isinstance(body, dict) else body
        return client.post(f"/chat/{any_chat.token}", body, content_type=kind, headers=headers)

    return send


def test_a_text_opens_an_alert_in_any_of_three_forms(send):
    answer = send({"text": "Disk full\nmore", "user": "ann", "channel": "ops", "id": "7"}).json()
    alert = Alert.objects.get()
    assert answer == {
        "status": "ok",
        "text": answer["text"],
        "action": "opened",
        "alert": alert.pk,
        "event": answer["event"],
    }
    assert (alert.subject, alert.source_id) == ("Disk full", "generic:ops:7")
    assert alert.timeline.first().text == "Opened in a chat #ops by ann: Disk full."
    assert send(b"Network down", kind="text/plain").json()["action"] == "opened"
    form = send("text=Power+lost&token=s3cret", kind="application/x-www-form-urlencoded", token=None)
    assert form.json()["action"] == "opened"
    assert Alert.objects.count() == 3


def test_the_same_id_opens_one_alert(send):
    for key in ({"id": "7"}, {"id": "7"}):
        send({"text": "Disk full", **key})
    first = send({"text": "Net"}, **{"Idempotency-Key": "k"}).json()["alert"]
    assert send({"text": "Net"}, **{"Idempotency-Key": "k"}).json() | {"event": 0} == {
        "status": "ok",
        "text": f"Alert #{first} Net was opened. http://127.0.0.1:8000/alerts/{first}/",
        "action": "replayed",
        "alert": first,
        "event": 0,
    }
    assert Alert.objects.count() == 2


def test_the_grammar_is_the_same(send, world):
    alert = send({"text": "Disk full"}).json()["alert"]
    assert "does not know who you are" in send({"text": f"ack {alert}", "user": "ann"}).json()["text"]
    known_in_chat(world.person("ann", roles=["App Admin"]), "ann", platform="generic", secret="s3cret")
    body = send({"text": f"ack {alert}", "user": "ann", "id": "1"}).json()
    assert (body["action"], body["alert"]) == ("acknowledge", alert)
    assert Alert.objects.get().acknowledged_by.name == "Ann"
    assert "Your code is" in send({"text": "link", "user": "ann"}).json()["text"]
    assert "does not say who you are" in send({"text": "link"}).json()["text"]


@pytest.mark.parametrize("token", [None, "", "wrong", "s3cret "])
def test_without_the_token_nothing_is_taken(send, token):
    assert send({"text": "Disk full"}, token=token).status_code == (200 if token == "s3cret " else 401)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"{",
        b"[]",
        {"text": 7},
        {"text": None},
        {"text": "   "},
        {"text": "\x00"},
        {"text": ["x"]},
    ],
)
def test_what_has_no_text_is_answered_and_does_no_harm(send, body):
    assert send(body).status_code == 200
