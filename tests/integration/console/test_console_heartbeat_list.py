"""The list of heartbeats: filters, orders, pages, and what is done with several at once."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from heartbeat_project.console import heartbeat_list
from heartbeat_project.kernel import clock
from integrations.heartbeats.edits import update_heartbeat
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.windows import MaintenanceWindow
from integrations.ping_lane.batch import Arrival, record_pings
from tests import factories

pytestmark = pytest.mark.django_db
URL = "/heartbeats/"
NAMES = re.compile(r'<span class="what"><a href="/heartbeats/\d+/">([^<]+)</a>')


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
def jobs(organization, now):
    """Return heartbeats by name: one that is silent, one that waits, two that are healthy, one that is disabled."""

    def job(name, *, interval_minutes=60, **more):
        return factories.HeartbeatFactory(
            organization=organization, name=name, interval_minutes=interval_minutes, now=now, **more
        )

    made = {
        "apple": job("apple", tags=["fruit", "env:prod"]),
        "beet": job("beet", tags=["root"]),
        "cherry": job("cherry", tags=["fruit"], interval_minutes=30),
        "date": job("date", enabled=False),
        "elder": job("elder"),
    }
    record_pings(
        [Arrival(made[name].token, now - timedelta(minutes=ago)) for name, ago in (("apple", 3), ("cherry", 9))]
    )
    Heartbeat.objects.filter(pk=made["beet"].pk).update(state="missed", deadline_at=now - timedelta(minutes=1))
    return made


def page(client, query=""):
    answer = client.get(f"{URL}?{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def names(client, query=""):
    return NAMES.findall(page(client, query))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["beet", "cherry", "apple", "elder", "date"]),
        ("sort=name", ["apple", "beet", "cherry", "date", "elder"]),
        ("sort=due", ["cherry", "apple", "elder", "beet", "date"]),
        ("sort=last", ["apple", "cherry", "beet", "date", "elder"]),
        ("state=healthy&sort=name", ["apple", "cherry"]),
        ("state=missed", ["beet"]),
        ("state=disabled", ["date"]),
        ("q=ER&sort=name", ["cherry", "elder"]),
        ("tag=Fruit&sort=name", ["apple", "cherry"]),
        ("tag=env", []),
        ("state=nonsense&sort=nonsense&group=x&after=9.9&sort=name", ["apple", "beet", "cherry", "date", "elder"]),
    ],
)
def test_filters_and_orders(client, jobs, query, expected):
    assert names(client, query) == expected


def test_counts_are_of_what_the_other_filters_leave(client, jobs):
    found = page(client, "tag=fruit&state=healthy")
    assert re.search(r'>All <span class="count">2</span>', found)
    assert len(re.findall('class="count', found)) == 2  # all, and healthy


def test_my_groups_are_the_default_and_all_can_be_shown(client, ines, organization, jobs):
    group = factories.GroupFactory(organization=organization, primary=[ines])
    update_heartbeat(jobs["apple"], actor=None, now=clock.now(), recipient_groups=[group])
    assert names(client) == ["apple"]
    assert len(names(client, "group=all")) == 5
    assert names(client, f"group={group.pk}") == ["apple"]
    other = factories.GroupFactory(organization=organization)
    assert names(client, f"group={other.pk}") == []


@pytest.mark.parametrize("sort", ["worst", "name", "due", "last"])
def test_pages_follow_each_other_without_a_gap_or_a_double(client, jobs, sort, monkeypatch):
    whole = names(client, f"sort={sort}")
    monkeypatch.setattr(heartbeat_list, "PAGE_SIZE", 2)
    found, query = [], f"sort={sort}"
    while query:
        text = page(client, query)
        found += NAMES.findall(text)
        following = re.search(r'href="\?([^"]+)">Next page', text)
        query = following[1].replace("&amp;", "&") if following else ""
    assert found == whole


def test_the_number_of_queries_does_not_grow_with_the_rows(client, organization, jobs):
    page(client)
    with CaptureQueriesContext(
        connection,
    ) as few:
        page(client)
    group = factories.GroupFactory(organization=organization)
    for number in range(12):
        factories.HeartbeatFactory(organization=organization, name=f"more {number}", recipient_groups=[group])
    with CaptureQueriesContext(connection) as many:
        assert len(names(client)) == 17
    assert len(many) <= len(few) + 1  # of recipients, there were none before
    assert len(few) <= 22


def test_who_sees_names_only_gets_neither_times_nor_tags_nor_boxes(organization, jobs):
    viewer = browser(factories.UserFactory(organization=organization))
    found = page(viewer, "sort=due&tag=fruit")
    assert len(NAMES.findall(found)) == 5
    for hidden in ("<time", "every ", "fruit", 'name="ids"', "Add heartbeat"):
        assert hidden not in found.split("</form>")[-1], hidden
    assert viewer.post(f"{URL}bulk/", {"ids": jobs["apple"].pk, "action": "disable"}).status_code == 403


def test_who_may_see_no_integration_is_refused_and_others_see_their_own(organization, jobs):
    assert (
        browser(factories.UserFactory(organization=organization, roles=["Billing Admin"])).get(URL).status_code == 403
    )
    assert names(browser(factories.UserFactory(roles=["Owner"]))) == []


def do(client, action, *jobs, **more):
    return client.post(f"{URL}bulk/", {"ids": [job.pk for job in jobs], "action": action, **more}, follow=True)


def test_twelve_hours_of_maintenance_cover_what_is_ticked(client, jobs):
    answer = do(client, "maintenance:120", jobs["apple"], jobs["elder"])
    assert "2 heartbeats in maintenance for 2 hours." in answer.content.decode()
    window = MaintenanceWindow.objects.get()
    assert {job.name for job in window.integrations.all()} == {"apple", "elder"}
    assert NAMES.findall(page(client, "state=maintenance&sort=name")) == ["apple", "elder"]


def test_ticked_heartbeats_are_disabled_enabled_tagged_and_given_a_policy(client, organization, jobs):
    some = (jobs["apple"], jobs["elder"])
    do(client, "disable", *some)
    assert names(client, "state=disabled&sort=name") == ["apple", "date", "elder"]
    do(client, "enable", *some)
    do(client, "tag", *some, tags="Night, shop")
    assert names(client, "tag=night&sort=name") == ["apple", "elder"]
    do(client, "untag", *some, tags="night")
    assert names(client, "tag=night") == []
    assert names(client, "tag=shop&sort=name") == ["apple", "elder"]
    policy = factories.PolicyFactory(organization=organization)
    do(client, f"policy:{policy.pk}", *some)
    jobs["apple"].refresh_from_db()
    assert jobs["apple"].escalation_policy == policy
    assert HeartbeatEvent.objects.filter(integration=jobs["apple"], kind="changed", actor__name="Ines").count() == 3


@pytest.mark.parametrize(
    ("action", "tags", "says"),
    [
        ("", "", "Choose what to do"),
        ("maintenance:7", "", "Choose what to do"),
        ("policy:999999999", "", "Choose what to do"),
        ("tag", "", "Write the tags"),
        ("tag", "two:", "is no tag"),
        ("tag", "x " * 30 + " ".join(f"y{n}" for n in range(20)), "at most 20 tags"),
    ],
)
def test_what_cannot_be_done_changes_nothing_and_says_why(client, jobs, action, tags, says):
    answer = do(client, action, jobs["apple"], tags=tags)
    assert says in answer.content.decode()
    jobs["apple"].refresh_from_db()
    assert jobs["apple"].tags == ["env:prod", "fruit"]


def test_heartbeats_of_others_and_numbers_that_are_none_are_not_ticked(client, jobs):
    foreign = factories.HeartbeatFactory()
    answer = client.post(f"{URL}bulk/", {"ids": [foreign.pk, "x", "9" * 400], "action": "disable"}, follow=True)
    assert "Tick the heartbeats first." in answer.content.decode()
    foreign.refresh_from_db()
    assert foreign.enabled
