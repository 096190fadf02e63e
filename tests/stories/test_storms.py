"""Many alerts hit one person at once: the first message goes out, the rest follow in one."""

import re

import pytest

from alerting.services.alerts import acknowledge, assign, close, hold, resume
from escalation.models.notifications import BundleWindow, Notification
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db

WINDOW = seconds(5)


@pytest.fixture
def stormy(world: World):
    world.bundle(WINDOW)
    return world


def silent(world: World, count: int, *, recipients=("ana",), **fields):
    """Return heartbeats that have just gone silent together."""
    jobs = [
        world.heartbeat(f"job {number:02}", every=minutes(5), recipients=recipients, **fields)
        for number in range(count)
    ]
    world.advance(minutes(5))
    return jobs


def test_the_first_goes_out_at_once_and_the_rest_in_one_message(stormy: World):
    first, *others = silent(stormy, 8)

    stormy.expect_page("ana", about=first)
    stormy.expect_nothing_else()
    stormy.advance(WINDOW - seconds(1))
    stormy.expect_nothing_else()
    stormy.advance(seconds(1))
    stormy.expect_bundle("ana", about=others)
    stormy.expect_nothing_else()


def test_each_timeline_names_the_message_that_carried_it(stormy: World):
    first, *others = silent(stormy, 4)
    stormy.advance(WINDOW)

    def notified(job):
        return [line.text for line in stormy.alert(job).timeline.filter(kind="notified")]

    assert notified(first) == ["E-mail to Ana (Email-Official): sent"]
    carried = {text for job in others for text in notified(job)}
    assert len(carried) == 1
    (said,) = carried
    message_id = stormy.alert(others[0]).notifications.get().message_id
    assert said == (f"E-mail to Ana (Email-Official): sent, in one message with 2 other alerts (message {message_id})")
    assert all(stormy.alert(job).notifications.get().message_id == message_id for job in others)


def test_two_alerts_are_two_plain_messages(stormy: World):
    first, second = silent(stormy, 2)
    stormy.expect_page("ana", about=first)
    stormy.advance(WINDOW)
    stormy.expect_page("ana", about=second)
    stormy.expect_nothing_else()


def test_what_comes_while_the_bundle_window_is_closed_after_a_bundle_waits_for_the_next(stormy: World):
    silent(stormy, 3)
    late = [stormy.heartbeat(f"late {number}", every=minutes(0.1), recipients=["ana"]) for number in range(3)]
    stormy.advance(WINDOW)
    stormy.expect_page("ana", about=stormy.heartbeats()[0])
    stormy.expect_bundle("ana", about=stormy.heartbeats()[1:3])
    stormy.advance(seconds(1))  # six seconds after their start the late ones are silent: one after the bundle
    assert len(stormy.alerts(late[0])) == 1
    stormy.expect_nothing_else()
    stormy.advance(WINDOW)
    stormy.expect_bundle("ana", about=late)
    stormy.expect_nothing_else()


def test_quiet_times_between_alerts_bundle_nothing(stormy: World):
    jobs = [stormy.heartbeat(f"job {number}", every=minutes(number), recipients=["ana"]) for number in (1, 2, 3)]
    stormy.advance(minutes(4))
    for job in jobs:
        stormy.expect_page("ana", about=job)
    stormy.expect_nothing_else()


def test_each_person_has_bundle_windows_of_their_own(stormy: World):
    first, *others = silent(stormy, 3, recipients=("ana", "ben"))
    stormy.advance(WINDOW)
    for who in ("ana", "ben"):
        stormy.expect_page(who, about=first)
        stormy.expect_bundle(who, about=others)
    stormy.expect_nothing_else()


def test_zero_seconds_never_bundle(stormy: World):
    stormy.bundle(seconds(0))
    for job in silent(stormy, 4):
        stormy.expect_page("ana", about=job)
    stormy.expect_nothing_else()
    assert not BundleWindow.objects.filter(closed_until__isnull=False).exists()


def test_what_was_taken_closed_or_acknowledged_meanwhile_is_not_in_the_bundle(stormy: World):
    stops = stormy.policy(acknowledge_stops=True)
    first, taken, closed, seen, *others = silent(stormy, 6, escalation_policy=stops)
    ana = stormy.person("ana")
    assign(stormy.alert(taken), actor=ana, to=ana, now=stormy.now)
    close(stormy.alert(closed), actor=ana, now=stormy.now)
    acknowledge(stormy.alert(seen), actor=ana, now=stormy.now)
    stormy.advance(WINDOW)

    stormy.expect_page("ana", about=first)
    stormy.expect_bundle("ana", about=others)
    stormy.expect_nothing_else()
    for job in (taken, closed, seen):
        assert stormy.alert(job).notifications.get().status == "superseded"


def test_when_all_but_one_were_taken_the_last_one_goes_alone(stormy: World):
    first, second, last = silent(stormy, 3)
    ana = stormy.person("ana")
    assign(stormy.alert(second), actor=ana, to=ana, now=stormy.now)
    stormy.advance(WINDOW)
    stormy.expect_page("ana", about=first)
    message = stormy.expect_page("ana", about=last)
    assert str(stormy.alert(last).notifications.get().pk) in message.extra_headers["Message-ID"]
    stormy.expect_nothing_else()


