"""Fixtures that every test may use."""

from datetime import UTC, datetime

import pytest
from django.db import connections
from hypothesis import HealthCheck, settings
from rest_framework.test import APIClient

from accounts.models import ContactMethod
from tests.world import World

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# By hand: --hypothesis-profile=long walks through many more and longer histories.
settings.register_profile("long", settings.get_profile("default"), max_examples=2_000, stateful_step_count=60)
settings.load_profile("default")

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
def broker_is_away(settings, request):
    """Nothing but the tests that start real workers may depend on the broker: a lost doorbell costs nothing."""
    if "serial" not in request.keywords:
        from celery import current_app

        current_app.conf.update(CELERY_BROKER_URL="redis://127.0.0.1:1/0")


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
def client_for():
    """Return an API client that carries a real key of the user."""

    def make(user):
        from accounts.services import create_api_key

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


@pytest.fixture
def close_connections():
    """Close what threads of a test opened, so that the test database can be dropped."""
    yield
    for connection in connections.all():
        connection.close_pool() if hasattr(connection, "close_pool") else connection.close()
