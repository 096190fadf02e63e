"""Fixtures of the escalation tests."""

import pytest

from tests import factories
from tests.integration.escalation.posting import ScriptedBackend, Server


@pytest.fixture
def server(settings):
    """Answer for the mail server in this test."""
    settings.EMAIL_BACKEND = "tests.integration.escalation.posting.ScriptedBackend"
    ScriptedBackend.server = Server()
    return ScriptedBackend.server


@pytest.fixture
def organization(db):
    return factories.OrganizationFactory()


@pytest.fixture
def person(organization):
    def make(name, **fields):
        return factories.UserFactory(
            organization=organization, name=name.title(), email=f"{name}@example.com", **fields
        )

    return make
