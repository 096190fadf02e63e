"""The page of a bundle: what one message told of, and taking it all at once."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from alerting.services import assign, close, hold
from tests import factories
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def told(world: World):
    """Ana was told of job 0 alone and of jobs 1 to 5 together."""
    world.bundle(seconds(5))
    world.jobs = [world.heartbeat(f"job {number}", every=minutes(5), tell=["ana"]) for number in range(6)]
    world.advance(minutes(5) + seconds(5))
    world.envelope = world.alert(world.jobs[1]).notifications.get().envelope
    return world


def page_of(world):
    return reverse("console:bundle", args=[world.envelope])


def as_(client, user):
    client.force_login(user)
    return client


def take(client, world):
    return client.post(reverse("console:assign_bundle", args=[world.envelope]), follow=True)


def statuses(world):
    return [(alert.status, alert.owner.name if alert.owner else None) for alert in map(world.alert, world.jobs)]


def test_the_mail_leads_to_a_page_that_lists_what_it_told_of(client, told):
    from django.core import mail

    assert f"http://127.0.0.1:8000{page_of(told)}" in mail.outbox[-1].body
    body = as_(client, told.person("ana")).get(page_of(told)).content.decode()
    assert "5 alerts in one message" in body
    for number in range(1, 6):
        assert f"job {number} is silent" in body
    assert "job 0" not in body
    assert "Yes, assign 5 alerts to me" in body


def test_looking_changes_nothing(client, told):
    as_(client, told.person("ana")).get(page_of(told))
    assert {status for status, _ in statuses(told)} == {"open"}
    assert client.get(reverse("console:assign_bundle", args=[told.envelope])).status_code == 405
    assert {status for status, _ in statuses(told)} == {"open"}


def test_all_are_taken_at_once_with_a_line_in_each_timeline(client, told):
    answer = take(as_(client, told.person("ana")), told).content.decode()
    assert "5 alerts are yours" in answer
    assert "Nothing is left to take" in answer
    assert statuses(told) == [("open", None)] + [("assigned", "Ana")] * 5
    for job in told.jobs[1:]:
        line = told.alert(job).timeline.get(kind="assigned")
        assert (line.text, line.actor) == ("Ana took the alert.", told.person("ana"))
    assert told.alert(told.jobs[1]).assigned_at is not None


def test_what_is_over_or_somebody_elses_is_left_and_said(client, told):
    ben, ana = told.person("ben"), told.person("ana")
    assign(told.alert(told.jobs[1]), actor=ana, to=ben, now=told.now)
    close(told.alert(told.jobs[2]), actor=ana, now=told.now)
    hold(told.alert(told.jobs[3]), actor=ana, now=told.now)
    answer = take(as_(client, ana), told).content.decode()
    assert "3 alerts are yours" in answer
    assert f"#{told.alert(told.jobs[1]).pk} job 1 belongs to Ben" in answer
    assert f"#{told.alert(told.jobs[2]).pk} job 2 is closed" in answer
    assert statuses(told)[1:] == [("assigned", "Ben"), ("closed", None), *[("assigned", "Ana")] * 3]


def test_taking_twice_changes_nothing_more(client, told):
    as_(client, told.person("ana"))
    take(client, told)
    assert "is yours already" in take(client, told).content.decode()
    assert told.alert(told.jobs[1]).timeline.filter(kind="assigned").count() == 1


def test_a_bundle_of_another_organization_or_of_nobody_is_a_404(client, told):
    stranger = factories.UserFactory(roles=["Owner"])
    as_(client, stranger)
    assert client.get(page_of(told)).status_code == 404
    assert take(client, told).status_code == 404
    told.envelope = uuid.uuid4()
    as_(client, told.person("ana"))
    assert client.get(page_of(told)).status_code == 404
    assert {status for status, _ in statuses(told)} == {"open"}


def test_who_may_see_none_of_its_alerts_gets_a_404_and_who_only_looks_on_cannot_take(client, told):
    as_(client, told.person("ben"))
    assert client.get(page_of(told)).status_code == 404
    as_(client, told.person("vera", roles=["System Viewer"]))
    body = client.get(page_of(told)).content.decode()
    assert "You can look at these alerts" in body
    assert "Assign all" not in body
    assert take(client, told).status_code == 403
    assert {status for status, _ in statuses(told)} == {"open"}


def test_each_sees_and_takes_only_what_they_were_told_of(client, told):
    shared = told.alert(told.jobs[1])
    shared.recipients.create(user=told.person("ben"))
    body = as_(client, told.person("ben")).get(page_of(told)).content.decode()
    assert "1 alert in one message" in body
    take(client, told)
    assert [owner for _, owner in statuses(told)] == [None, "Ben", None, None, None, None]


def test_strangers_are_sent_to_sign_in(client, told):
    assert client.get(page_of(told)).status_code == 302


def test_the_alerts_page_leads_to_the_message_that_told_of_it(client, told):
    as_(client, told.person("ana"))
    link = f'href="{page_of(told)}"'
    assert link in client.get(reverse("console:alert", args=[told.alert(told.jobs[1]).pk])).content.decode()
    assert "/bundles/" not in client.get(reverse("console:alert", args=[told.alert(told.jobs[0]).pk])).content.decode()


def test_many_alerts_are_pages_and_cost_no_more_statements(client, world: World):
    world.bundle(seconds(5))
    jobs = [world.heartbeat(f"job {number:03}", every=minutes(5), tell=["ana"]) for number in range(61)]
    world.advance(minutes(5) + seconds(5))
    world.envelope = world.alert(jobs[1]).notifications.get().envelope
    as_(client, world.person("ana"))
    with CaptureQueriesContext(connection) as queries:
        first = client.get(page_of(world)).content.decode()
    assert len(queries) < 20
    assert "60 alerts in one message" in first
    assert "1 to 50 of 60" in first
    assert "51 to 60 of 60" in client.get(f"{page_of(world)}?page=2").content.decode()
    with CaptureQueriesContext(connection) as queries:
        client.post(reverse("console:assign_bundle", args=[world.envelope]))
    assert len(queries) < 20
    assert {world.alert(job).status for job in jobs[1:]} == {"assigned"}
