"""Who would be notified, and which silences would reach nobody, over the management API."""

from datetime import timedelta

import pytest

from integrations.coverage.who_is_notified import current_coverage_gaps
from tests import factories
from tests.factories.shifts import make_shift

pytestmark = pytest.mark.django_db

INTEGRATIONS = "/api/v1/integrations/"
GAPS = f"{INTEGRATIONS}coverage-gaps/"
UPCOMING_GAPS = f"{INTEGRATIONS}upcoming-coverage-gaps/"


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana", roles=["Integrations Admin"])


@pytest.fixture
def api(ana, client_for):
    return client_for(ana)


def test_the_whole_walk_of_an_integration_is_shown_for_any_instant(api, ana, organization, now):
    team = factories.GroupFactory(organization=organization, name="Database", primary=[ana], managers=[ana])
    job = factories.HeartbeatFactory(organization=organization, recipient_groups=[team])
    answer = api.get(f"{INTEGRATIONS}{job.pk}/who-would-be-notified/", {"at": now.isoformat()})
    assert answer.status_code == 200, answer.json()
    notification = {
        "user": ana.pk,
        "group": None,
        "name": "Ana",
        "round": 0,
        "label": "Email-Official",
        "channel": "email",
        "counts": True,
    }
    assert answer.json() == {
        "at": "2026-03-02T12:00:00Z",
        "name": "Escalate after 5 minutes, user preference",
        "steps": [
            {
                "at": "2026-03-02T12:00:00Z",
                "notifications": [notification | {"stage": "Primary of Database", "at": "2026-03-02T12:00:00Z"}],
                "gaps": [],
                "waits_until": None,
            },
            {
                "at": "2026-03-02T12:05:00Z",
                "notifications": [notification | {"stage": "Manager of Database", "at": "2026-03-02T12:05:00Z"}],
                "gaps": ["Secondary of Database: nobody is there. Going on to Manager of Database at once."],
                "waits_until": None,
            },
        ],
        "complete": True,
        "problems": [{"code": "nobody_there", "detail": "Secondary of Database: nobody is in it.", "user": None}],
        "instead": [],
        "first_notified_at": "2026-03-02T12:00:00Z",
    }
    assert api.get(f"{INTEGRATIONS}{job.pk}/who-would-be-notified/").status_code == 200


@pytest.mark.parametrize("at", ["yesterday", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_an_instant_that_is_none_or_too_far_away_is_refused(api, organization, at):
    job = factories.HeartbeatFactory(organization=organization)
    answer = api.get(f"{INTEGRATIONS}{job.pk}/who-would-be-notified/", {"at": at})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/at")


def test_the_list_of_silences_that_would_reach_nobody_is_paged(api, ana, organization):
    empty = factories.GroupFactory(organization=organization, name="Empty")
    unheard = [
        factories.HeartbeatFactory(organization=organization, name=f"Job {number}", recipient_groups=[empty])
        for number in range(3)
    ]
    factories.HeartbeatFactory(organization=organization, name="Heard", recipient_users=[ana])
    factories.HeartbeatFactory()
    first = api.get(f"{GAPS}?page_size=2").json()
    second = api.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == [job.pk for job in reversed(unheard)]
    assert second["next"] is None
    row = first["results"][0]
    assert (row["name"], row["reason"][:33]) == ("Job 2", "Primary of Empty: nobody is there")


def test_it_is_for_who_manages_integrations_or_sees_all_alerts(organization, client_for):
    job = factories.HeartbeatFactory(organization=organization)
    strange = factories.HeartbeatFactory()
    for role, allowed in (
        ("Owner", True),
        ("App Admin", True),
        ("Integrations Admin", True),
        ("System Viewer", True),
        ("Basic", False),
        ("Billing Admin", False),
        ("Send Message", False),
    ):
        api = client_for(factories.UserFactory(organization=organization, roles=[role]))
        notification = f"{INTEGRATIONS}{job.pk}/who-would-be-notified/"
        assert {api.get(url).status_code for url in (GAPS, UPCOMING_GAPS, notification)} == {200 if allowed else 403}, (
            role
        )
        found = api.get(f"{INTEGRATIONS}{strange.pk}/who-would-be-notified/").status_code
        assert found == (404 if allowed else 403)


def test_queries_do_not_grow_with_integrations_and_ways(organization, ana, now, django_assert_max_num_queries):
    teams = [factories.GroupFactory(organization=organization, primary=[ana]) for _ in range(10)]
    play = factories.PlayFactory(organization=organization)
    for number in range(40):
        rule = {"response_play": play} if number % 4 == 0 else {}
        users = [ana] if number % 3 else []
        factories.HeartbeatFactory(
            organization=organization, recipient_groups=[teams[number % 10]], recipient_users=users, **rule
        )
    with django_assert_max_num_queries(17):
        assert current_coverage_gaps(organization, at=now + timedelta(days=1)) == {}


def test_coverage_gaps_are_listed_for_any_instant_with_their_times_and_what_is_wrong_with_rotas(
    api, ana, organization, now
):
    team = factories.GroupFactory(organization=organization, name="Database", primary=[ana])
    days = ("monday", "tuesday", "wednesday", "thursday", "friday")
    make_shift(team, primary=[ana], windows=[(days, "08:00", "18:00")])
    job = factories.HeartbeatFactory(organization=organization, name="Backup", recipient_groups=[team])
    factories.HeartbeatFactory(organization=organization, name="Heard", recipient_users=[ana])
    answer = api.get(UPCOMING_GAPS, {"at": now.isoformat()})
    assert answer.status_code == 200, answer.json()
    (row,) = answer.json()["results"]
    assert row.pop("reason").startswith("Primary of Database: nobody is there")
    assert row == {
        "id": job.pk,
        "name": "Backup",
        "starts_at": "2026-03-02T18:00:00Z",
        "ends_at": "2026-03-03T08:00:00Z",
    }
    (group,) = answer.json()["groups"]
    assert answer.json()["failing_methods"] == []
    assert group == {
        "group": team.pk,
        "name": "Database",
        "code": "rota_hole",
        "reason": "Nobody who can be reached is on call. More such gaps follow: 9.",
        "starts_at": "2026-03-02T18:00:00Z",
        "ends_at": "2026-03-03T08:00:00Z",
    }
    assert answer.json()["looked_until"] == "2026-03-16T12:00:00Z"
    weekend = api.get(UPCOMING_GAPS, {"at": "2026-03-07T12:00:00Z"}).json()["results"]
    assert (weekend[0]["starts_at"], weekend[0]["ends_at"]) == ("2026-03-07T12:00:00Z", "2026-03-09T08:00:00Z")
    assert api.get(UPCOMING_GAPS, {"at": "yesterday"}).status_code == 400


def test_coverage_gaps_are_paged(api, organization):
    jobs = [factories.HeartbeatFactory(organization=organization, name=f"Job {number}") for number in range(3)]
    first = api.get(f"{UPCOMING_GAPS}?page_size=2").json()
    second = api.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == [job.pk for job in reversed(jobs)]
    assert second["next"] is None
