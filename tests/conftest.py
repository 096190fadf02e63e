"""Fixtures that every test may use."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connections
from django.db.backends.postgresql.operations import DatabaseOperations
from hypothesis import HealthCheck, settings
from rest_framework.test import APIClient

from accounts.models.contact_methods import ContactMethod
from heartbeat_project.kernel import clock, wakeup
from tests.factories import OrganizationFactory
from tests.world import World

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Of `script/test --fast` and `--long`.
settings.register_profile("fast", settings.get_profile("default"), max_examples=20)
settings.register_profile("long", settings.get_profile("default"), max_examples=1_000)
settings.load_profile("default")

SLOW = frozenset(Path(__file__).with_name("slow_tests.txt").read_text("utf-8").split())
SAMPLED = frozenset(Path(__file__).with_name("sampled_tests.txt").read_text("utf-8").split())
# Of the cases of a sampled test, each tenth runs without `--long`.
SAMPLE = 10


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests that `script/test --fast` leaves out, and those left for `--long`; see script/slow_tests.py."""
    cases = Counter()
    for item in items:
        names = item.module.__name__, item.cls and item.cls.__name__, item.originalname
        name = ".".join(filter(None, names))
        if name in SLOW:
            item.add_marker("slow")
        if name in SAMPLED:
            if cases[name] % SAMPLE:
                item.add_marker("long")
            cases[name] += 1


NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday


@pytest.fixture
def now():
    return NOON


@pytest.fixture(autouse=True)
def mail_stays_in_memory(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    # One after the other, in the test's own thread and transaction; tests of delivery at scale set more.
    settings.CHANNEL_CONCURRENCY = dict.fromkeys(ContactMethod.Kind.values, 1)


@pytest.fixture(autouse=True)
def broker_is_away(settings, request, monkeypatch):
    """Nothing but the tests that start real workers may depend on the broker: a lost wake-up costs nothing."""
    if "serial" not in request.keywords:
        from celery import current_app

        current_app.conf.update(CELERY_BROKER_URL="redis://127.0.0.1:1/0")
        monkeypatch.setattr(wakeup, "run_here", lambda wake_up: None)


@pytest.fixture(autouse=True)
def clock_is_not_set(monkeypatch):
    """Let each test begin as a process does: with the machine's clock."""
    monkeypatch.setattr(clock, "_setting", None)


@pytest.fixture
def world(transactional_db_or_db, now):
    return World(now=now)


@pytest.fixture
def transactional_db_or_db(request):
    """The fast rolled-back database, unless the test asked for real commits."""
    marker = request.node.get_closest_marker("django_db")
    if marker is not None and marker.kwargs.get("transaction"):
        request.getfixturevalue("transactional_db")
    else:
        request.getfixturevalue("db")


@pytest.fixture
def organization(db):
    return OrganizationFactory()


@pytest.fixture
def client_for():
    """Return an API client that carries a real key of the user."""

    def make(user):
        from accounts.services.api_keys import create_api_key

        _, key = create_api_key(user, name="test", now=NOON)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
        return client

    return make


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Let go of the test database before it is dropped: a pool gives connections back in a thread of its own."""
    yield
    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(autouse=True, scope="session")
def tables_may_be_emptied_after_a_test():
    """Lift the trigger that protects the audit log while a test with real commits empties all tables."""
    original = DatabaseOperations.execute_sql_flush

    def lifted(self, sql_list):
        table = "ALTER TABLE accounts_auditentry {} TRIGGER USER"
        return original(self, [table.format("DISABLE"), *sql_list, table.format("ENABLE")])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", lifted)
        yield


@pytest.fixture
def close_connections():
    """Close what threads of a test opened, so that the test database can be dropped."""
    yield
    for connection in connections.all():
        connection.close_pool() if hasattr(connection, "close_pool") else connection.close()
