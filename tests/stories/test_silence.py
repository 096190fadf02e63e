"""Domain 5, Timing, miss and recovery: each test is named after the sentence it holds."""

import pytest

from alerting.models.alerts import Alert
from alerting.services import alerts as alerting
from integrations.configuration.edits import delete_integration
from integrations.heartbeats import edits
from integrations.heartbeats.selectors import recent_events, state_of
from integrations.maintenance import windows
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.outages import IngestState, Outage
from tests import factories
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


def test_5_1_the_clock_starts_when_saved_enabled_so_a_job_that_never_runs_is_caught(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])

    world.advance(minutes(5) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))

    assert [alert.status for alert in world.alerts(backup)] == ["open"]
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


def test_5_1_with_first_ping_the_clock_starts_then(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], start_timer="first_ping")

    world.advance(minutes(30))
    assert world.alerts(backup) == []
    assert world.heartbeat_of(backup).deadline_at is None
    world.ping(backup)
    world.advance(minutes(5))

    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


@pytest.mark.parametrize("pinged", ["before", "while_disabled"])
def test_4_4_enabling_what_was_ever_pinged_starts_a_fresh_interval_also_with_first_ping(world: World, pinged):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], start_timer="first_ping")
    if pinged == "before":
        world.ping(backup)
    edits.update_heartbeat(backup, actor=None, now=world.now, enabled=False)
    if pinged == "while_disabled":
        world.ping(backup)
    world.advance(minutes(30))
    edits.update_heartbeat(backup, actor=None, now=world.now, enabled=True)
    world.advance(minutes(5) - seconds(1))
    world.expect_nothing_else()

    world.advance(seconds(1))

    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


