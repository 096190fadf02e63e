"""The house stands as it is drawn."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from celery import current_app
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "alerting", "escalation", "integrations", "heartbeat_project")


def sources():
    return [path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts]


def test_every_module_opens_with_one_sentence():
    without = [
        str(path.relative_to(ROOT)) for path in sources() if not path.read_text("utf-8").startswith(('"""', "#!"))
    ]
    assert without == []


def test_no_module_is_named_after_nothing():
    named = {path.stem for path in sources()} | {path.parent.name for path in sources()}
    assert not named & {"utils", "helpers", "common", "misc"}


def test_only_the_kernel_reads_the_clock():
    reading = re.compile(r"timezone\.now\(|datetime\.now\(|datetime\.utcnow\(|\btime\.time\(|date\.today\(")
    found = [
        str(path.relative_to(ROOT))
        for path in sources()
        if reading.search(path.read_text("utf-8")) and "embedded" not in path.parts
    ]
    assert found == ["heartbeat_project/kernel/clock.py"]


@pytest.mark.django_db
def test_models_and_migrations_agree():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


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


def test_the_embedded_servers_start_without_django():
    code = (
        "import heartbeat_project.embedded.stack, heartbeat_project.embedded.testing, sys;"
        "sys.exit('django' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
