"""Stories: an alert that was taken is not forgotten, and whom it is assigned to is notified."""

import re

import pytest
from django.core import mail
from django.test import Client

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.states import Action
from alerting.via import CONSOLE
from escalation.channels.base import DeliveryError
from escalation.channels.email import EmailChannel
from escalation.engine import reviews
from escalation.engine.manual import ManualAlert, send_alert
from escalation.responses.act import act
from heartbeat_project.kernel import clock
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db

OPEN_AGAIN = "This alert is yours"
GOES_ON = "“in steps” goes on where it stood."


def texts(alert, kind):
    return list(alert.timeline.filter(kind=kind).order_by("id").values_list("text", flat=True))


def do(world: World, backup, action: Action, who: str, **more) -> Alert:
    if "to" in more:
        more["to"] = world.person(more["to"])
    return act(world.alert(backup), action, via=CONSOLE, actor=world.person(who), now=world.now, **more)


def leave(world: World, who: str) -> None:
    User.objects.filter(pk=world.person(who).pk).update(is_active=False)


def link_in(message) -> str:
    """Return where the message's reader responds."""
    return re.findall(r"http://\S+?(/r/[\w-]{38})", message.body)[0]


def press(world: World, monkeypatch, message, action: str, **fields):
    """Press a button on the page that the message leads to."""
    monkeypatch.setattr(clock, "now", lambda: world.now)
    link = link_in(message)
    response = Client().post(link, {"action": action, **fields})
    assert response.status_code == 303, response.content.decode()


def silent(world: World, name: str = "backup", **fields):
    """Return a heartbeat that is silent, whose Primary Ana was notified.

    Ben comes after five minutes, Max after ten.
    """
    team = world.team(f"{name} team", primary=["ana"], secondary=["ben"], managers=["max"])
    policy = world.policy(name=fields.pop("policy_name", "in steps"), **{"reopen_after_minutes": 60} | fields)
    backup = world.heartbeat(name, every=minutes(5), escalation_policy=policy, recipient_groups=[team])
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    return backup


@pytest.fixture
def backup(world):
    return silent(world)


def test_an_owner_is_reminded_and_without_an_answer_the_escalation_goes_on_where_it_stood(world, backup):
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(60) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    reminder = world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
    assert "[Still yours?]" in reminder.subject
    assert {"I am on it", "Hold until…", "Close"} == set(
        re.findall(r"^(.+): http\S+\?do=", reminder.body, re.MULTILINE)
    )
    world.advance(minutes(15) - seconds(1))
    assert world.alert(backup).status == "assigned"
    world.expect_nothing_else()
    world.advance(seconds(1))
    alert = world.alert(backup)
    assert (alert.status, alert.owner) == ("open", None)
    assert texts(alert, "reopened") == [f"Open again: nobody answered the reminder. {GOES_ON}"]
    world.expect_page("ben", about=backup)
    world.advance(minutes(5))
    world.expect_page("max", about=backup)
    world.advance(minutes(240))
    world.expect_nothing_else()


@pytest.mark.parametrize("action", [Action.REPLY, Action.ACKNOWLEDGE, Action.ASSIGN])
def test_any_action_or_note_starts_the_time_anew(world, backup, action):
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(59))
    do(world, backup, action, "ana", text="still at it")
    world.advance(minutes(60) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
    world.expect_nothing_else()


def test_being_on_it_starts_the_time_anew_and_leaves_a_line(world, backup, monkeypatch):
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(60))
    for _ in range(2):
        reminder = world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
        world.advance(minutes(14))
        press(world, monkeypatch, reminder, "acknowledge")
        world.advance(minutes(60) - seconds(1))
        world.expect_nothing_else()
        world.advance(seconds(1))
    alert = world.alert(backup)
    assert alert.status == "assigned"
    assert texts(alert, "replied") == ["I am on it.", "I am on it."]
    world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
    world.expect_nothing_else()


