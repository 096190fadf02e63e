"""A call: who answered it, what follows, what is offered in it, and what is left on an answering machine."""

import itertools
import re
from datetime import timedelta

import pytest

from alerting.states import Action
from alerting.via import CONSOLE
from escalation.channels.speech import speakable
from escalation.notifications.providers.rate_limits import Limit, acquire
from escalation.notifications.verification import send_code, send_test
from escalation.responses.act import act
from tests import factories
from tests.stories.phones import BASE, Phones, text_of
from tests.world import World, minutes, seconds

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_else_was_sent")]

ANA, BEN, ANA_SMS = "+4915112345678", "+4915112345679", "+4915112345670"


@pytest.fixture
def backup(world: World, phones: Phones):
    """Ana is called at once, gets an SMS after two minutes and a mail after three; Ben is called five minutes later."""
    bridge = factories.BridgeFactory(organization=world.organization, name="Ops")
    team = world.team("Database", primary=["ana"], secondary=["ben"])
    policy = world.policy(steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 5}])
    for who, number in (("ana", ANA), ("ben", BEN)):
        world.person(who).contact_methods.update(delay_minutes=3, position=9)
        phones.give(who, "voice", number, label="Call")
    phones.give("ana", "sms", ANA_SMS, delay=2, label="SMS")
    made = world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipient_groups=[team], bridge=bridge)
    world.advance(minutes(5))
    return made


def call_of(world: World, about, who="ana"):
    """Return the notification of the person's call."""
    return world.alert(about).notifications.get(channel="voice", user=world.person(who))


def lines(world: World, about) -> list[str]:
    """Return what the timeline says about calls."""
    return [entry.text for entry in world.alert(about).timeline.all() if entry.text.startswith("Call to")]


