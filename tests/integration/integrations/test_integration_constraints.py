"""What the database itself refuses of integrations, whichever code writes to it."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from integrations.models.heartbeats import Heartbeat
from integrations.models.history import PingHour
from integrations.models.integrations import InboundIntegration
from integrations.models.outages import IngestState, Outage
from integrations.models.windows import MaintenanceWindow
from tests.factories import HeartbeatFactory, OrganizationFactory, PlayFactory
from tests.world import minutes

pytestmark = pytest.mark.django_db


def refused(constraint):
    return pytest.raises(IntegrityError, match=constraint)


def insert_integration(organization, now, **fields):
    policy = organization.escalation_policies.first()
    values = {"name": "raw", "escalation_policy": policy, "created_at": now, **fields}
    return InboundIntegration.objects.create(organization=organization, **values)


def test_a_name_exists_once_in_an_organization_ignoring_case(now):
    backup = HeartbeatFactory(name="backup")
    with refused("integration_name_unique"), transaction.atomic():
        insert_integration(backup.organization, now, name="BACKUP", type="email")
    insert_integration(OrganizationFactory(), now, name="backup")


def test_an_integration_follows_a_policy_or_a_play(now):
    organization = OrganizationFactory()
    with refused("policy_or_play"), transaction.atomic():
        insert_integration(organization, now, escalation_policy=None)
    with refused("policy_or_play"), transaction.atomic():
        insert_integration(organization, now, response_play=PlayFactory(organization=organization))


def test_a_token_belongs_to_one_integration(now):
    backup = HeartbeatFactory()
    with refused("token"):
        insert_integration(OrganizationFactory(), now, token=backup.token)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"interval_minutes": 0}, "interval_in_bounds"),
        ({"interval_minutes": Decimal("44640.1")}, "interval_in_bounds"),
        ({"grace_minutes": Decimal("-0.1")}, "grace_in_bounds"),
        ({"grace_minutes": Decimal("44640.1")}, "grace_in_bounds"),
        ({"armed_at": None}, "deadline_needs_a_start"),
        ({"deadline_at": None}, "deadline_needs_a_start"),
        ({"state": "healthy", "armed_at": None, "deadline_at": None}, "running_timer_has_deadline"),
        ({"state": "missed", "armed_at": None, "deadline_at": None}, "running_timer_has_deadline"),
        ({"state": "disabled"}, "disabled_has_no_timer"),
    ],
)
def test_a_heartbeats_timer_makes_sense(change, constraint):
    backup = HeartbeatFactory()
    with refused(constraint):
        Heartbeat.objects.filter(pk=backup.pk).update(**change)


def test_windows_and_outages_run_forward(now):
    with refused("window_is_forward"), transaction.atomic():
        MaintenanceWindow.objects.create(organization=OrganizationFactory(), name="x", starts_at=now, ends_at=now)
    with refused("outage_is_forward"), transaction.atomic():
        Outage.objects.create(started_at=now, ended_at=now - minutes(1))


def test_there_is_one_row_of_listening_and_one_count_of_an_hour(now):
    with refused("one_ingest_state"), transaction.atomic():
        IngestState.objects.create(id=2, stored_until=now)
    PingHour.objects.create(integration_id=1, hour=now, pings=1)
    with refused("ping_hour_once"), transaction.atomic():
        PingHour.objects.create(integration_id=1, hour=now, pings=2)
