"""Twilio's status callbacks: signed, once, in any order, and what follows a failure."""

import uuid
from datetime import timedelta

import pytest
from django.test import Client

from accounts.models.contact_methods import ContactMethod
from escalation.models.notifications import Notification
from escalation.notifications.deliver import claim, deliver_due
from heartbeat_project.kernel import clock
from tests import factories
from tests.integration.escalation.posting import page
from tests.providers.twilio import signature

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana")


@pytest.fixture
def alert(ana, now, twilio, mailoutbox):
    """An alert that Ana is notified of by SMS; an e-mail follows an hour later."""
    ContactMethod.objects.create(
        user=ana, kind="sms", label="SMS-Personal", address="+4915112345678", verified_at=now, position=0
    )
    ana.contact_methods.filter(label="Email-Official").update(delay_minutes=60, position=1)
    policy = factories.PolicyFactory(organization=ana.organization, steps=[{"role": "primary"}])
    made = page(ana.organization, policy=policy, users=[ana], now=now)
    deliver_due(now=now)
    return made


def sms(alert):
    return alert.notifications.get(channel="sms")


def report(notification, status, *, sid=None, signed=None, client=None, **more):
    fields = {"MessageSid": sid or notification.provider_id, "MessageStatus": status, "AccountSid": "AC1", **more}
    path = f"/api/v1/provider-callbacks/twilio/{notification.pk}/"
    given = signed if signed is not None else signature(f"https://heartbeat.example.org{path}", fields)
    return (client or Client()).post(path, fields, headers={"X-Twilio-Signature": given}).status_code


def test_an_sms_is_accepted_then_delivered_and_the_timeline_says_so(alert):
    assert sms(alert).status == "accepted"
    assert report(sms(alert), "sent") == 204
    assert sms(alert).status == "accepted"
    assert report(sms(alert), "delivered") == 204
    assert sms(alert).status == "delivered"
    assert alert.timeline.filter(text="SMS to Ana (SMS-Personal): delivered").count() == 1


def test_a_replay_changes_nothing(alert):
    for _ in range(3):
        assert report(sms(alert), "delivered") == 204
    assert report(sms(alert), "failed") == 204
    assert sms(alert).status == "delivered"
    assert alert.timeline.filter(text__contains="delivered").count() == 1


def test_an_sms_that_does_not_arrive_fails_and_the_next_method_is_used_at_once(alert, mailoutbox, now):
    assert report(sms(alert), "undelivered", ErrorCode="30003") == 204
    failed = sms(alert)
    assert (failed.status, failed.last_error) == ("failed", "Twilio: undelivered (code 30003)")
    assert alert.timeline.filter(kind="notification_failed").count() == 1
    deliver_due(now=clock.now())
    assert [mail.to for mail in mailoutbox] == [[alert.notifications.get(channel="email").address]]


@pytest.mark.parametrize("signed", ["", "x", "AAAA"])
def test_a_wrong_signature_is_refused(alert, signed):
    assert report(sms(alert), "failed", signed=signed) == 403
    assert sms(alert).status == "accepted"


def test_a_signature_covers_every_field_and_the_address(alert):
    path = f"/api/v1/provider-callbacks/twilio/{sms(alert).pk}/"
    fields = {"MessageSid": sms(alert).provider_id, "MessageStatus": "sent"}
    signed = signature(f"https://heartbeat.example.org{path}", fields)
    assert report(sms(alert), "failed", signed=signed) == 403
    other = Notification(pk=uuid.uuid4(), provider_id=sms(alert).provider_id)
    assert report(other, "sent", signed=signed) == 403


def test_without_a_token_nobody_is_believed(alert, settings):
    settings.TWILIO_AUTH_TOKEN = ""
    assert report(sms(alert), "failed") == 403


def test_a_report_about_nothing_that_is_there_is_taken_and_does_nothing(alert):
    assert report(Notification(pk=uuid.uuid4(), provider_id="SM1"), "failed") == 204
    assert report(sms(alert), "failed", sid="SM-of-an-earlier-try") == 204
    assert sms(alert).status == "accepted"


def test_only_posts_are_taken_and_csrf_is_not_asked_for(alert):
    path = f"/api/v1/provider-callbacks/twilio/{sms(alert).pk}/"
    assert Client().get(path).status_code == 405
    assert Client().post("/api/v1/provider-callbacks/twilio/x/").status_code == 404
    assert report(sms(alert), "delivered", client=Client(enforce_csrf_checks=True)) == 204


def test_a_receipt_that_overtakes_the_answer_is_not_lost(ana, alert, now):
    waiting = sms(alert)
    Notification.objects.filter(pk=waiting.pk).update(
        status="sending", next_attempt_at=now + timedelta(minutes=1), provider_id="", accepted_at=None
    )
    assert report(waiting, "delivered") == 204
    found = sms(alert)
    assert (found.status, found.next_attempt_at, found.provider_id) == ("delivered", None, waiting.provider_id)
    assert claim("sms", due_by=now + timedelta(minutes=2), now=now, limit=5).messages == []


def test_a_call_that_nobody_takes_has_failed(alert, ana, now):
    call = sms(alert)
    path = f"/api/v1/provider-callbacks/twilio/{call.pk}/"
    fields = {"CallSid": call.provider_id, "CallStatus": "no-answer"}
    signed = signature(f"https://heartbeat.example.org{path}", fields)
    assert Client().post(path, fields, headers={"X-Twilio-Signature": signed}).status_code == 204
    assert sms(alert).last_error == "Twilio: no-answer"
