"""Whoever comes on call while alerts are open that nobody has taken is notified of them, once and in one message."""

import pytest

from accounts.models.groups import GroupMember, GroupNesting
from accounts.models.users import User
from alerting.services import alerts
from escalation.models.notifications import Notification
from escalation.models.on_call import OutOfOffice
from tests.factories.shifts import make_shift
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


def silent(world, *jobs):
    """Let these jobs fall silent together."""
    for job in jobs:
        world.ping(job)
    world.advance(minutes(5))


def rota(world, *, name="Database", then="ben"):
    """Return a group of which Ana is Primary for half an hour, and `then` afterwards."""
    team, at = world.team(name, primary=["ana", then]), world.now + minutes(30)
    make_shift(team, primary=[world.person("ana")], ends_at=at)
    make_shift(team, primary=[world.person(then)], starts_at=at)
    return team


def test_who_comes_on_call_is_notified_of_all_open_alerts_in_one_message(world):
    team = rota(world)
    jobs = [
        world.heartbeat(name, every=minutes(5), recipient_groups=[team], escalation_policy=world.policy())
        for name in ("backup", "import", "export")
    ]
    silent(world, *jobs)
    for job in jobs:
        world.expect_page("ana", about=job)
    world.advance(minutes(24))
    world.expect_nothing_else()
    world.advance(minutes(1))
    message = world.expect_bundle("ben", about=jobs)
    said = " ".join(message.body.split())
    assert "You came on call for Database at Mon 12:30. 3 alerts are open and nobody has taken them." in said
    lines = world.alert(jobs[0]).timeline.filter(text__startswith="Ben came on call for Database, and is notified now.")
    assert lines.count() == 1
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_one_alert_says_why_and_can_be_taken_from_the_message(world):
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)])
    silent(world, job)
    world.expect_page("ana", about=job)
    world.advance(minutes(25))
    message = world.expect_page("ben", about=job)
    assert "You came on call for Database at Mon 12:30." in message.body
    assert "Assign to me" in message.body
    world.expect_nothing_else()


@pytest.mark.parametrize("end", [alerts.assign, alerts.hold, alerts.close, alerts.cancel])
def test_alerts_that_were_taken_or_are_over_are_not_handed_on(world, end):
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)])
    silent(world, job)
    world.expect_page("ana", about=job)
    ana = world.person("ana")
    end(world.alert(job), actor=ana, now=world.now, **({"to": ana} if end is alerts.assign else {}))
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_an_alert_whose_acknowledgement_stops_the_escalation_is_not_handed_on(world):
    policy = world.policy(acknowledge_stops=True)
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)], escalation_policy=policy)
    silent(world, job)
    world.expect_page("ana", about=job)
    alerts.acknowledge(world.alert(job), actor=world.person("ana"), now=world.now)
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_roles_that_the_walk_has_not_come_to_wait_for_their_time(world):
    team = world.team("Database", primary=["ana"], secondary=["sam"])
    policy = world.policy(steps=[{"role": "primary"}, {"role": "secondary", "wait_minutes": 60}])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
    silent(world, job)
    world.expect_page("ana", about=job)
    GroupMember.objects.create(group=team, user=world.person("zoe"), role="secondary", position=9)
    world.advance(minutes(59))
    world.expect_nothing_else()
    world.advance(minutes(1))
    world.expect_page("sam", about=job)
    world.expect_page("zoe", about=job)
    GroupMember.objects.create(group=team, user=world.person("yan"), role="secondary", position=9)
    world.advance(minutes(1))
    world.expect_page("yan", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_who_is_there_when_the_retry_finds_somebody_gone_is_notified_by_it_alone(world):
    policy = world.policy(steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 25}])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)], escalation_policy=policy)
    silent(world, job)
    world.expect_page("ana", about=job)
    world.advance(minutes(25))
    world.expect_page("ben", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()


def test_a_retry_that_comes_much_later_keeps_nobody_waiting(world):
    policy = world.policy(steps=[{"role": "primary", "retries": 1, "retry_interval_minutes": 120}])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)], escalation_policy=policy)
    silent(world, job)
    world.expect_page("ana", about=job)
    world.advance(minutes(25))
    world.expect_page("ben", about=job)
    world.expect_nothing_else()
    world.advance(minutes(95))
    world.expect_page("ben", about=job)  # the retry
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_a_cover_is_notified_when_the_absence_begins_also_of_who_is_named_directly(world):
    team = world.team("Database", primary=["ana"])
    named = world.heartbeat("import", every=minutes(5), recipients=["ana"])
    grouped = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    silent(world, named, grouped)
    world.expect_page("ana", about=named)
    world.expect_page("ana", about=grouped)
    away = world.now + minutes(30)
    OutOfOffice.objects.create(
        user=world.person("ana"), cover=world.person("cem"), starts_at=away, ends_at=away + minutes(600)
    )
    world.advance(minutes(30))
    message = world.expect_bundle("cem", about=[named, grouped])
    assert "You came on call for Database instead of Ana at Mon 12:35." in message.body
    world.advance(minutes(500))
    world.expect_nothing_else()


