"""The heartbeat panel beside the alerts."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from heartbeat_project.console.selectors import heartbeat_panel
from heartbeat_project.kernel import clock
from integrations.models.heartbeats import Heartbeat
from tests import factories


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana")


@pytest.fixture
def carl(organization):
    return factories.UserFactory(organization=organization, name="Carl", roles=["Integrations Admin"])


def browser(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def heartbeat(organization, name, now, **fields):
    made = factories.HeartbeatFactory(organization=organization, name=name, now=now)
    Heartbeat.objects.filter(pk=made.pk).update(**fields)
    return made


def test_the_silent_come_first_then_the_soonest_due_then_those_without_a_timer(organization, ana, carl, now):
    heartbeat(organization, "later", now, deadline_at=now + timedelta(hours=2))
    heartbeat(organization, "idle", now, state="disabled", deadline_at=None, armed_at=None)
    heartbeat(organization, "soon", now, state="healthy", deadline_at=now + timedelta(minutes=1))
    heartbeat(organization, "silent", now, state="missed", deadline_at=now - timedelta(hours=1))
    heartbeat(
        organization, "paused", now, deadline_at=now + timedelta(hours=3), suspended_until=now + timedelta(hours=1)
    )
    factories.HeartbeatFactory(name="elsewhere")
    panel = heartbeat_panel(carl, now=now)
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
    # Who may see no deadlines does not see their order either.
    names = heartbeat_panel(ana, now=now)
    assert [row.name for row in names.rows] == ["silent", "idle", "later", "paused", "soon"]
    assert {(row.last_ping_at, row.deadline_at, row.suspended_until) for row in names.rows} == {(None, None, None)}


def test_a_row_says_until_when_it_is_in_maintenance_and_what_it_waits_for(organization, ana, carl):
    now = clock.now()
    hour = timedelta(hours=1)
    heartbeat(
        organization, "paused", now, deadline_at=now + 3 * hour, suspended_until=now + hour + timedelta(minutes=1)
    )
    heartbeat(organization, "new", now, deadline_at=None, armed_at=None, state="waiting")
    heartbeat(organization, "idle", now, state="disabled", deadline_at=None, armed_at=None)
    page = browser(carl).get("/heartbeats/panel/").content.decode()
    rows = {name: page.split(f">{name}</a>")[1].split("</li>")[0] for name in ("paused", "new", "idle")}
    assert "ends <time" in rows["paused"]
    assert "in 1 hour" in rows["paused"]
    assert "due" not in rows["paused"]
    assert "waits for its first ping" in rows["new"]
    assert "no timer" not in page
    names = browser(ana).get("/heartbeats/panel/").content.decode()
    assert ">paused</a>" in names
    assert "<time" not in names
    assert "waits for" not in names


def test_it_never_shows_the_url(organization, ana, now):
    made = heartbeat(organization, "backup", now)
    for path in ("/alerts/", "/heartbeats/panel/"):
        page = browser(ana).get(path).content.decode()
        assert "backup" in page
        assert made.token not in page
        assert "/admin/" not in page


def test_who_may_see_neither_alerts_nor_groups_has_no_panel(organization, now):
    heartbeat(organization, "backup", now)
    client = browser(factories.UserFactory(organization=organization, roles=["Billing Admin"]))
    assert "backup" not in client.get("/alerts/").content.decode()
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


@pytest.mark.parametrize("reader", ["ana", "carl"])
def test_its_pages_have_each_heartbeat_once_in_one_order(organization, now, monkeypatch, request, reader):
    for number in range(4):
        late = now - timedelta(hours=number % 2)
        heartbeat(organization, f"silent {number}", now, state="missed", deadline_at=late)
        soon = now + timedelta(minutes=number % 3)
        heartbeat(organization, f"timed {number}", now, state="healthy", deadline_at=soon)
        heartbeat(organization, f"idle {number}", now, state="disabled", deadline_at=None, armed_at=None)
    person = request.getfixturevalue(reader)
    [all_rows] = [heartbeat_panel(person, now=now).rows]
    assert len(all_rows) == 12
    for size in (1, 3, 4, 5):
        monkeypatch.setattr("heartbeat_project.console.selectors.PAGE_SIZE", size)
        pages = [heartbeat_panel(person, page=page, now=now).rows for page in range(1, -(-12 // size) + 1)]
        assert [row.name for page in pages for row in page] == [row.name for row in all_rows], size
