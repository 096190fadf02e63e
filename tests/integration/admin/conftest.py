"""One organization with a person for each role, another organization beside it, and one of each object."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from accounts.entitlements import BuiltinRole
from accounts.services.api_keys import create_api_key
from escalation.models.policies import PlayTier
from escalation.models.sending import StoredMail
from integrations.maintenance.windows import create_window
from integrations.models.events import InboundEvent
from tests import factories
from tests.factories.shifts import make_absence, make_shift


@dataclass
class Tenant:
    """An organization and one of each of its objects."""

    organization: Any
    people: dict[str, Any]
    objects: dict[str, Any]


def make_tenant(now):
    organization = factories.OrganizationFactory()
    people = {
        role.value: factories.UserFactory(organization=organization, name=role.value, roles=[role.value])
        for role in BuiltinRole
    }
    owner = people["Owner"]
    play = factories.PlayFactory(organization=organization)
    PlayTier.objects.create(play=play, offset_minutes=0).users.add(owner)
    integration = factories.HeartbeatFactory(organization=organization)
    group = factories.GroupFactory(organization=organization, primary=[people["Basic"]])
    role = organization.roles.create(name="Auditor", entitlements=["AuditTrail_View"])
    return Tenant(
        organization,
        people,
        {
            "integrations_inboundintegration": integration,
            "integrations_maintenancewindow": create_window(
                organization,
                name="Patch day",
                starts_at=now,
                ends_at=now.replace(hour=23),
                now=now,
                all_integrations=True,
            ),
            "escalation_escalationpolicy": factories.PolicyFactory(organization=organization),
            "escalation_responseplay": play,
            "alerting_bridge": factories.BridgeFactory(organization=organization),
            "accounts_organization": organization,
            "accounts_user": people["Basic"],
            "accounts_group": group,
            "escalation_shift": make_shift(group, primary=[people["Basic"]], windows=[(["monday"], "08:00", "18:00")]),
            "escalation_outofoffice": make_absence(
                people["Basic"], owner, starts_at=now, ends_at=now.replace(hour=23), group=group
            ),
            "accounts_role": role,
            "accounts_apikey": create_api_key(owner, name="script", now=now)[0],
            "escalation_storedmail": StoredMail.objects.create(
                at=now,
                sender="a@example.com",
                recipients=owner.email,
                subject="Kept",
                text="text",
                html="<p>html",
                user=owner,
            ),
            "integrations_inboundevent": InboundEvent.objects.create(
                organization=organization, type="email", state="unreadable", received_at=now, raw=b"x", size=1
            ),
        },
    )


@pytest.fixture
def here(db, now):
    return make_tenant(now)


@pytest.fixture
def elsewhere(db, now):
    return make_tenant(now)


@pytest.fixture
def signed_in():
    """Return a browser in which the user is signed in."""

    def make(user) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return make
