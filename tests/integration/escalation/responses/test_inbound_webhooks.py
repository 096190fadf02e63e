"""What providers bring: replies by SMS, keys of a call, mails; signed, or refused."""

from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from django.core import mail

from accounts.models.contact_methods import ContactMethod
from alerting.models.alerts import Alert
from escalation.channels.signatures import twilio_signature
from escalation.channels.speech import speakable
from escalation.models.notifications import Notification
from escalation.models.responses import Response
from escalation.models.runs import EscalationRun
from escalation.notifications.deliver import deliver_due
from escalation.responses import tokens
from heartbeat_project.kernel import clock
from tests import factories
from tests.integration.escalation.posting import PHONE, bring_mail, page, press_slack

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


def call(client, notification, key="", *, sid="CA1"):
    path = f"{BASE}twilio/voice/{tokens.token(notification.pk)}/"
    response = twilio(client, path, CallSid=sid, **({"Digits": key} if key else {}))
    assert response.status_code == 200
    return ET.fromstring(response.content)


def said(document):
    return "".join(document.itertext())


def status(notification):
    return Alert.objects.get(pk=notification.alert_id).status


# -- SMS ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "status_after", "answer"),
    [
        ("7", "open", "You acknowledged #"),
        ("8", "assigned", "is yours. Nobody else will be notified."),
        ("9", "closed", "You closed #"),
        ("Assign to me", "assigned", "is yours"),
        ("close: it was a test", "closed", "You closed #"),
    ],
)
def test_a_reply_does_what_it_says_to_the_newest_alert(client, notification, now, body, status_after, answer):
    older, newer = notification(name="older", at=now - timedelta(minutes=9)), notification(name="newer")
    assert answer in sms(client, body)
    assert (status(older), status(newer)) == ("open", status_after)
    assert Response.objects.get().via == "sms"


def test_a_reply_with_a_number_means_that_alert(client, notification, now):
    older, newer = notification(name="older", at=now - timedelta(minutes=9)), notification(name="newer")
    assert "older is yours" in sms(client, f"8 {older.alert_id}")
    assert (status(older), status(newer)) == ("assigned", "open")


def test_a_number_that_was_never_notified_is_not_touched(client, notification, organization):
    notification()
    other = factories.AlertFactory(organization=organization)
    assert f"#{other.pk} was not sent to this number" in sms(client, f"9 {other.pk}")
    other.refresh_from_db()
    assert other.status == "open"


def test_a_reply_that_twilio_brings_twice_is_done_once(client, notification):
    note = notification()
    sms(client, "7", sid="SM7")
    assert "already did this" in sms(client, "7", sid="SM7")
    assert [entry.kind for entry in note.alert.timeline.all()].count("acknowledged") == 1
    assert "Acknowledged by Ana" in sms(client, "7", sid="SM8")
    assert [entry.kind for entry in note.alert.timeline.all()].count("acknowledged") == 1


def test_what_is_not_understood_gets_the_keys(client, notification):
    note = notification()
    assert "8 to assign it to you" in sms(client, "what is this")
    assert status(note) == "open"


@pytest.fixture
def bundle(notification):
    """Two alerts that came in one message."""
    one, two = notification(name="one"), notification(name="two")
    Notification.objects.filter(pk__in=[one.pk, two.pk]).update(message_id=one.pk)
    return one, two


def test_a_message_about_many_wants_a_number_for_what_is_not_done_to_all(client, bundle):
    one, two = bundle
    for key in ("6", "7", "9", "what?"):
        said = sms(client, key)
        assert f"Reply 8 to take all 2, or add the number of one of them, as in “8 {one.alert_id}”" in said
        assert tokens.page_url(one.pk) in said
    assert status(one) == status(two) == "open"
    assert "one is yours" in sms(client, f"8 {one.alert_id}", sid="SM2")
    assert (status(one), status(two)) == ("assigned", "open")


def test_a_message_about_many_can_be_taken_by_one_digit(client, bundle):
    assert "2 alerts are yours" in sms(client, "8")
    assert [status(each) for each in bundle] == ["assigned", "assigned"]
    assert "You already did this" in sms(client, "8")
    assert "every alert has an owner" in sms(client, "8", sid="SM2")


def test_a_message_about_many_is_not_taken_where_the_policy_disables_it(client, bundle):
    EscalationRun.objects.update(disabled_actions=["sms:assign"])
    assert "Add the number of one of them" in sms(client, "8")
    assert [status(each) for each in bundle] == ["open", "open"]


@pytest.mark.parametrize("change", ["a stranger", "unverified", "another method", "too long ago"])
def test_who_was_notified_of_nothing_gets_no_answer(client, notification, now, change):
    note = notification(at=now - timedelta(days=7) if change == "too long ago" else now)
    if change == "unverified":
        ContactMethod.objects.filter(kind="sms").update(verified_at=None)
    if change == "another method":
        ContactMethod.objects.filter(kind="sms").update(address="+4930999")
    assert sms(client, "9", sender="+4930111" if change == "a stranger" else PHONE) == ""
    assert status(note) == "open"


