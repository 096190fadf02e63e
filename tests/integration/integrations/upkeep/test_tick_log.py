"""What workers note of their ticks, and how they share what is due without the broker."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client

from heartbeat_project.kernel import clock
from integrations.models.outages import Tick
from integrations.upkeep import tick_log as book

pytestmark = pytest.mark.django_db
TASK = "integrations.detect_misses"


def begun(seconds_ago, task=TASK):
    Tick.objects.update_or_create(task=task, defaults={"started_at": Now() - timedelta(seconds=seconds_ago)})


def test_a_task_that_nobody_has_noted_is_due():
    assert book.ages([TASK])[TASK] > 1_000
    assert book.claim(TASK, every=0.9)
    assert book.ages([TASK])[TASK] < 5


def test_a_tick_is_claimed_once():
    begun(10)
    assert [book.claim(TASK, every=1.0) for _ in range(3)] == [True, False, False]
    row = Tick.objects.get(task=TASK)
    assert (row.by_celery, row.by_itself) == (0, 1)
    assert row.by_itself_at is not None


def test_ticks_by_celery_add_up_and_never_move_the_newest_back():
    book.note(TASK, count=7, age=1.0)
    book.note(TASK, count=3, age=400.0)
    assert Tick.objects.get(task=TASK).by_celery == 10
    assert book.ages([TASK])[TASK] < 60


def test_a_clock_that_was_set_back_keeps_nobody_from_ticking():
    begun(-7200)
    assert book.claim(TASK, every=1.0)
    begun(-7200)
    book.note(TASK, count=1, age=0.0)
    assert 0 <= book.ages([TASK])[TASK] < 60


def test_the_trouble_is_named_while_workers_tick_by_themselves():
    now = clock.now()
    assert book.broker_trouble(now=now) == ""
    book.note(TASK, count=1, age=0.0)
    assert book.broker_trouble(now=now) == ""
    begun(10)
    book.claim(TASK, every=1.0)
    assert "broker" in book.broker_trouble(now=clock.now())
    assert book.broker_trouble(now=clock.now() + timedelta(minutes=1)) == ""


def test_the_metrics_show_both():
    book.note(TASK, count=7, age=0.0)
    begun(10)
    book.claim(TASK, every=1.0)
    said = Client().get("/metrics").content.decode()
    assert f'heartbeat_ticks_total{{by="celery",task="{TASK}"}} 7.0' in said
    assert f'heartbeat_ticks_total{{by="itself",task="{TASK}"}} 1.0' in said
