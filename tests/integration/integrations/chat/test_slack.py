"""A Chat integration of Slack, over the wire: commands, messages and buttons come in, threads are written."""

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from accounts.models.chat_members import ChatLinkCode
from alerting.models.alerts import Alert
from integrations.inbound.chat.requests import OURS
from integrations.models.chat import ChatMessage, ChatThread
from integrations.models.events import EventState, InboundEvent
from integrations.models.integrations import InboundIntegration
from tests import factories
from tests.chats import command, known_in_chat, pressed

pytestmark = pytest.mark.django_db
JSON = "application/json"


@pytest.fixture
def ann(world):
    """Ann may act on every alert, and has linked her account."""
    ann = world.person("ann", roles=["App Admin"])
    known_in_chat(ann, "T1:U0ANN")
    return ann


def said(answer):
    assert answer.status_code == 200, answer.content
    body = answer.json()
    assert body["response_type"] == "ephemeral"
    return body["text"]


def only():
    return Alert.objects.get()


def event(text, *, ts="1700000000.000200", kind="app_mention", number="Ev1", **fields):
    inner = {"type": kind, "text": text, "user": "U0EVE", "channel": "C1", "ts": ts, **fields}
    return json.dumps({"type": "event_callback", "team_id": "T1", "event_id": number, "event": inner}).encode()


# -- opening ----------------------------------------------------------------------------------------------------------
def test_a_command_opens_an_alert_and_writes_it_with_buttons_into_the_channel(slack, post, written, world):
    text = said(post(slack, command("Disk full on db1\nSince noon")))
    alert = only()
    assert text.startswith(f"Alert #{alert.pk} Disk full on db1 opened.")
    assert (alert.subject, alert.source, alert.source_name) == ("Disk full on db1", "Chat", "Operations")
    assert alert.source_id == "slack:C1:1.2.abc"
    assert alert.long_text == "Disk full on db1\nSince noon"
    assert alert.timeline.first().text == "Opened in Slack #ops by u0ana: Disk full on db1."
    ((path, message),) = written()
    assert path == "/chat.postMessage"
    assert message["channel"] == "C1"
    assert "thread_ts" not in message
    captions = [element["text"]["text"] for element in message["blocks"][1]["elements"]]
    assert captions == ["Assign to me", "Acknowledge", "Escalate", "Close", "More"]
    assert ChatThread.objects.get().root == "1700000001.000100"


def test_marks_set_the_priority_and_add_a_group(slack, post, world):
    team = world.team("Night Shift", primary=["ben"])
    said_text = said(post(slack, command("!high Payment fails #night-shift #nowhere !loud")))
    alert = only()
    assert (alert.priority, alert.subject) == ("high", "Payment fails #nowhere !loud")
    assert alert.recipients.filter(group=team).exists()
    assert alert.recipients.filter(user=world.people["ana"]).exists()
    assert "There is no group named nowhere" in said_text


def test_a_request_that_is_sent_again_opens_one_alert(slack, post, written):
    first, second = (said(post(slack, command("Disk full"))) for _ in range(2))
    assert first.partition(" opened")[0] == second.partition(" was opened")[0]
    assert Alert.objects.count() == 1
    assert len(written()) == 1
    assert [row.result[0]["action"] for row in InboundEvent.objects.order_by("pk")] == ["opened", "replayed"]


def test_two_commands_with_one_text_are_two_alerts(slack, post):
    for trigger in ("1", "2"):
        post(slack, command("Disk full", trigger=trigger))
    assert Alert.objects.count() == 2


def test_the_message_action_opens_in_the_thread_of_its_message(slack, post, written):
    payload = {
        "type": "message_action",
        "callback_id": "heartbeat_open",
        "trigger_id": "9.9",
        "team": {"id": "T1", "domain": "shop"},
        "user": {"id": "U0ANN", "name": "ann"},
        "channel": {"id": "C1", "name": "ops"},
        "message": {"text": "<@U1|bob> disk &lt;full&gt; <https://x.org|see>", "ts": "1699999999.000100"},
        "response_url": "https://hooks.slack.com/app/T1/1/y",
    }
    answer = post(slack, urlencode({"payload": json.dumps(payload)}).encode())
    assert (answer.status_code, answer.content) == (200, b"")
    alert = only()
    assert alert.subject == "@bob disk <full> see (https://x.org)"
    assert alert.url == "https://shop.slack.com/archives/C1/p1699999999000100"
    assert alert.source_id == "slack:C1:1699999999.000100"
    assert alert.long_text.endswith(alert.url)
    written()
    late = ChatMessage.objects.get(kind="answer")
    assert late.url == "https://hooks.slack.com/app/T1/1/y"
    root = ChatMessage.objects.get(kind="root")
    assert (root.thread.root, root.last_error) == ("1699999999.000100", "")
    # Somebody else clicks the same message.
    payload["trigger_id"] = "9.10"
    post(slack, urlencode({"payload": json.dumps(payload)}).encode())
    assert Alert.objects.count() == 1


