"""Reminders and assignments in every channel: what they say, and what answers them."""

from dataclasses import replace
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from alerting.models import Alert
from alerting.states import Action
from escalation import links
from escalation.channels import chat, texts, webhook
from escalation.channels.base import Bundle, Message
from escalation.channels.signatures import twilio_signature
from escalation.models import EscalationRun, Notification
from escalation.services.actions import act
from escalation.services.offers import offered_in
from heartbeat_project.kernel import clock
from tests.integration.escalation.posting import PHONE, press_slack

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def set_up(settings, monkeypatch, now):
    settings.TWILIO_AUTH_TOKEN = "twilio-token"
    settings.SLACK_SIGNING_SECRET = "slack-secret"
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=1))


@pytest.fixture
def asked(told, now):
    """Return a notification that asked Ana, who has the alert, over a channel."""

    def make(kind="reminder", **fields):
        notification = told(**fields)
        act(notification.alert, Action.ASSIGN, actor=notification.user, now=now)
        EscalationRun.objects.update(reopen_after_minutes=60)
        Notification.objects.filter(pk=notification.pk).update(kind=kind, text="Unless you answer.")
        return Notification.objects.select_related("alert", "user").get(pk=notification.pk)

    return make


def message(told, now, **fields):
    alert = Alert.objects.get(pk=told.alert_id)
    usual = {"id": told.pk, "kind": told.kind, "address": told.address, "reader": "Ana", "time_zone": "UTC", "at": now}
    return Message(**usual | {"alert": alert, "text": told.text} | fields)


def notes(told):
    return list(told.alert.timeline.filter(kind="replied").values_list("text", flat=True))


@pytest.mark.parametrize(
    ("kind", "opening", "answers"),
    [
        ("reminder", "Still yours?", " Reply 7=I am on it, 9=close."),
        ("assignment", "Assigned to you", " Reply 7=I am on it, 6=escalate, 9=close."),
    ],
)
def test_what_a_short_message_says(asked, now, kind, opening, answers):
    told = asked(kind)
    short = texts.short(message(told, now), replies=True)
    assert short.startswith(opening)
    assert short.endswith(answers)
    assert links.page_url(told.pk) in short
    assert texts.title(message(told, now)).startswith(f"[{opening}]")
    assert opening in texts.spoken(message(told, now))
    assert "Unless you answer." in texts.long(message(told, now))
    assert webhook.document(message(told, now))["type"] == kind


def test_seven_says_that_somebody_is_on_it(client, asked, now):
    told = asked()
    body = {"From": PHONE, "Body": "7", "MessageSid": "SM1"}
    signed = {name: [value] for name, value in body.items()}
    path = "/api/v1/responses/twilio/sms/"
    signature = twilio_signature(f"http://127.0.0.1:8000{path}", signed, token="twilio-token")
    answer = client.post(path, body, headers={"X-Twilio-Signature": signature})
    assert "stays with you" in "".join(ET.fromstring(answer.content).itertext())
    assert notes(told) == ["I am on it."]
    run = EscalationRun.objects.get()
    assert (run.review, run.review_at) == ("remind", now + timedelta(minutes=61))


def test_a_call_offers_and_takes_the_key(client, asked):
    told = asked(channel="voice")
    path = f"/api/v1/responses/twilio/voice/{links.token(told.pk)}/"
    for body, said in (
        ({"CallSid": "CA1"}, "Press 7 to say that you are on it."),
        ({"CallSid": "CA1", "Digits": "7"}, "stays with you"),
    ):
        signed = {name: [value] for name, value in body.items()}
        signature = twilio_signature(f"http://127.0.0.1:8000{path}", signed, token="twilio-token")
        answer = client.post(path, body, headers={"X-Twilio-Signature": signature})
        assert said in "".join(ET.fromstring(answer.content).itertext())
    assert notes(told) == ["I am on it."]


def test_slack_has_buttons_for_it_and_none_for_a_hold(client, asked, now):
    told = asked(channel="chat", address="https://hooks.slack.com/services/T/B/X")
    words = chat._slack(message(told, now))
    captions = [button["text"]["text"] for button in words["blocks"][1]["elements"]]
    assert captions == ["I am on it", "Close", "More"]
    told.user.slack_id = "U0ANA"
    told.user.save()
    press_slack(client, told, Action.ACKNOWLEDGE)
    assert notes(told) == ["I am on it."]


def test_a_bundle_of_reminders_asks_for_all(asked, now):
    told = asked()
    one = message(told, now)
    bundle = Bundle(count=2, listed=[told.alert], link="http://127.0.0.1:8000/bundles/x/")
    assert "2 alerts" in texts.short(replace(one, alert=None, bundle=bundle, subject="2 alerts that you have"))


def test_a_reminder_of_an_alert_that_is_open_again_offers_what_a_page_does(asked, now):
    told = asked()
    assert Action.ASSIGN not in offered_in(told.pk)
    act(told.alert, Action.GIVE_BACK, actor=told.user, now=now)
    assert Action.ASSIGN in offered_in(told.pk)
    assert Action.HOLD not in offered_in(told.pk)
