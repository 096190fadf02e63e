"""A Chat integration of Mattermost, over the wire: slash command, outgoing webhook, buttons with our own signature."""

import json
from urllib.parse import urlencode

import pytest

from alerting.models.alerts import Alert
from integrations.inbound.chat.requests import OURS
from integrations.models.chat import ChatMessage, ChatThread
from integrations.models.events import EventState
from tests import factories
from tests.chats import FORM, known_in_chat

pytestmark = pytest.mark.django_db
ANN = "annannannannannannannanna1"


@pytest.fixture
def ann(world):
    ann = world.person("ann", roles=["App Admin"])
    known_in_chat(ann, ANN, platform="mattermost", secret="mm-command")
    return ann


@pytest.fixture
def send(client, mattermost, platform):
    """Send what Mattermost sends; `kind` is command, webhook or button."""

    def send(kind="command", *, headers=None, as_json=False, **fields):
        about = {"channel_id": "ch1", "channel_name": "ops", "user_id": ANN, "user_name": "ann"}
        if kind == "command":
            about |= {"token": "mm-command", "command": "/heartbeat", "trigger_id": "t1"}
            about |= {"response_url": f"{platform.url}/hooks/commands/1"}
        elif kind == "webhook":
            about |= {"token": "mm-hook", "post_id": "p1", "trigger_word": "!alert"}
        sent = about | fields
        body = json.dumps(sent) if as_json or kind == "button" else urlencode(sent)
        type_ = "application/json" if as_json or kind == "button" else FORM
        return client.post(f"/chat/{mattermost.token}", body, content_type=type_, headers=headers or {})

    return send


def only():
    return Alert.objects.get()


def test_a_command_opens_an_alert_that_is_posted_with_signed_buttons(send, written, mattermost):
    answer = send(text="Disk full on db1")
    assert answer.json()["response_type"] == "ephemeral"
    assert "Disk full on db1 opened" in answer.json()["text"].replace("\\", "")
    alert = only()
    assert alert.source_id == "mattermost:ch1:t1"
    assert alert.timeline.first().text.startswith("Opened in Mattermost #ops by ann: ")
    ((path, post),) = written()
    assert path == "/api/v4/posts"
    assert (post["channel_id"], "root_id" in post) == ("ch1", False)
    buttons = post["props"]["attachments"][0]["actions"]
    assert [button["name"] for button in buttons] == ["Assign to me", "Acknowledge", "Escalate", "Close"]
    assert all(button["id"].isalnum() for button in buttons)
    assert buttons[0]["integration"]["url"].endswith(f"/chat/{mattermost.token}")
    assert ChatThread.objects.get().root == "post1"


def test_a_button_acts_for_who_pressed_and_its_line_is_in_the_thread(send, written, ann):
    send(text="Disk full")
    ((_, post),) = written()
    contexts = {
        button["name"]: button["integration"]["context"] for button in post["props"]["attachments"][0]["actions"]
    }
    stranger = send("button", context=contexts["Close"], user_id="eve", trigger_id="x")
    assert "does not know who you are" in stranger.json()["ephemeral_text"]
    assert only().status == "open"
    assert "You closed" in send("button", context=contexts["Close"], trigger_id="y").json()["ephemeral_text"].replace(
        "\\", ""
    )
    ((path, line),) = written()
    assert (path, line["root_id"]) == ("/api/v4/posts", "post1")
    assert "Closed by Ann" in line["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"action": "assign"},
        {"alert": 7},
        {"mac": ""},
        {"mac": "0" * 64},
        {"mac": None},
        {"alert": "9" * 30},
        {"alert": True},
        {"alert": -1},
        {"action": ["close"]},
    ],
)
def test_a_context_that_we_did_not_sign_is_refused(send, written, ann, change):
    send(text="Disk full")
    ((_, post),) = written()
    context = post["props"]["attachments"][0]["actions"][3]["integration"]["context"]
    assert send("button", context=context | change, trigger_id="y").status_code == 401
    assert (only().status, only().owner) == ("open", None)