# -- calls -------------------------------------------------------------------------------------------------------------
def test_a_call_says_what_it_is_about_and_what_can_be_pressed(client, notification):
    note = notification("voice")
    menu = call(client, note)
    for part in ("backup is silent", "Press 6 to escalate", "Press 8 to assign it to you", "Press 1 to hear"):
        assert part in said(menu)
    assert menu.find("Gather").get("action") == f"http://127.0.0.1:8000{BASE}twilio/voice/{tokens.token(note.pk)}/"
    assert "Press 0" not in said(menu)


@pytest.mark.parametrize(
    ("key", "after"), [("7", "open"), ("8", "assigned"), ("9", "closed"), ("5", "open"), ("1", "open")]
)
def test_a_key_does_what_it_says(client, notification, key, after):
    note = notification("voice")
    call(client, note, key)
    assert status(note) == after


def test_a_key_pressed_twice_is_done_once(client, notification):
    note = notification("voice")
    call(client, note, "7")
    assert "already did this" in said(call(client, note, "7"))


def test_zero_connects_to_the_alerts_bridge(client, notification, organization):
    bridge = factories.BridgeFactory(organization=organization, name="Ops")
    note = notification("voice", bridge_id=bridge.pk)
    assert "Press 0" in said(call(client, note))
    number = call(client, note, "0").find("Dial/Number")
    assert (number.text, number.get("sendDigits")) == ("+49301234567", "wwww4711#")
    type(note.user).objects.update(is_active=False)
    assert call(client, note, "0").find("Dial") is None


def test_a_call_about_nothing_ends(client, notification):
    note = notification("voice")
    # A button's token of the same message: a signature that is never the right one here.
    path = f"{BASE}twilio/voice/{tokens.button(note.pk)}/"
    assert "an alert that is no longer stored" in twilio(client, path, CallSid="CA1", Digits="9").content.decode()
    assert status(note) == "open"


def test_a_call_about_many_lets_them_be_taken_together(client, notification):
    one, two = notification("voice", name="one"), notification("voice", name="two")
    Notification.objects.filter(pk__in=[one.pk, two.pk]).update(message_id=one.pk)
    assert "2 alerts came together" in said(call(client, one))
    assert "Press 8 to assign them all to you." in said(call(client, one))
    assert "which can only be assigned together" in said(call(client, one, "9"))
    assert "2 alerts are yours" in said(call(client, one, "8"))
    assert status(one) == status(two) == "assigned"


def test_a_call_about_many_names_the_others_that_its_key_takes_along_and_says_as_whom(client, notification):
    one, two, alone = (
        notification("voice", name="one"),
        notification("voice", name="two"),
        notification("voice", name="alone"),
    )
    Notification.objects.filter(pk__in=[one.pk, two.pk]).update(message_id=one.pk)
    assert "1 other that you were notified of is open, too. Press 8" in said(call(client, one))
    done = said(call(client, one, "8"))
    assert speakable(f"As Ana: 3 alerts are yours (2 of this message, and #{alone.alert_id} alone)") in done
    assert status(one) == status(two) == status(alone) == "assigned"
    assert "As Ana" not in said(call(client, one, "8")), "nothing was done"


def test_a_call_about_many_names_no_key_that_the_policy_disables(client, notification):
    one, two = notification("voice", name="one"), notification("voice", name="two")
    Notification.objects.filter(pk__in=[one.pk, two.pk]).update(message_id=one.pk)
    EscalationRun.objects.update(disabled_actions=["voice:assign"])
    assert "Press 8" not in said(call(client, one))
    assert "does not allow this over this channel" in said(call(client, one, "8"))


# -- mail --------------------------------------------------------------------------------------------------------------
def write(client, notification, text, *, to=None, headers=""):
    """Answer by mail; return what came of it."""
    sent = (
        f"From: Ana <ana@example.com>\r\nTo: {to or tokens.reply_address(notification.pk)}\r\nSubject: Re: backup\r\n"
        f"Message-ID: <1@example.com>\r\nContent-Type: text/plain; charset=utf-8\r\n{headers}\r\n{text}\r\n"
    )
    response, event = bring_mail(client, sent.encode())
    assert response.status_code == 202
    assert event.state == "read", event.fault
    return event.result[0]["reason"]


def test_a_mail_is_answered_with_one_word_and_gets_an_answer(client, notification, now):
    note = notification("email")
    assert "is yours" in write(client, note, "Assign to me\r\n\r\n> quoted")
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
    assert sent.reply_to == [tokens.reply_address(Notification.objects.get().pk)]
    assert "Or answer this mail with one word" in sent.body


@pytest.mark.parametrize(
    "headers",
    [
        "Auto-Submitted: auto-replied\r\n",
        "Auto-Submitted: Auto-Generated (ticket 5)\r\n",
        "Auto-Submitted:\r\n auto-replied; owner-email=x\r\n",
        "Auto-Submitted: no\r\nAuto-Submitted: auto-replied\r\n",
        "Auto-Submitted:\r\n",
        "Auto-Submitted: nothing\r\n",
        "X-Auto-Response-Suppress: All\r\n",
        "Precedence: bulk\r\n",
        "Return-Path: <>\r\n",
        "List-Id: <all.example.com>\r\n",
        "X-Autoreply: yes\r\n",
    ],
)
def test_what_a_machine_writes_is_not_acted_upon_nor_answered(client, notification, headers):
    note = notification("email")
    assert "sent automatically" in write(client, note, "close", headers=headers)
    assert status(note) == "open"
    assert not Notification.objects.filter(kind="notice").exists()


