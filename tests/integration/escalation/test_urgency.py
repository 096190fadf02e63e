"""What goes first where more is due than can be sent at once: first pages, then further ones, then news."""

from datetime import timedelta
from functools import partial

import pytest

from alerting.services import close_alerts
from escalation.models import Notification
from escalation.services.claims import claim, due_channels
from escalation.services.delivery import deliver_due
from escalation.services.engine import advance_escalations
from escalation.services.notices import write_owner_notice, write_recovery_notices
from tests import factories
from tests.integration.escalation.posting import page, refused

pytestmark = pytest.mark.django_db
FIRST, FURTHER, NEWS = Notification.Urgency
MINUTE = timedelta(minutes=1)


@pytest.fixture
def ana(person):
    return person("ana")


@pytest.fixture
def policy(organization):
    roles = [{"role": "primary", "retries": 1, "retry_interval_minutes": 1}, {"role": "secondary", "wait_minutes": 3}]
    return factories.PolicyFactory(organization=organization, name="Rota", steps=roles)


@pytest.fixture
def team(organization, ana, person):
    return factories.GroupFactory(organization=organization, primary=[ana], secondary=[person("sam")])


def walk_on(now):
    """Let the engine and the delivery do what is due."""
    advance_escalations(now=now)
    deliver_due(now=now)


def urgencies(alert, **which):
    found = alert.notifications.filter(**which).order_by("created_at", "next_attempt_at", "label")
    return list(found.values_list("urgency", flat=True))


def test_the_first_page_of_an_alert_is_urgent_and_its_retries_and_later_steps_are_not(
    organization, team, policy, server, now
):
    alert = page(organization, policy=policy, groups=[team], now=now)
    for minute in range(6):
        walk_on(now + minute * MINUTE)
    told = alert.notifications.order_by("created_at").values_list("user__name", "round", "urgency")
    assert list(told) == [("Ana", 0, FIRST), ("Ana", 1, FURTHER), ("Sam", 0, FURTHER)]


def test_a_retry_is_not_urgent_while_the_page_before_it_still_waits(organization, team, policy, now):
    alert = page(organization, policy=policy, groups=[team], now=now)
    advance_escalations(now=now + MINUTE)
    assert urgencies(alert) == [FIRST, FURTHER]


def test_where_nobody_was_reached_the_next_step_is_the_first_page(organization, team, policy, server, now):
    policy.roles.update(retries=0)
    alert = page(organization, policy=policy, groups=[team], now=now)
    server.answer("ana@example.com", refused("ana@example.com", 550))
    deliver_due(now=now)
    walk_on(now)
    assert urgencies(alert, user__name="Sam") == [FIRST]


def test_a_method_that_waits_its_turn_is_urgent_once_the_one_before_it_failed(organization, ana, policy, server, now):
    ana.contact_methods.create(label="Email-Home", address="home@example.com", delay_minutes=10, verified_at=now)
    alert = page(organization, policy=policy, users=[ana], now=now)
    assert urgencies(alert) == [FIRST, FURTHER]
    server.answer("ana@example.com", refused("ana@example.com", 550))
    deliver_due(now=now)
    assert urgencies(alert, label="Email-Home") == [FIRST]


def test_what_a_person_wants_repeated_is_not_urgent_again(organization, ana, policy, now):
    ana.contact_methods.update(repeat_count=2, repeat_gap_minutes=1)
    alert = page(organization, policy=policy, users=[ana], now=now)
    assert urgencies(alert) == [FIRST, FURTHER, FURTHER]


def test_a_last_resort_is_urgent_and_recoveries_and_notices_are_not(organization, person, policy, server, now):
    person("olga", roles=["Owner"])
    nobody = page(organization, policy=policy, now=now, name="nobody's")
    alert = page(organization, policy=policy, users=[person("bob")], now=now)
    walk_on(now)
    close_alerts([alert.pk], reason="over", now=now)
    write_recovery_notices([alert.pk], now=now)
    write_owner_notice(organization.pk, subject="By the way", text="…", now=now)
    assert urgencies(nobody, kind="last_resort") == [FIRST]
    assert urgencies(alert, kind="recovery") == [NEWS]
    assert Notification.objects.get(kind="notice").urgency == NEWS


@pytest.fixture
def backlog(organization, person, policy, server, now):
    """Have a recovery, a retry and a first page due for each of two people, the least urgent longest; return when."""
    people = [person("ana"), person("bob")]
    over = page(organization, policy=policy, users=people, now=now, name="over")
    page(organization, policy=policy, users=people, now=now, name="again")
    deliver_due(now=now)
    close_alerts([over.pk], reason="over", now=now)
    write_recovery_notices([over.pk], now=now)
    advance_escalations(now=now + MINUTE)
    page(organization, policy=policy, users=people, now=now + 2 * MINUTE, name="new")
    assert Notification.objects.filter(status="pending").count() == 6
    server.seen.clear()
    return now + 2 * MINUTE


def told_of(server):
    return [message.subject.split()[1] for message in server.seen]


def test_first_pages_go_before_further_ones_and_news_comes_last(backlog, server):
    deliver_due(now=backlog)
    assert told_of(server) == ["new", "new", "again", "again", "over", "over"]


def test_of_what_waits_for_letterboxes_the_first_page_goes_alone_and_at_once(organization, backlog, server):
    organization.bundle_seconds = 5
    organization.save()
    deliver_due(now=backlog)
    assert told_of(server) == ["new", "new", "over", "over"]
    deliver_due(now=backlog + timedelta(seconds=5))
    assert told_of(server)[4:] == ["again", "again"]


def test_a_first_page_that_comes_late_overtakes_what_waits(organization, person, policy, backlog):
    take = partial(claim, "email", due_by=backlog, now=backlog, limit=2)
    first, further = take().messages, take().messages
    late = page(organization, policy=policy, users=[person("cy")], now=backlog, name="late")
    assert [claimed.notification.urgency for claimed in (*first, *further)] == [FIRST, FIRST, FURTHER, FURTHER]
    assert [claimed.notification.alert for claimed in take().messages][:1] == [late]
    assert [claimed.notification.urgency for claimed in take().messages] == [NEWS]


def test_news_goes_out_once_nothing_more_urgent_is_left(backlog, server):
    Notification.objects.filter(urgency__lt=NEWS, status="pending").update(next_attempt_at=backlog + MINUTE)
    assert due_channels(due_by=backlog) == {"email": [NEWS]}
    assert due_channels(due_by=backlog + MINUTE) == {"email": [FIRST, FURTHER, NEWS]}
    assert deliver_due(now=backlog) == 2


def test_every_channel_on_which_something_is_due_is_found(organization, ana, policy, now):
    for channel in ("telex", "email", "sms", "voice"):
        alert = page(organization, policy=policy, users=[ana], now=now, name=channel)
        alert.notifications.update(channel=channel)
    Notification.objects.filter(channel="sms").update(next_attempt_at=now + MINUTE)
    assert due_channels(due_by=now) == {"email": [FIRST], "telex": [FIRST], "voice": [FIRST]}
    Notification.objects.update(status="accepted", next_attempt_at=None)
    assert due_channels(due_by=now) == {}