def test_a_mention_opens_if_it_may_and_slack_may_send_it_again(world, slack, post, written):
    body = event("<@U0BOT> disk full")
    assert post(slack, body, kind=JSON).status_code == 200
    assert not Alert.objects.exists()
    ((_, refused),) = written()
    assert "no alert opens from a mention here" in refused["text"]
    slack.chat_settings.open_from = ["mention"]
    slack.chat_settings.save()
    for number in ("Ev1", "Ev2"):
        body = event("<@U0BOT> disk full", ts="1700000000.000300", number=number)
        assert post(slack, body, kind=JSON).status_code == 200
    assert only().subject == "disk full"
    ((_, message),) = written()
    assert message["thread_ts"] == "1700000000.000300"


def test_what_people_say_to_each_other_opens_nothing_and_neither_does_what_we_say(slack, post):
    slack.chat_settings.open_from = ["message"]
    slack.chat_settings.save()
    for number, (text, more) in enumerate(
        [
            ("ok", {}),
            ("help", {}),
            (f"{OURS}#7 Disk full", {}),
            ("of an app of ours", {"app_id": "A1"}),
            ("joined", {"subtype": "channel_join"}),
            ("in a thread", {"thread_ts": "1600000000.000100"}),
        ]
    ):
        body = json.loads(event(text, kind="message", ts=f"17000000{number:02}.000100", **more))
        body["api_app_id"] = "A1"
        assert post(slack, json.dumps(body).encode(), kind=JSON).status_code == 200
    assert not Alert.objects.exists()
    post(slack, event("disk full", kind="message"), kind=JSON)
    assert Alert.objects.count() == 1


def test_slack_may_check_the_address(slack, post):
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB"}).encode()
    assert post(slack, body, kind=JSON).content == b"3eZbrw1aB"
    assert post(slack, body, kind=JSON, secret="other").status_code == 401


def test_only_linked_people_may_open_where_it_is_so(slack, post, ann):
    slack.chat_settings.who_may_open = "linked"
    slack.chat_settings.save()
    assert "does not know who you are" in said(post(slack, command("Disk full", member="U0EVE")))
    assert not Alert.objects.exists()
    assert "opened" in said(post(slack, command("Disk full", member="U0ANN")))
    assert only().timeline.first().text == "Opened in Slack #ops by Ann: Disk full."


def test_a_channel_that_is_not_among_those_allowed_opens_nothing(slack, post):
    slack.chat_settings.channels = ["alerts", "C9"]
    slack.chat_settings.save()
    assert "not among those allowed" in said(post(slack, command("Disk full")))
    assert not Alert.objects.exists()
    for trigger, channel in enumerate([{"channel_name": "ALERTS"}, {"channel_id": "C9"}]):
        post(slack, command("Disk full", trigger=str(trigger), **channel))
    assert Alert.objects.count() == 2


def test_rules_see_the_text_and_choose_the_policy(slack, post, world):
    other = world.policy(name="Night")
    slack.event_settings.rules = [
        {
            "name": "payments",
            "when": {"all": [{"path": "text", "op": "contains", "value": "payment"}]},
            "then": {"escalation_policy": other.pk},
        }
    ]
    slack.event_settings.save()
    post(slack, command("Payment fails"))
    assert only().run.policy == other


