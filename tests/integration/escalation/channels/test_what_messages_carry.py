"""What messages carry for their readers to answer with, and what happens to a phone whose worker was lost."""

import json
import re
from datetime import timedelta

import pytest

from accounts.models.contact_methods import ContactMethod
from escalation.models.channel_actions import ACTIONS
from escalation.models.notifications import Notification
from escalation.notifications.deliver import deliver_due
from escalation.responses import tokens
from tests import factories
from tests.integration.escalation.posting import page

pytestmark = pytest.mark.django_db

PHONE = "+4915112345678"
LEASE = timedelta(minutes=2)


@pytest.fixture
def ana():
    return factories.UserFactory(name="Ana")


@pytest.fixture
def rule(ana):
    return factories.PolicyFactory(organization=ana.organization, steps=[{"role": "primary"}])


@pytest.fixture
def notify(ana, rule, now):
    """Give Ana a contact method before her e-mail, which follows an hour later, and page her."""

    def make(kind, address, *, about=None, **more):
        ContactMethod.objects.create(
            user=ana, kind=kind, label="Mine", address=address, verified_at=now, position=0, **more
        )
        ana.contact_methods.filter(label="Email-Official").update(delay_minutes=60, position=1)
        return page(ana.organization, policy=rule, users=[ana], now=now, **(about or {}))

    return make


def of(alert, channel):
    return alert.notifications.get(channel=channel)


def lose_the_worker(alert, channel, *, now):
    """Leave the message as a worker leaves it that died after its claim."""
    made = of(alert, channel)
    Notification.objects.filter(pk=made.pk).update(
        status="sending", message_id=made.pk, attempts=1, next_attempt_at=now + timedelta(seconds=60)
    )


@pytest.mark.parametrize("kind", ["sms", "voice"])
def test_a_phone_is_not_rung_again_when_a_worker_was_lost_and_the_next_method_is_used_at_once(
    kind, notify, now, twilio, mailoutbox
):
    alert = notify(kind, PHONE)
    lose_the_worker(alert, kind, now=now)
    deliver_due(now=now + LEASE)
    assert twilio.requests == []
    assert of(alert, kind).status == "failed"
    assert "may have arrived" in of(alert, kind).last_error
    deliver_due(now=now + LEASE)
    assert [mail.to for mail in mailoutbox] == [[of(alert, "email").address]]


def test_a_mail_is_sent_again_under_the_same_message_id_when_a_worker_was_lost(ana, rule, now, mailoutbox):
    alert = page(ana.organization, policy=rule, users=[ana], now=now)
    lose_the_worker(alert, "email", now=now)
    deliver_due(now=now + LEASE)
    assert [mail.extra_headers["Message-ID"].split("@")[0] for mail in mailoutbox] == [f"<{of(alert, 'email').pk}"]
    assert of(alert, "email").status == "accepted"


def test_an_sms_carries_the_link_to_respond_and_says_which_digits_do_what(notify, now, twilio):
    alert = notify("sms", PHONE)
    deliver_due(now=now)
    body = twilio.requests[0].form["Body"]
    assert tokens.page_url(of(alert, "sms").pk) in body
    assert body.endswith(" Reply 8=take, 7=acknowledge, 6=escalate, 9=close.")
    assert len(body) <= 300


def test_a_long_sms_loses_neither_its_link_nor_a_digit(notify, now, twilio):
    alert = notify("sms", PHONE, about={"name": "x" * 400})
    deliver_due(now=now)
    body = twilio.requests[0].form["Body"]
    assert len(body) == 300
    end = f"{tokens.page_url(of(alert, 'sms').pk)} Reply 8=take, 7=acknowledge, 6=escalate, 9=close."
    assert body.endswith(f"x… {end}")


def test_a_stakeholder_gets_no_digits_and_no_link_to_respond(ana, notify, now, twilio):
    ana.kind = "stakeholder"
    ana.save(update_fields=["kind"])
    alert = notify("sms", PHONE)
    deliver_due(now=now)
    body = twilio.requests[0].form["Body"]
    assert tokens.page_url(of(alert, "sms").pk) not in body
    assert "Reply" not in body


def test_a_call_offers_keys_where_twilio_can_reach_us_and_only_speaks_where_it_cannot(notify, now, twilio, settings):
    alert = notify("voice", PHONE)
    deliver_due(now=now)
    spoken = twilio.requests[0].form["Twiml"]
    assert f"/api/v1/responses/twilio/voice/{tokens.token(of(alert, 'voice').pk)}/" in spoken
    assert "Press 8 to assign it to you" in spoken

    settings.BASE_URL = "http://127.0.0.1:8000"
    Notification.objects.filter(pk=of(alert, "voice").pk).update(status="pending", next_attempt_at=now, message_id=None)
    deliver_due(now=now + timedelta(minutes=1))
    assert "<Gather" not in twilio.requests[1].form["Twiml"]


def keys(twiml):
    """Return the keys that a call names the first time it says them, in their order."""
    return re.findall(r"Press (\d)", twiml[: twiml.index("</Gather>")])


@pytest.fixture
def bridge(ana):
    return factories.BridgeFactory(organization=ana.organization)


@pytest.mark.parametrize("to_call", [True, False])
def test_a_call_offers_from_the_start_to_connect_to_the_alerts_bridge(notify, bridge, now, twilio, to_call):
    if not to_call:
        type(bridge).objects.update(phone_number="", meeting_url="https://meet.example.org/ops")
    notify("voice", PHONE, about={"bridge_id": bridge.pk})
    deliver_due(now=now)
    assert keys(twilio.requests[0].form["Twiml"]) == [*"6789", *(["0"] if to_call else []), "1"]


