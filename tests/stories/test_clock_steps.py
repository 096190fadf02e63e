"""Domain 5.11: a step of the database's clock, either way, neither opens nor hides an alert."""

import pytest

from accounts.models.contact_methods import ContactMethod
from alerting.states import Action
from alerting.via import CONSOLE
from escalation.models.notifications import BundleWindow, Notification
from escalation.responses.act import act
from integrations.heartbeats.clock_steps import claim_step, move_back, watch_clock
from integrations.heartbeats.selectors import state_of
from integrations.maintenance import windows
from integrations.models.outages import ClockStep, DatabaseClock, Outage
from tests.factories.shifts import make_shift
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db

BACK = [minutes(-0.5), minutes(-120), minutes(-24 * 60)]
TWO_HOURS_BACK = minutes(-120)
AHEAD = [minutes(120), minutes(24 * 60)]
# What is not a deadline moves when all processes have read the clock.
SETTLED = seconds(8)


@pytest.mark.parametrize("by", BACK, ids=str)
def test_silence_is_paged_after_a_step_back_as_if_nothing_had_happened(world: World, by):
    backup = world.heartbeat("backup", every=minutes(60), recipients=["ana"])
    world.ping(backup)
    world.advance(minutes(40))

    world.set_clock(by)

    world.advance(minutes(20) - seconds(1))
    assert world.alerts(backup) == []
    world.advance(seconds(1))
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


@pytest.mark.parametrize("by", AHEAD, ids=str)
def test_a_step_ahead_is_an_outage_and_alarms_nobody(world: World, by):
    backup = world.heartbeat("backup", every=minutes(60), recipients=["ana"])
    world.ping(backup)
    world.advance(minutes(40))

    world.set_clock(by)

    assert Outage.objects.get().ended_at == world.now
    world.advance(minutes(20) - seconds(1))
    assert world.alerts(backup) == []
    world.advance(minutes(60))
    world.expect_page("ana", about=backup)


@pytest.mark.parametrize("by", [*BACK, *AHEAD], ids=str)
def test_what_pings_on_through_a_step_raises_no_alarm(world: World, by):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    for _ in range(3):
        world.ping(backup)
        world.advance(minutes(4))
    world.set_clock(by)
    for _ in range(4):
        world.ping(backup)
        world.advance(minutes(4))

    assert world.alerts(backup) == []
    world.expect_nothing_else()
    assert world.heartbeat_of(backup).last_ping_at == world.now - minutes(4)


