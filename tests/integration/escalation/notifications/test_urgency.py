"""What goes first where more is due than can be sent at once: first pages, then further ones, then news."""

from datetime import timedelta
from functools import partial

import pytest

from alerting.services.alerts import close_alerts
from escalation.engine.advance import advance_escalations
from escalation.engine.notices import write_owner_notice
from escalation.models.notifications import RETRIED, Notification
from escalation.notifications.after_failures import go_on_beside_what_is_held
from escalation.notifications.claim import claim, due_channels
from escalation.notifications.deliver import deliver_due
from escalation.notifications.notices.recoveries import write_recovery_notices
from tests import factories
from tests.integration.escalation.posting import page, refused

pytestmark = pytest.mark.django_db
FIRST, FURTHER, NEWS = Notification.Urgency
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


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
    notified = alert.notifications.order_by("created_at").values_list("user__name", "retry", "urgency")
    assert list(notified) == [("Ana", 0, FIRST), ("Ana", 1, FURTHER), ("Sam", 0, FURTHER)]


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


def notified_of(server):
    names = ("new", "again", "over")
    return [next(name for name in names if name in message.subject.split()) for message in server.seen]


def test_first_pages_go_before_further_ones_and_news_comes_last(backlog, server):
    deliver_due(now=backlog)
    assert notified_of(server) == ["new", "new", "again", "again", "over", "over"]


def test_of_what_waits_for_bundle_windows_the_first_page_goes_alone_and_at_once(organization, backlog, server):
    organization.bundle_seconds = 5
    organization.save()
    deliver_due(now=backlog)
    assert notified_of(server) == ["new", "new", "over", "over"]
    deliver_due(now=backlog + timedelta(seconds=5))
    assert notified_of(server)[4:] == ["again", "again"]


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


def test_first_tries_go_before_what_failed_before_also_before_news(organization, person, policy, server, now):
    ana, bob, cy = person("ana"), person("bob"), person("cy")
    over = page(organization, policy=policy, users=[bob], now=now, name="over")
    deliver_due(now=now)
    server.answer("ana@example.com", refused("ana@example.com", 450))
    failed = page(organization, policy=policy, users=[ana], now=now, name="failed")
    deliver_due(now=now)
    assert urgencies(failed) == [FIRST + RETRIED]
    later = failed.notifications.get().next_attempt_at + MINUTE
    close_alerts([over.pk], reason="over", now=later)
    write_recovery_notices([over.pk], now=later)
    page(organization, policy=policy, users=[cy], now=later, name="new")
    server.seen.clear()
    deliver_due(now=later)
    assert server.sent_to() == ["cy@example.com", "bob@example.com", "ana@example.com"]


def test_what_failed_keeps_the_order_that_it_had_and_falls_back_once(organization, person, policy, server, now):
    ana, server_is_away = person("ana"), refused("ana@example.com", 450)
    server.answer("ana@example.com", server_is_away)
    alert = page(organization, policy=policy, users=[ana], now=now)
    for _ in range(3):
        deliver_due(now=alert.notifications.get().next_attempt_at)
    assert (urgencies(alert), alert.notifications.get().attempts) == ([FIRST + RETRIED], 3)


# -- what is held for too long
# ------------------------------------------------------------------------------------------
@pytest.fixture
def held(organization, ana, policy, now):
    """A first page that is due for a minute, and another method of the same person that waits its turn."""
    ana.contact_methods.create(label="Email-Home", address="home@example.com", delay_minutes=10, verified_at=now)
    return page(organization, policy=policy, users=[ana], now=now)


def test_what_waits_for_a_minute_without_a_try_counts_as_failed_and_the_next_method_is_used(held, server, now):
    assert go_on_beside_what_is_held(now=now + MINUTE - SECOND) == 0
    assert go_on_beside_what_is_held(now=now + MINUTE) == 1
    assert go_on_beside_what_is_held(now=now + MINUTE) == 0
    line = held.timeline.latest("id")
    assert line.text == "E-mail to Ana (Email-Official): held back for more than a minute"
    deliver_due(now=now + MINUTE)
    assert sorted(server.sent_to()) == ["ana@example.com", "home@example.com"]


def test_what_nobody_wants_any_more_is_not_held(held, now):
    close_alerts([held.pk], reason="over", now=now)
    assert go_on_beside_what_is_held(now=now + MINUTE) == 0


def test_what_was_tried_or_is_not_due_is_not_held(held, server, now):
    server.answer("ana@example.com", refused("ana@example.com", 450))
    deliver_due(now=now)
    Notification.objects.filter(label="Email-Home", status="pending").update(next_attempt_at=now + 5 * MINUTE)
    assert go_on_beside_what_is_held(now=now + 3 * MINUTE) == 0