def test_a_context_of_another_integration_or_an_earlier_secret_is_refused(
    send, written, ann, mattermost, world, client
):
    send(text="Disk full")
    ((_, post),) = written()
    context = post["props"]["attachments"][0]["actions"][3]["integration"]["context"]
    other = world.chat("Other", platform="mattermost", secrets={"command_token": "mm-command"})
    body = json.dumps({"context": context, "user_id": ANN, "trigger_id": "z"})
    assert client.post(f"/chat/{other.token}", body, content_type="application/json").status_code == 401
    mattermost.chat_settings.secrets |= {"command_token": "new"}
    mattermost.chat_settings.save()
    assert send("button", context=context, trigger_id="y").status_code == 401
    assert only().status == "open"


def test_an_outgoing_webhook_opens_below_its_message_if_messages_may(send, written, mattermost):
    assert "no alert opens from a mention" in send("webhook", text="!alert disk full").json()["text"].replace("\\", "")
    mattermost.chat_settings.open_from = ["mention"]
    mattermost.chat_settings.save()
    for _ in range(2):
        answer = send("webhook", text="!alert disk full", as_json=True)
        assert answer.json()["response_type"] == "comment"
    assert only().subject == "disk full"
    ((_, post),) = written()
    assert post["root_id"] == "p1"


def test_our_own_posts_open_nothing(send, mattermost, written):
    mattermost.chat_settings.open_from = ["command", "message"]
    mattermost.chat_settings.save()
    send(text="Disk full")
    ((_, post),) = written()
    assert post["message"].startswith(OURS)
    echoed = send("webhook", text=post["message"], trigger_word="", post_id="p9")
    assert (echoed.status_code, echoed.content) == (200, b"")
    assert Alert.objects.count() == 1


@pytest.mark.parametrize(
    ("kind", "fields", "status"),
    [
        ("command", {"token": "mm-hook"}, 401),
        ("command", {"token": ""}, 401),
        ("command", {"token": "wrong"}, 401),
        ("webhook", {"token": "wrong"}, 401),
        ("webhook", {"token": "mm-command"}, 200),
        ("button", {}, 401),
        ("button", {"context": {}}, 401),
        ("button", {"context": [1]}, 401),
    ],
)
def test_a_wrong_token_is_refused_and_counted(send, mattermost, kind, fields, status):
    assert send(kind, text="Disk full", **fields).status_code == status
    assert EventState.objects.get(pk=mattermost.pk).rejected_count == (status == 401)


def test_the_token_may_stand_in_the_header(send):
    assert send(text="Disk full", token="", headers={"Authorization": "Token mm-command"}).status_code == 200
    assert send(text="Disk full", headers={"Authorization": "Token wrong"}).status_code == 401


def test_an_answer_goes_to_the_server_and_nowhere_else(send, world, mattermost, platform, written):
    mattermost.chat_settings.secrets = {"command_token": "mm-command"}
    mattermost.chat_settings.save()
    send(text="Disk full")
    ((path, body),) = written()
    assert (path, body["response_type"]) == ("/hooks/commands/1", "in_channel")
    assert body["attachments"][0]["actions"]
    send(text="Disk full", trigger_id="t2", response_url="https://evil.example/x")
    assert ChatMessage.objects.count() == 1


def test_another_organizations_alert_is_like_none(send, ann):
    foreign = factories.AlertFactory(organization=factories.OrganizationFactory())
    text = send(text=f"close {foreign.pk}").json()["text"].replace("\\", "")
    assert f"there is no alert #{foreign.pk} that you may respond to" in text


def test_names_notify_nobody_and_format_nothing(send, written):
    send(text="@channel *down* [x](http://evil)")
    ((_, post),) = written()
    assert "\\@channel \\*down\\* \\[x\\]\\(http://evil\\)" in post["message"]