@pytest.mark.parametrize("who", ["reactivated", "manager", "nested"])
def test_whoever_is_in_charge_at_last_is_notified(world, who):
    ben = world.person("ben")
    team = world.team("Database", primary=["ana"] if who in {"manager", "nested"} else ["ana", "ben"])
    if who == "reactivated":
        User.objects.filter(pk=ben.pk).update(is_active=False)
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    silent(world, job)
    world.expect_page("ana", about=job)
    world.advance(minutes(30))
    assert world.alert(job).run.next_step_at is None, "the Manager's turn is over"
    world.expect_nothing_else()
    if who == "reactivated":
        User.objects.filter(pk=ben.pk).update(is_active=True)
    elif who == "manager":
        GroupMember.objects.create(group=team, user=ben, role="manager", position=0)
    else:
        GroupNesting.objects.create(group=team, child=world.team("Night", primary=["ben"]), position=0)
    world.advance(minutes(1))
    world.expect_page("ben", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_who_has_a_verified_method_at_last_is_notified(world):
    steps = [{"role": "primary", "contact_labels": ["Night"]}]
    policy = world.policy(notify_using="centralized", steps=steps)
    at_night = {
        name: world.person(name).contact_methods.create(
            kind="email", label="Night", address=f"{name}@night.example.com", position=1, verified_at=verified_at
        )
        for name, verified_at in (("ana", world.now), ("ben", None))
    }
    team = world.team("Database", primary=["ana", "ben"])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
    silent(world, job)
    world.expect_page("ana", about=job, address="ana@night.example.com")
    world.advance(minutes(30))
    world.expect_nothing_else()
    at_night["ben"].verified_at = world.now
    at_night["ben"].save()
    world.advance(minutes(1))
    world.expect_page("ben", about=job, address="ben@night.example.com")
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_who_came_on_call_while_it_was_on_hold_is_notified_when_that_is_over(world):
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)])
    silent(world, job)
    world.expect_page("ana", about=job)
    alert = alerts.hold(world.alert(job), actor=world.person("ana"), now=world.now)
    world.advance(minutes(60))
    world.expect_nothing_else()
    alerts.resume(alert, actor=world.person("ana"), now=world.now)
    world.advance(minutes(1))
    world.expect_page("ben", about=job)
    world.expect_nothing_else()


def test_an_override_by_hand_is_a_hand_off(world):
    team = world.team("Database", primary=["ana", "ben"])
    make_shift(team, primary=[world.person("ana")])
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    silent(world, job)
    world.expect_page("ana", about=job)
    make_shift(team, primary=[world.person("ben")], starts_at=world.now, ends_at=world.now + minutes(60))
    world.advance(seconds(60))
    world.expect_page("ben", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()  # Ana is on call again, and was notified before


def test_nobody_who_opted_out_and_nobody_who_was_notified_by_another_path(world):
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)], recipients=["ben"])
    other = world.heartbeat("import", every=minutes(5), recipient_groups=[rota(world, name="Network", then="cem")])
    world.person("cem").opt_outs.create(integration_id=other.pk, created_at=world.now)
    silent(world, job, other)
    world.expect_page("ben", about=job)
    world.expect_page("ana", about=job)
    world.expect_page("ana", about=other)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_what_was_put_away_while_somebody_had_the_alert_is_sent_when_it_is_open_again(world):
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)])
    silent(world, job)
    world.expect_page("ana", about=job)
    world.away = {"delivery"}
    world.advance(minutes(25))
    ana = world.person("ana")
    alert = alerts.assign(world.alert(job), actor=ana, to=ana, now=world.now)
    world.away = set()
    world.advance(minutes(1))
    world.expect_nothing_else()
    assert Notification.objects.filter(user=world.person("ben"), status="superseded").count() == 1
    alerts.escalate(alert, actor=ana, now=world.now)
    world.advance(minutes(1))
    world.expect_page("ben", about=job)
    world.advance(minutes(600))
    world.expect_nothing_else()


def test_two_workers_at_once_and_a_second_look_notify_once(world):
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[rota(world)])
    silent(world, job)
    world.expect_page("ana", about=job)
    world.advance(minutes(25))
    world.work("handoffs")
    world.work("handoffs")
    world.work("delivery")
    world.expect_page("ben", about=job)
    world.expect_nothing_else()


def test_a_group_that_had_nobody_and_gets_somebody(world):
    world.person("olga", roles=["Owner"])
    team = world.team("Database")
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team])
    silent(world, job)
    world.expect_mail("olga", saying="Nobody was reached", about=job)
    GroupMember.objects.create(group=team, user=world.person("ana"), role="primary", position=0)
    world.advance(minutes(1))
    world.expect_page("ana", about=job)
    world.advance(minutes(60))
    world.expect_nothing_else()
