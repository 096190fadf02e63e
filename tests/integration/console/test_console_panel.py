"""The heartbeat panel beside the alerts."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from heartbeat_project.console.selectors import heartbeat_panel
from integrations.models import Heartbeat
from tests import factories


@pytest.fixture
def organization(db):
    return factories.OrganizationFactory()


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana")


def browser(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def heartbeat(organization, name, now, **fields):
    made = factories.HeartbeatFactory(organization=organization, name=name, now=now)
    Heartbeat.objects.filter(pk=made.pk).update(**fields)
    return made


def test_the_silent_come_first_then_the_soonest_due_then_those_without_a_timer(organization, ana, now):
    heartbeat(organization, "later", now, deadline_at=now + timedelta(hours=2))
    heartbeat(organization, "idle", now, state="disabled", deadline_at=None, armed_at=None)
    heartbeat(organization, "soon", now, state="healthy", deadline_at=now + timedelta(minutes=1))
    heartbeat(organization, "silent", now, state="missed", deadline_at=now - timedelta(hours=1))
    heartbeat(
        organization, "paused", now, deadline_at=now + timedelta(hours=3), suspended_until=now + timedelta(hours=1)
    )
    factories.HeartbeatFactory(name="elsewhere")
    panel = heartbeat_panel(ana, now=now)
    assert panel is not None
    assert [(row.name, row.state) for row in panel.rows] == [
        ("silent", "missed"),
        ("soon", "healthy"),
        ("later", "waiting"),
        ("paused", "maintenance"),
        ("idle", "disabled"),
    ]
    assert dict(panel.counts) == {"missed": 1, "healthy": 1, "waiting": 1, "maintenance": 1, "disabled": 1}
    assert panel.total == 5


def test_it_never_shows_the_url(organization, ana, now):
    made = heartbeat(organization, "backup", now)
    for path in ("/", "/heartbeats/panel/"):
        page = browser(ana).get(path).content.decode()
        assert "backup" in page
        assert made.token not in page
        assert "/admin/" not in page


def test_who_may_see_neither_alerts_nor_groups_has_no_panel(organization, now):
    heartbeat(organization, "backup", now)
    client = browser(factories.UserFactory(organization=organization, roles=["Billing Admin"]))
    assert "backup" not in client.get("/").content.decode()
    assert "backup" not in client.get("/heartbeats/panel/").content.decode()


def test_it_is_paged_and_costs_the_same_however_many_there_are(organization, ana, now):
    client = browser(ana)

    def queries(path="/heartbeats/panel/"):
        with CaptureQueriesContext(connection) as captured:
            panel = client.get(path).context["panel"]
        return len(captured), panel

    heartbeat(organization, "first", now)
    one, _ = queries()
    for number in range(59):
        factories.HeartbeatFactory(organization=organization, name=f"job {number}", now=now)
    many, panel = queries()
    assert many <= one
    assert (len(panel.rows), panel.page, panel.pages) == (50, 1, 2)
    assert len(queries("/heartbeats/panel/?heartbeats=2")[1].rows) == 10
    assert len(queries("/heartbeats/panel/?heartbeats=77")[1].rows) == 10
