"""Reminders and assignments in every channel: what they say, and what answers them."""

from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from alerting.states import Action
from alerting.via import CONSOLE
from escalation.channels import chat, message_text, webhook
from escalation.channels.base import Bundle
from escalation.channels.signatures import twilio_signature
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.notifications.claim import Claim
from escalation.notifications.message import claimed_message
from escalation.responses import tokens
from escalation.responses.act import act
from escalation.responses.allowed_actions import allowed_actions_in
from heartbeat_project.kernel import clock
from tests.chats import known_in_chat
from tests.integration.escalation.posting import PHONE, press_slack

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def set_up(settings, monkeypatch, now):
    settings.TWILIO_AUTH_TOKEN = "twilio-token"
    settings.SLACK_SIGNING_SECRET = "slack-secret"
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=1))


@pytest.fixture
def asked(notification, now):
    """Return a notification that asked Ana, who has the alert, over a channel."""

    def make(kind="reminder", **fields):
        first = notification(**fields)
        act(first.alert, Action.ASSIGN, via=CONSOLE, actor=first.user, now=now)
        EscalationRun.objects.update(reopen_after_minutes=60)
        Notification.objects.filter(pk=first.pk).update(kind=kind, text="Unless you answer.")
        return Notification.objects.select_related("alert", "user").get(pk=first.pk)

    return make


def message(notification, now):
    claim = Claim(notification.pk, notification, alerts=1, attempts=1, lease_ends=now)
    return claimed_message(claim, now=now)


def notes(notification):
    return list(notification.alert.timeline.filter(kind="replied").values_list("text", flat=True))


@pytest.mark.parametrize(
    ("kind", "opening", "answers"),
    [
        ("reminder", "Still yours?", " Reply 7=I am on it, 9=close."),
        ("assignment", "Assigned to you", " Reply 7=I am on it, 6=escalate, 9=close."),
    ],
)
def test_what_a_short_message_says(asked, now, kind, opening, answers):
    notification = asked(kind)
    short = message_text.short(message(notification, now), replies=True)
    assert short.startswith(f"High #{notification.alert_id}: {opening}")
    assert short.endswith(answers)
    assert tokens.page_url(notification.pk) in short
    assert message_text.title(message(notification, now)).startswith(f"High #{notification.alert_id} [{opening}]")
    assert opening in message_text.spoken(message(notification, now))
    assert "Unless you answer." in message_text.long(message(notification, now))
    assert webhook.document(message(notification, now))["type"] == kind


def test_seven_says_that_somebody_is_on_it(client, asked, now):
    notification = asked()
    body = {"From": PHONE, "Body": "7", "MessageSid": "SM1"}
    signed = {name: [value] for name, value in body.items()}
    path = "/api/v1/responses/twilio/sms/"
    signature = twilio_signature(f"http://127.0.0.1:8000{path}", signed, token="twilio-token")
    answer = client.post(path, body, headers={"X-Twilio-Signature": signature})
    assert "stays with you" in "".join(ET.fromstring(answer.content).itertext())
    assert notes(notification) == ["I am on it."]
    run = EscalationRun.objects.get()
    assert (run.review, run.review_at) == ("remind", now + timedelta(minutes=61))


def test_a_call_offers_and_takes_the_key(client, asked):
    notification = asked(channel="voice")
    path = f"/api/v1/responses/twilio/voice/{tokens.token(notification.pk)}/"
    for body, said in (
        ({"CallSid": "CA1"}, "Press 7 to say that you are on it."),
        ({"CallSid": "CA1", "Digits": "7"}, "stays with you"),
    ):
        signed = {name: [value] for name, value in body.items()}
        signature = twilio_signature(f"http://127.0.0.1:8000{path}", signed, token="twilio-token")
        answer = client.post(path, body, headers={"X-Twilio-Signature": signature})
        assert said in "".join(ET.fromstring(answer.content).itertext())
    assert notes(notification) == ["I am on it."]


def test_slack_has_buttons_for_it_and_none_for_a_hold(client, asked, now):
    notification = asked(channel="chat", address="https://hooks.slack.com/services/T/B/X")
    words = chat._slack(message(notification, now))
    captions = [button["text"]["text"] for button in words["blocks"][1]["elements"]]
    assert captions == ["I am on it", "Close", "More"]
    known_in_chat(notification.user)
    press_slack(client, notification, Action.ACKNOWLEDGE)
    assert notes(notification) == ["I am on it."]


def test_a_bundle_of_reminders_asks_for_all(asked, now):
    notification = asked()
    one = message(notification, now)
    bundle = Bundle(count=2, listed=[one.alert], link="http://127.0.0.1:8000/bundles/x/")
    assert "2 alerts" in message_text.short(replace(one, alert=None, bundle=bundle, subject="2 alerts that you have"))


def test_a_reminder_of_an_alert_that_is_open_again_offers_what_a_page_does(asked, now):
    notification = asked()
    assert Action.ASSIGN not in allowed_actions_in(notification.pk)
    act(notification.alert, Action.GIVE_BACK, via=CONSOLE, actor=notification.user, now=now)
    assert Action.ASSIGN in allowed_actions_in(notification.pk)
    assert Action.HOLD not in allowed_actions_in(notification.pk)
