"""Whatever stands in the fields of a provider's request.

It is answered, and nothing that cannot be stored is stored.
"""

from datetime import timedelta

import pytest

from escalation.channels.signatures import twilio_signature
from escalation.channels.twilio import CALLBACK_PATH
from escalation.models.notifications import Notification
from escalation.models.responses import Response
from escalation.responses import tokens
from heartbeat_project.kernel import clock
from tests.integration.escalation.posting import PHONE, press_slack

pytestmark = pytest.mark.django_db

TOKEN = "twilio-token"
BASE = "/api/v1/responses/"
GARBAGE = ["\x00", "+49\x00151", "\x00" * 300, "\ud800", "x" * 100_000, "\r\n\x1b[2J", "((((" * 5_000, "9" * 5_000]


@pytest.fixture(autouse=True)
def set_up(settings, monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=1))
    settings.TWILIO_AUTH_TOKEN, settings.SLACK_SIGNING_SECRET = TOKEN, "slack-secret"


def twilio(client, path, fields):
    # As they arrive: what is not UTF-8 becomes a sign that stands for it.
    arrived = {name: [value.encode("utf-8", "replace").decode()] for name, value in fields.items()}
    signature = twilio_signature(f"http://127.0.0.1:8000{path}", arrived, token=TOKEN)
    return client.post(
        path, {name: value[0] for name, value in arrived.items()}, headers={"X-Twilio-Signature": signature}
    )


@pytest.mark.parametrize("name", ["From", "Body", "MessageSid", "OptOutType", "From and OptOutType"])
def test_an_sms_with_garbage_in_a_field_is_answered(client, notification, name):
    notification()
    for value in GARBAGE:
        fields = {"From": PHONE, "Body": "7", "MessageSid": "SM1"}
        fields |= {"From": value, "OptOutType": "STOP"} if " and " in name else {name: value}
        assert twilio(client, f"{BASE}twilio/sms/", fields).status_code == 200, repr(value)


def test_the_id_of_an_sms_is_stored_without_what_cannot_be_stored(client, notification):
    notification()
    twilio(client, f"{BASE}twilio/sms/", {"From": PHONE, "Body": "7", "MessageSid": "SM\x001"})
    assert Response.objects.get().reference.startswith("SM1")


@pytest.mark.parametrize("name", ["CallSid", "Digits"])
def test_a_key_with_garbage_in_a_field_is_answered(client, notification, name):
    for value in GARBAGE:
        path = f"{BASE}twilio/voice/{tokens.token(notification('voice').pk)}/"
        assert twilio(client, path, {"CallSid": "CA1", "Digits": "7", name: value}).status_code == 200, repr(value)


@pytest.mark.parametrize("name", ["MessageSid", "CallSid", "ErrorCode", "MessageStatus", "CallStatus", "AnsweredBy"])
def test_a_report_with_garbage_in_a_field_is_answered(client, notification, name):
    note = notification()
    for value in GARBAGE:
        Notification.objects.update(provider_id="SM1", status=Notification.Status.ACCEPTED, last_error="")
        fields = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30003"}
        if name in {"CallSid", "CallStatus", "AnsweredBy"}:
            fields = {"CallSid": "SM1", "CallStatus": "completed", "AnsweredBy": "human"}
        path = CALLBACK_PATH % note.pk
        assert twilio(client, path, fields | {name: value}).status_code == 204, repr(value)


@pytest.mark.parametrize("name", ["user", "response_url", "actions", "type", "action"])
def test_a_pressed_button_with_garbage_in_a_field_is_answered(client, notification, name):
    note = notification("chat")
    for value in [*GARBAGE, [], {}, 10**400, None, [[[[]]]]]:
        if name == "action":
            assert press_slack(client, note, value).status_code == 200, repr(value)
            continue
        given = {"id": value} if name == "user" and isinstance(value, str) else value
        given = f"https://hooks.slack.com/{value}" if name == "response_url" and isinstance(value, str) else given
        assert press_slack(client, note, "acknowledge", **{name: given}).status_code == 200, repr(value)