# -- answering --------------------------------------------------------------------------------------------------------
def test_each_change_is_a_line_in_the_thread(slack, post, written, ann, world):
    post(slack, command("Disk full", member="U0ANN"))
    alert = only()
    written()
    assert post(slack, pressed("acknowledge", alert.pk, member="U0ANN", at="1")).status_code == 200
    post(slack, command(f"assign {alert.pk}", member="U0ANN", trigger="2"))
    post(slack, command(f"close {alert.pk}: disk was cleaned", member="U0ANN", trigger="3"))
    lines = written()
    assert {message["thread_ts"] for path, message in lines if path == "/chat.postMessage"} == {"1700000001.000100"}
    texts = [message["text"].removeprefix(OURS) for path, message in lines if path == "/chat.postMessage"]
    assert texts == [
        f"#{alert.pk}: Acknowledged by Ann (in Slack).",
        f"#{alert.pk}: Ann took the alert (in Slack).",
        f"#{alert.pk}: Closed by Ann: disk was cleaned (in Slack).",
    ]
    assert not ChatThread.objects.get().is_open
    assert written() == []


def test_a_command_in_the_thread_needs_no_number(slack, post, written, ann):
    slack.chat_settings.open_from = ["message"]
    slack.chat_settings.save()
    post(slack, event("disk full", kind="message"), kind=JSON)
    written()
    reply = event("assign", kind="message", ts="1700000009.000100", user="U0ANN", thread_ts="1700000000.000200")
    post(slack, reply, kind=JSON)
    assert only().owner == ann


def test_who_is_not_linked_can_open_and_nothing_else(slack, post, ann):
    post(slack, command("Disk full"))
    alert = only()
    before = alert.timeline.count()
    for number, text in enumerate(
        [f"ack {alert.pk}", f"close {alert.pk}: x", "list", "who", f"note {alert.pk}: hello"]
    ):
        assert "does not know who you are" in said(post(slack, command(text, member="U0EVE", trigger=str(number))))
    post(slack, pressed("close", alert.pk, member="U0EVE"))
    assert "does not know who you are" in ChatMessage.objects.get(kind="answer").body["text"]
    assert (only().status, alert.timeline.count()) == ("open", before)
    assert "opens an alert" in said(post(slack, command("help", member="U0EVE", trigger="h")))


def test_the_rights_are_those_of_the_user(slack, post, world):
    post(slack, command("Disk full"))
    alert = only()
    for name, fields in {"stan": {"kind": "stakeholder"}, "gone": {"is_active": False}, "far": {}}.items():
        user = world.person(name, **fields)
        known_in_chat(user, f"T1:U0{name.upper()}")
        text = said(post(slack, command(f"close {alert.pk}", member=f"U0{name.upper()}", trigger=name)))
        assert text == f"Nothing was changed: there is no alert #{alert.pk} that you may respond to."
    assert only().status == "open"


def test_an_alert_of_another_organization_is_like_one_that_does_not_exist(slack, post, ann):
    foreign = factories.AlertFactory(organization=factories.OrganizationFactory())
    for number in (foreign.pk, 10**12, 0):
        text = said(post(slack, command(f"close {number}", member="U0ANN", trigger=str(number))))
        assert text == f"Nothing was changed: there is no alert #{number} that you may respond to."
    post(slack, pressed("close", foreign.pk, member="U0ANN"))
    assert Alert.objects.get(pk=foreign.pk).status == "open"


def test_a_member_of_another_workspace_or_secret_is_somebody_else(slack, post, world):
    ben = world.person("ben", roles=["App Admin"])
    known_in_chat(ben, "T2:U0BEN")
    known_in_chat(ben, "T1:U0BEN", secret="another app's")
    post(slack, command("Disk full"))
    assert "does not know" in said(post(slack, command(f"close {only().pk}", member="U0BEN", trigger="2")))
    # Who changes the secret cannot speak for those who proved themselves under the one before.
    known_in_chat(ben, "T1:U0BEN")
    slack.chat_settings.secrets = {"signing_secret": "stolen"}
    slack.chat_settings.save()
    body = command(f"close {only().pk}", member="U0BEN", trigger="3")
    assert "does not know" in said(post(slack, body, secret="stolen"))


def test_what_the_policy_disables_in_chats_stays_disabled(slack, post, ann, world):
    post(slack, command("Disk full"))
    alert = only()
    alert.run.disabled_actions = ["chat:close"]
    alert.run.save()
    assert "does not allow this in a chat" in said(
        post(slack, command(f"close {alert.pk}", member="U0ANN", trigger="2"))
    )
    assert only().status == "open"


