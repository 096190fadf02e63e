"""Steps of the database's clock: what is moved, what is not, and what comes meanwhile."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.apps import apps
from django.db.models import DateTimeField

from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from heartbeat_project.kernel import clock
from integrations.heartbeats import clock_steps
from integrations.heartbeats.clock_steps import REST, claim_step, clock_trouble, move_back, watch_clock
from integrations.heartbeats.detection import detect_misses
from integrations.heartbeats.tick import tick
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import ClockStep, DatabaseClock, IngestProcess, IngestState, Outage
from integrations.ping_lane.batch import Arrival, record_pings
from tests.factories import HeartbeatFactory, OrganizationFactory, UserFactory
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db

HOURS = minutes(120)

# Moved by statements of their own: see move_*_back.sql, claim_step and _move_rest.
MOVED = {
    "integrations.Heartbeat": {"last_ping_at", "armed_at", "deadline_at", "quarantined_until", "excused_until"},
    "integrations.IngestState": {"stored_until", "outage_until"},
    "integrations.IngestProcess": {"stored_until", "pulsed_at"},
    "integrations.Outage": {"started_at", "ended_at"},
    "integrations.DatabaseClock": {"latest_at"},
    "escalation.EscalationRun": {"next_step_at", "review_at", "acted_at", "reopened_at"},
    "escalation.Notification": {
        *("created_at", "next_attempt_at", "limited_since", "accepted_at", "possibly_sent_at"),
        *("failing_since", "expedited_at"),
    },
    "alerting.TimelineEntry": {"at"},
    "alerting.Alert": {"opened_at"},
}
# By the calendar, as a person set them: they come when the clock says so.
CALENDAR = {
    "integrations.Heartbeat": {"suspended_until"},
    "integrations.MaintenanceWindow": {"starts_at", "ends_at", "applied_at"},
    "integrations.CoverageReport": {"looked_until"},
    "escalation.Shift": {"starts_at", "ends_at"},
    "escalation.ShiftEntry": {"starts_at", "ends_at"},
    "escalation.OutOfOffice": {"starts_at", "ends_at"},
    "escalation.OnCallReminder": {"starts_at"},
    "alerting.Alert": {"hold_until"},
}
# Workers that know of each other by it ask for a time within a span, either way.
EITHER_WAY = {
    "integrations.Tick": {"started_at", "by_itself_at"},
    "escalation.Progress": {"at"},
    # A window that ends later than one begun now could is over: count_tries.sql.
    "accounts.TryCount": {"until"},
    # A lease that ends later than one taken now would is over: inbound_events.
    "integrations.InboundEvent": {"claimed_until"},
    "integrations.MonthlyUsage": {"counted_at"},
    # The minute in which alerts are counted is compared for equality; a mail about faults may come an hour later.
    "integrations.EventState": {"minute", "fault_noticed_at"},
}
# When something was: shown, never waited for.
HISTORY = {
    "integrations.InboundIntegration": {"created_at"},
    "integrations.Ping": {"received_at"},
    "integrations.InboundEvent": {"received_at"},
    "integrations.EventState": {"last_event_at", "last_rejected_at"},
    # Compared with the sender's times alone; deleted a month later.
    "integrations.EventKey": {"changed_at", "closed_at"},
    "alerting.AlertMember": {"opened_at", "closed_at", "last_event_at"},
    "integrations.PingDay": {"counted_at"},
    "integrations.PingHour": {"hour"},
    "integrations.HeartbeatEvent": {"at"},
    # The past of heartbeats: an end is never before its start.
    "integrations.StatePeriod": {"started_at", "ended_at"},
    "integrations.Outage": {"done_at"},
    "integrations.ChatMessage": {"created_at", "sent_at"},
    "integrations.ChatThread": {"created_at"},
    "accounts.ChatMember": {"linked_at"},
    "integrations.DatabaseClock": {"wrong_at"},
    "integrations.ClockStep": {"at", "done_at"},
    "escalation.OnCallReminder": {"created_at"},
    "escalation.EscalationRun": {"last_resort_at"},
    "escalation.Response": {"at"},
    "escalation.StoredMail": {"at"},
    "alerting.Alert": {"last_event_at", "expected_at", "acknowledged_at", "assigned_at", "closed_at"},
    "accounts.Organization": {"created_at"},
    "accounts.Restore": {"taken_at", "restored_at", "released_at"},
    "accounts.InstallationKey": {"since"},
    "accounts.AuditEntry": {"at"},
    "accounts.User": {"last_login", "created_at"},
    "accounts.Group": {"created_at"},
    "accounts.ContactMethod": {"verified_at"},
    "accounts.OptOut": {"created_at"},
    "accounts.ApiKey": {"created_at", "last_used_at", "revoked_at"},
}


def test_of_each_stored_time_it_is_decided_whether_a_step_back_moves_it():
    """A new column that something waits for, and that nobody moves, hides what waits until the clock has caught up."""
    decided = {(model._meta.label, field) for model, fields in REST for field in fields}
    for table in (MOVED, CALENDAR, EITHER_WAY, HISTORY):
        decided |= {(label, field) for label, fields in table.items() for field in fields}
    stored = {
        (model._meta.label, field.name)
        for model in apps.get_models()
        if model._meta.app_label in {"integrations", "escalation", "alerting", "accounts"}
        for field in model._meta.get_fields()
        if isinstance(field, DateTimeField)
    }
    assert stored == decided


def set_back(now, by=HOURS):
    """Set the clock back at `now`, and claim the step; return the new time."""
    watch_clock(now=now)
    assert claim_step(now=now - by)
    return now - by


def by_the_time(monkeypatch, now, *, set_back, unmoved=None):
    """Let this process stamp by the time after such steps."""
    monkeypatch.setattr(clock, "_setting", clock.Setting(now, 0.0, set_back, unmoved))


def ping(backup, at, *, set_back=None):
    return record_pings([Arrival(backup.token, at, set_back=set_back)])[0]


def test_a_ping_before_its_row_was_moved_is_not_taken_for_older_than_what_stands_there(now, monkeypatch):
    backup = HeartbeatFactory(now=now - minutes(4))
    ping(backup, now - seconds(10))
    new = set_back(now)
    by_the_time(monkeypatch, new, set_back=HOURS, unmoved=HOURS)

    receipt = ping(backup, new + seconds(1))

    assert receipt.deadline_at == new + seconds(1) + minutes(5)
    assert move_back(now=new + seconds(2))
    heartbeat = Heartbeat.objects.get()
    assert (heartbeat.last_ping_at, heartbeat.deadline_at) == (new + seconds(1), new + seconds(1) + minutes(5))


@pytest.mark.parametrize("known", [timedelta(), None], ids=["stamped before", "by a process that knows no step"])
def test_a_ping_that_was_stamped_before_the_step_counts_by_the_new_time(now, monkeypatch, known):
    backup = HeartbeatFactory(now=now - minutes(4))
    new = set_back(now)
    assert move_back(now=new)
    by_the_time(monkeypatch, new, set_back=HOURS if known is not None else timedelta())

    ping(backup, now + seconds(1), set_back=known)

    heartbeat = Heartbeat.objects.get()
    assert (heartbeat.last_ping_at, heartbeat.deadline_at) == (new + seconds(1), new + seconds(1) + minutes(5))


def test_deadlines_move_in_batches_each_once_and_nothing_is_judged_before(now, monkeypatch):
    backups = [HeartbeatFactory(now=now - minutes(4)) for _ in range(5)]
    new = set_back(now)
    moved = clock_steps._move
    batches = []

    def crash_after_two(step, **how):
        if len(batches) == 2:
            raise RuntimeError("the worker died")
        batches.append(step.moved_through)
        moved(step, **how)

    monkeypatch.setattr(clock_steps, "_move", crash_after_two)
    with pytest.raises(RuntimeError):
        move_back(now=new, limit=2)
    assert set(Heartbeat.objects.values_list("deadline_at", flat=True)) == {
        new + minutes(1),
        now + minutes(1),
    }
    monkeypatch.setattr(clock_steps, "_move", moved)

    assert move_back(now=new, limit=2)

    assert set(Heartbeat.objects.values_list("deadline_at", flat=True)) == {new + minutes(1)}
    assert len(backups) == 5


def test_while_deadlines_are_still_by_the_old_time_a_tick_judges_nothing(now, monkeypatch):
    HeartbeatFactory(now=now - minutes(4))
    new = set_back(now)
    monkeypatch.setattr("integrations.heartbeats.tick.move_back", lambda **_: False)
    IngestState.objects.update_or_create(id=1, defaults={"stored_until": now + HOURS})
    assert tick(now=now + HOURS) == 0
    assert not Alert.objects.exists()
    assert detect_misses(now=now + HOURS) == 1
    assert new < now


def test_a_pulse_that_was_under_way_at_the_step_leaves_no_outage_that_lies_ahead(now):
    IngestState.objects.create(stored_until=now - seconds(1))
    new = set_back(now)
    assert IngestState.objects.get().stored_until == new - seconds(1)
    IngestState.objects.update(stored_until=now + seconds(1), outage_until=now + seconds(1))
    IngestProcess.objects.create(process=uuid4(), stored_until=now + seconds(1), pulsed_at=now + seconds(1))
    Outage.objects.create(started_at=new, ended_at=now + seconds(1))

    assert move_back(now=new + seconds(1))

    assert not Outage.objects.exists()
    # Else refused pings would be no outage, and a process that was killed be waited for, until the clock has caught up.
    listening = IngestState.objects.get()
    assert {listening.stored_until, listening.outage_until, IngestProcess.objects.get().stored_until} == {
        new + seconds(1)
    }


def test_a_process_that_read_the_clock_before_a_step_that_is_known_claims_and_notes_nothing(now):
    new = set_back(now)
    assert not claim_step(now=new)
    assert DatabaseClock.objects.get().latest_at == new
    assert not claim_step(now=new + seconds(5))
    assert ClockStep.objects.count() == 1


def test_what_is_being_sent_keeps_its_time_when_the_clock_steps_ahead(now):
    watch_clock(now=now)
    person = UserFactory()
    message = Notification.objects.create(
        organization=person.organization,
        user=person,
        channel="email",
        address=person.email,
        status="sending",
        created_at=now,
        next_attempt_at=now + seconds(60),
    )
    watch_clock(now=now + HOURS)

    assert clock_steps.keep_leases(by=HOURS, now=now + HOURS)
    assert not clock_steps.keep_leases(by=HOURS, now=now + HOURS + seconds(1))

    message.refresh_from_db()
    assert message.next_attempt_at == now + HOURS + seconds(60)


def test_a_machine_whose_clock_is_wrong_is_reported_once_a_minute(monkeypatch, caplog):
    owner = UserFactory(organization=OrganizationFactory(), roles=["Owner"])
    clock_steps.keep_time()
    assert clock_trouble(now=clock.now()) == ""
    monkeypatch.setattr(clock_steps, "_reported_at", float("-inf"))
    monkeypatch.setattr(clock, "skew", lambda: HOURS)

    for _ in range(3):
        clock_steps.keep_time()

    assert [record.getMessage() for record in caplog.records if "ahead of the database's" in record.getMessage()] == [
        f"The clock of {clock_steps.machine_name()} is 2 hours ahead of the database's."
    ]
    notice = Notification.objects.get()
    assert (notice.user, notice.kind) == (owner, "notice")
    assert "2 hours ahead" in notice.text
    monkeypatch.setattr(clock, "skew", timedelta)
    assert "2 hours ahead of the database's. Set it" in clock_trouble(now=clock.now())
    assert clock_trouble(now=clock.now() + minutes(5)) == ""


def test_keeping_time_costs_one_query_and_now_and_then_one_write(django_assert_num_queries):
    clock_steps.keep_time()
    with django_assert_num_queries(1):
        clock_steps.keep_time()
