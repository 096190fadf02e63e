"""What people do to an alert, and what that does to its escalation (domain: alerts 1-3)."""

import pytest

from alerting.services import alerts
from alerting.services.alerts import StateConflict
from escalation.engine.advance import escalate
from escalation.models.runs import EscalationRun
from tests.stories.test_escalation_policy import silent, timeline
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(world):
    """A missed heartbeat whose Primary has been notified."""
    team = world.team("Database", primary=["ana"], secondary=["sam"], managers=["mia"])
    job = silent(world, recipient_groups=[team])
    world.expect_page("ana", about=job)
    return job


def act(world, job, action, *, by="ana", **more):
    change = escalate if action == "escalate" else getattr(alerts, action)
    return change(world.alert(job), actor=world.person(by), now=world.now, **more)


def test_an_acknowledgement_is_recorded_and_does_not_stop_the_escalation(world, job):
    alert = act(world, job, "acknowledge")
    assert (alert.acknowledged_by, alert.acknowledged_at) == (world.person("ana"), world.now)
    assert ("acknowledged", "Acknowledged by Ana.") in timeline(world, job)
    world.advance(minutes(5))
    world.expect_page("sam", about=job)


def test_the_first_acknowledgement_stays(world, job):
    act(world, job, "acknowledge")
    first = world.now
    world.advance(minutes(1))
    alert = act(world, job, "acknowledge", by="mia")
    assert (alert.acknowledged_by, alert.acknowledged_at) == (world.person("ana"), first)


def test_an_acknowledgement_stops_the_escalation_where_the_policy_says_so(world):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(acknowledge_stops=True))
    world.expect_page("ana", about=job)
    act(world, job, "acknowledge")
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_escalating_an_acknowledged_alert_goes_on_where_acknowledging_had_stopped_it(world):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    job = silent(world, recipient_groups=[team], escalation_policy=world.policy(acknowledge_stops=True))
    world.expect_page("ana", about=job)
    act(world, job, "acknowledge")
    world.advance(minutes(30))
    act(world, job, "escalate")
    world.advance(seconds(1))
    world.expect_page("sam", about=job)


@pytest.mark.parametrize("action", ["assign", "hold", "close", "cancel"])
def test_assign_hold_close_and_cancel_stop_the_escalation(world, job, action):
    act(world, job, action, **({"to": world.person("ana")} if action == "assign" else {}))
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_a_resumed_alert_goes_on_and_what_is_overdue_comes_at_once(world, job):
    act(world, job, "hold")
    world.advance(minutes(30))
    act(world, job, "resume")
    world.advance(seconds(1))
    world.expect_page("sam", about=job)
    world.advance(minutes(5) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("mia", about=job)


def test_a_resumed_alert_with_an_owner_goes_back_to_them(world, job):
    act(world, job, "assign", to=world.person("ana"))
    act(world, job, "hold")
    assert act(world, job, "resume").status == "assigned"
    world.advance(minutes(30))
    world.expect_nothing_else()


def test_escalate_notifies_the_next_person_now_and_the_waits_count_from_there(world, job):
    world.advance(minutes(1))
    act(world, job, "escalate")
    world.advance(seconds(1))
    world.expect_page("sam", about=job)
    world.advance(minutes(5) - seconds(1))
    world.expect_nothing_else()
    world.advance(seconds(1))
    world.expect_page("mia", about=job)


def test_an_owner_who_escalates_gives_the_alert_back(world, job):
    act(world, job, "assign", to=world.person("ana"))
    world.advance(minutes(30))
    alert = act(world, job, "escalate")
    assert (alert.status, alert.owner) == ("open", None)
    world.advance(seconds(1))
    world.expect_page("sam", about=job)


def test_escalating_after_the_last_step_notifies_the_owner_once(world, job):
    world.person("olga", roles=["Owner"])
    world.advance(minutes(30))
    world.expect_page("sam", about=job)
    world.expect_page("mia", about=job)
    for _ in range(2):
        act(world, job, "escalate")
        world.advance(seconds(1))
    world.expect_mail("olga", saying="no further step follows", about=job)
    world.expect_nothing_else()
    assert [kind for kind, _ in timeline(world, job)].count("last_resort") == 1


def test_the_timeline_says_who_did_what(world, job):
    act(world, job, "reply", text="Looking at it")
    act(world, job, "assign", to=world.person("mia"))
    act(world, job, "assign", by="mia", to=world.person("mia"))
    act(world, job, "close", by="mia", reason="disk was full")
    assert [row for row in timeline(world, job) if row[0] not in {"notified", "opened"}] == [
        ("replied", "Looking at it"),
        ("assigned", "Assigned to Mia by Ana."),
        ("assigned", "Mia took the alert."),
        ("closed", "Closed by Mia: disk was full."),
    ]


def test_a_closed_alert_takes_nothing_but_notes(world, job):
    act(world, job, "close")
    for action in ("acknowledge", "hold", "resume", "escalate", "close", "cancel"):
        with pytest.raises(StateConflict, match="Closed"):
            act(world, job, action)
    act(world, job, "reply", text="It was the disk.")


def test_whoever_is_slower_is_informed_and_nothing_changes(world, job):
    seen_by_ana, seen_by_mia = world.alert(job), world.alert(job)
    alerts.assign(seen_by_ana, actor=world.person("ana"), to=world.person("ana"), now=world.now)
    with pytest.raises(StateConflict, match="Somebody else"):
        alerts.close(seen_by_mia, actor=world.person("mia"), now=world.now)
    assert world.alert(job).owner == world.person("ana")


def test_a_run_whose_alert_is_not_open_leaves_the_ticks_way(world, job):
    act(world, job, "assign", to=world.person("ana"))
    world.advance(minutes(6))
    run = EscalationRun.objects.get()
    assert run.parked
    assert run.next_step_at is not None
    assert not EscalationRun.objects.filter(parked=False, next_step_at__isnull=False).exists()


def test_a_run_whose_alert_is_final_has_ended(world, job):
    act(world, job, "close")
    world.advance(minutes(6))
    assert EscalationRun.objects.get().next_step_at is None


def test_nothing_is_sent_after_the_alert_was_assigned_though_it_was_written_before(world):
    ana = world.person("ana")
    ana.contact_methods.create(label="Email-Later", address="later@example.com", delay_minutes=3, verified_at=world.now)
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    act(world, job, "assign", to=ana)
    world.advance(minutes(10))
    world.expect_nothing_else()
    assert world.alert(job).notifications.get(label="Email-Later").status == "superseded"


def test_what_was_written_before_a_hold_is_sent_after_the_resume(world):
    ana = world.person("ana")
    ana.contact_methods.create(label="Email-Later", address="later@example.com", delay_minutes=3, verified_at=world.now)
    job = silent(world, recipients=["ana"])
    world.expect_page("ana", about=job)
    act(world, job, "hold")
    world.advance(minutes(10))
    world.expect_nothing_else()
    act(world, job, "resume")
    world.advance(seconds(5))
    assert world.alert(job).notifications.get(label="Email-Later").status == "accepted"
