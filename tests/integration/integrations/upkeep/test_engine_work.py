"""The engine's work of each second: each kind of it is noticed when it is due, and a part that fails holds up no other."""

from datetime import timedelta
from functools import partial

import pytest
from django.db import DatabaseError, connection

from alerting.models.alerts import TEST_LASTS, Alert, TimelineEntry
from alerting.services.alerts import write_timeline
from escalation.models.progress import Progress
from escalation.models.runs import EscalationRun
from integrations.inbound.mails import LEASE
from integrations.maintenance.windows import create_window
from integrations.models.chat import ChatMessage, ChatThread
from integrations.models.events import EventKey, InboundEvent
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import ClockStep, Outage
from integrations.tasks import ENGINE_WORK
from integrations.upkeep import engine_work
from integrations.upkeep.engine_work import ALL_SECONDS, EngineWork, is_work_due
from tests.world import hours, minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def quiet(world):
    """An alert that is open, its run, which has done all it can, and a heartbeat in time: nothing is due."""
    silent = world.heartbeat("silent", every=minutes(5), recipients=["ana"])
    world.heartbeat("in time", every=hours(5), recipients=["ana"])
    world.advance(minutes(6))
    assert world.alert(silent).status == "open"
    EscalationRun.objects.update(next_step_at=None)
    assert not is_work_due(now=world.now)
    return world


def missed_deadline(world, at):
    Heartbeat.objects.exclude(state="missed").update(deadline_at=at, state="healthy")


def missed_deadline_of_a_heartbeat_that_waits(world, at):
    Heartbeat.objects.exclude(state="missed").update(deadline_at=at, state="waiting")


def end_of_a_quarantine(world, at):
    Heartbeat.objects.exclude(state="missed").update(deadline_at=world.now - hours(1), quarantined_until=at)


def step_of_an_escalation(world, at):
    EscalationRun.objects.update(next_step_at=at)


def step_of_an_alert_that_was_taken(world, at):
    """It is to be parked."""
    EscalationRun.objects.update(next_step_at=at)
    Alert.objects.update(status="assigned", owner=world.person("ana"), assigned_at=world.now)


def review(world, at):
    EscalationRun.objects.update(review_at=at)


def delayed_open(world, at):
    api = world.api("monitoring")
    EventKey.objects.create(integration=api, key_hash="k", changed_at=world.now, due_at=at)


def close_for_lack_of_events(world, at):
    Alert.objects.update(closes_at=at)


def end_of_a_claim_of_a_mail(world, at):
    InboundEvent.objects.create(type="email", received_at=world.now, raw=b"m", size=1, claimed_until=at)


def message_to_a_chat(world, at):
    ChatMessage.objects.create(
        integration=world.chat("Operations"), kind="answer", body={}, created_at=world.now, next_attempt_at=at
    )


def maintenance(world, at):
    integration = world.heartbeats()[1]
    create_window(
        world.organization, name="w", starts_at=at, ends_at=at + hours(1), now=at - hours(9), integrations=[integration]
    )


def end_of_a_paging_test(world, at):
    Alert.objects.update(is_test=True, opened_at=at - TEST_LASTS)


BY_TIME = [
    missed_deadline,
    missed_deadline_of_a_heartbeat_that_waits,
    end_of_a_quarantine,
    step_of_an_escalation,
    step_of_an_alert_that_was_taken,
    review,
    delayed_open,
    close_for_lack_of_events,
    end_of_a_claim_of_a_mail,
    message_to_a_chat,
    maintenance,
    end_of_a_paging_test,
]


@pytest.mark.parametrize("kind", BY_TIME, ids=lambda kind: kind.__name__)
def test_what_is_due_at_a_time_is_due_from_then_on(quiet, kind):
    at = quiet.now + minutes(1)
    kind(quiet, at)
    assert not is_work_due(now=at - timedelta(microseconds=1))
    assert is_work_due(now=at)


def recovery(world):
    Heartbeat.objects.filter(state="missed").update(state="healthy", deadline_at=world.now + hours(1))


def recovery_to_waiting(world):
    Heartbeat.objects.filter(state="missed").update(state="waiting", armed_at=None, deadline_at=None)


def run_of_an_alert_that_is_open_again(world):
    EscalationRun.objects.update(next_step_at=world.now + hours(1), parked=True)


def mail(world):
    InboundEvent.objects.create(type="email", received_at=world.now, raw=b"m", size=1)


def mail_that_was_claimed_before_the_clock_was_set_back(world):
    late = world.now + LEASE + seconds(1)
    InboundEvent.objects.create(type="email", received_at=world.now, raw=b"m", size=1, claimed_until=late)


def change_of_an_alert_in_a_chat(world):
    thread_of_the_alert(world)
    write_timeline(TimelineEntry.Kind.UPDATED, [(Alert.objects.get().pk, "Update")], now=world.now)


def thread_of_the_alert(world, **fields):
    newest = TimelineEntry.objects.latest("id").pk
    return ChatThread.objects.create(
        alert=Alert.objects.get(),
        integration=world.chat("Operations"),
        seen_entry=newest,
        created_at=world.now,
        **fields,
    )


def outage(world):
    Outage.objects.create(started_at=world.now - minutes(1), ended_at=world.now)


