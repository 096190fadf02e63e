"""The page of a bundle: what one message is about, and taking it all at once."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from alerting.services.alerts import assign, close, hold
from tests import factories
from tests.world import World, minutes, seconds

pytestmark = pytest.mark.django_db


@pytest.fixture
def storm(world: World):
    """Ana was notified of job 0 alone and of jobs 1 to 5 together."""
    world.bundle(seconds(5))
    world.jobs = [world.heartbeat(f"job {number}", every=minutes(5), recipients=["ana"]) for number in range(6)]
    world.advance(minutes(5) + seconds(5))
    world.message_id = world.alert(world.jobs[1]).notifications.get().message_id
    return world


def page_of(world):
    return reverse("console:bundle", args=[world.message_id])


def as_(client, user):
    client.force_login(user)
    return client


def take(client, world):
    return client.post(reverse("console:assign_bundle", args=[world.message_id]), follow=True)


def statuses(world):
    return [(alert.status, alert.owner.name if alert.owner else None) for alert in map(world.alert, world.jobs)]


def test_the_mail_leads_to_a_page_that_lists_what_it_is_about(client, storm):
    from django.core import mail

    assert f"http://127.0.0.1:8000{page_of(storm)}" in mail.outbox[-1].body
    body = as_(client, storm.person("ana")).get(page_of(storm)).content.decode()
    assert "5 alerts in one message" in body
    for number in range(1, 6):
        assert f"job {number} is silent" in body
    assert "Yes, assign 6 alerts to me" in body


def test_looking_changes_nothing(client, storm):
    as_(client, storm.person("ana")).get(page_of(storm))
    assert {status for status, _ in statuses(storm)} == {"open"}
    assert client.get(reverse("console:assign_bundle", args=[storm.message_id])).status_code == 405
    assert {status for status, _ in statuses(storm)} == {"open"}


def test_all_are_taken_at_once_with_a_line_in_each_timeline(client, storm):
    answer = take(as_(client, storm.person("ana")), storm).content.decode()
    assert "6 alerts are yours" in answer
    assert "Nothing is left to take" in answer
    assert statuses(storm) == [("assigned", "Ana")] * 6
    for job in storm.jobs:
        line = storm.alert(job).timeline.get(kind="assigned")
        assert (line.text, line.actor) == ("Ana took the alert.", storm.person("ana"))
        assert (line.via, line.how) == ("console", "on its page")
    assert storm.alert(storm.jobs[1]).assigned_at is not None


def test_what_is_over_or_somebody_elses_is_left_and_said(client, storm):
    ben, ana = storm.person("ben"), storm.person("ana")
    assign(storm.alert(storm.jobs[1]), actor=ana, to=ben, now=storm.now)
    close(storm.alert(storm.jobs[2]), actor=ana, now=storm.now)
    hold(storm.alert(storm.jobs[3]), actor=ana, now=storm.now)
    answer = take(as_(client, ana), storm).content.decode()
    assert "3 alerts are yours" in answer
    assert f"#{storm.alert(storm.jobs[1]).pk} job 1 belongs to Ben" in answer
    assert f"#{storm.alert(storm.jobs[2]).pk} job 2 is closed" in answer
    assert f"#{storm.alert(storm.jobs[3]).pk} job 3 is on hold" in answer
    assert statuses(storm)[1:] == [("assigned", "Ben"), ("closed", None), ("on_hold", None), *[("assigned", "Ana")] * 2]


def test_taking_twice_changes_nothing_more(client, storm):
    as_(client, storm.person("ana"))
    take(client, storm)
    assert "is yours already" in take(client, storm).content.decode()
    assert storm.alert(storm.jobs[1]).timeline.filter(kind="assigned").count() == 1


def test_a_bundle_of_another_organization_or_of_nobody_is_a_404(client, storm):
    stranger = factories.UserFactory(roles=["Owner"])
    as_(client, stranger)
    assert client.get(page_of(storm)).status_code == 404
    assert take(client, storm).status_code == 404
    storm.message_id = uuid.uuid4()
    as_(client, storm.person("ana"))
    assert client.get(page_of(storm)).status_code == 404
    assert {status for status, _ in statuses(storm)} == {"open"}


def test_who_may_see_none_of_its_alerts_gets_a_404_and_who_only_looks_on_cannot_take(client, storm):
    as_(client, storm.person("ben"))
    assert client.get(page_of(storm)).status_code == 404
    as_(client, storm.person("vera", roles=["System Viewer"]))
    body = client.get(page_of(storm)).content.decode()
    assert "not act on them" in body
    assert "Assign all" not in body
    assert take(client, storm).status_code == 403
    assert {status for status, _ in statuses(storm)} == {"open"}


def test_each_sees_and_takes_only_what_they_were_notified_of(client, storm):
    shared = storm.alert(storm.jobs[1])
    shared.recipients.create(user=storm.person("ben"))
    body = as_(client, storm.person("ben")).get(page_of(storm)).content.decode()
    assert "1 alert in one message" in body
    take(client, storm)
    assert [owner for _, owner in statuses(storm)] == [None, "Ben", None, None, None, None]


def test_strangers_are_sent_to_sign_in(client, storm):
    assert client.get(page_of(storm)).status_code == 302


def test_the_alerts_page_leads_to_the_message_about_it(client, storm):
    as_(client, storm.person("ana"))
    link = f'href="{page_of(storm)}"'
    assert link in client.get(reverse("console:alert", args=[storm.alert(storm.jobs[1]).pk])).content.decode()
    assert (
        "/bundles/" not in client.get(reverse("console:alert", args=[storm.alert(storm.jobs[0]).pk])).content.decode()
    )


def test_many_alerts_are_pages_and_cost_no_more_statements(client, world: World):
    world.bundle(seconds(5))
    jobs = [world.heartbeat(f"job {number:03}", every=minutes(5), recipients=["ana"]) for number in range(61)]
    world.advance(minutes(5) + seconds(5))
    world.message_id = world.alert(jobs[1]).notifications.get().message_id
    as_(client, world.person("ana"))
    with CaptureQueriesContext(connection) as queries:
        first = client.get(page_of(world)).content.decode()
    assert len(queries) < 20
    assert "60 alerts in one message" in first
    assert "1 to 50 of 60" in first
    assert "51 to 60 of 60" in client.get(f"{page_of(world)}?page=2").content.decode()
    with CaptureQueriesContext(connection) as queries:
        client.post(reverse("console:assign_bundle", args=[world.message_id]))
    assert len(queries) < 20
    assert {world.alert(job).status for job in jobs[1:]} == {"assigned"}
