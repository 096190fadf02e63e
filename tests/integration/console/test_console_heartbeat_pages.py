"""The pages of one heartbeat: its past, its log, how to ping it, and its edits."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from heartbeat_project.console.ping_snippets import snippets_for
from heartbeat_project.kernel import clock
from integrations.heartbeats.edits import update_heartbeat
from integrations.models.history import Ping
from integrations.models.periods import StatePeriod
from integrations.ping_lane.batch import Arrival, record_pings
from tests import factories

pytestmark = pytest.mark.django_db
PAGES = ("", "now/", "log/", "history/", "how-to-ping/")
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def at_noon(monkeypatch, now):
    monkeypatch.setattr(clock, "now", lambda: now)


@pytest.fixture
def ines(organization):
    return factories.UserFactory(organization=organization, name="Ines", roles=["Integrations Admin"])


@pytest.fixture
def client(ines):
    return browser(ines)


def browser(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def job(organization, ines, now):
    made = factories.HeartbeatFactory(
        organization=organization, name="backup", interval_minutes=60, now=now - timedelta(days=2), tags=["night"]
    )
    record_pings([Arrival(made.token, now - timedelta(minutes=5), user_agent="curl/8")])
    return made


def text(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_overview_says_what_is_stored_of_the_past(client, job, now):
    StatePeriod.objects.all().delete()
    StatePeriod.objects.create(integration=job, kind="missed", started_at=now - 5 * HOUR, ended_at=now - 4 * HOUR)
    found = text(client.get(f"/heartbeats/{job.pk}/"))
    assert "Pings arrive as expected." in found
    assert 'data-counts-to="2026-03-02T12:55:00+00:00"' in found
    assert "97.91 % available, 1 silence, silent for 1 hour." in found  # of the two days since it was made
    assert '<rect class="down"' in found
    assert "silent for 1 hour</title>" in found
    assert "no data</title>" in found
    assert "style=" not in found


def test_time_before_the_first_ping_is_no_data_and_never_available(client, organization, now):
    job = factories.HeartbeatFactory(organization=organization, now=now - timedelta(days=3), start_timer="first_ping")
    found = text(client.get(f"/heartbeats/{job.pk}/"))
    assert "Waits for its first ping." in found
    assert found.count("no data.") >= 4
    assert " % available" not in found


def test_the_overview_takes_a_fixed_number_of_queries(client, job, now):
    client.get(f"/heartbeats/{job.pk}/")
    with CaptureQueriesContext(connection) as few:
        client.get(f"/heartbeats/{job.pk}/")
    StatePeriod.objects.bulk_create(
        StatePeriod(integration=job, kind="missed", started_at=now - n * HOUR, ended_at=now - n * HOUR + HOUR / 2)
        for n in range(1, 30)
    )
    with CaptureQueriesContext(connection) as many:
        text(client.get(f"/heartbeats/{job.pk}/"))
    assert len(many) == len(few)
    assert len(few) <= 45


@pytest.mark.parametrize("path", PAGES)
def test_only_those_who_manage_it_see_more_than_its_state(organization, job, path):
    viewer = browser(factories.UserFactory(organization=organization))
    answer = viewer.get(f"/heartbeats/{job.pk}/{path}")
    if path in {"", "now/"}:
        found = text(answer)
        for hidden in (job.token, "1 hour", "Last ping", "night"):
            assert hidden not in found.split("The past")[0], hidden
    else:
        assert answer.status_code == 403
    assert viewer.post(f"/heartbeats/{job.pk}/test-ping/").status_code == 403
    foreign = browser(factories.UserFactory(roles=["Owner"]))
    assert foreign.get(f"/heartbeats/{job.pk}/{path}").status_code == 404
    assert foreign.post(f"/heartbeats/{job.pk}/test-ping/").status_code == 404


@pytest.mark.parametrize("path", PAGES[1:])
def test_integrations_of_other_types_have_no_such_pages(client, organization, path):
    api = factories.ApiIntegrationFactory(organization=organization)
    assert client.get(f"/heartbeats/{api.pk}/{path}").status_code == 404
    assert client.get(f"/heartbeats/{api.pk}/").status_code == 200


def test_the_log_has_everything_once_filtered_and_in_pages(client, ines, job, now):
    update_heartbeat(job, actor=ines, now=now - HOUR, name="backup two")
    arrivals = [Arrival(job.token, now - timedelta(days=1) + timedelta(seconds=n)) for n in range(60)]
    record_pings(arrivals)
    address = f"/heartbeats/{job.pk}/log/"
    first = text(client.get(address))
    assert "Ping: POST with curl/8" in first
    assert "name from backup to backup two" in first
    assert "by Ines" in first
    only = text(client.get(f"{address}?kind=edits&zone=utc"))
    assert "Ping:" not in only
    assert "Created." in only
    seen, query = 0, "kind=pings"
    while query:
        found = text(client.get(f"{address}?{query}"))
        seen += found.count("Ping: POST")
        _, _, older = found.partition('">Older')
        query = found.split('">Older')[0].rsplit('href="?', 1)[1].replace("&amp;", "&") if older else ""
    assert seen == 61
    for nonsense in ("x", "2026-01-01", "9" * 5000, "2026-03-02T12:00:00"):
        assert client.get(address, {"before": nonsense, "kind": "x"}).status_code == 200


def test_the_history_lists_edits_with_their_author(client, ines, job, now):
    update_heartbeat(job, actor=ines, now=now, tags=["night", "db"], priority="low", description="Dump.")
    found = text(client.get(f"/heartbeats/{job.pk}/history/"))
    assert "tags from night to db, night; description; priority from that of the policy to low." in found
    assert "Ping:" not in found


def test_the_url_is_masked_and_stands_in_every_snippet(client, job):
    found = text(client.get(f"/heartbeats/{job.pk}/how-to-ping/"))
    assert "/Heartbeat/••••••••" in found
    assert f'id="api-url" readonly value="http://127.0.0.1:8000/Heartbeat/{job.token}"' in found
    assert "taskschd.msc" in found
    for name in ("curl", "PowerShell", "cron", "systemd", "Python", "Kubernetes", "SQL Server Agent", "Airflow"):
        assert f"<summary>{name}</summary>" in found
    assert "Power Automate" in found
    for way in snippets_for("http://x/Heartbeat/t", interval_minutes=5):
        assert "http://x/Heartbeat/t" in way.text, way.slug


def test_a_test_ping_counts_like_one_of_the_job(client, job):
    before = Ping.objects.count()
    answer = client.post(f"/heartbeats/{job.pk}/test-ping/", follow=True)
    assert "a new interval has begun" in text(answer)
    assert Ping.objects.count() == before + 1
    assert Ping.objects.order_by("-id")[0].user_agent == "the page, by Ines"
