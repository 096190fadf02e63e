"""A restored installation is held: every tick leaves everything alone until it is released."""

from datetime import timedelta

import pytest
from celery import current_app
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from accounts.models.installation import Restore
from accounts.services import restores
from accounts.services.restores import (
    forgotten,
    held_for,
    held_sentence,
    hold,
    mark_released,
    may_release,
    unless_held,
)
from escalation.engine import progress
from integrations.tasks import ENGINE_WORK
from tests import factories
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db

# These send nothing and judge nothing: pings need their partitions, and shifts what their calendars say.
GO_ON = {"integrations.keep_history", "escalation.read_calendars"}
ARGUMENTS = {
    "integrations.close_recovered": {"integration_ids": [1]},
    "escalation.send_verification_code": {"contact_method_id": 1},
    "escalation.send_test_message": {"contact_method_id": 1},
    "integrations.confirm_subscription": {"event_id": 1},
}


def our_tasks():
    from heartbeat_project.celery import app

    app.loader.import_default_modules()
    return sorted(name for name in current_app.tasks if name.startswith(("integrations.", "escalation.")))


@pytest.fixture
def held(now):
    hold(taken_at=now - minutes(10), now=now)


@pytest.mark.parametrize("name", [name for name in our_tasks() if name not in GO_ON])
def test_no_task_does_anything_but_ask_while_it_is_held(held, name, monkeypatch):
    monkeypatch.setattr(progress._NOTES, "write_at", float("inf"))  # that a worker works is noted all the same
    monkeypatch.setattr(ENGINE_WORK, "_all_at", float("-inf"))  # run all parts, whether or not work is due
    with CaptureQueriesContext(
        connection,
    ) as queries:
        current_app.tasks[name].run(**ARGUMENTS.get(name, {}))
    asked = [query["sql"] for query in queries]
    assert asked, "the task does not ask whether the installation is held"
    # That the worker itself works is noted all the same.
    allowed = ("FROM accounts_restore", 'FROM "accounts_restore"', "escalation_progress")
    assert all(any(name in sql for name in allowed) for sql in asked), asked


def test_every_task_works_when_it_is_released(held, now):
    mark_released(by=None, now=now)
    with CaptureQueriesContext(connection) as queries:
        current_app.tasks["integrations.detect_misses"].run()
    assert len(queries) > 3


def test_a_tick_asks_once_with_one_query(now, django_assert_num_queries):
    ticked = []

    @unless_held(0)
    def tick(*, now):
        ticked.append(now)
        return 1

    with django_assert_num_queries(1):
        assert tick(now=now) == 1
    hold(taken_at=now, now=now)
    assert tick(now=now) == 0
    assert ticked == [now]


def test_the_log_says_so_once_a_minute(held, now, caplog, monkeypatch):
    monkeypatch.setattr(restores, "_logged_at", None)
    tick = unless_held(0, logs=True)(lambda *, now: 1)
    for second in range(0, 150, 10):
        tick(now=now + seconds(second))
    lines = [record.getMessage() for record in caplog.records if record.name == "accounts.services.restores"]
    assert len(lines) == 3
    assert lines[1].startswith("Held for 1 min since the restore of the backup of 2026-03-02 11:50:00 UTC: pings are")
    assert "release it on any page of the console, or with `script/server --release`" in lines[1]


def test_what_is_held_says_for_how_long_and_what_to_do(now):
    assert held_for(now=now) is None
    assert held_sentence(now=now) == ""
    hold(taken_at=now - minutes(10), now=now)
    assert held_for(now=now + minutes(15)) == timedelta(minutes=15)
    assert held_sentence(now=now + minutes(15)).startswith("Held for 15 min since the restore of the backup")
    assert forgotten(now=now + minutes(15) - seconds(1)) == ""
    assert forgotten(now=now + minutes(15)) == held_sentence(now=now + minutes(15))
    mark_released(by=None, now=now)
    assert held_for(now=now) is None
    assert held_sentence(now=now) == ""


def test_a_backup_of_a_held_installation_stays_held_since_the_first_backup(now):
    hold(taken_at=now - minutes(60), now=now - minutes(30))
    hold(taken_at=now - minutes(10), now=now)
    restore = Restore.objects.get()
    assert (restore.taken_at, restore.restored_at) == (now - minutes(60), now)


def test_the_database_holds_one_restore_at_most(held, now):
    with pytest.raises(IntegrityError, match="one_restore_is_held"):
        Restore.objects.create(taken_at=now, restored_at=now)


def test_the_operator_may_release_and_nobody_else(settings):
    first, second = factories.OrganizationFactory(), factories.OrganizationFactory()
    owner = factories.UserFactory(organization=first, roles=["Owner"])
    admin = factories.UserFactory(organization=first, roles=["App Admin"], email="operator@example.com")
    basic = factories.UserFactory(organization=first, email="basic@example.com")
    other = factories.UserFactory(organization=second, roles=["Owner"])
    assert [may_release(user) for user in (owner, admin, basic, other, None)] == [True, False, False, False, False]
    settings.OPERATOR_EMAIL = "Operator@example.com"
    assert may_release(admin)
    settings.OPERATOR_EMAIL = "basic@example.com"
    assert not may_release(basic), "the address alone is not enough"