def test_4_4_what_was_enabled_again_keeps_its_timer_whatever_starts_it(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(backup)
    for enabled in (False, True):
        edits.update_heartbeat(backup, actor=None, now=world.now, enabled=enabled)
    world.advance(minutes(4))

    edits.update_heartbeat(backup, actor=None, now=world.now, start_timer="first_ping")

    world.advance(minutes(1))
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


def test_5_2_each_ping_sets_the_deadline_to_its_arrival_plus_interval_plus_grace(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], grace_minutes=2)
    world.advance(minutes(3))

    receipt = world.ping(backup)

    assert receipt is not None
    assert receipt.deadline_at == world.now + minutes(7)
    world.advance(minutes(7) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("ana", about=backup)


def test_5_2_a_ping_counts_from_its_receipt_and_not_from_when_a_worker_got_to_it(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    received_at = world.now
    world.advance(minutes(2))

    receipt = world.ping(backup, received_at=received_at)

    assert receipt is not None
    assert receipt.deadline_at == received_at + minutes(5)


def test_5_2_an_older_ping_that_is_recorded_late_takes_nothing_back(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(2))
    world.ping(backup)
    newest = world.now

    world.ping(backup, received_at=newest - minutes(1))

    heartbeat = world.heartbeat_of(backup)
    assert (heartbeat.last_ping_at, heartbeat.deadline_at) == (newest, newest + minutes(5))
    assert heartbeat.ping_count == 2
    edits.update_heartbeat(backup, actor=None, now=world.now, interval_minutes=7)
    assert world.heartbeat_of(backup).deadline_at == newest + minutes(7)


def test_5_2_a_change_of_interval_recomputes_the_deadline_from_the_last_ping_at_once(world: World):
    backup = world.heartbeat("backup", every=minutes(60), recipients=["ana"])
    world.ping(backup)
    world.advance(minutes(10))

    edits.update_heartbeat(backup, actor=None, now=world.now, interval_minutes=20)
    assert world.heartbeat_of(backup).deadline_at == world.now + minutes(10)
    edits.update_heartbeat(backup, actor=None, now=world.now, interval_minutes=5)
    world.advance(seconds(1))

    world.expect_page("ana", about=backup)


def test_5_2_other_changes_leave_the_deadline_alone(world: World):
    backup = world.heartbeat("backup", every=minutes(60), recipients=["ana"])
    world.ping(backup)
    deadline = world.heartbeat_of(backup).deadline_at
    world.advance(minutes(10))

    edits.update_heartbeat(backup, actor=None, now=world.now, name="nightly backup")

    assert world.heartbeat_of(backup).deadline_at == deadline


def test_5_3_one_silence_opens_one_alert_however_long_it_lasts(world: World):
    world.person("olga", roles=["Owner"])
    backup = world.heartbeat("backup", every=minutes(1), recipients=["ana"])

    world.advance(minutes(30))

    assert len(world.alerts(backup)) == 1
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


@pytest.mark.parametrize("end", [alerting.close, alerting.cancel])
def test_5_3_also_when_a_person_ends_that_alert_while_the_silence_goes_on(world: World, end):
    backup = world.heartbeat("backup", every=minutes(1), recipients=["ana"])
    world.advance(minutes(1))
    end(world.alert(backup), actor=world.person("ana"), now=world.now)

    world.advance(minutes(30))

    assert len(world.alerts(backup)) == 1
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


def test_5_3_only_a_ping_re_arms(world: World):
    backup = world.heartbeat("backup", every=minutes(1), recipients=["ana"])
    world.advance(minutes(1))
    alerting.close(world.alert(backup), actor=world.person("ana"), now=world.now)
    edits.update_heartbeat(backup, actor=None, now=world.now, interval_minutes=2, grace_minutes=1)
    world.advance(minutes(10))
    assert len(world.alerts(backup)) == 1

    world.ping(backup)
    world.advance(minutes(3))

    assert len(world.alerts(backup)) == 2


def test_5_4_the_alert_goes_to_the_recipients_through_the_policy_with_bridge_and_source(world: World):
    team = world.team("Database", primary=["ana"], secondary=["ben"])
    bridge = factories.BridgeFactory(organization=world.organization)
    policy = world.policy(priority="critical")
    backup = world.heartbeat(
        "backup", every=minutes(5), recipient_groups=[team], bridge=bridge, escalation_policy=policy
    )
    world.ping(backup)
    last_ping = world.now

    world.advance(minutes(5))

    alert = world.alert(backup)
    assert (alert.source, alert.source_name, alert.source_id) == ("Heartbeat", "backup", str(backup.pk))
    assert (alert.bridge, alert.priority) == (bridge, "critical")
    assert alert.expected_at == last_ping + minutes(5)
    mail = world.expect_page("ana", about=backup)
    assert bridge.phone_number in mail.body
    assert bridge.meeting_url in mail.body
    world.expect_nothing_else()


def test_5_4_a_silence_that_is_noticed_late_is_still_about_its_deadline(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(backup)
    deadline = world.now + minutes(5)
    world.ticking = False
    world.advance(minutes(7))
    world.ticking = True

    world.advance(seconds(1))

    assert world.alert(backup).expected_at == deadline
    assert "(expected by 2026-03-02 12:05:00 UTC, 2 minutes 1 second ago)" in world.alert(backup).long_text


def test_5_4_and_5_5_the_heartbeats_log_names_the_alert_that_opened_and_closed(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    world.ping(backup)
    world.advance(seconds(1))

    assert list(HeartbeatEvent.objects.order_by("id").values_list("kind", "text")) == [
        ("created", "Created."),
        ("missed", f"Alert {world.alert(backup).pk} opened: no ping by 2026-03-02 12:05:00 UTC."),
        ("recovered", f"Alert {world.alert(backup).pk} closed: a ping came."),
    ]


def test_5_4_its_text_says_name_interval_last_ping_how_long_overdue_and_a_link(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], grace_minutes=1)
    world.ping(backup)
    world.advance(minutes(6))

    text = world.alert(backup).long_text
    assert "backup" in text
    assert "Interval: 5 minutes (and 1 minute grace)" in text
    assert "“backup” has not pinged since 2026-03-02 12:00:00 UTC" in text
    assert "(expected by 2026-03-02 12:06:00 UTC)" in text
    assert f"/heartbeats/{backup.pk}/" in text
    assert "backup is silent" in world.alert(backup).subject
    assert "backup" in world.alert(backup).short_text


@pytest.mark.parametrize("meanwhile", ["open", "assigned", "on_hold"])
def test_5_5_the_first_ping_closes_the_alert_whatever_live_status_it_has(world: World, meanwhile):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    ana = world.person("ana")
    if meanwhile == "assigned":
        alerting.assign(world.alert(backup), actor=ana, to=ana, now=world.now)
    if meanwhile == "on_hold":
        alerting.hold(world.alert(backup), actor=ana, now=world.now)
    assert world.alert(backup).status == meanwhile
    world.advance(minutes(1))

    world.ping(backup)
    world.advance(seconds(1))

    alert = world.alert(backup)
    assert (alert.status, alert.close_reason, alert.closed_at) == ("closed", "closed by heartbeat", world.now)
    assert "closed by heartbeat" in alert.timeline.get(kind="closed").text.lower()


def test_5_5_it_stops_the_escalation(world: World):
    team = world.team("Database", primary=["ana"], secondary=["ben"], managers=["cleo"])
    backup = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)

    world.ping(backup)
    world.advance(minutes(4))

    world.expect_recovery("ana", about=backup)
    world.expect_nothing_else()


def test_5_5_a_cancelled_alert_stays_cancelled(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    alerting.cancel(world.alert(backup), actor=world.person("ana"), now=world.now)

    world.ping(backup)
    world.advance(minutes(1))

    assert world.alert(backup).status == "cancelled"


def test_5_6_those_who_were_notified_get_one_short_recovery_notice(world: World):
    team = world.team("Database", primary=["ana"], secondary=["ben"], managers=["cleo"])
    backup = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    world.advance(minutes(10))
    world.expect_page("ana", about=backup)
    world.expect_page("ben", about=backup)

    world.ping(backup)
    world.advance(minutes(3))

    world.expect_recovery("ana", about=backup)
    world.expect_recovery("ben", about=backup)
    world.expect_nothing_else()


def test_5_6_the_notice_can_be_switched_off(world: World):
    policy = world.policy(recovery_notice=False)
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], escalation_policy=policy)
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)

    world.ping(backup)
    world.advance(minutes(1))

    assert world.alert(backup).status == "closed"
    world.expect_nothing_else()