def test_an_alert_on_hold_leaves_the_bundle_and_waits(stormy: World):
    first, held, *others = silent(stormy, 4)
    ana = stormy.person("ana")
    hold(stormy.alert(held), actor=ana, now=stormy.now)
    stormy.advance(WINDOW)
    stormy.expect_page("ana", about=first)
    stormy.expect_bundle("ana", about=others)
    stormy.advance(minutes(3))
    stormy.expect_nothing_else()

    resume(stormy.alert(held), actor=ana, now=stormy.now)
    stormy.advance(seconds(6))
    stormy.expect_page("ana", about=held)
    stormy.expect_nothing_else()


def test_recoveries_are_bundled_by_themselves_with_the_first_of_them(stormy: World):
    first, *others = jobs = silent(stormy, 4)
    stormy.advance(WINDOW)
    stormy.expect_page("ana", about=first)
    stormy.expect_bundle("ana", about=others)
    for job in jobs:
        stormy.ping(job)
    stormy.advance(seconds(1))
    stormy.expect_nothing_else()
    stormy.advance(WINDOW)
    message = stormy.expect_bundle("ana", about=jobs)
    numbers = [stormy.alert(job).pk for job in jobs]
    named = f"#{numbers[0]} job 00, #{numbers[1]} job 01 and 2 more"
    assert message.subject == f"[Recovered] 4 heartbeats have recovered: {named}"
    stormy.expect_nothing_else()


def test_a_recovery_does_not_wait_for_pages_nor_pages_for_a_recovery(stormy: World):
    first, second = silent(stormy, 2)
    stormy.expect_page("ana", about=first)
    stormy.advance(seconds(1))
    stormy.ping(first)
    stormy.beat()
    stormy.advance(WINDOW - seconds(1))
    stormy.expect_page("ana", about=second)
    stormy.expect_nothing_else()
    stormy.advance(seconds(1))
    stormy.expect_recovery("ana", about=first)
    stormy.expect_nothing_else()


def test_what_came_back_before_it_was_notified_is_notified_neither_as_silent_nor_as_recovered(stormy: World):
    first, second, third = silent(stormy, 3)
    stormy.expect_page("ana", about=first)
    stormy.ping(second)
    stormy.advance(WINDOW)
    stormy.expect_page("ana", about=third)
    stormy.expect_nothing_else()


def test_last_resorts_go_together_too(stormy: World):
    stormy.person("olga", roles=["Owner"])
    empty = stormy.team("Nobody")
    for number in range(3):
        stormy.heartbeat(f"job {number}", every=minutes(5), recipient_groups=[empty])
    stormy.advance(minutes(5))
    stormy.expect_mail("olga", saying="job ")
    stormy.expect_nothing_else()
    stormy.advance(seconds(6))
    stormy.expect_mail("olga", saying="2 alerts reached nobody")
    stormy.expect_nothing_else()


def test_a_bundle_window_that_a_clock_closed_for_hours_counts_as_open(stormy: World):
    first = silent(stormy, 1)[0]
    stormy.expect_page("ana", about=first)
    BundleWindow.objects.update(closed_until=stormy.now + minutes(90))
    second = stormy.heartbeat("second", every=minutes(1), recipients=["ana"])
    stormy.advance(minutes(1))
    stormy.expect_mail("ana", saying="second", about=second)


def test_a_bundle_names_the_most_important_first_and_says_how_many_more(stormy: World, monkeypatch):
    from escalation.notifications import claim

    monkeypatch.setattr(claim, "LISTED", 3)
    low, critical = stormy.policy(priority="low"), stormy.policy(priority="critical")
    # Of what opens in the same second, the most important goes first and alone.
    stormy.heartbeat("first", every=minutes(5), recipients=["ana"], escalation_policy=critical)
    for number in range(4):
        stormy.heartbeat(f"low {number}", every=minutes(5), recipients=["ana"], escalation_policy=low)
    stormy.heartbeat("shop", every=minutes(5), recipients=["ana"], escalation_policy=critical)
    stormy.advance(minutes(5) + WINDOW)
    stormy.expect_mail("ana", saying="first")
    message = stormy.expect_mail("ana", saying="shop")
    numbers = {alert.source_name: alert.pk for alert in stormy.alerts()}
    shop, low = numbers["shop"], numbers["low 0"]
    assert message.subject == f"Critical: [Open] 5 alerts: #{shop} shop, #{low} low 0 and 3 more"
    assert "… and 2 more: http" in message.body
    assert re.findall(r"^\d+\. #\d+ (\w+)", message.body, re.MULTILINE) == ["shop", "low", "low"]


def test_nothing_is_left_behind_when_the_storm_is_over(stormy: World):
    silent(stormy, 30, recipients=("ana", "ben"))
    stormy.advance(minutes(4))
    assert set(Notification.objects.values_list("status", flat=True)) == {"accepted"}
    assert Notification.objects.count() == 60
