"""What providers bring: replies by SMS, keys of a call, mails; signed, or refused."""

from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from django.core import mail

from accounts.models import ContactMethod
from alerting.models import Alert
from escalation import links
from escalation.channels.signatures import twilio_signature
from escalation.models import EscalationRun, Notification, Response
from escalation.services.delivery import deliver_due
from heartbeat_project.kernel import clock
from tests import factories
from tests.integration.escalation.posting import PHONE, page, press_slack

pytestmark = pytest.mark.django_db

TOKEN, SECRET, MAIL_SECRET = "twilio-token", "slack-secret", "mail-secret"
BASE = "/api/v1/responses/"


@pytest.fixture(autouse=True)
def set_up(settings, monkeypatch, now):
    settings.TWILIO_AUTH_TOKEN = TOKEN
    settings.SLACK_SIGNING_SECRET = SECRET
    settings.REPLY_ADDRESS = "alerts@reply.example.org"
    settings.INBOUND_MAIL_SECRET = MAIL_SECRET
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(minutes=1))


def twilio(client, path, *, token=TOKEN, **fields):
    signature = twilio_signature(
        f"http://127.0.0.1:8000{path}", {name: [value] for name, value in fields.items()}, token=token
    )
    return client.post(path, fields, headers={"X-Twilio-Signature": signature})


def sms(client, body, *, sender=PHONE, sid="SM1"):
    response = twilio(client, f"{BASE}twilio/sms/", From=sender, Body=body, MessageSid=sid)
    assert response.status_code == 200
    return "".join(ET.fromstring(response.content).itertext())


def call(client, told, key="", *, sid="CA1"):
    path = f"{BASE}twilio/voice/{links.token(told.pk)}/"
    response = twilio(client, path, CallSid=sid, **({"Digits": key} if key else {}))
    assert response.status_code == 200
    return ET.fromstring(response.content)


def said(document):
    return "".join(document.itertext())


def status(told):
    return Alert.objects.get(pk=told.alert_id).status


# -- SMS ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "status_after", "answer"),
    [
        ("7", "open", "You acknowledged #"),
        ("8", "assigned", "is yours: nobody else is told any more."),
        ("9", "closed", "You closed #"),
        ("Assign to me", "assigned", "is yours"),
        ("close: it was a test", "closed", "You closed #"),
    ],
)
def test_a_reply_does_what_it_says_to_the_newest_alert(client, told, now, body, status_after, answer):
    older, newer = told(name="older", at=now - timedelta(minutes=9)), told(name="newer")
    assert answer in sms(client, body)
    assert (status(older), status(newer)) == ("open", status_after)
    assert Response.objects.get().via == "sms"


def test_a_reply_with_a_number_means_that_alert(client, told, now):
    older, newer = told(name="older", at=now - timedelta(minutes=9)), told(name="newer")
    assert "older is yours" in sms(client, f"8 {older.alert_id}")
    assert (status(older), status(newer)) == ("assigned", "open")


def test_a_number_that_was_never_told_is_not_touched(client, told, organization):
    told()
    other = factories.AlertFactory(organization=organization)
    assert f"You were not told of an alert {other.pk}" in sms(client, f"9 {other.pk}")
    other.refresh_from_db()
    assert other.status == "open"


def test_a_reply_that_twilio_brings_twice_is_done_once(client, told):
    note = told()
    sms(client, "7", sid="SM7")
    assert "did this already" in sms(client, "7", sid="SM7")
    assert [entry.kind for entry in note.alert.timeline.all()].count("acknowledged") == 1
    assert "Acknowledged by Ana" in sms(client, "7", sid="SM8")
    assert [entry.kind for entry in note.alert.timeline.all()].count("acknowledged") == 1


def test_what_is_not_understood_gets_the_keys(client, told):
    note = told()
    assert "8 to assign it to you" in sms(client, "what is this")
    assert status(note) == "open"


def test_a_message_about_many_wants_a_number(client, told):
    one, two = told(name="one"), told(name="two")
    envelope = one.pk
    Notification.objects.filter(pk__in=[one.pk, two.pk]).update(envelope=envelope)
    assert f"about 2 alerts. Reply with a number, or see {links.page_url(envelope)}" in sms(client, "8")
    assert status(one) == status(two) == "open"
    assert "one is yours" in sms(client, f"8 {one.alert_id}", sid="SM2")