def test_a_reminder_can_be_answered_with_a_hold_that_ends(world, backup, monkeypatch):
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(60))
    reminder = world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
    press(world, monkeypatch, reminder, "hold", until="hour")
    assert world.alert(backup).hold_until == world.now + minutes(60)
    world.advance(minutes(60) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    assert world.alert(backup).status == "open"
    assert texts(world.alert(backup), "reopened") == [f"Open again: the time on hold is over. {GOES_ON}"]
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_a_reminder_can_be_answered_by_closing(world, backup, monkeypatch):
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(60))
    press(world, monkeypatch, world.expect_mail("ana", saying=OPEN_AGAIN, about=backup), "close")
    assert world.alert(backup).status == "closed"
    world.advance(minutes(240))
    world.expect_nothing_else()


def test_a_ping_ends_the_reminders(world, backup):
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(60))
    world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
    world.ping(backup)
    world.advance(seconds(1))
    world.expect_recovery("ana", about=backup)
    assert world.alert(backup).run.review_at is None
    for _ in range(30):
        world.advance(minutes(4))
        world.ping(backup)
    world.expect_nothing_else()


def test_without_a_time_set_an_owner_who_took_it_is_never_reminded(world):
    backup = silent(world, reopen_after_minutes=0)
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(60 * 24 * 3), at_most_every=minutes(30))
    assert world.alert(backup).status == "assigned"
    world.expect_nothing_else()


def test_whoever_put_it_on_hold_is_reminded(world, backup):
    do(world, backup, Action.HOLD, "ben")
    world.advance(minutes(60))
    world.expect_mail("ben", saying=OPEN_AGAIN, about=backup)
    world.advance(minutes(15))
    assert world.alert(backup).status == "open"
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_whoever_acknowledged_is_reminded_where_that_stops_the_escalation(world):
    backup = silent(world, acknowledge_stops=True)
    do(world, backup, Action.ACKNOWLEDGE, "ana")
    world.advance(minutes(60))
    world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
    world.advance(minutes(15))
    assert world.alert(backup).acknowledged_at is None
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_an_acknowledgement_that_stops_nothing_needs_no_reminder(world, backup):
    do(world, backup, Action.ACKNOWLEDGE, "ana")
    world.advance(minutes(10))
    world.expect_page("ben", about=backup)
    world.expect_page("max", about=backup)
    world.advance(minutes(240))
    world.expect_nothing_else()


def test_where_no_step_is_left_the_walk_begins_again(world, backup):
    world.advance(minutes(10))
    world.expect_page("ben", about=backup)
    world.expect_page("max", about=backup)
    do(world, backup, Action.ASSIGN, "max")
    world.advance(minutes(75))
    world.expect_mail("max", saying=OPEN_AGAIN, about=backup)
    world.expect_page("ana", about=backup)
    world.advance(minutes(10))
    world.expect_page("ben", about=backup)
    world.expect_page("max", about=backup)
    assert texts(world.alert(backup), "reopened") == [
        "Open again: nobody answered the reminder. The escalation “in steps” begins again at its first step."
    ]
    world.expect_nothing_else()


def test_where_what_is_left_reaches_nobody_the_walk_begins_again(world, backup):
    do(world, backup, Action.ASSIGN, "ana")
    for who in ("ben", "max"):
        leave(world, who)
    world.advance(minutes(75))
    world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
    world.expect_page("ana", about=backup)
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_where_nobody_is_reached_any_more_the_owner_is_notified_whatever_was_sent_before(world, backup):
    olga = world.person("olga", roles=["Owner"])
    do(world, backup, Action.ASSIGN, "olga")
    for who in ("ana", "ben", "max"):
        leave(world, who)
    world.advance(minutes(75))
    world.expect_mail("olga", saying=OPEN_AGAIN, about=backup)
    assert world.alert(backup).owner is None
    world.expect_mail("olga", saying="Nobody was reached", about=backup)
    world.expect_nothing_else()
    # And once more, after she has taken and forgotten it again.
    act(world.alert(backup), Action.ASSIGN, via=CONSOLE, actor=olga, now=world.now)
    world.advance(minutes(75))
    world.expect_mail("olga", saying=OPEN_AGAIN, about=backup)
    world.expect_mail("olga", saying="Nobody was reached", about=backup)
    world.expect_nothing_else()