def test_twilio_is_asked_to_distinguish_machines_from_people_while_it_speaks(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    assert (call["MachineDetection"], call["AsyncAmd"]) == ("Enable", "true")
    assert call["AsyncAmdStatusCallback"] == call["StatusCallback"]
    assert call["StatusCallback"].startswith(f"{BASE}/api/v1/provider-callbacks/twilio/")
    assert "Press 8" in text_of(call["Twiml"])
    phones.expect_nothing_else()


def test_an_answering_machine_is_no_person_and_the_next_method_follows_at_once(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    phones.report(call, AnsweredBy="machine_start", MachineDetectionDuration="2400")
    assert (call_of(world, backup).status, call_of(world, backup).call_state) == ("failed", "machine")
    assert lines(world, backup)[-1] == "Call to Ana (Call): an answering machine took it"
    ((sid, twiml),) = phones.twilio.changed
    assert sid == call["sid"]
    left = "This is Heartbeat with an alert for you, backup is silent: please look at your other messages."
    assert text_of(twiml) == f"{left} {left}"
    assert "<Gather" not in twiml
    world.advance(seconds(1))
    phones.expect("sms", ANA_SMS)
    world.expect_nothing_else()
    phones.report(call, CallStatus="completed", CallDuration="40")
    world.advance(minutes(4))
    world.expect_page("ana", about=backup)  # one method at a time: her mail kept its time
    phones.expect_nothing_else()
    world.advance(minutes(1))
    phones.expect("voice", BEN)
    world.advance(minutes(3))
    world.expect_page("ben", about=backup)
    phones.expect_nothing_else()


def test_whom_only_an_answering_machine_answers_for_is_not_reached(world: World, phones: Phones):
    world.person("olga", roles=["Owner"])
    phones.give("ana", "voice", ANA, label="Call")
    policy = world.policy(notify_using="centralized", steps=[{"role": "primary", "contact_labels": ["Call"]}])
    world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipients=["ana"])
    world.advance(minutes(5))
    phones.report(phones.expect("voice", ANA), AnsweredBy="fax")
    world.advance(seconds(1))
    world.expect_mail("olga", saying="Nobody was reached")
    phones.expect_nothing_else()


def test_who_listens_and_hangs_up_gets_the_next_method_at_once_and_nobody_else(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    phones.report(call, AnsweredBy="human")
    assert (call_of(world, backup).status, call_of(world, backup).call_state) == ("delivered", "answered")
    world.advance(seconds(20))
    phones.expect_nothing_else()
    for _ in range(3):
        phones.report(call, CallStatus="completed", CallDuration="20")
        world.advance(seconds(1))
    assert (call_of(world, backup).status, call_of(world, backup).call_state) == ("delivered", "no_key")
    phones.expect("sms", ANA_SMS)
    assert lines(world, backup)[-2:] == [
        "Call to Ana (Call): answered",
        "Call to Ana (Call): answered, no key was pressed: the next contact method is used now",
    ]
    assert phones.twilio.changed == []
    phones.expect_nothing_else()
    world.advance(minutes(3))
    world.expect_page("ana", about=backup)
    phones.expect_nothing_else()
    world.advance(minutes(2))
    phones.expect("voice", BEN)
    phones.expect_nothing_else()


def test_what_a_limit_holds_back_is_not_the_next_method_after_a_call(world: World, phones: Phones, monkeypatch):
    few = Limit(2, timedelta(minutes=10))
    monkeypatch.setattr("escalation.notifications.deliver.PER_PHONE", few)
    world.person("ana").contact_methods.update(delay_minutes=4, position=9)
    phones.give("ana", "voice", ANA, label="Call")
    sms = phones.give("ana", "sms", ANA_SMS, label="SMS")
    for _ in range(2):
        assert acquire(f"contact method {sms.pk}", few, now=world.now + minutes(5)) is None
    backup = world.heartbeat(
        "backup", every=minutes(5), recipients=["ana"], escalation_policy=world.policy(steps=[{"role": "primary"}])
    )
    world.advance(minutes(5))
    call = phones.expect("voice", ANA)
    phones.report(call, AnsweredBy="human")
    phones.report(call, CallStatus="completed", CallDuration="20")
    world.advance(seconds(1))
    world.expect_page("ana", about=backup)
    phones.expect_nothing_else()


@pytest.mark.parametrize("key", ["1", "0", "7", "6"])
def test_a_key_says_that_somebody_is_there_and_nothing_is_expedited(world: World, phones: Phones, backup, key):
    call = phones.expect("voice", ANA)
    phones.report(call, AnsweredBy="human")
    phones.press(call, key)
    phones.report(call, CallStatus="completed", CallDuration="20")
    assert (call_of(world, backup).status, call_of(world, backup).call_state) == ("delivered", "keys")
    assert lines(world, backup)[-1] == "Call to Ana (Call): answered, a key was pressed"
    world.advance(minutes(1))
    if key == "6":
        phones.expect("voice", BEN)
    phones.expect_nothing_else()
    world.advance(minutes(3))
    if key != "7":
        phones.expect("sms", ANA_SMS)
        world.expect_page("ana", about=backup)
    if key == "6":
        world.expect_page("ben", about=backup)
    phones.expect_nothing_else()


def test_what_a_limit_holds_back_is_not_the_next_method(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    held = world.alert(backup).notifications.filter(channel="sms", user=world.person("ana"))
    held.update(limited_since=world.now, next_attempt_at=world.now + minutes(1))
    phones.report(call, CallStatus="completed", CallDuration="20")
    assert held.get().next_attempt_at == world.now + minutes(1), "the limit says when"
    world.advance(seconds(1))
    world.expect_page("ana", about=backup)
    phones.expect_nothing_else()
    world.advance(minutes(1))
    phones.expect("sms", ANA_SMS)
    phones.expect_nothing_else()


def test_a_key_that_does_nothing_is_none_of_ours(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    phones.press(call, "5")
    phones.report(call, CallStatus="completed", CallDuration="20")
    assert call_of(world, backup).call_state == "no_key"
    world.advance(seconds(1))
    phones.expect("sms", ANA_SMS)
    phones.expect_nothing_else()


@pytest.mark.parametrize("status", ["no-answer", "busy", "canceled", "failed"])
def test_what_nobody_answers_has_failed_and_says_how(world: World, phones: Phones, backup, status):
    call = phones.expect("voice", ANA)
    for _ in range(2):
        phones.report(call, CallStatus=status)
    phones.report(call, CallStatus="completed")
    assert (call_of(world, backup).status, call_of(world, backup).call_state) == ("failed", "")
    assert lines(world, backup)[-1] == f"Call to Ana (Call): failed: Twilio: {status}"
    world.advance(seconds(1))
    phones.expect("sms", ANA_SMS)
    world.expect_nothing_else()
    phones.expect_nothing_else()


ENDS = [
    (("human", "completed"), "no_key"),
    (("unknown", "completed"), "no_key"),
    (("machine", "completed"), "machine"),
    (("human", "key", "completed"), "keys"),
    (("machine", "key", "completed"), "keys"),
]


@pytest.mark.parametrize(
    ("order", "end"), [(order, end) for reports, end in ENDS for order in itertools.permutations(reports)]
)
def test_reports_that_come_late_twice_and_in_any_order_end_alike(world: World, phones: Phones, backup, order, end):
    call = phones.expect("voice", ANA)
    for what in (*order, *order):
        if what == "key":
            phones.press(call, "1")
        elif what == "completed":
            phones.report(call, CallStatus="completed")
        else:
            phones.report(call, AnsweredBy="machine_start" if what == "machine" else what)
    notification = call_of(world, backup)
    assert (notification.call_state, notification.status) == (end, "failed" if end == "machine" else "delivered")
    said = lines(world, backup)
    assert len(said) == len(set(said)), "each thing is said once"


def test_who_took_it_elsewhere_while_the_phone_rang_gets_nothing_more(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    act(world.alert(backup), Action.ACKNOWLEDGE, via=CONSOLE, actor=world.person("ana"), now=world.now)
    phones.report(call, CallStatus="completed", CallDuration="20")
    assert lines(world, backup)[-1] == "Call to Ana (Call): answered, no key was pressed"
    world.advance(minutes(4))
    phones.expect_nothing_else()


def test_a_report_of_another_call_changes_nothing(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    phones.report(call | {"sid": "CA" + "f" * 32}, AnsweredBy="machine_start")
    phones.report(call | {"sid": "CA" + "f" * 32}, CallStatus="completed")
    assert (call_of(world, backup).status, call_of(world, backup).call_state) == ("accepted", "")
    assert phones.twilio.changed == []
    phones.expect_nothing_else()


def test_who_cannot_press_anything_is_not_rung_again_for_having_listened(world: World, phones: Phones):
    world.person("vera", kind="stakeholder").contact_methods.update(delay_minutes=2)
    phones.give("vera", "voice", ANA)
    backup = world.heartbeat("backup", every=minutes(5), recipients=["vera"])
    world.advance(minutes(5))
    call = phones.expect("voice", ANA)
    assert "<Gather" not in call["Twiml"]
    phones.report(call, CallStatus="completed")
    assert call_of(world, backup, "vera").status == "delivered"
    world.advance(minutes(1))
    phones.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_page("vera", about=backup)
    phones.expect_nothing_else()


# -- what is offered ---------------------------------------------------------------------------------------------------
def said(twiml) -> str:
    return " ".join("".join(say.itertext()) for say in twiml.iter("Say"))


def test_who_closes_the_alert_is_offered_nothing_more(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    assert "Press 0 to be connected" in text_of(call["Twiml"])
    after = phones.press(call, "9")
    assert "You closed" in said(after)
    assert "A closed alert cannot be reopened." in said(after)
    assert "Press" not in said(after)
    assert after.find("Hangup") is not None
    again = phones.press(call, "0")
    assert again.find("Dial") is None
    assert "Press" not in said(again)
    world.advance(minutes(20))
    phones.expect_nothing_else()


def test_what_is_over_meanwhile_offers_nothing_and_says_so(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    world.ping(backup)
    world.advance(seconds(1))
    for key in ("8", "1", "0", "5"):
        heard = phones.press(call, key)
        assert "Press" not in said(heard), key
        assert heard.find("Dial") is None
    assert "Closed by heartbeat" in said(phones.press(call, "8"))
    world.expect_recovery("ana", about=backup)


def test_who_takes_it_can_still_join_the_conference_and_not_take_it_again(world: World, phones: Phones, backup):
    call = phones.expect("voice", ANA)
    heard = said(phones.press(call, "8"))
    assert "is yours. Nobody else will be notified. To give it back, sign in." in heard
    assert "Press 8" not in heard
    assert "Press 0 to be connected to the conference." in heard
    assert "Press 9 to close it." in heard
    assert phones.press(call, "0").find("Dial") is not None
    world.advance(minutes(20))
    phones.expect_nothing_else()


def test_of_two_people_with_one_number_each_answers_the_call_that_is_for_them(world: World, phones: Phones):
    for who in ("ana", "ben"):
        world.person(who).contact_methods.update(delay_minutes=60)
        phones.give(who, "voice", ANA)
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana", "ben"])
    world.advance(minutes(5))
    calls = {}
    for call in (phones.expect("voice", ANA), phones.expect("voice", ANA)):
        calls[re.findall(r"This call is for (\w+)\.", text_of(call["Twiml"]))[0]] = call
    assert set(calls) == {"Ana", "Ben"}
    # A long number is said digit by digit.
    number = speakable(str(world.alert(backup).pk))
    assert f"As Ben: number {number} backup is yours." in said(phones.press(calls["Ben"], "8"))
    assert world.alert(backup).owner == world.person("ben")
    assert "Ben took the alert" in said(phones.press(calls["Ana"], "8"))
    assert world.alert(backup).owner == world.person("ben")
    world.advance(minutes(90))
    phones.expect_nothing_else()


def test_many_that_were_taken_are_not_offered_again(world: World, phones: Phones):
    world.bundle(seconds(5))
    world.person("ana").contact_methods.update(delay_minutes=60)
    phones.give("ana", "voice", ANA)
    jobs = [world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"]) for number in range(3)]
    world.advance(minutes(5) + seconds(5))
    phones.expect("voice", ANA)
    call = phones.expect("voice", ANA)
    assert "Press 8 to assign them all to you." in text_of(call["Twiml"])
    heard = said(phones.press(call, "8"))
    assert "3 alerts are yours (2 of this message, and" in heard
    assert "To give one back, sign in." in heard
    assert "Press 8" not in heard
    assert [world.alert(job).status for job in jobs] == ["assigned", "assigned", "assigned"]
    for job in jobs:
        world.ping(job)
    world.advance(seconds(1))
    assert "Press" not in said(phones.press(call, "1"))


def test_the_conference_of_many_is_that_of_one_that_is_not_over(world: World, phones: Phones):
    world.bundle(seconds(5))
    world.person("ana").contact_methods.update(delay_minutes=60)
    phones.give("ana", "voice", ANA)
    bridge = factories.BridgeFactory(organization=world.organization, name="Ops")
    jobs = [
        world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"], bridge=bridge) for number in range(3)
    ]
    world.advance(minutes(5) + seconds(5))
    phones.expect("voice", ANA)
    call = phones.expect("voice", ANA)
    world.ping(jobs[1])
    world.advance(seconds(1))
    assert "Press 0 to be connected to the conference." in said(phones.press(call, "1"))
    assert phones.press(call, "0").find("Dial") is not None


# -- what is said ------------------------------------------------------------------------------------------------------
def test_a_code_is_said_slowly_and_twice_with_where_it_belongs(world: World, phones: Phones):
    method = phones.give("ana", "voice", ANA)
    method.verified_at = None
    method.save()
    assert send_code(method.pk, now=world.now)
    call = phones.expect("voice", ANA)
    heard = text_of(call["Twiml"])
    spelled = re.findall(r"(?:\d\. ){5}\d\.", heard)
    assert len(spelled) == 4, "twice, and the whole twice"
    assert len(set(spelled)) == 1
    assert "Enter it on your contact methods page in Heartbeat within 30 minutes." in heard
    assert "http" not in heard
    code = re.sub(r"\D", "", spelled[0])
    phones.report(call, AnsweredBy="machine_start")
    ((_, left),) = phones.twilio.changed
    assert text_of(left).startswith("This is Heartbeat, which has a message for you: please sign in")
    assert code not in re.sub(r"\D", "", text_of(left))
    phones.client.force_login(world.person("ana"))
    phones.client.post(f"/profile/contact-methods/{method.pk}/verify/", {"code": code})
    method.refresh_from_db()
    assert method.verified_at is not None
    phones.expect_nothing_else()


def test_a_test_call_says_that_it_is_one(world: World, phones: Phones):
    assert send_test(phones.give("ana", "voice", ANA).pk, now=world.now)
    heard = text_of(phones.expect("voice", ANA)["Twiml"])
    assert "This is a test from Heartbeat. Ana asked for it to see that voice works. You need not do anything" in heard
    phones.expect_nothing_else()