@pytest.mark.parametrize("change", ["a stranger", "unverified", "another method", "too long ago"])
def test_who_was_told_nothing_gets_no_answer(client, told, now, change):
    note = told(at=now - timedelta(days=7) if change == "too long ago" else now)
    if change == "unverified":
        ContactMethod.objects.filter(kind="sms").update(verified_at=None)
    if change == "another method":
        ContactMethod.objects.filter(kind="sms").update(address="+4930999")
    assert sms(client, "9", sender="+4930111" if change == "a stranger" else PHONE) == ""
    assert status(note) == "open"


# -- calls -------------------------------------------------------------------------------------------------------------
def test_a_call_says_what_it_is_about_and_what_can_be_pressed(client, told):
    note = told("voice")
    menu = call(client, note)
    for part in ("backup is silent", "Press 6 to escalate", "Press 8 to assign it to you", "Press 1 to hear"):
        assert part in said(menu)
    assert menu.find("Gather").get("action") == f"http://127.0.0.1:8000{BASE}twilio/voice/{links.token(note.pk)}/"
    assert "Press 0" not in said(menu)


@pytest.mark.parametrize(
    ("key", "after"), [("7", "open"), ("8", "assigned"), ("9", "closed"), ("5", "open"), ("1", "open")]
)
def test_a_key_does_what_it_says(client, told, key, after):
    note = told("voice")
    call(client, note, key)
    assert status(note) == after


def test_a_key_pressed_twice_is_done_once(client, told):
    note = told("voice")
    call(client, note, "7")
    assert "did this already" in said(call(client, note, "7"))


def test_zero_connects_to_the_alerts_bridge(client, told, organization):
    bridge = factories.BridgeFactory(organization=organization, name="Ops")
    note = told("voice", bridge_id=bridge.pk)
    assert "Press 0" in said(call(client, note))
    number = call(client, note, "0").find("Dial/Number")
    assert (number.text, number.get("sendDigits")) == ("+49301234567", "wwww4711#")
    type(note.user).objects.update(is_active=False)
    assert call(client, note, "0").find("Dial") is None


def test_a_call_about_nothing_ends(client, told):
    note = told("voice")
    path = f"{BASE}twilio/voice/{links.token(note.pk)[:-2]}AA/"
    assert "nothing that is still known" in twilio(client, path, CallSid="CA1", Digits="9").content.decode()
    assert status(note) == "open"


def test_a_call_about_many_lets_them_be_taken_together(client, told):
    one, two = told("voice", name="one"), told("voice", name="two")
    Notification.objects.filter(pk__in=[one.pk, two.pk]).update(envelope=one.pk)
    assert "2 alerts came together" in said(call(client, one))
    assert "Press 8 to assign them all to you." in said(call(client, one))
    assert "they can only be assigned together" in said(call(client, one, "9"))
    assert "2 alerts are yours" in said(call(client, one, "8"))
    assert status(one) == status(two) == "assigned"


def test_a_call_about_many_names_no_key_that_the_policy_withholds(client, told):
    one, two = told("voice", name="one"), told("voice", name="two")
    Notification.objects.filter(pk__in=[one.pk, two.pk]).update(envelope=one.pk)
    EscalationRun.objects.update(withheld=["voice:assign"])
    assert "Press 8" not in said(call(client, one))
    assert "not offered over this channel" in said(call(client, one, "8"))


# -- mail --------------------------------------------------------------------------------------------------------------
def write(client, told, text, *, secret=MAIL_SECRET, to=None, headers=""):
    sent = (
        f"From: Ana <ana@example.com>\r\nTo: {to or links.reply_address(told.pk)}\r\nSubject: Re: backup\r\n"
        f"Message-ID: <1@example.com>\r\nContent-Type: text/plain; charset=utf-8\r\n{headers}\r\n{text}\r\n"
    )
    return client.post(
        f"{BASE}mail/", sent.encode(), content_type="message/rfc822", headers={"Authorization": f"Bearer {secret}"}
    )