def test_an_owner_who_cannot_be_reminded_has_it_no_longer(world, backup):
    do(world, backup, Action.ASSIGN, "ana")
    ContactMethod.objects.filter(user=world.person("ana")).update(delay_minutes=44_640)
    world.advance(minutes(60))
    alert = world.alert(backup)
    assert texts(alert, "reopened") == [f"Open again: Ana, who has it, cannot be reminded in time. {GOES_ON}"]
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_an_alert_is_not_opened_again_within_an_hour(world):
    backup = silent(world, reopen_after_minutes=5)
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(20))
    world.expect_mail("ana", saying=OPEN_AGAIN, about=backup)
    world.expect_page("ben", about=backup)
    do(world, backup, Action.ASSIGN, "ben")
    world.advance(minutes(5))
    world.expect_mail("ben", saying="13:25:00 UTC", about=backup)
    world.advance(minutes(55) - seconds(1))
    assert world.alert(backup).status == "assigned"
    world.advance(seconds(1))
    assert world.alert(backup).status == "open"
    world.expect_page("max", about=backup)
    world.expect_nothing_else()


def test_assigning_to_somebody_else_notifies_them_at_once_and_of_the_recovery(world, backup):
    do(world, backup, Action.ASSIGN, "max", to="ben")
    world.advance(seconds(1))
    sent_mail = world.expect_mail("ben", saying="Max assigned this alert to you.", about=backup)
    assert "[Assigned to you]" in sent_mail.subject
    do(world, backup, Action.REPLY, "ben", text="looking")
    world.advance(minutes(30))
    world.expect_nothing_else()
    world.ping(backup)
    world.advance(seconds(1))
    world.expect_recovery("ana", about=backup)
    world.expect_recovery("ben", about=backup)
    world.expect_nothing_else()


@pytest.mark.parametrize("after", [0, 60])
def test_a_new_owner_who_does_nothing_within_ten_minutes_has_it_no_longer(world, monkeypatch, after):
    backup = silent(world, reopen_after_minutes=after)
    do(world, backup, Action.ASSIGN, "max", to="ben")
    world.advance(minutes(1))
    message = world.expect_mail("ben", saying="Max assigned this alert to you.", about=backup)
    link = link_in(message)
    monkeypatch.setattr(clock, "now", lambda: world.now)
    assert Client().get(link).status_code == 200  # opening the page is no action
    do(world, backup, Action.REPLY, "max", text="Ben has it")  # nor is what others say
    world.advance(minutes(9) - seconds(1))
    assert world.alert(backup).status == "assigned"
    world.advance(seconds(1))
    alert = world.alert(backup)
    assert (alert.status, alert.owner) == ("open", None)
    assert texts(alert, "reopened") == [
        f"Open again: Ben, whom it was assigned to, did nothing with it in time. {GOES_ON}"
    ]
    world.expect_page("ben", about=backup)
    world.advance(minutes(5))
    world.expect_page("max", about=backup)
    world.expect_nothing_else()


