"""Beat after the clock was set back."""

from datetime import timedelta

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

from heartbeat_project.beat import Entry, Scheduler
from heartbeat_project.celery import app
from heartbeat_project.kernel import clock

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("last_run", "due"), [(7200, True), (0, False), (0.5, False), (-2, True)])
def test_a_task_that_was_last_run_in_the_future_is_due(last_run, due):
    """Else a clock that was set back by two hours would stop beat for two hours."""
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    task = PeriodicTask.objects.create(name="tick", task="integrations.detect_misses", interval=every)
    task.last_run_at = clock.now() + timedelta(seconds=last_run)
    assert Entry(task, app=app).is_due().is_due is due
    assert Scheduler.Entry is Entry
    assert app.conf.beat_scheduler == "heartbeat_project.beat:Scheduler"


def test_the_database_is_asked_now_and_then_whether_the_schedule_was_changed(monkeypatch):
    looks = []
    monkeypatch.setattr(DatabaseScheduler, "schedule_changed", lambda _: looks.append(1))
    scheduler = Scheduler(app=app, lazy=True)
    assert not any(scheduler.schedule_changed() for _ in range(20))
    assert len(looks) == 1