def test_an_escalation_goes_on_when_its_next_step_was_due(world: World):
    backup = world.heartbeat(
        "backup", every=minutes(5), recipient_groups=[world.team("ops", primary=["ana"], secondary=["ben"])]
    )
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    world.advance(minutes(2))

    world.set_clock(TWO_HOURS_BACK)

    world.advance(minutes(3) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("ben", about=backup)
    world.expect_nothing_else()


def test_a_ping_after_a_step_ends_a_silence_from_before_it_and_the_next_opens_again(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    world.advance(minutes(1))
    world.set_clock(TWO_HOURS_BACK)
    world.advance(minutes(1))

    world.ping(backup)
    world.beat()

    world.expect_recovery("ana", about=backup)
    world.advance(minutes(5) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("ana", about=backup)


def test_whoever_has_an_alert_is_reminded_after_as_long_as_without_the_step(world: World):
    backup = world.heartbeat(
        "backup", every=minutes(5), recipients=["ana"], escalation_policy=world.policy(reopen_after_minutes=60)
    )
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    act(world.alert(backup), Action.ASSIGN, via=CONSOLE, actor=world.person("ana"), now=world.now)
    world.advance(minutes(30))

    world.set_clock(TWO_HOURS_BACK)

    world.advance(minutes(30) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_mail("ana", saying="This alert is yours", about=backup)


def test_a_bundle_window_that_is_closed_opens_when_it_would_have(world: World):
    world.bundle(minutes(1))
    jobs = [world.heartbeat(name, every=minutes(5), recipients=["ana"]) for name in ("backup", "import", "export")]
    world.ping(jobs[0], received_at=world.now - seconds(10))
    world.advance(minutes(5) - seconds(10))
    world.advance(seconds(10))
    assert BundleWindow.objects.get().closed_until > world.now
    world.advance(seconds(20))

    world.set_clock(TWO_HOURS_BACK)

    world.advance(seconds(60))
    assert not Notification.objects.filter(status="pending").exists()
    assert BundleWindow.objects.get().closed_until <= world.now + minutes(1)


def test_a_window_that_lasts_ends_by_the_clock_and_one_that_was_over_stays_over(world: World):
    covered, free = (world.heartbeat(name, every=minutes(30), recipients=["ana"]) for name in ("covered", "free"))
    for job, ends in ((covered, minutes(60)), (free, minutes(10))):
        windows.create_window(
            world.organization,
            name=job.name,
            starts_at=world.now + minutes(1),
            ends_at=world.now + ends,
            integrations=[job],
            now=world.now,
        )
    end = world.now + minutes(60)
    world.advance(minutes(20))

    world.set_clock(minutes(-15))

    assert state_of(world.heartbeat_of(covered), now=world.now) == "maintenance"
    assert state_of(world.heartbeat_of(free), now=world.now) != "maintenance"
    world.ping(free)
    assert world.heartbeat_of(free).deadline_at == world.now + minutes(30)
    assert world.heartbeat_of(covered).deadline_at == end + minutes(30)


@pytest.mark.parametrize(("by", "hands_over", "paged"), [(-20, 15, "ana"), (20, 30, "ben")], ids=["back", "ahead"])
def test_who_is_on_call_is_who_is_by_the_new_time(world: World, by, hands_over, paged):
    """Set back before the hand-off it comes a second time; set ahead beyond it, it has come."""
    team, at = world.team("ops", primary=["ana", "ben"]), world.now + minutes(hands_over)
    make_shift(team, primary=[world.person("ana")], ends_at=at)
    make_shift(team, primary=[world.person("ben")], starts_at=at)
    backup = world.heartbeat("backup", every=minutes(25), recipient_groups=[team])
    world.advance(minutes(20))
    world.set_clock(minutes(by))
    world.advance(minutes(5))
    if by > 0:
        world.advance(minutes(20))

    world.expect_page(paged, about=backup)
    if by < 0:
        world.advance(minutes(10) - seconds(1))
        world.expect_nothing_else()
        world.advance(minutes(1))
        world.expect_page("ben", about=backup)


def test_messages_that_wait_keep_what_is_left_of_their_pause_and_leases_end(world: World):
    world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.away = {"delivery"}
    world.advance(minutes(5))
    page = Notification.objects.get()
    Notification.objects.update(attempts=1, next_attempt_at=world.now + seconds(40))
    leased = Notification.objects.get()
    leased.pk, leased.step, leased.status = None, 7, "sending"
    leased.next_attempt_at = world.now + seconds(60)
    leased.save(force_insert=True)

    world.set_clock(TWO_HOURS_BACK)
    world.advance(SETTLED)

    page.refresh_from_db()
    assert page.next_attempt_at == world.now + seconds(40) - SETTLED
    world.advance(minutes(2))
    leased.refresh_from_db()
    assert leased.next_attempt_at <= world.now + minutes(1)
    assert ClockStep.objects.get().done_at is not None


def test_what_a_worker_recorded_by_the_old_time_after_the_step_is_moved_too(world: World):
    world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.away = {"delivery"}
    world.advance(minutes(5))
    world.set_clock(minutes(-120))
    world.advance(SETTLED)
    late = world.now + minutes(120) + seconds(30)
    Notification.objects.update(status="pending", attempts=1, next_attempt_at=late, created_at=late)

    world.advance(minutes(2))

    page = Notification.objects.get()
    assert page.next_attempt_at == late - minutes(120)
    assert page.created_at <= world.now


def test_limits_codes_and_calendars_wait_no_longer(world: World):
    method = ContactMethod.objects.filter(user=world.person("ana")).first()
    method.code_expires_at = world.now + minutes(10)
    method.save()
    world.beat()

    world.set_clock(minutes(-120))
    world.advance(SETTLED)

    method.refresh_from_db()
    assert method.code_expires_at == world.now + minutes(10) - SETTLED


def test_a_step_of_two_seconds_is_none_and_time_that_passes_is_none(world: World):
    world.set_clock(seconds(-2))
    world.set_clock(minutes(1))
    assert not ClockStep.objects.exists()
    assert DatabaseClock.objects.get().set_back == seconds(0)
    assert watch_clock(now=world.now).latest_at is not None
    assert not claim_step(now=world.now)
    assert move_back(now=world.now)


def test_two_steps_back_in_a_row_are_both_made_good(world: World):
    backup = world.heartbeat("backup", every=minutes(60), recipients=["ana"])
    world.advance(minutes(30))
    world.set_clock(minutes(-120))
    world.set_clock(minutes(-60))

    world.advance(minutes(30) - seconds(1))
    assert world.alerts(backup) == []
    world.advance(seconds(1))
    world.expect_page("ana", about=backup)