def test_a_new_owner_who_did_something_is_only_reminded(world, backup, monkeypatch):
    do(world, backup, Action.ASSIGN, "max", to="ben")
    world.advance(minutes(9))
    message = world.expect_mail("ben", saying="Max assigned this alert to you.", about=backup)
    press(world, monkeypatch, message, "acknowledge")
    world.advance(minutes(60) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_mail("ben", saying=OPEN_AGAIN, about=backup)
    world.expect_nothing_else()


def test_a_hold_by_others_does_not_make_the_new_owner_know_of_it(world):
    backup = silent(world, reopen_after_minutes=0)
    do(world, backup, Action.ASSIGN, "max", to="ben")
    world.advance(seconds(1))
    world.expect_mail("ben", saying="Max assigned this alert to you.", about=backup)
    do(world, backup, Action.HOLD, "max")
    do(world, backup, Action.RESUME, "max")
    world.advance(minutes(10))
    assert world.alert(backup).status == "open"
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_an_assignment_that_failed_everywhere_is_taken_back_at_once(world, backup, monkeypatch):
    send = EmailChannel.send

    def refuse_ben(channel, message):
        if message.reader == "Ben":
            raise DeliveryError("550 no such mailbox", permanent=True)
        return send(channel, message)

    monkeypatch.setattr(EmailChannel, "send", refuse_ben)
    do(world, backup, Action.ASSIGN, "max", to="ben")
    world.advance(seconds(1))
    world.advance(seconds(1))
    assert world.alert(backup).status == "open"
    world.advance(minutes(5))
    world.expect_page("max", about=backup)
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_an_alert_that_was_handed_on_before_its_message_left_is_not_notified_of(world, backup):
    do(world, backup, Action.ASSIGN, "max", to="ben")
    world.now += seconds(1)
    do(world, backup, Action.ASSIGN, "max", to="ana")
    world.advance(seconds(1))
    world.expect_mail("ana", saying="Max assigned this alert to you.", about=backup)
    world.expect_nothing_else()


def test_a_hold_with_an_end_is_over_then_and_nobody_is_reminded_before(world, backup):
    do(world, backup, Action.HOLD, "ana", until=world.now + minutes(180))
    world.advance(minutes(180) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    alert = world.alert(backup)
    assert (alert.status, alert.hold_until) == ("open", None)
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_a_hold_can_get_another_end_and_be_resumed(world, backup):
    do(world, backup, Action.HOLD, "ana", until=world.now + minutes(10))
    world.advance(minutes(5))
    do(world, backup, Action.HOLD, "ana", until=world.now + minutes(10))
    world.advance(minutes(6))
    assert world.alert(backup).status == "on_hold"
    do(world, backup, Action.RESUME, "ana")
    world.advance(seconds(1))
    world.expect_page("ben", about=backup)
    world.advance(minutes(3))
    assert texts(world.alert(backup), "reopened") == []
    world.expect_nothing_else()


def test_an_alert_that_is_given_back_goes_on_where_it_stood(world, backup):
    world.advance(minutes(2))
    do(world, backup, Action.ASSIGN, "ana")
    world.advance(minutes(1))
    do(world, backup, Action.GIVE_BACK, "ana")
    world.advance(minutes(2) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("ben", about=backup)
    world.advance(minutes(60))
    world.expect_page("max", about=backup)
    world.expect_nothing_else()


def test_given_back_with_no_step_left_the_walk_begins_again(world, backup):
    world.advance(minutes(10))
    world.expect_page("ben", about=backup)
    world.expect_page("max", about=backup)
    do(world, backup, Action.ASSIGN, "max")
    do(world, backup, Action.GIVE_BACK, "max")
    world.advance(seconds(1))
    world.expect_page("ana", about=backup)
    assert texts(world.alert(backup), "reopened") == [
        "No step was left: the escalation “in steps” begins again at its first step."
    ]
    world.expect_nothing_else()


def test_an_acknowledgement_that_is_taken_back_lets_the_escalation_go_on(world):
    backup = silent(world, acknowledge_stops=True)
    do(world, backup, Action.ACKNOWLEDGE, "ana")
    world.advance(minutes(20))
    world.expect_nothing_else()
    do(world, backup, Action.UNACKNOWLEDGE, "ana")
    world.advance(seconds(1))
    world.expect_page("ben", about=backup)
    do(world, backup, Action.ACKNOWLEDGE, "ana")
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_whoever_acknowledged_is_not_notified_again_by_the_step_they_answered(world):
    team = world.team("database", primary=["ana", "ben"], secondary=["ana"])
    steps = [
        {"role": "primary", "retries": 2, "retry_interval_minutes": 2},
        {"role": "secondary", "wait_minutes": 10},
    ]
    method = world.person("ana").contact_methods.get()
    method.repeat_count, method.repeat_gap_minutes = 1, 1
    method.save()
    ContactMethod.objects.create(
        user=world.person("ana"),
        kind="email",
        label="E-mail-Private",
        address="ana@home.example.net",
        delay_minutes=3,
        verified_at=world.now,
        position=1,
    )
    policy = world.policy(steps=steps)
    backup = world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipient_groups=[team])
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    world.expect_page("ben", about=backup)
    do(world, backup, Action.ACKNOWLEDGE, "ana")
    world.advance(minutes(9))
    world.expect_page("ben", about=backup)
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_page("ana", about=backup)  # a later step
    world.advance(minutes(1))
    world.expect_page("ana", about=backup)
    world.advance(minutes(2))
    world.expect_page("ana", about=backup, address="ana@home.example.net")
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_an_acknowledgement_before_the_first_message_counts_as_reached(world):
    """Ana saw it on the page: her delayed message is not sent, and nobody takes her for unreached."""
    world.person("olga", roles=["Owner"])
    ContactMethod.objects.filter(user=world.person("ana")).update(delay_minutes=2)
    policy = world.policy(steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 5}])
    team = world.team("database", primary=["ana"])
    backup = world.heartbeat("backup", every=minutes(5), escalation_policy=policy, recipient_groups=[team])
    world.advance(minutes(6))
    do(world, backup, Action.ACKNOWLEDGE, "ana")
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_what_a_bundle_of_reminders_is_about_is_answered_together(world, monkeypatch):
    world.bundle(seconds(30))
    jobs = [silent(world, "one", policy_name="first")]
    world.heartbeat("two", every=minutes(5), escalation_policy=jobs[0].escalation_policy, recipients=["ana"])
    world.heartbeat("three", every=minutes(5), escalation_policy=jobs[0].escalation_policy, recipients=["ana"])
    world.advance(minutes(5) + seconds(40))
    mail.outbox.clear()
    world._looked_at = 0
    for alert in Alert.objects.all():
        act(alert, Action.ASSIGN, via=CONSOLE, actor=world.person("ana"), now=world.now)
    world.advance(minutes(60) + seconds(40))
    first, rest = mail.outbox
    assert "Still yours?" in first.subject
    assert rest.subject.startswith("High: [Still yours?] 2 alerts that you have are not over: ")
    press(world, monkeypatch, first, "acknowledge")
    press(world, monkeypatch, rest, "on-it")
    world.advance(minutes(30))
    assert len(mail.outbox) == 2
    assert {alert.status for alert in Alert.objects.all()} == {"assigned"}


