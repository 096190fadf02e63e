"""Who would be notified of a silence is previewed as it then happens; silences that would reach nobody are listed."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from escalation.models.notifications import Notification
from integrations.coverage.who_is_notified import current_coverage_gaps, who_would_be_notified
from integrations.maintenance.windows import create_window
from tests import factories
from tests.factories.shifts import make_absence, make_shift
from tests.world import minutes, seconds

pytestmark = pytest.mark.django_db


def codes(escalation_preview):
    return [problem.code for problem in escalation_preview.problems]


def test_what_is_previewed_is_what_happens(world):
    first = world.team("Database", primary=["ana", "bob"], secondary=["sam"], managers=["mia"])
    second = world.team("Network", primary=["ana", "nina"])
    policy = world.policy(
        next_group_wait_minutes=4,
        steps=[
            {"role": "primary", "retries": 2, "retry_interval_minutes": 3},
            {"role": "secondary", "wait_minutes": 5},
            {"role": "manager", "wait_minutes": 5},
        ],
    )
    job = world.heartbeat(
        "backup", every=minutes(5), recipient_groups=[first, second], recipients=["zoe"], escalation_policy=policy
    )
    world.ping(job)
    escalation_preview = who_would_be_notified(job, at=world.now + minutes(5))
    assert codes(escalation_preview) == ["nobody_there", "nobody_there"]
    assert escalation_preview.problems[0].text == "Secondary of Network: nobody is in it."
    assert not Notification.objects.exists()
    world.advance(minutes(5))
    world.listening = False
    world.advance(minutes(120))
    pages = Notification.objects.filter(alert=world.alert(job), kind="page")
    previewed = sorted(
        (notification.at, notification.user_id, notification.retry)
        for step in escalation_preview.steps
        for notification in step.notifications
    )
    assert sorted(pages.values_list("accepted_at", "user_id", "retry")) == previewed
    assert escalation_preview.steps[0].notifications[0].name in {"Zoe", "Ana", "Bob"}


def test_a_role_that_has_notified_somebody_and_finds_nobody_for_a_retry_is_no_role_with_nobody_in_it(world):
    team = world.team("Database", primary=["ana"], managers=["mia"])
    make_shift(team, primary=[world.person("ana")], starts_at=world.now, ends_at=world.now + minutes(2))
    make_shift(team, primary=[world.person("ana")], windows=[(("monday",), "01:00", "02:00")])
    policy = world.policy(
        steps=[
            {"role": "primary", "retries": 1, "retry_interval_minutes": 5},
            {"role": "manager", "wait_minutes": 30},
        ]
    )
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
    escalation_preview = who_would_be_notified(job, at=world.now)
    assert [[notification.name for notification in moment.notifications] for moment in escalation_preview.steps] == [
        ["Ana"],
        ["Mia"],
    ]
    assert codes(escalation_preview) == []


def test_a_walk_of_days_is_previewed_with_those_on_call_at_each_step_and_read_a_few_times(world):
    """People are read for half a day at once: who is on call at a later step counts, not who is when it is read."""
    ana, bob, zoe = (world.person(name) for name in ("ana", "bob", "zoe"))
    team = world.team("Database", primary=["ana", "bob"], managers=["mia"])
    handoff = world.now + minutes(60 * 7)
    make_shift(team, primary=[ana], ends_at=handoff)
    make_shift(team, primary=[bob], starts_at=handoff)
    make_absence(bob, zoe, starts_at=world.now + minutes(60 * 20), ends_at=world.now + minutes(60 * 48))
    policy = world.policy(
        repeats=3,
        steps=[
            {"role": "primary", "retries": 1, "retry_interval_minutes": 60 * 5},
            {"role": "manager", "wait_minutes": 60 * 5},
        ],
    )
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
    with CaptureQueriesContext(connection) as queries:
        escalation_preview = who_would_be_notified(job, at=world.now)
    notified = [
        ((step.at - world.now).total_seconds() / 3600, {row.name for row in step.notifications} - {"Mia"})
        for step in escalation_preview.steps
    ]
    assert escalation_preview.complete
    assert {name for _, names in notified for name in names} == {"Ana", "Bob", "Zoe"}
    for hours, names in notified:
        assert names <= {"Ana" if hours < 7 else "Zoe" if 20 <= hours < 48 else "Bob"}, notified
    rotas_read = [query["sql"] for query in queries if 'FROM "escalation_shift"' in query["sql"]]
    assert 2 <= len(rotas_read) < len(notified) / 1.5


def test_it_says_what_would_fail(world):
    world.person("ana", is_active=False)
    team = world.team("Database", primary=["ana", "bob"])
    policy = world.policy(
        notify_using="centralized", steps=[{"role": "primary", "contact_labels": ["SMS-Personal", "Pager"]}]
    )
    job = world.heartbeat("backup", every=minutes(5), recipient_groups=[team], escalation_policy=policy)
    owner = world.person("olga", roles=["Owner"])
    escalation_preview = who_would_be_notified(job, at=world.now)
    assert [(problem.code, problem.text) for problem in escalation_preview.problems] == [
        ("nobody_reachable", "Primary of Database: nobody in it can be reached."),
        ("inactive", "Ana is deactivated."),
        ("no_method", "Bob has no verified contact method named SMS-Personal or Pager that is in use."),
    ]
    assert escalation_preview.instead == [owner]
    assert not any(step.notifications for step in escalation_preview.steps)


def test_it_says_why_no_walk_begins_or_no_alert_opens(world):
    disabled = world.policy(name="Off", enabled=False)
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"], escalation_policy=disabled)
    assert [problem.text for problem in who_would_be_notified(job, at=world.now).problems] == [
        "The escalation policy “Off” is disabled."
    ]
    nobody = world.heartbeat("mirror", every=minutes(5), enabled=False)
    assert codes(who_would_be_notified(nobody, at=world.now)) == ["disabled", "nobody_named"]
    window = {"starts_at": world.now + minutes(10), "ends_at": world.now + minutes(20), "now": world.now}
    create_window(world.organization, name="Patch day", integrations=[job], **window)
    asked = [
        codes(who_would_be_notified(job, at=world.now + at))
        for at in (minutes(10) - seconds(1), minutes(10), minutes(20) - seconds(1), minutes(20))
    ]
    assert asked == [["refused"], ["maintenance", "refused"], ["maintenance", "refused"], ["refused"]]
    assert codes(who_would_be_notified(nobody, at=world.now + minutes(10))) == ["disabled", "nobody_named"]


def test_a_long_walk_is_cut_and_says_so(world):
    policy = world.policy(steps=[{"role": "primary", "retries": 100, "retry_interval_minutes": 1}])
    job = world.heartbeat("backup", every=minutes(5), recipients=["ana"], escalation_policy=policy)
    escalation_preview = who_would_be_notified(job, at=world.now)
    assert (len(escalation_preview.steps), escalation_preview.complete) == (50, False)


def test_each_silence_that_would_reach_nobody_in_its_first_step_is_listed_with_the_reason(world):
    empty, full = world.team("Empty"), world.team("Full", primary=["ana"])
    late = world.policy(steps=[{"role": "primary"}], next_group_wait_minutes=10)
    off = world.policy(name="Off", enabled=False)
    ready = {
        "by a group": {"recipient_groups": [full]},
        "by a user": {"recipients": ["ana"]},
        "beside an empty group": {"recipient_groups": [empty, full]},
        "after an empty group, at once": {"recipient_groups": [empty, full], "escalation_policy": late},
        "after a wait": {
            "recipient_groups": [full],
            "escalation_policy": world.policy(steps=[{"role": "primary", "wait_minutes": 30}]),
        },
        "switched off": {"enabled": False},
    }
    silent = {
        "nobody named": {},
        "an empty group": {"recipient_groups": [empty]},
        "an empty group, too": {"recipient_groups": [empty]},
        "disabled policy": {"recipients": ["ana"], "escalation_policy": off},
    }
    jobs = {name: world.heartbeat(name, every=minutes(5), **fields) for name, fields in (ready | silent).items()}
    factories.HeartbeatFactory()  # of another organization
    reasons = current_coverage_gaps(world.organization, at=world.now)
    assert set(reasons) == {jobs[name].pk for name in silent}
    assert "has nobody to notify" in reasons[jobs["nobody named"].pk]
    assert reasons[jobs["an empty group"].pk].startswith("Primary of Empty: nobody is there. Going on to Secondary")
    assert reasons[jobs["disabled policy"].pk] == "The escalation policy “Off” is disabled."