@pytest.mark.parametrize("value", ["no", "No", "no (written by hand)", "\r\n no ", "no; x=y"])
def test_a_mail_that_says_that_a_person_wrote_it_is_read(client, notification, value):
    note = notification("email")
    assert "You closed" in write(client, note, "close", headers=f"Auto-Submitted: {value}\r\n")
    assert status(note) == "closed"


def test_a_mail_that_has_only_an_html_part_is_read_without_what_it_quotes(client, notification):
    note = notification("email")
    sent = (
        f"From: Ana <ana@example.com>\r\nTo: {tokens.reply_address(note.pk)}\r\nMessage-ID: <1@example.com>\r\n"
        "Content-Type: text/html; charset=utf-8\r\n\r\n<html><head><style>p {}</style></head><body>"
        '<div>Acknowledge</div><div class="gmail_quote">On Monday Heartbeat wrote: close</div></body></html>\r\n'
    )
    _, event = bring_mail(client, sent.encode())
    said = event.result[0]["reason"]
    assert said.startswith(f"You acknowledged #{note.alert_id} backup")
    assert said.endswith(f"To undo: http://127.0.0.1:8000/alerts/{note.alert_id}/")
    assert status(note) == "open"


def test_a_mail_answers_its_own_alert_and_says_what_else_is_open(client, notification, now):
    older, newer = (
        notification("email", name="older", at=now - timedelta(minutes=9)),
        notification("email", name="newer"),
    )
    assert f"this mail is about #{newer.alert_id} newer" in write(client, newer, f"close {older.alert_id}")
    write(client, newer, "close")
    said = write(client, newer, "assign")
    assert said.startswith(f"#{newer.alert_id} newer: Closed by Ana")
    assert f"#{older.alert_id} older is still open." in said
    assert status(older) == "open"


def test_a_mail_that_is_not_understood_gets_the_words(client, notification):
    note = notification("email")
    assert "was not understood" in write(client, note, "Thanks for notifying me\r\nclose")
    assert status(note) == "open"
    assert Notification.objects.get(kind="notice").text.startswith("Nothing was done")


def test_what_is_attached_to_a_mail_is_passed_over(client, notification):
    note = notification("email")
    assert "You closed" in write(client, note, "close\r\n\r\n" + "attached\r\n" * 300_000)
    assert status(note) == "closed"


@pytest.mark.parametrize("to", ["alerts@reply.example.org", "alerts+" + "a" * 45 + "@reply.example.org", "x"])
def test_a_mail_without_a_signed_address_does_nothing(client, notification, to):
    note = notification("email")
    assert "not a reply to a message" in write(client, note, "close", to=to)
    assert status(note) == "open"


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe\x00", b"Content-Type: text/plain; charset=nonsense\r\n\r\nclose", b"To: \r\n" * 50]
)
def test_no_mail_is_a_fault(client, raw):
    response, event = bring_mail(client, raw)
    assert response.status_code == 202
    assert "not a reply to a message" in event.result[0]["reason"]


# -- all endpoints ---------------------------------------------------------------------------------------------------------
def test_what_is_not_signed_is_refused(client, notification):
    note = notification()
    path = f"{BASE}twilio/voice/{tokens.token(note.pk)}/"
    assert twilio(client, f"{BASE}twilio/sms/", token="x", From=PHONE, Body="9").status_code == 403
    assert client.post(f"{BASE}twilio/sms/", {"From": PHONE, "Body": "9"}).status_code == 403
    assert twilio(client, path, token="x", Digits="9").status_code == 403
    assert press_slack(client, note, "close", secret="x").status_code == 403
    assert bring_mail(client, b"close", secret="x")[0].status_code == 403
    assert status(note) == "open"


def test_a_endpoint_that_is_not_set_up_is_not_there(client, notification, settings):
    note = notification()
    settings.TWILIO_AUTH_TOKEN = settings.SLACK_SIGNING_SECRET = settings.INBOUND_MAIL_SECRET = ""
    assert twilio(client, f"{BASE}twilio/sms/", token="", From=PHONE, Body="9").status_code == 404
    assert twilio(client, f"{BASE}twilio/voice/{tokens.token(note.pk)}/", token="", Digits="9").status_code == 404
    assert press_slack(client, note, "close", secret="").status_code == 404
    assert bring_mail(client, b"close", secret="")[0].status_code == 404
    assert status(note) == "open"


@pytest.mark.parametrize("path", ["twilio/sms/", "twilio/voice/x/", "slack/", "mail/"])
def test_no_endpoint_answers_a_get(client, path):
    assert client.get(BASE + path).status_code == 405