def test_a_mail_is_answered_with_one_word_and_gets_an_answer(client, told, now):
    note = told("email")
    response = write(client, note, "Assign to me\r\n\r\n> quoted")
    assert "is yours" in response.json()["said"]
    assert status(note) == "assigned"
    deliver_due(now=now + timedelta(minutes=2))
    [answer] = mail.outbox
    assert answer.to == ["ana@example.com"]
    assert answer.subject == f"Re: alert #{note.alert_id}"
    assert "is yours" in answer.body
    assert not answer.reply_to, "an answer to an answer leads nowhere"
    write(client, note, "Assign to me")
    deliver_due(now=now + timedelta(minutes=3))
    assert len(mail.outbox) == 1, "a mail that is brought twice is answered once"


def test_the_mail_about_an_alert_can_be_answered(organization, now, person):
    page(
        organization,
        policy=factories.PolicyFactory(organization=organization),
        users=[person("ana")],
        now=now,
    )
    deliver_due(now=now)
    [sent] = mail.outbox
    assert sent.reply_to == [links.reply_address(Notification.objects.get().pk)]
    assert "Or answer this mail with one word" in sent.body


@pytest.mark.parametrize(
    "headers",
    [
        "Auto-Submitted: auto-replied\r\n",
        "Precedence: bulk\r\n",
        "Return-Path: <>\r\n",
        "List-Id: <all.example.com>\r\n",
        "X-Autoreply: yes\r\n",
    ],
)
def test_what_a_machine_writes_is_not_acted_upon_nor_answered(client, told, headers):
    note = told("email")
    assert "a machine wrote" in write(client, note, "close", headers=headers).json()["said"]
    assert status(note) == "open"
    assert not Notification.objects.filter(kind="notice").exists()


def test_a_mail_that_is_not_understood_gets_the_words(client, told):
    note = told("email")
    assert "was not understood" in write(client, note, "Thanks for telling me\r\nclose").json()["said"]
    assert status(note) == "open"
    assert Notification.objects.get(kind="notice").text.startswith("Nothing was done")


def test_what_is_attached_to_a_mail_is_passed_over(client, told):
    note = told("email")
    assert "You closed" in write(client, note, "close\r\n\r\n" + "attached\r\n" * 300_000).json()["said"]
    assert status(note) == "closed"


@pytest.mark.parametrize("to", ["alerts@reply.example.org", "alerts+" + "a" * 45 + "@reply.example.org", "x"])
def test_a_mail_without_a_signed_address_does_nothing(client, told, to):
    note = told("email")
    assert "answers none of ours" in write(client, note, "close", to=to).json()["said"]
    assert status(note) == "open"


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe\x00", b"Content-Type: text/plain; charset=nonsense\r\n\r\nclose", b"To: \r\n" * 50]
)
def test_no_mail_is_a_fault(client, raw):
    response = client.post(
        f"{BASE}mail/", raw, content_type="message/rfc822", headers={"Authorization": f"Bearer {MAIL_SECRET}"}
    )
    assert response.status_code == 200


# -- all doors ---------------------------------------------------------------------------------------------------------
def test_what_is_not_signed_is_refused(client, told):
    note = told()
    path = f"{BASE}twilio/voice/{links.token(note.pk)}/"
    assert twilio(client, f"{BASE}twilio/sms/", token="x", From=PHONE, Body="9").status_code == 403
    assert client.post(f"{BASE}twilio/sms/", {"From": PHONE, "Body": "9"}).status_code == 403
    assert twilio(client, path, token="x", Digits="9").status_code == 403
    assert press_slack(client, note, "close", secret="x").status_code == 403
    assert write(client, note, "close", secret="x").status_code == 403
    assert status(note) == "open"


def test_a_door_that_is_not_set_up_is_not_there(client, told, settings):
    note = told()
    settings.TWILIO_AUTH_TOKEN = settings.SLACK_SIGNING_SECRET = settings.INBOUND_MAIL_SECRET = ""
    assert twilio(client, f"{BASE}twilio/sms/", token="", From=PHONE, Body="9").status_code == 404
    assert twilio(client, f"{BASE}twilio/voice/{links.token(note.pk)}/", token="", Digits="9").status_code == 404
    assert press_slack(client, note, "close", secret="").status_code == 404
    assert write(client, note, "close", secret="").status_code == 404
    assert status(note) == "open"


@pytest.mark.parametrize("path", ["twilio/sms/", "twilio/voice/x/", "slack/", "mail/"])
def test_no_door_answers_a_get(client, path):
    assert client.get(BASE + path).status_code == 405
