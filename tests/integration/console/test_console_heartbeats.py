"""A heartbeat's page: where it stands, and whether the person is notified of its silence."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests import factories
from tests.world import minutes

pytestmark = pytest.mark.django_db

ALONE = "Without you, it would reach nobody"
NOBODY = "nobody would be notified in the first step"


@pytest.fixture
def ana(organization):
    return factories.UserFactory(organization=organization, name="Ana")


@pytest.fixture
def ben(organization):
    return factories.UserFactory(organization=organization, name="Ben")


@pytest.fixture
def job(organization, ana, ben):
    return factories.HeartbeatFactory(organization=organization, name="Night <backup>", recipient_users=[ana, ben])


@pytest.fixture
def client(ana):
    return browser(ana)


def browser(user):
    client = Client()
    client.force_login(user)
    return client


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def test_a_person_opts_out_and_in_again(client, ana, job):
    page = f"/heartbeats/{job.pk}/"
    assert f'href="{page}"' in text(client.get("/alerts/"))
    shown = text(client.get(page))
    assert "Night &lt;backup&gt;" in shown
    assert "Yes: you are notified at once." in shown
    assert ALONE not in shown
    stopped = text(client.post(f"{page}notify-me/stop/", follow=True))
    assert "you muted it" in stopped
    assert NOBODY not in stopped
    assert ana.opt_outs.get().integration_id == job.pk
    again = text(client.post(f"{page}notify-me/again/", follow=True))
    assert "Yes: you are notified at once." in again
    assert not ana.opt_outs.exists()


def test_the_page_says_whether_and_when_i_am_notified(organization, ana, ben):
    olga = factories.UserFactory(organization=organization, name="Olga", roles=["Owner"])
    steps = [{"role": "primary"}, {"role": "secondary", "wait_minutes": 5}]
    team = factories.GroupFactory(organization=organization, name="Night", primary=[ana], secondary=[ben])
    policy = factories.PolicyFactory(organization=organization, steps=steps)
    job = factories.HeartbeatFactory(organization=organization, recipient_groups=[team], escalation_policy=policy)
    page = f"/heartbeats/{job.pk}/"
    assert "Yes: you are notified at once." in text(browser(ana).get(page))
    assert "Yes: you are notified after 5 minutes." in text(browser(ben).get(page))
    ben.roles.add(organization.roles.get(name="System Viewer"))  # may see whom a silence would reach
    assert "Yes: you are notified after 5 minutes, after Ana." in text(browser(ben).get(page))
    assert "No: its policy or play does not lead to you now." in text(browser(olga).get(page))
    team.members.all().delete()
    assert "Yes: as an Owner or App Admin" in text(browser(olga).get(page))
    job.enabled = False
    job.save()
    assert "No: it is disabled." in text(browser(ana).get(page))


def test_looking_changes_nothing(client, ana, job):
    assert client.get(f"/heartbeats/{job.pk}/notify-me/stop/").status_code == 405
    assert not ana.opt_outs.exists()


def test_the_page_says_when_nobody_would_be_left_in_the_first_step(client, ben, job):
    browser(ben).post(f"/heartbeats/{job.pk}/notify-me/stop/")
    assert ALONE in text(client.get(f"/heartbeats/{job.pk}/"))
    stopped = text(client.post(f"/heartbeats/{job.pk}/notify-me/stop/", follow=True))
    assert "the first step of “Night &lt;backup&gt;” reaches nobody" in stopped
    assert NOBODY in stopped
    assert ALONE not in stopped


def test_the_page_reads_the_route_and_its_people_once_for_both_questions(client, job, monkeypatch):
    """Would the first step reach somebody, and would it without me: the answers need the same rows."""
    monkeypatch.setattr("heartbeat_project.console.views.heartbeats._notified_text", lambda *_args, **_options: "")
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"/heartbeats/{job.pk}/").status_code == 200
    tables = ("escalation_policyrole", "escalation_shift", "escalation_outofoffice")
    read = {table: [query["sql"] for query in queries if f'FROM "{table}"' in query["sql"]] for table in tables}
    assert {table: len(found) for table, found in read.items() if len(found) > 1} == {}


def test_why_nobody_is_notified_is_said_to_who_may_preview_it(client, organization):
    empty = factories.GroupFactory(organization=organization, name="Secret team")
    job = factories.HeartbeatFactory(organization=organization, recipient_groups=[empty])
    shown = text(client.get(f"/heartbeats/{job.pk}/"))
    assert NOBODY in shown
    assert "Secret team" not in shown
    assert "Who would be notified?" not in shown
    ines = factories.UserFactory(organization=organization, roles=["Integrations Admin"])
    assert "Secret team" in text(browser(ines).get(f"/heartbeats/{job.pk}/"))


def test_the_profile_lists_what_one_opted_out_of_and_takes_it_back(client, ana, job):
    assert "None. You can mute a heartbeat on its page." in text(client.get("/profile/"))
    client.post(f"/heartbeats/{job.pk}/notify-me/stop/")
    ana.opt_outs.create(integration_id=job.pk + 1_000, created_at=job.created_at)  # it was deleted since
    assert "Night &lt;backup&gt;" in text(client.get("/profile/"))
    response = client.post(f"/heartbeats/{job.pk}/notify-me/again/", {"from": "profile"})
    assert response["Location"] == "/profile/"
    assert "None. You can mute a heartbeat on its page." in text(client.get("/profile/"))


def test_only_what_one_may_see_can_be_opted_out_of(client, ana, organization, job):
    strange = factories.HeartbeatFactory()
    billing = factories.UserFactory(organization=organization, roles=["Billing Admin"])
    for asking, integration in ((client, strange), (browser(billing), job)):
        for path in ("", "notify-me/stop/", "notify-me/again/"):
            method = asking.post if path else asking.get
            assert method(f"/heartbeats/{integration.pk}/{path}").status_code == 404
    assert not ana.opt_outs.exists()
    assert not billing.opt_outs.exists()


def test_the_url_of_the_heartbeat_is_not_shown(client, job):
    assert job.token not in text(client.get(f"/heartbeats/{job.pk}/"))


def test_interval_and_grace_are_shown_exactly_as_they_were_set(organization):
    job = factories.HeartbeatFactory(organization=organization, interval_minutes=1_441, grace_minutes=90.5)
    ines = factories.UserFactory(organization=organization, roles=["Integrations Admin"])

    shown = text(browser(ines).get(f"/heartbeats/{job.pk}/"))

    assert "<dt>Interval</dt><dd>1 day 1 minute, and 1 hour 30 minutes 30 seconds grace</dd>" in shown


def test_an_alert_says_the_interval_and_the_grace_exactly_as_they_were_set(world):
    job = world.heartbeat("backup", every=minutes(1_441), recipients=["ana"], grace_minutes=90.5)
    world.advance(minutes(1_441 + 90.5))

    alert = world.alert(job)

    assert "Interval: 1 day 1 minute (and 1 hour 30 minutes 30 seconds grace)" in alert.long_text
    assert "Expected every 1 day 1 minute;" in alert.short_text
