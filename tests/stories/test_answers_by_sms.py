"""What a half-awake person answers by SMS acts on the alert that they saw last, or says what is open."""

from ipaddress import ip_network

import pytest

from accounts.models.contact_methods import ContactMethod
from accounts.services.opt_outs import opt_out
from alerting.models.alerts import Alert
from alerting.services.alerts import assign, close, hold
from escalation.models.notifications import Notification
from escalation.models.responses import Response
from heartbeat_project.kernel import clock
from integrations.models.heartbeats import Heartbeat
from tests.phones import NUMBER, Phone, use_twilio
from tests.providers.server import SILENCE, answer
from tests.providers.twilio import Twilio
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def server(settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    settings.OUTGOING_TIMEOUT_SECONDS = 0.5
    made = Twilio()
    use_twilio(settings, made)
    yield made
    made.close()


@pytest.fixture
def phone(world: World, server, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: world.now)
    return Phone(world, server)


@pytest.fixture
def ana(phone):
    """Ana has the phone."""
    phone.of("ana")
    return phone


def job(world, name, *, every=5.0, recipients=("ana",), priority="high"):
    policy = world.policy(steps=[{"role": "primary"}], priority=priority)
    return world.heartbeat(name, every=minutes(every), recipients=recipients, escalation_policy=policy)


def status(world, *jobs):
    return [world.alert(each).status for each in jobs]


@pytest.fixture(autouse=True)
def nothing_else_comes(world, phone):
    """End each story with half an hour in which nothing is sent that it did not expect."""
    yield
    # What has recovered keeps pinging.
    Heartbeat.objects.filter(state="healthy").update(deadline_at=world.now + minutes(600))
    world.advance(minutes(30))
    phone.expect()
    world.expect_nothing_else()


# -- 1.1: the last message that went ----------------------------------------------------------------------------------
def test_a_digit_is_about_the_repeat_that_rang_after_a_newer_alert(world, phone):
    phone.of("ana", repeat_count=1, repeat_gap_minutes="0.3")
    first, second = job(world, "first", every=5), job(world, "second", every=5.2)
    world.advance(minutes(5) + seconds(19))
    phone.expect("first", "second", "first")
    said = phone.reply("8")
    assert f"#{world.alert(first).pk} first is yours" in said
    assert f"Still open: #{world.alert(second).pk} second (reply 8 {world.alert(second).pk})" in said
    assert status(world, first, second) == ["assigned", "open"]
    world.advance(seconds(20))
    phone.expect("second")
    phone.reply("8")
    assert status(world, first, second) == ["assigned", "assigned"]


def test_a_digit_is_about_what_was_held_and_went_last(world, ana):
    first, second = job(world, "first", every=5), job(world, "second", every=5.2)
    world.away.add("delivery")
    world.advance(minutes(5) + seconds(12))
    held = Notification.objects.filter(alert=world.alert(first), channel="sms")
    held.update(next_attempt_at=world.now + seconds(8))
    world.away.clear()
    world.beat()
    world.advance(seconds(10))
    ana.expect("second", "first")
    assert "first is yours" in ana.reply("8")
    ana.reply(f"8 {world.alert(second).pk}")
    assert status(world, first, second) == ["assigned", "assigned"]


def test_of_what_was_retried_at_the_same_moment_a_digit_asks_which_is_meant(world, ana, server):
    server.answers(answer(503))
    first, second = job(world, "first", every=5), job(world, "second", every=5.1)
    world.advance(minutes(5) + seconds(5))
    server.answers(answer(503))
    world.advance(seconds(45))
    came = ana.unread()
    assert sum("first" in text for text in came) >= 2
    assert "several messages were sent to you at the same time" in ana.reply("8")
    for each in (first, second):
        world.expect_page("ana", about=each)  # what fails over one method comes over the next
        assert f"{each.name} is yours" in ana.reply(f"8 {world.alert(each).pk}")


def test_a_message_of_which_nobody_knows_whether_it_came_leaves_a_doubt(world, ana, server):
    first, second = job(world, "first", every=5), job(world, "second", every=5.2)
    world.advance(minutes(5) + seconds(5))
    server.answers(SILENCE)
    world.advance(seconds(10))
    ana.expect("first", "second")
    world.expect_page("ana", about=second)
    said = ana.reply("8")
    one, two = world.alert(first).pk, world.alert(second).pk
    assert said.startswith("Nothing was done: several messages were sent to you at the same time.")
    assert f"“8 {one}” for first" in said
    assert f"“8 {two}” for second" in said
    assert status(world, first, second) == ["open", "open"]
    ana.reply(f"8 {one}")
    ana.reply(f"8 {two}")
    assert status(world, first, second) == ["assigned", "assigned"]


def test_a_reply_that_overtakes_what_is_written_down_about_its_message_is_in_no_doubt(world, ana):
    backup = job(world, "backup")
    world.advance(minutes(5))
    ana.expect("backup")
    Notification.objects.filter(channel="sms").update(
        status="sending", next_attempt_at=world.now + minutes(2), accepted_at=None, possibly_sent_at=world.now
    )
    assert "backup is yours" in ana.reply("8")
    assert status(world, backup) == ["assigned"]
    Notification.objects.filter(channel="sms").update(status="accepted", next_attempt_at=None, accepted_at=world.now)


def test_what_was_put_away_when_it_was_to_be_sent_is_not_the_last_message(world, phone):
    phone.of("ana", delay_minutes=3)
    first, second = job(world, "first", every=5), job(world, "second", every=5.5)
    world.advance(minutes(8) + seconds(1))
    phone.expect("first")
    opt_out(world.person("ana"), integration_id=second.pk, now=world.now)
    world.advance(seconds(40))
    phone.expect()
    assert "first is yours" in phone.reply("8")
    assert status(world, first, second) == ["assigned", "open"]
    assert Notification.objects.get(alert=world.alert(second), channel="sms").possibly_sent_at is None


def test_a_digit_takes_of_a_bundle_only_what_is_in_it(world, phone):
    world.bundle(seconds(5))
    phone.of("ana", delay_minutes=3)
    jobs = [job(world, name) for name in ("first", "second", "third", "fourth")]
    world.advance(minutes(5) + seconds(6))
    opt_out(world.person("ana"), integration_id=jobs[2].pk, now=world.now)
    world.advance(minutes(3) + seconds(10))
    came = phone.unread()
    assert not any("third" in text for text in came)
    bundle = [text for text in came if "2 alerts" in text or "3 alerts" in text]
    assert bundle
    said = phone.reply("8")
    assert "third" not in said.partition("Still open")[0]
    assert world.alert(jobs[2]).status == "open"


def test_two_messages_at_the_same_moment_leave_a_doubt(world, ana):
    jobs = [job(world, "first"), job(world, "second")]
    world.advance(minutes(5))
    assert len(ana.unread()) == 2
    assert "Reply with the number" in ana.reply("take it")
    assert status(world, *jobs) == ["open", "open"]
    for each in jobs:
        ana.reply(f"8 {world.alert(each).pk}")


def test_an_sms_that_is_brought_twice_does_not_act_on_what_came_meanwhile(world, ana):
    first, second = job(world, "first", every=5), job(world, "second", every=5.2)
    world.advance(minutes(5))
    assert "first is yours" in ana.reply("8", MessageSid="SM1")
    world.advance(seconds(12))
    assert "You already did this: " in ana.reply("8", MessageSid="SM1")
    assert status(world, first, second) == ["assigned", "open"]
    ana.reply("8", MessageSid="SM2")
    ana.expect("first", "second")


# -- 1.2: the number, and the priority as the first word --------------------------------------------------------------
@pytest.mark.parametrize(
    ("priority", "word"), [("critical", "Critical "), ("high", "High "), ("medium", ""), ("low", ""), ("none", "")]
)
def test_every_sms_begins_with_its_priority_and_number(world, ana, priority, word):
    backup = job(world, "backup", priority=priority)
    world.advance(minutes(5))
    number = world.alert(backup).pk
    (text,) = ana.expect("Reply 8=take")
    assert text.startswith(f"{word}#{number}: backup is silent")
    world.ping(backup)
    world.advance(seconds(1))
    world.expect_recovery("ana", about=backup)


# -- 1.3: the newest is over ------------------------------------------------------------------------------------------
@pytest.fixture
def over(world, ana):
    """The last that rang is over; `left` names what is still open."""

    def make(*left):
        jobs = [job(world, name, every=5 + index / 5) for index, name in enumerate((*left, "over"))]
        world.advance(minutes(5 + len(left) / 5) + seconds(1))
        world.ping(jobs[-1])
        world.advance(seconds(2))
        assert "over is silent" in ana.unread()[-1]
        world.expect_recovery("ana", about=jobs[-1])
        return jobs[:-1], world.alert(jobs[-1])

    return make


@pytest.mark.parametrize(("text", "after"), [("8", "assigned"), ("ack", "open"), ("yes", "open")])
def test_when_the_newest_is_over_the_only_other_one_is_taken(world, ana, over, text, after):
    (left,), ended = over("left")
    said = ana.reply(text)
    assert said.startswith(f"#{ended.pk} over is over. ")
    assert f"#{world.alert(left).pk} left" in said
    assert status(world, left) == [after]
    assert Response.objects.get().alert == world.alert(left)
    ana.reply("8")


@pytest.mark.parametrize("ended_is_test", [True, False])
def test_a_test_and_an_alert_in_earnest_are_not_taken_for_each_other(world, ana, over, ended_is_test):
    (left,), ended = over("left")
    Alert.objects.filter(pk=(ended if ended_is_test else world.alert(left)).pk).update(is_test=True)
    said = ana.reply("8")
    assert f"Nothing was changed. Still open: #{world.alert(left).pk} left (reply 8 {world.alert(left).pk})." in said
    assert status(world, left) == ["open"]
    ana.reply(f"8 {world.alert(left).pk}")


def test_what_cannot_be_undone_is_not_done_to_another_alert(world, ana, over):
    (left,), _ = over("left")
    assert f"Still open: #{world.alert(left).pk} left" in ana.reply("9")
    assert status(world, left) == ["open"]
    ana.reply("8")


def test_when_the_newest_is_over_and_several_are_open_the_newest_is_named(world, ana, over):
    (first, second), ended = over("first", "second")
    said = ana.reply("8")
    newest = world.alert(second).pk
    assert said.startswith(f"#{ended.pk} over: Closed by heartbeat")
    assert f"Nothing was changed. Still open: #{newest} second (reply 8 {newest}), and 1 more." in said
    assert status(world, first, second) == ["open", "open"]
    ana.reply(f"8 {newest}")
    ana.reply("8")
    assert status(world, first, second) == ["assigned", "assigned"]


def test_when_nothing_is_open_the_answer_says_so(world, ana, over):
    over()
    assert "Nothing was changed. Nothing else is open." in ana.reply("8")


def test_what_was_put_on_hold_is_not_open_and_is_not_taken_instead(world, ana):
    first, second = job(world, "first", every=5), job(world, "second", every=5.2)
    world.advance(minutes(5) + seconds(12))
    ana.expect("first", "second")
    hold(world.alert(first), actor=world.person("ben"), now=world.now)
    close(world.alert(second), actor=world.person("ben"), now=world.now)
    assert "Nothing was changed. Nothing else is open." in ana.reply("8")
    assert status(world, first, second) == ["on_hold", "closed"]


def test_what_somebody_else_has_is_named_with_what_is_open(world, ana):
    first, second = job(world, "first", every=5), job(world, "second", every=5.2)
    world.advance(minutes(5) + seconds(12))
    ana.expect("first", "second")
    ben = world.person("ben")
    assign(world.alert(second), actor=ben, to=ben, now=world.now)
    said = ana.reply("8")
    assert f"#{world.alert(second).pk} second: Ben took the alert" in said
    assert f"Still open: #{world.alert(first).pk} first (reply 8 {world.alert(first).pk})." in said
    assert status(world, first, second) == ["open", "assigned"]
    ana.reply(f"8 {world.alert(first).pk}")


# -- 1.5: a bundle ----------------------------------------------------------------------------------------------------
def test_a_bundle_is_taken_by_one_digit_with_what_came_before_it(world, ana):
    world.bundle(seconds(5))
    jobs = [job(world, f"job {number}", priority="critical" if number == 3 else "low") for number in range(6)]
    world.advance(minutes(5) + seconds(5))
    alone, together = ana.expect("job 3", "Reply 8 to take all 5.")
    numbers = [world.alert(each).pk for each in jobs]
    assert alone.startswith(f"Critical #{numbers[3]}: job 3")
    assert together.startswith(f"5 alerts: #{numbers[0]} job 0, #{numbers[1]} job 1")
    assert "Reply 8 to take all 5, or add the number of one of them" in ana.reply("9")
    assert status(world, *jobs) == ["open"] * 6
    said = ana.reply("8")
    assert said.startswith(
        f"6 alerts are yours (5 of this message, and #{numbers[3]} job 3). Nobody else will be notified"
    )
    assert status(world, *jobs) == ["assigned"] * 6


# -- 1.6: words, STOP and START, two people ---------------------------------------------------------------------------
def test_what_leaves_a_doubt_is_asked_about_and_nothing_is_done(world, ana):
    backup = job(world, "backup")
    world.advance(minutes(5))
    ana.expect("backup")
    number = world.alert(backup).pk
    for text in ("8 servers down, can't take it", "not 8", "9?", "what is this"):
        said = ana.reply(text)
        assert said.startswith(
            f"Nothing was done: your reply was not understood. For #{number} backup reply 8 to assign"
        )
    assert status(world, backup) == ["open"]
    said = ana.reply("i ack, thanks")
    assert said.startswith(f"You acknowledged #{number} backup")
    assert said.endswith(f"To undo: https://heartbeat.example.org/alerts/{number}/")
    said = ana.reply("8 on my way")
    assert f"To give it back: https://heartbeat.example.org/alerts/{number}/" in said
    assert world.alert(backup).timeline.filter(kind="replied", text="on my way").exists()


@pytest.mark.parametrize("word", ["STOP", " stop ", "Unsubscribe", "CANCEL", "end"])
def test_stop_marks_the_number_until_start(world, ana, client, word):
    cem = ana.of("cem")
    assert ana.reply(word) == ""
    for method in ContactMethod.objects.filter(kind="sms"):
        assert (method.failing_since, method.failing_reason[:21]) == (world.now, "Its owner sent STOP. ")
    client.force_login(world.person("ana"))
    page = client.get("/profile/contact-methods/").content.decode()
    assert "until they send START from this phone" in page
    assert "has refused messages" not in page
    assert ana.reply("start") == "You will receive alerts at this number again."
    cem.refresh_from_db()
    assert (cem.failing_since, cem.stopped_at, cem.failing_reason) == (None, None, "")


def test_what_the_carrier_takes_for_stop_or_start_is_that_whatever_was_written(world, ana):
    assert ana.reply("Laat me met rust", OptOutType="STOP") == ""
    method = ContactMethod.objects.get(kind="sms")
    assert (method.failing_since, method.stopped_at) == (world.now, world.now)
    assert "START" in method.failing_reason
    assert ana.reply("weer aan", OptOutType="START") == "You will receive alerts at this number again."
    method.refresh_from_db()
    assert (method.failing_since, method.stopped_at, method.failing_reason) == (None, None, "")
    backup = job(world, "backup")
    world.advance(minutes(5))
    ana.expect("backup")
    assert "backup is yours" in ana.reply("8")
    assert status(world, backup) == ["assigned"]


def test_a_refusal_because_of_stop_marks_the_number_at_once(world, ana, server):
    server.answers(answer(400, {"code": 21610, "message": "Attempt to send to unsubscribed recipient"}))
    backup = job(world, "backup")
    world.advance(minutes(5))
    method = ContactMethod.objects.get(kind="sms")
    assert method.stopped_at is not None
    assert "START" in method.failing_reason
    ana.expect("backup")
    world.expect_page("ana", about=backup)
    assert ana.reply("yes") == "You will receive alerts at this number again.", "to the carrier, yes is START"
    assert status(world, backup) == ["open"]


def test_yes_acknowledges_where_nothing_was_stopped(world, ana):
    backup = job(world, "backup")
    world.advance(minutes(5))
    ana.expect("backup")
    assert "You acknowledged" in ana.reply("yes")
    ana.reply("8")
    assert status(world, backup) == ["assigned"]


def test_of_two_people_with_one_phone_the_one_who_was_notified_last_answers(world, ana):
    ana.of("ben")
    first, second = job(world, "first", every=5), job(world, "second", every=5.2, recipients=["ben"])
    world.advance(minutes(5) + seconds(12))
    ana.expect("first", "second")
    assert ana.reply("8").startswith(f"As Ben: #{world.alert(second).pk} second is yours")
    assert world.alert(second).owner == world.person("ben")
    assert ana.reply(f"8 {world.alert(first).pk}").startswith(f"As Ana: #{world.alert(first).pk} first is yours")
    assert world.alert(first).owner == world.person("ana")


def test_an_unknown_number_gets_no_answer(world, ana):
    assert ana.reply("8", From="+4930111") == ""
    assert ana.reply("STOP", From=NUMBER[:-1]) == ""
    assert not ContactMethod.objects.filter(stopped_at__isnull=False).exists()