def test_5_7_after_recovery_a_new_silence_opens_a_new_alert(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    world.ping(backup)
    world.advance(seconds(1))
    world.expect_recovery("ana", about=backup)

    world.advance(minutes(5))

    assert [alert.status for alert in world.alerts(backup)] == ["closed", "open"]
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


def test_5_7_also_when_nobody_ticked_between_the_recovery_and_the_new_silence(world: World):
    backup = world.heartbeat("backup", every=minutes(1), recipients=["ana"])
    world.advance(minutes(1))
    world.ping(backup)
    world.ticking = False
    world.advance(minutes(5))
    world.ticking = True

    world.advance(seconds(1))

    assert [alert.status for alert in world.alerts(backup)] == ["closed", "open"]


def test_5_8_a_ping_in_time_that_was_stored_late_wins(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5) - seconds(1))
    in_time = world.now
    world.advance(seconds(2))
    assert world.alert(backup).status == "open"

    world.ping(backup, received_at=in_time)
    world.advance(seconds(1))

    assert world.alert(backup).status == "closed"
    assert world.heartbeat_of(backup).deadline_at == in_time + minutes(5)


def test_5_9_deleting_an_integration_closes_its_open_alert_with_a_note_and_keeps_it(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    alert = world.alert(backup)

    delete_integration(backup, actor=world.person("ines"), now=world.now)
    world.advance(minutes(30))

    alert.refresh_from_db()
    assert (alert.status, alert.close_reason) == ("closed", "its heartbeat was deleted")
    assert alert.source_name == "backup"
    assert "deleted" in alert.timeline.get(kind="closed").text


def test_5_10_inside_a_maintenance_window_pings_are_recorded_and_nothing_opens(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    _window(world, [backup], starts=minutes(2), ends=minutes(60))
    world.advance(minutes(10))
    world.ping(backup)
    world.advance(minutes(49))

    assert world.alerts(backup) == []
    assert world.heartbeat_of(backup).ping_count == 1
    assert state_of(world.heartbeat_of(backup), now=world.now) == "maintenance"


def test_5_10_a_change_of_interval_inside_a_window_counts_from_its_end(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"], start_timer="first_ping")
    window = _window(world, [backup], starts=minutes(0), ends=minutes(60))
    world.advance(minutes(10))
    world.ping(backup)

    edits.update_heartbeat(backup, actor=None, now=world.now, interval_minutes=7)

    assert world.heartbeat_of(backup).deadline_at == window.ends_at + minutes(7)


def test_5_10_at_its_end_a_fresh_interval_starts(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ping(backup)
    _window(world, [backup], starts=minutes(2), ends=minutes(60))

    world.advance(minutes(65) - seconds(1))
    assert world.alerts(backup) == []
    assert state_of(world.heartbeat_of(backup), now=world.now) == "healthy"
    world.advance(seconds(1))

    world.expect_page("ana", about=backup)


def test_5_10_a_window_for_all_covers_what_is_enabled_inside_it(world: World):
    _window(world, [], starts=minutes(0), ends=minutes(60), all_integrations=True)
    world.advance(minutes(1))
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])

    world.advance(minutes(63))
    assert world.alerts(backup) == []
    world.advance(minutes(2))

    world.expect_page("ana", about=backup)


def test_5_10_a_window_that_nobody_was_there_to_start_still_holds(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    _window(world, [backup], starts=minutes(2), ends=minutes(60))
    world.ticking = False
    world.advance(minutes(61))
    world.ticking = True

    world.advance(minutes(3))
    assert world.alerts(backup) == []
    world.advance(minutes(1))

    assert len(world.alerts(backup)) == 1


def test_5_10_taking_the_window_away_starts_a_fresh_interval_at_once(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    window = _window(world, [backup], starts=minutes(2), ends=minutes(60))
    world.advance(minutes(10))

    windows.delete_window(window, now=world.now)

    assert world.heartbeat_of(backup).deadline_at == world.now + minutes(5)
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)


def test_5_10_a_silence_from_before_the_window_keeps_its_alert_and_a_ping_inside_closes_it(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    window = _window(world, [backup], starts=minutes(1), ends=minutes(60))
    world.advance(minutes(10))
    assert world.alert(backup).status == "open"

    world.ping(backup)
    world.advance(seconds(1))

    assert world.alert(backup).status == "closed"
    assert world.heartbeat_of(backup).deadline_at == window.ends_at + minutes(5)


def _cadence(world: World, job, gap):
    """Let it ping three times, so that it is known when the next one is expected; the last ping is now."""
    for _ in range(2):
        world.ping(job)
        world.advance(gap)
    world.ping(job)


def test_5_11_an_outage_in_which_a_ping_was_expected_gives_a_new_interval(world: World):
    world.person("olga", roles=["Owner"])
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    _cadence(world, backup, minutes(4))
    world.advance(minutes(2))

    world.sleep(minutes(3))
    world.beat()

    assert world.alerts(backup) == []
    assert world.heartbeat_of(backup).deadline_at == world.now + minutes(5)
    world.expect_mail("olga", saying="3 minutes")
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    world.expect_nothing_else()


def test_5_11_an_outage_in_which_none_was_expected_moves_the_deadline_by_its_length(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    _cadence(world, backup, minutes(4))
    deadline = world.now + minutes(5)
    world.advance(minutes(1))

    world.sleep(minutes(1))
    world.beat()

    assert world.heartbeat_of(backup).deadline_at == deadline + minutes(1)
    world.advance(minutes(4) - seconds(1))
    assert world.alerts(backup) == []
    world.advance(seconds(1))
    assert len(world.alerts(backup)) == 1


@pytest.mark.parametrize(("share", "away"), [(0.5, 2.5), (0.75, 1), (0.99, 0.3)])
def test_5_11_a_job_that_does_not_send_again_what_an_outage_swallowed_raises_no_alarm(world: World, share, away):
    """It pings on at its cadence; the outages begin at every part of it."""
    every = minutes(10)
    gap = every * share
    jobs = [world.heartbeat(f"job {number}", every=every, recipients=["ana"]) for number in range(4)]
    phase = gap / len(jobs)
    for step in range(8):
        world.ping(jobs[step % 4])
        world.advance(phase)
    world.sleep(every * away)
    # those whose cadence has come in the meantime have lost their pings
    slept = every * away
    at = world.now + (phase - slept % phase) % phase
    step = 8 + -(-slept // phase)
    world.beat()
    for number in range(step, step + 8):
        world.advance(at - world.now)
        world.ping(jobs[number % 4])
        at += phase
    assert world.alerts() == []


def test_5_11_a_short_outage_mails_nobody_and_each_heartbeats_log_shows_it(world: World):
    world.person("olga", roles=["Owner"])
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(1))
    world.sleep(seconds(59))
    world.beat()

    world.expect_nothing_else()
    assert not HeartbeatEvent.objects.filter(kind="outage").exists()
    assert "59 seconds" in recent_events(backup)[0].text


def test_5_11_recipients_learn_once_what_is_not_known_since_the_outage(world: World):
    nightly = world.heartbeat("nightly", every=minutes(24 * 60), recipients=["ana"])
    weekly = world.heartbeat("weekly", every=minutes(7 * 24 * 60), recipients=["ana"])
    often = world.heartbeat("often", every=minutes(10), recipients=["ben"])
    for job in (nightly, weekly, often):
        world.ping(job)
    world.now += minutes(24 * 60) - minutes(2)
    IngestState.objects.update(stored_until=world.now)
    world.ping(often)

    world.sleep(minutes(12))
    world.beat()
    world.advance(seconds(5))

    message = world.expect_mail("ana", saying="not known since the outage", about=nightly)
    assert "weekly" not in message.body
    world.expect_nothing_else()
    assert world.alerts() == []


def test_5_11_while_nobody_listens_nobody_is_judged(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.listening = False

    world.advance(minutes(30), at_most_every=seconds(30))
    assert world.alerts(backup) == []
    world.listening = True
    world.advance(minutes(5))

    assert len(world.alerts(backup)) == 1


def test_5_11_a_deadline_that_had_passed_before_we_went_deaf_is_overdue(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    deadline = world.now + minutes(5)
    world.ticking = False
    world.advance(minutes(6))
    world.ticking = True
    world.sleep(minutes(30))

    world.beat()

    assert [alert.expected_at for alert in world.alerts(backup)] == [deadline]


def test_5_11_the_detector_being_down_alone_is_no_outage(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.ticking = False
    world.advance(minutes(30))
    world.ticking = True

    world.advance(seconds(1))

    assert len(world.alerts(backup)) == 1
    assert not Outage.objects.exists()


def test_5_11_a_ping_after_the_outage_is_not_moved_again(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.sleep(minutes(30))
    world.ping(backup)
    pinged_at = world.now

    world.beat()

    assert world.heartbeat_of(backup).deadline_at == pinged_at + minutes(5)


def test_5_11_a_window_that_began_and_ended_in_our_outage_leaves_a_fresh_interval_after_it(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    _window(world, [backup], starts=minutes(4), ends=minutes(6))
    world.advance(minutes(2))

    world.sleep(minutes(8))
    world.beat()

    assert world.heartbeat_of(backup).deadline_at == world.now + minutes(5)


def test_5_11_a_long_interval_survives_many_restarts(world: World):
    """A timer that starts anew at each restart never fires; one expected ping gives one new interval."""
    backup = world.heartbeat("backup", every=minutes(60), recipients=["ana"])
    _cadence(world, backup, minutes(55))
    anew = None
    for _ in range(24):
        world.advance(minutes(4))
        world.sleep(minutes(1))
        world.beat()
        if anew is None and world.heartbeat_of(backup).armed_at == world.now:
            anew = world.now
        if anew is not None and world.now >= anew + minutes(45):
            break  # before the next ping may be expected
    deadline = anew + minutes(60) + minutes(9)
    assert world.heartbeat_of(backup).deadline_at == deadline
    world.advance(deadline - world.now - seconds(1))
    assert world.alerts(backup) == []

    world.advance(seconds(1))

    assert len(world.alerts(backup)) == 1


def test_5_11_a_clock_that_jumps_ahead_raises_no_alarm(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(1))
    world.now += minutes(600)
    world.beat()
    world.advance(minutes(1))

    assert world.alerts(backup) == []


def test_5_11_a_clock_that_is_set_back_is_followed(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(2))
    world.now -= minutes(60)
    world.advance(minutes(1))
    world.ping(backup)
    world.sleep(minutes(30))
    world.beat()

    assert Outage.objects.count() == 1


def test_a_silent_heartbeat_that_is_disabled_and_enabled_again_still_alarms(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    world.advance(minutes(5))
    world.expect_page("ana", about=backup)
    edits.update_heartbeat(backup, actor=None, now=world.now, enabled=False)
    assert world.alert(backup).status == "closed"
    edits.update_heartbeat(backup, actor=None, now=world.now, enabled=True)

    world.advance(minutes(5))

    assert [alert.status for alert in world.alerts(backup)] == ["closed", "open"]
    world.expect_page("ana", about=backup)


def test_a_ping_to_one_never_touches_another(world: World):
    backup = world.heartbeat("backup", every=minutes(5), recipients=["ana"])
    report = world.heartbeat("report", every=minutes(5), recipients=["ana"])
    before = Heartbeat.objects.filter(pk=report.pk).values().get()
    world.advance(minutes(1))

    world.ping(backup)

    assert Heartbeat.objects.filter(pk=report.pk).values().get() == before
    world.advance(minutes(4))
    assert [alert.source_name for alert in Alert.objects.all()] == ["report"]


def _window(world: World, integrations, *, starts, ends, all_integrations=False):
    return windows.create_window(
        world.organization,
        name="Upgrade",
        starts_at=world.now + starts,
        ends_at=world.now + ends,
        integrations=integrations,
        all_integrations=all_integrations,
        now=world.now,
    )
