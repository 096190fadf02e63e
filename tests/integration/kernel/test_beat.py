"""Beat: what is due together, what it sends and when it looks again, also after the clock was set back."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler

from heartbeat_project.beat import Entry, Scheduler
from heartbeat_project.celery import app
from heartbeat_project.kernel import clock
from heartbeat_project.schedule import BEAT_SCHEDULE, FORMERLY_PERIODIC, PERIODIC

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[3]
PRINT_SCHEDULE = """
import json
from heartbeat_project.beat_app import app
app.loader.import_default_modules()
from django.apps import apps
from heartbeat_project.beat import Scheduler
print(json.dumps({
    "apps": [config.name for config in apps.get_app_configs()],
    "tasks": [name for name in app.tasks if not name.startswith("celery.")],
    "broker": app.conf.broker_url,
    "retries": app.conf.task_publish_retry,
    "periods": {name: entry["schedule"].run_every.total_seconds() for name, entry in app.conf.beat_schedule.items()},
}))
"""


class Clock:
    """What beat takes for the time, and what it has sent: (seconds since the start, task name)."""

    def __init__(self, scheduler):
        self.start = self.now = datetime(2026, 3, 1, 12, 0, 0, 300_000, tzinfo=UTC)
        self.sent = []
        self.scheduler = scheduler

    def walk(self, *, seconds):
        """Tick as Celery does until `seconds` have passed; return the tasks sent meanwhile, with their times."""
        end, before = self.now + timedelta(seconds=seconds), len(self.sent)
        while self.now < end:
            pause = self.scheduler.tick()
            assert 0 < pause <= 1.0
            self.now += timedelta(seconds=pause)
        return self.sent[before:]


@pytest.fixture
def beat(monkeypatch):
    """A scheduler with the product's schedule whose clock the test moves, and whose messages it keeps."""
    # It would close the connection of the test's transaction.
    monkeypatch.setattr("django_celery_beat.schedulers.close_old_connections", lambda: None)
    scheduler = Scheduler(app=app, max_interval=1)
    beat = Clock(scheduler)
    monkeypatch.setattr(Entry, "_default_now", lambda _: beat.now)
    monkeypatch.setattr("celery.schedules.BaseSchedule.now", lambda _: beat.now)
    monkeypatch.setattr(Scheduler, "producer", None)
    monkeypatch.setattr(
        scheduler,
        "apply_entry",
        lambda entry, **_: beat.sent.append(((beat.now - beat.start).total_seconds(), entry.name)),
    )
    PeriodicTask.objects.update(last_run_at=beat.now - timedelta(seconds=700))
    PeriodicTasks.update_changed()
    scheduler._initial_read = True
    return beat


@pytest.mark.parametrize(("last_run", "due"), [(7200, True), (0, False), (0.5, False), (-2, True)])
def test_a_task_that_was_last_run_in_the_future_is_due(last_run, due):
    """Else a clock that was set back by two hours would stop beat for two hours."""
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    task = PeriodicTask.objects.create(name="tick", task="integrations.detect_misses", interval=every)
    task.last_run_at = clock.now() + timedelta(seconds=last_run)
    assert Entry(task, app=app).is_due().is_due is due
    assert Scheduler.Entry is Entry
    assert app.conf.beat_scheduler == "heartbeat_project.beat:Scheduler"


def test_all_that_is_due_is_sent_at_once_and_due_again_at_whole_periods(beat):
    """One look a second is enough if all tasks of a second are due together, and those of a minute with them."""
    first = beat.walk(seconds=0.7)
    assert sorted(name for _, name in first) == sorted(PERIODIC)
    assert {at for at, _ in first} == {0}
    sent = beat.walk(seconds=120)
    for name, (_, every) in PERIODIC.items():
        times = [at for at, task in sent if task == name]
        assert times == [at for at in (n + 0.7 for n in range(120)) if (at + 0.3) % every == 0], name
    assert len({at for at, _ in sent}) == 120


def test_no_task_waits_when_the_clock_was_set_back(beat):
    """A heap by the old clock would show the first task alone, until the time before the step comes again."""
    beat.walk(seconds=90)
    beat.now -= timedelta(hours=2)
    sent = beat.walk(seconds=61)
    for name, (_, every) in PERIODIC.items():
        # At once, and then with its period, of which one can end soon after the step.
        assert sum(task == name for _, task in sent) in ({61, 62} if every == 1 else {1, 2}), name


def test_a_task_is_sent_once_when_beat_was_stopped_for_a_while(beat):
    beat.walk(seconds=5)
    beat.now += timedelta(seconds=30.4)
    sent = [name for _, name in beat.walk(seconds=0.2)]
    assert sorted(sent) == sorted(name for name, (_, every) in PERIODIC.items() if every == 1)


def test_a_change_of_the_schedule_is_noticed(beat):
    beat.walk(seconds=2)
    PeriodicTask.objects.filter(name="escalation.deliver_due").update(enabled=False)
    PeriodicTasks.update_changed()
    assert "escalation.deliver_due" in {name for _, name in beat.walk(seconds=2)}
    beat.scheduler._look_at = 0.0
    assert {name for _, name in beat.walk(seconds=2)} == {
        name for name, (_, every) in PERIODIC.items() if every == 1 and name != "escalation.deliver_due"
    }


def test_the_last_runs_are_stored_for_the_next_start(beat):
    beat.walk(seconds=3)
    beat.scheduler.sync()
    stored = PeriodicTask.objects.get(name="integrations.do_engine_work")
    assert stored.last_run_at == beat.start + timedelta(seconds=2.7)
    assert stored.total_run_count == 4


def test_tasks_that_were_periodic_in_an_earlier_version_are_sent_no_more(beat):
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    for name in (*FORMERLY_PERIODIC, "somebody else's task"):
        PeriodicTask.objects.create(name=name, task=name, interval=every)
    scheduler = Scheduler(app=app, max_interval=1)
    assert {name for name in scheduler.schedule if not name.startswith("celery.")} == {
        *PERIODIC,
        "somebody else's task",
    }
    assert not {*PERIODIC} & {*FORMERLY_PERIODIC}


def test_the_database_is_asked_now_and_then_whether_the_schedule_was_changed(monkeypatch):
    looks = []
    monkeypatch.setattr(DatabaseScheduler, "schedule_changed", lambda _: looks.append(1))
    scheduler = Scheduler(app=app, lazy=True)
    assert not any(scheduler.schedule_changed() for _ in range(20))
    assert len(looks) == 1


def test_beats_own_app_has_the_schedule_and_nothing_else():
    """It is all that beat needs, and half of a worker's memory."""
    done = subprocess.run(
        [sys.executable, "-c", PRINT_SCHEDULE], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    slim = json.loads(done.stdout)
    assert slim["apps"] == ["django_celery_beat"]
    assert slim["tasks"] == []
    assert slim["broker"] == os.environ["REDIS_URL"]
    assert slim["retries"] is False
    assert slim["periods"] == {
        name: entry["schedule"].run_every.total_seconds() for name, entry in BEAT_SCHEDULE.items()
    }