def test_doubtful_words_do_nothing(slack, post, ann):
    post(slack, command("Disk full"))
    pk = only().pk
    for number, text in enumerate([f"close {pk} but wait", "close", f"ack {pk}?", "ack seven please?"]):
        post(slack, command(text, member="U0ANN", trigger=f"d{number}"))
    assert only().status == "open" if Alert.objects.count() == 1 else True
    assert Alert.objects.filter(pk=pk, status="open", acknowledged_at=None).exists()


def test_a_pressed_button_that_is_sent_again_acts_once(slack, post, ann):
    post(slack, command("Disk full"))
    alert = only()
    for _ in range(2):
        post(slack, pressed("escalate", alert.pk, member="U0ANN"))
    assert [entry.kind for entry in alert.timeline.all()].count("escalated") == 1
    assert len({message.body["text"] for message in ChatMessage.objects.filter(kind="answer")}) == 1


def test_list_and_who_say_what_the_user_may_see(slack, post, ann, world):
    team = world.team("Network", primary=["ben"], secondary=["cem"])
    slack.recipient_groups.add(team)
    post(slack, command("Disk full"))
    assert said(post(slack, command("list", member="U0ANN", trigger="2"))) == f"#{only().pk} Disk full (Open)"
    assert said(post(slack, command("who", member="U0ANN", trigger="3"))).startswith("Network: Ben (primary)")
    assert "There is no group named X" in said(post(slack, command("who X", member="U0ANN", trigger="4")))


# -- who somebody is --------------------------------------------------------------------------------------------------
def test_the_code_of_link_is_entered_by_the_user_who_confirms_it(slack, post, world, client):
    text = said(post(slack, command("link", member="U0BEN")))
    code = text.removeprefix("Your code is ").partition(".")[0]
    ben = world.person("ben", roles=["App Admin"])
    client.force_login(ben)
    page = "/profile/contact-methods/"
    asked = client.post(f"{page}chat/", {"code": code.lower()})
    assert "Is this you?" in asked.content.decode()
    assert "u0ben" in asked.content.decode()
    assert not ben.chat_members.exists()
    assert client.post(f"{page}chat/", {"code": code, "confirmed": "yes"})["Location"] == page
    assert client.post(f"{page}chat/", {"code": code, "confirmed": "yes"}).status_code == 400
    post(slack, command("Disk full", member="U0BEN", trigger="2"))
    assert "You closed" in said(post(slack, command(f"close {only().pk}", member="U0BEN", trigger="3")))
    (link,) = ben.chat_members.all()
    other = world.person("eve")
    client.force_login(other)
    assert client.post(f"{page}chat/{link.pk}/unlink/").status_code == 404
    client.force_login(ben)
    assert "Remove" in client.get(page).content.decode()
    client.post(f"{page}chat/{link.pk}/unlink/")
    assert "does not know" in said(post(slack, command("list", member="U0BEN", trigger="4")))


def test_a_code_ends_after_ten_minutes_and_counts_in_its_organization_alone(slack, post, world, client):
    code = said(post(slack, command("link"))).removeprefix("Your code is ").partition(".")[0]
    stranger = factories.UserFactory(organization=factories.OrganizationFactory())
    client.force_login(stranger)
    answer = client.post("/profile/contact-methods/chat/", {"code": code, "confirmed": "yes"})
    assert "not valid" in answer.content.decode()
    client.force_login(world.person("ben"))
    world.now += timedelta(minutes=10)
    answer = client.post("/profile/contact-methods/chat/", {"code": code, "confirmed": "yes"})
    assert "not valid" in answer.content.decode()


def test_a_new_code_ends_the_one_before_and_tries_are_counted(slack, post, world, client):
    for trigger in ("1", "2"):
        post(slack, command("link", trigger=trigger))
    assert ChatLinkCode.objects.count() == 1
    client.force_login(world.person("ben"))
    answers = [client.post("/profile/contact-methods/chat/", {"code": f"AAAA-{number:04}"}) for number in range(11)]
    assert "not valid" in answers[9].content.decode()
    assert "not valid" not in answers[10].content.decode()