def mail_about_an_outage(world):
    Outage.objects.create(started_at=world.now - minutes(1), ended_at=world.now, done_at=world.now, mail_due=True)


def step_back_of_the_clock(world):
    ClockStep.objects.create(at=world.now, set_back=hours(1), total=hours(1))


AT_ONCE = [
    recovery,
    recovery_to_waiting,
    run_of_an_alert_that_is_open_again,
    mail,
    mail_that_was_claimed_before_the_clock_was_set_back,
    change_of_an_alert_in_a_chat,
    outage,
    mail_about_an_outage,
    step_back_of_the_clock,
]


@pytest.mark.parametrize("kind", AT_ONCE, ids=lambda kind: kind.__name__)
def test_what_waits_for_the_engine_is_due(quiet, kind):
    kind(quiet)
    assert is_work_due(now=quiet.now)


def test_what_waits_for_somebody_else_is_not_due(quiet):
    """Else the engine would do all its work each second, for as long as a heartbeat is silent or an alert is taken."""
    EscalationRun.objects.update(next_step_at=quiet.now - hours(1), parked=True, acknowledge_stops=True)
    Alert.objects.update(acknowledged_at=quiet.now, acknowledged_by=quiet.person("ana"))
    Heartbeat.objects.filter(state="missed").update(deadline_at=quiet.now - hours(1))
    InboundEvent.objects.create(type="email", received_at=quiet.now, raw=b"m", size=1, state="read")
    InboundEvent.objects.create(type="email", received_at=quiet.now, raw=b"m", size=1, claimed_until=quiet.now + LEASE)
    Outage.objects.create(started_at=quiet.now - minutes(1), ended_at=quiet.now, done_at=quiet.now)
    thread = thread_of_the_alert(quiet)
    write_timeline(TimelineEntry.Kind.NOTIFIED, [(thread.alert_id, "E-mail to Ana: sent")], now=quiet.now)
    assert not is_work_due(now=quiet.now)
    thread.is_open = False
    thread.save()
    write_timeline(TimelineEntry.Kind.UPDATED, [(thread.alert_id, "Update")], now=quiet.now)
    assert not is_work_due(now=quiet.now)


ALL = ["first", "second", "third"]


class Parts:
    """Parts that note when they ran; `failing` names those that raise. The clock is `at`, in seconds."""

    def __init__(self, monkeypatch, *, failing=()):
        self.ran, self.at, self.looks = [], 100.0, 0
        self.is_due: bool | Exception = False
        self.failing = set(failing)
        self.work = EngineWork({name: partial(self.run, name) for name in ALL}, monotonic=lambda: self.at)
        monkeypatch.setattr(engine_work, "is_work_due", self.look)

    def run(self, name):
        self.ran.append(name)
        if name in self.failing:
            raise DatabaseError(name)

    def look(self, *, now):
        self.looks += 1
        if isinstance(self.is_due, Exception):
            raise self.is_due
        return self.is_due

    def tick(self, now):
        """Tick once and return the parts that ran."""
        self.ran = []
        self.work.tick(now=now)
        return self.ran


def test_all_parts_run_in_order_when_anything_is_due_and_else_every_few_seconds(monkeypatch, now):
    parts = Parts(monkeypatch)
    assert parts.tick(now) == ALL
    assert parts.looks == 0
    assert parts.tick(now) == []
    parts.is_due = True
    assert parts.tick(now) == ALL
    parts.is_due = False
    parts.at += ALL_SECONDS - 0.1
    assert parts.tick(now) == []
    parts.at += 0.1
    assert parts.tick(now) == ALL
    assert parts.tick(now) == []
    assert ALL_SECONDS <= 10


@pytest.mark.django_db(transaction=True)
def test_a_part_that_fails_holds_up_no_other(monkeypatch, now, caplog):
    parts = Parts(monkeypatch, failing=["first", "third"])
    assert parts.tick(now) == ALL
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["first", "third"]


@pytest.mark.django_db(transaction=True)
def test_a_look_that_fails_hides_no_work(monkeypatch, now, caplog):
    parts = Parts(monkeypatch)
    parts.tick(now)
    parts.is_due = DatabaseError("no such column")
    assert parts.tick(now) == ALL
    assert "the look for due work failed" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_the_parts_after_one_whose_connection_was_lost_get_another(now):
    """Else one session that the server ends would cost a second of all parts."""
    answers = []

    def lose():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    def ask():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            answers.append(cursor.fetchone()[0])

    EngineWork({"first": lose, "second": ask}).tick(now=now)
    assert answers == [1]


def test_a_tick_with_nothing_due_notes_that_the_engine_runs(quiet, monkeypatch, django_assert_max_num_queries):
    """Else an installation in which nothing is due would be reported as standing still."""
    monkeypatch.setattr("escalation.engine.progress._NOTES.write_at", 0.0)
    monkeypatch.setattr(ENGINE_WORK, "_all_at", float("inf"))
    Progress.objects.all().delete()
    ENGINE_WORK.tick(now=quiet.now)
    assert set(Progress.objects.values_list("work", "at")) >= {("engine", quiet.now), ("judged", quiet.now)}
    with django_assert_max_num_queries(1):
        ENGINE_WORK.tick(now=quiet.now)