def test_a_call_to_who_may_not_respond_offers_no_bridge(ana, notify, bridge, now, twilio):
    ana.roles.clear()
    notify("voice", PHONE, about={"bridge_id": bridge.pk})
    deliver_due(now=now)
    assert "<Gather" not in twilio.requests[0].form["Twiml"]


@pytest.mark.parametrize(("disabled_actions", "allowed"), [([], ["8", "0", "1"]), (["voice:assign"], ["0", "1"])])
def test_a_call_about_many_offers_to_take_them_all_where_that_is_offered(
    ana, notify, rule, bridge, now, twilio, disabled_actions, allowed
):
    type(rule).objects.update(disabled_actions=disabled_actions)
    rule.refresh_from_db()
    type(ana.organization).objects.update(bundle_seconds=5)
    notify("voice", PHONE)
    for name in ("first", "second"):
        page(ana.organization, policy=rule, users=[ana], now=now, name=name, bridge_id=bridge.pk)
    deliver_due(now=now)
    deliver_due(now=now + timedelta(seconds=5))
    alone, together = (request.form["Twiml"] for request in twilio.requests)
    assert "This call is for Ana." in alone, "two people may share the phone"
    assert "High: 2 alerts: first, second. This call is for Ana." in together
    assert ("1 other that you were notified of is open, too. Press 8" in together) is (disabled_actions == [])
    assert keys(together) == allowed
    assert ("Press 8 to assign it to you." in alone) is (disabled_actions == [])
    assert ("Press 8 to assign them all to you." in together) is (disabled_actions == [])


def test_a_message_to_slack_has_buttons_where_slack_can_answer(notify, now, provider, settings):
    settings.SLACK_SIGNING_SECRET = "s3cret"
    alert = notify("chat", f"{provider.url}/services/T/B/x")
    deliver_due(now=now)
    sent = json.loads(provider.requests[0].body)
    pressed = {element["action_id"]: element for block in sent["blocks"] for element in block.get("elements", ())}
    assert pressed["heartbeat.assign"]["value"] == tokens.button(of(alert, "chat").pk)
    assert pressed["heartbeat.page"]["url"].endswith(f"/alerts/{alert.pk}/")
    assert tokens.token(of(alert, "chat").pk) not in provider.requests[0].body.decode(), "anybody there could use it"


DISABLED_ACTIONS = ["sms:escalate", "voice:assign"]


def test_a_policy_that_disables_an_action_over_voice_has_it_left_out(notify, rule, now, twilio):
    rule.disabled_actions = DISABLED_ACTIONS
    rule.save(update_fields=["disabled_actions"])
    notify("voice", PHONE)
    deliver_due(now=now)
    spoken = twilio.requests[0].form["Twiml"]
    assert "Press 8" not in spoken
    assert "Press 6 to escalate" in spoken
    assert "Press 7 to acknowledge" in spoken


@pytest.mark.parametrize(
    ("disabled_actions", "end"),
    [
        (DISABLED_ACTIONS, " Reply 8=take, 7=acknowledge, 9=close."),
        (["sms:assign", "sms:acknowledge", "sms:escalate"], " Reply 9=close."),
        ([f"sms:{action}" for action in ACTIONS], ""),
    ],
)
def test_an_sms_names_only_the_digits_of_what_the_policy_offers_over_sms(
    notify, rule, now, twilio, disabled_actions, end
):
    rule.disabled_actions = disabled_actions
    rule.save(update_fields=["disabled_actions"])
    alert = notify("sms", PHONE)
    deliver_due(now=now)
    assert twilio.requests[0].form["Body"].endswith(f"{tokens.page_url(of(alert, 'sms').pk)}{end}")


def test_a_contact_method_is_used_again_as_often_as_its_owner_wants_and_only_in_its_windows(notify, now, twilio):
    alert = notify("sms", PHONE, repeat_count=2, repeat_gap_minutes=10)
    due = alert.notifications.filter(channel="sms").order_by("repeat").values_list("next_attempt_at", flat=True)
    assert list(due) == [now, now + timedelta(minutes=10), now + timedelta(minutes=20)]
    ContactMethod.objects.filter(label="Mine").update(
        windows=[{"days": ["sunday"], "starts": "08:00", "ends": "18:00"}]
    )
    ana = ContactMethod.objects.get(label="Mine").user
    quiet = page(ana.organization, policy=ana.organization.escalation_policies.last(), users=[ana], now=now)
    assert set(quiet.notifications.values_list("channel", flat=True)) == {"email"}


def test_a_phone_is_not_rung_more_often_than_a_person_can_bear(ana, notify, rule, now, twilio, monkeypatch):
    monkeypatch.setattr("escalation.notifications.deliver.PER_PHONE", limit_of(2))
    ana.organization.bundle_seconds = 0
    ana.organization.save(update_fields=["bundle_seconds"])
    alerts = [notify("sms", PHONE)] + [page(ana.organization, policy=rule, users=[ana], now=now) for _ in range(2)]
    deliver_due(now=now)
    assert len(twilio.requests) == 2
    waiting = Notification.objects.get(channel="sms", status="pending")
    assert waiting.alert in alerts
    assert waiting.next_attempt_at > now
    assert waiting.attempts == 0


def limit_of(count):
    from escalation.notifications.providers.rate_limits import Limit

    return Limit(count, timedelta(minutes=10))