# -- proofs and bounds ------------------------------------------------------------------------------------------------
def test_what_is_not_signed_or_too_old_is_refused_and_counted(slack, post, client, world):
    body = command("Disk full")
    assert post(slack, body, age=timedelta(seconds=300)).status_code == 200
    for how in ({"secret": "wrong"}, {"age": timedelta(seconds=301)}, {"age": timedelta(seconds=-301)}):
        assert post(slack, command("Disk full", trigger="9"), **how).status_code == 401
    assert client.post(f"/chat/{slack.token}", body, content_type="text/plain").status_code == 401
    assert Alert.objects.count() == 1
    state = EventState.objects.get(pk=slack.pk)
    assert (state.event_count, state.rejected_count) == (1, 4)
    slack.chat_settings.secrets = {}
    slack.chat_settings.save()
    assert post(slack, command("Disk full", trigger="8"), secret="").status_code == 401


def test_other_methods_addresses_and_types_are_refused(slack, post, client, world):
    assert client.get(f"/chat/{slack.token}")["Allow"] == "POST"
    assert client.get(f"/chat/{slack.token}").status_code == 405
    api = world.api("Shop")
    for token in (api.token, "unknown", "x" * 65):
        assert client.post(f"/chat/{token}", b"", content_type=JSON).status_code == 404
    assert client.post(f"/POSTAlert/{slack.token}", b"{}", content_type=JSON).status_code == 404
    slack.enabled = False
    slack.save()
    assert "is disabled" in said(post(slack, command("Disk full")))
    InboundIntegration.objects.filter(pk=slack.pk).delete()
    assert post(slack, command("Disk full")).status_code == 404


HOSTILE = [
    b"",
    b"{",
    b"[" * 5_000,
    b'{"a":' * 5_000,
    b"payload=",
    b"payload=[]",
    b"payload=%7B%22type%22%3A%22block_actions%22%7D",
    b"payload=" + b"[" * 20_000,
    b"command=/x&command=/y&text=" + b"%00" * 50,
    b"&".join(b"a%d=1" % number for number in range(200)),
    b"command=/heartbeat&text=%ED%A0%80%FF&user_id=&channel_id=",
    b'{"type": "event_callback", "event": {"type": "app_mention", "text": 7, "ts": [], "channel": {}}}',
    b'{"type": "event_callback", "event": {"type": "message", "text": "x", "ts": "1.1", "channel": null}}',
    b'{"type": "url_verification", "challenge": {"a": 1}}',
    b'{"type": ' + b"9" * 5_000 + b"}",
]


@pytest.mark.parametrize("body", HOSTILE)
def test_a_signed_request_that_makes_no_sense_is_taken_and_does_no_harm(slack, post, body):
    for kind in (JSON, "application/x-www-form-urlencoded", "", "multipart/form-data"):
        assert post(slack, body, kind=kind).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"actions": []},
        {"actions": None},
        {"actions": [{"action_id": "heartbeat.alert.close", "value": "9" * 40}]},
        {"actions": [{"action_id": "heartbeat.alert.cancel", "value": "1"}]},
        {"actions": [{"action_id": "heartbeat.alert.close", "value": None}]},
        {"actions": [{"action_id": 7}]},
        {"actions": [{"action_id": "heartbeat.close", "value": "forged"}]},
        {"user": None, "team": "T1"},
        {"user": {"id": ["U0ANN"]}},
    ],
)
def test_a_forged_or_broken_press_changes_nothing(slack, post, ann, changes):
    post(slack, command("Disk full"))
    assert post(slack, pressed("close", only().pk, member="U0ANN", **changes)).status_code == 200
    assert only().status == "open"


def test_a_request_of_more_than_256_kib_is_refused(slack, post):
    assert post(slack, command("x" * 300_000)).status_code == 413
    assert not Alert.objects.exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil.org/x",
        "https://evil.org/?hooks.slack.com",
        "https://hooks.slack.com@evil.org/",
        "https://hooks.slack.com:8443/x",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "https://hooks.slack.com\\@evil.org/",
        "x" * 2_000,
    ],
)
def test_an_answer_goes_to_no_other_host(slack, post, ann, url, written):
    post(slack, command("Disk full"))
    post(slack, pressed("close", only().pk, member="U0ANN", answer_at=url))
    assert only().status == "closed"
    assert not ChatMessage.objects.filter(kind="answer").exists()


def test_what_is_kept_of_a_request_has_no_secrets(slack, post):
    post(slack, command("Disk full"))
    row = InboundEvent.objects.get()
    stored = bytes(row.raw).decode() + json.dumps(row.headers)
    assert "Disk full" in stored
    assert not any(secret in stored for secret in ("hooks.slack.com", "old", "v0="))
