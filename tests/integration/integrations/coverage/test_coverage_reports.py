"""Of a large organization pages and the API show the gaps that were found last, with their time."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from integrations.coverage import gaps, reports
from integrations.coverage.gaps import coverage_of
from integrations.coverage.reports import latest_coverage, store_coverage, stored_coverage
from integrations.coverage.watch import watch_coverage
from integrations.models.coverage import CoverageReport
from integrations.models.integrations import InboundIntegration
from tests.factories.shifts import make_shift
from tests.world import minutes

pytestmark = pytest.mark.django_db

PAGE = "/heartbeats/coverage-gaps/"
GAPS = "/api/v1/integrations/coverage-gaps/"
UPCOMING_GAPS = "/api/v1/integrations/upcoming-coverage-gaps/"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")


@pytest.fixture(autouse=True)
def large(monkeypatch):
    """Let two enabled integrations be many."""
    monkeypatch.setattr(reports, "COMPUTED_AT_ONCE", 1)


@pytest.fixture
def clock(monkeypatch, world):
    """Let pages and the API read the clock of the world."""
    monkeypatch.setattr("heartbeat_project.kernel.clock.now", lambda: world.now)


@pytest.fixture
def olga(world):
    return world.person("olga", roles=["Owner", "App Admin"])


@pytest.fixture
def team(world):
    """A group with office hours only: its integrations have a gap each night and each weekend."""
    group = world.team("Office", primary=["ana"])
    make_shift(group, primary=[world.person("ana")], windows=[(WEEKDAYS, "08:00", "18:00")])
    return group


@pytest.fixture
def jobs(world, team):
    """Two jobs with a gap each night, and one whose policy is disabled."""
    off = world.policy(name="Off", enabled=False)
    return [
        world.heartbeat("backup", every=minutes(5), recipient_groups=[team]),
        world.heartbeat("mirror", every=minutes(5), recipient_groups=[team]),
        world.heartbeat("export", every=minutes(5), recipients=["zoe"], escalation_policy=off),
    ]


def test_a_report_holds_all_that_was_found(world, jobs):
    found = coverage_of(world.organization, at=world.now)
    store_coverage(world.organization, found)
    assert stored_coverage(world.organization, now=world.now) == found
    assert len(found.every[jobs[0].pk]) == 10
    assert [gap.code for gap in found.groups] == ["rota_hole"]
    assert len(CoverageReport.objects.get().gaps) == 2  # one for both jobs of the team


def test_the_worker_stores_what_it_finds(world, jobs):
    watch_coverage(now=world.now)
    assert stored_coverage(world.organization, now=world.now) == coverage_of(world.organization, at=world.now)


def test_of_a_small_organization_nothing_is_stored(world, jobs, monkeypatch):
    monkeypatch.setattr(reports, "COMPUTED_AT_ONCE", 3)
    watch_coverage(now=world.now)
    assert not CoverageReport.objects.exists()
    assert latest_coverage(world.organization, now=world.now).gaps.keys() == {job.pk for job in jobs}


@pytest.mark.parametrize(
    ("later", "holds"), [(timedelta(), True), (minutes(59), True), (minutes(60), False), (-minutes(1), False)]
)
def test_a_report_is_not_used_if_nobody_looks_or_the_clock_was_set_back(world, jobs, later, holds):
    store_coverage(world.organization, coverage_of(world.organization, at=world.now))
    InboundIntegration.objects.filter(pk=jobs[2].pk).update(escalation_policy=world.policy(name="On"))
    now = world.now + later
    shown = latest_coverage(world.organization, now=now)
    assert (shown.at, jobs[2].pk in shown.gaps) == ((world.now, True) if holds else (now, False))


def test_a_report_that_did_not_look_far_enough_is_not_used(world, jobs):
    store_coverage(world.organization, coverage_of(world.organization, at=world.now))
    CoverageReport.objects.update(looked_until=world.now + minutes(2))
    assert stored_coverage(world.organization, now=world.now + minutes(1)) is not None
    assert stored_coverage(world.organization, now=world.now + minutes(2)) is None


def test_an_older_result_does_not_replace_a_newer_one(world, jobs):
    newer = coverage_of(world.organization, at=world.now + minutes(1))
    store_coverage(world.organization, newer)
    store_coverage(world.organization, coverage_of(world.organization, at=world.now))
    assert CoverageReport.objects.get().checked_at == newer.at


def test_gaps_that_have_ended_since_are_left_out(world, jobs):
    world.now = world.now.replace(hour=7, minute=45)  # before the shift begins
    found = coverage_of(world.organization, at=world.now)
    first, second = found.every[jobs[0].pk][:2]
    assert (found.gaps_from(world.now)[jobs[0].pk], found.group_gaps_from(world.now)) == (first, list(found.groups))
    later = world.now + minutes(15)
    assert first.ends_at == later
    assert found.gaps_from(later)[jobs[0].pk] == second
    assert found.group_gaps_from(later) == []


def test_the_page_shows_the_report_until_one_asks_to_check_again(world, jobs, olga, clock, monkeypatch):
    watch_coverage(now=world.now)
    world.advance(minutes(3))
    InboundIntegration.objects.filter(pk=jobs[2].pk).update(escalation_policy=world.policy(name="On"))
    browser = Client()
    browser.force_login(olga)
    with monkeypatch.context() as patches, CaptureQueriesContext(connection) as queries:
        patches.setattr(gaps, "used_routes", None)  # to compute anything would fail
        shown = browser.get(PAGE).content.decode()
    assert len(queries) <= 14
    assert "Checked <" in shown
    assert "3 minutes ago" in shown
    assert "The escalation policy “Off” is disabled." in shown
    again = browser.post(PAGE, follow=True)
    assert again.redirect_chain == [(PAGE, 302)]
    assert "“Off”" not in again.content.decode()
    assert "Checked <" not in again.content.decode()  # just now
    assert "mirror" in again.content.decode()


def test_only_those_who_may_see_the_page_have_the_gaps_computed(world, jobs, clock):
    browser = Client()
    browser.force_login(world.person("ana"))
    assert [browser.get(PAGE).status_code, browser.post(PAGE).status_code] == [403, 403]
    assert not CoverageReport.objects.exists()


def test_the_api_lists_what_was_found_last_with_its_time(world, jobs, olga, clock, client_for):
    watch_coverage(now=world.now)
    checked_at = world.now.isoformat().replace("+00:00", "Z")
    InboundIntegration.objects.filter(pk=jobs[2].pk).update(escalation_policy=world.policy(name="On"))
    world.advance(minutes(3))
    api = client_for(olga)
    present, ahead = api.get(GAPS).json(), api.get(UPCOMING_GAPS).json()
    assert {row["name"] for row in present["results"]} == {"export"}
    assert {row["name"] for row in ahead["results"]} == {"backup", "mirror", "export"}
    assert (present["checked_at"], ahead["checked_at"]) == (checked_at, checked_at)
    # For an instant that is asked for, the gaps are computed.
    at = world.now.isoformat()
    computed = api.get(GAPS, {"at": at}).json()
    assert (computed["results"], computed["checked_at"]) == ([], at.replace("+00:00", "Z"))
    computed_ahead = api.get(UPCOMING_GAPS, {"at": at}).json()
    assert {row["name"] for row in computed_ahead["results"]} == {"backup", "mirror"}
    assert computed_ahead["checked_at"] == at.replace("+00:00", "Z")


def test_what_was_disabled_or_deleted_since_is_not_listed(world, jobs, team, olga, clock, client_for):
    watch_coverage(now=world.now)
    InboundIntegration.objects.filter(pk=jobs[0].pk).update(enabled=False)
    InboundIntegration.objects.filter(pk=jobs[1].pk).delete()
    report = CoverageReport.objects.get()
    report.groups[0]["group"] = 0  # it was deleted
    report.save()
    world.heartbeat("other", every=minutes(5), recipients=["zoe"])
    listed = client_for(olga).get(UPCOMING_GAPS).json()
    assert [row["name"] for row in listed["results"]] == ["export"]
    assert listed["groups"] == []
