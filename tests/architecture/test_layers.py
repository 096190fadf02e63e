"""The house stands as it is drawn."""

from pathlib import Path

import pytest
from celery import current_app

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "alerting", "embedded", "escalation", "integrations", "heartbeat_project")


def sources():
    return [path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts]


def test_no_module_is_named_after_nothing():
    named = {path.stem for path in sources()} | {path.parent.name for path in sources()}
    assert not named & {"utils", "helpers", "common", "misc"}


@pytest.mark.django_db
def test_each_tasks_name_and_queue_are_explicit():
    current_app.loader.import_default_modules()
    ours = {name: task for name, task in current_app.tasks.items() if not name.startswith("celery.")}
    assert ours
    for name, task in ours.items():
        assert name.split(".")[0] in APPS, name
        assert task.queue in {"engine", "delivery"}, name


@pytest.mark.django_db
def test_beat_rings_only_for_tasks_that_there_are_and_its_rings_grow_stale():
    current_app.loader.import_default_modules()
    for entry in current_app.conf.beat_schedule.values():
        assert entry["task"] in current_app.tasks
        assert entry["options"]["expires"] <= max(10, entry["schedule"].run_every.total_seconds())
        assert entry["options"]["queue"] == current_app.tasks[entry["task"]].queue