def test_an_alert_made_by_hand_is_never_opened_again(world):
    sender = world.person("sam", roles=["Send Message"])
    policy = world.policy(quick_launch=True, reopen_after_minutes=60)
    draft = ManualAlert(subject="Fire", escalation_policy=policy, recipient_users=[world.person("ana")])
    alert = send_alert(draft, sender=sender, now=world.now)
    world.advance(seconds(1))
    world.expect_mail("ana", saying="Fire")
    act(alert, Action.ASSIGN, via=CONSOLE, actor=sender, to=world.person("ben"), now=world.now)
    world.advance(minutes(240))
    world.expect_mail("ben", saying="Sam assigned this alert to you.")
    alert.refresh_from_db()
    assert alert.status == "assigned"
    act(alert, Action.HOLD, via=CONSOLE, actor=sender, until=world.now + minutes(5), now=world.now)
    world.advance(minutes(6))
    alert.refresh_from_db()
    assert alert.status == "open"
    world.expect_mail("ana", saying="Fire")
    world.expect_nothing_else()


def test_an_alert_that_cannot_be_looked_at_stops_no_other_and_the_owner_learns_of_it(world, monkeypatch):
    world.person("olga", roles=["Owner"])
    jobs = []
    for name in ("bad", "good"):
        jobs.append(silent(world, name, policy_name=name))
        do(world, jobs[-1], Action.ASSIGN, "ana")
    looked_at = reviews._remind

    def remind(runs, *, now):
        if any(run.alert.source_name == "bad" for run in runs):
            raise RuntimeError("unreadable")
        return looked_at(runs, now=now)

    monkeypatch.setattr(reviews, "_remind", remind)
    world.advance(minutes(62))
    world.expect_mail("olga", saying="unreadable")
    world.expect_mail("ana", saying=OPEN_AGAIN, about=jobs[1])
    world.expect_nothing_else()
    monkeypatch.undo()
    world.advance(minutes(1))
    world.expect_mail("ana", saying=OPEN_AGAIN, about=jobs[0])
    world.expect_nothing_else()
