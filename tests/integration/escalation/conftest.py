"""Fixtures of the escalation tests."""

import pytest

from accounts.models.contact_methods import ContactMethod
from alerting.models.alerts import Alert
from escalation.models.notifications import Notification
from tests import factories
from tests.integration.escalation.posting import PHONE, ScriptedBackend, Server, page


@pytest.fixture
def server(settings):
    """Answer for the mail server in this test."""
    settings.EMAIL_BACKEND = "tests.integration.escalation.posting.ScriptedBackend"
    ScriptedBackend.server = Server()
    return ScriptedBackend.server


@pytest.fixture
def person(organization):
    def make(name, **fields):
        return factories.UserFactory(
            organization=organization, name=name.title(), email=f"{name}@example.com", **fields
        )

    return make


@pytest.fixture
def notification(organization, person, now):
    """Ana was notified of an alert over a channel; returns the notification."""
    policy = factories.PolicyFactory(organization=organization, name="Rota")
    ana = person("ana")

    def make(channel="sms", address=PHONE, *, name="backup", at=now, **fields):
        page(organization, policy=policy, users=[ana], name=name, now=at, **fields)
        alert = Alert.objects.latest("id")
        if channel != "email":
            method, _ = ContactMethod.objects.get_or_create(
                user=ana, label=channel, defaults={"kind": channel, "address": address, "verified_at": now}
            )
            Notification.objects.filter(alert=alert, contact_method=method).delete()
            Notification.objects.filter(alert=alert).update(
                contact_method=method, channel=channel, address=address, label=channel
            )
        Notification.objects.filter(alert=alert).update(status="accepted", accepted_at=at, next_attempt_at=None)
        return Notification.objects.get(alert=alert)

    return make
