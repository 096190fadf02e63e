"""The engine: batches, failing rows, two engines at once, and what a tick costs."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alerting.models.alerts import Alert, TimelineEntry
from escalation.engine import advance, walk
from escalation.engine.advance import advance_escalations
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.notifications.notices.recoveries import write_recovery_notices
from heartbeat_project.kernel.sql import statement
from tests import factories
from tests.integration.escalation.posting import draft, opened, page, race, start

pytestmark = pytest.mark.django_db

FIVE = timedelta(minutes=5)


def make_runs(organization, count, *, policy, groups=(), users=(), now):
    """Start `count` runs in one batch."""
    alerts = opened([draft(organization, f"job {number}") for number in range(count)], now=now)
    start(alerts, policy=policy, groups=groups, users=users, now=now)
    return alerts


@pytest.fixture
def policy(organization):
    return factories.PolicyFactory(organization=organization, name="Rota")


@pytest.fixture
def team(organization, person):
    return factories.GroupFactory(
        organization=organization, name="Ops", primary=[person("ana"), person("bob")], secondary=[person("sam")]
    )


def queries(act):
    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)


def test_starting_and_advancing_cost_the_same_number_of_statements_for_1_and_for_100(
    organization, policy, team, person, now
):
    zoe = person("zoe")
    batches = [10, 100]
    started = [
        queries(lambda count=count: make_runs(organization, count, policy=policy, groups=[team], users=[zoe], now=now))
        for count in batches
    ]
    assert started[0] == started[1] <= 25
    one = queries(lambda: advance_escalations(now=now + FIVE, limit=10_000))
    assert one <= 25
    assert Notification.objects.filter(step=2).count() == 110


def test_a_batch_goes_on_until_nothing_is_due(organization, policy, team, now):
    make_runs(organization, 7, policy=policy, groups=[team], now=now)
    assert advance_escalations(now=now + FIVE, limit=3) == 7
    assert advance_escalations(now=now + FIVE, limit=3) == 0


def test_a_run_is_claimed_only_while_its_alert_is_open(organization, policy, team, now):
    """Also when the alert was taken after the tick put the parked runs aside."""
    alert = page(organization, policy=policy, groups=[team], now=now)
    assert advance._claim(now=now + FIVE, limit=10) == [alert.run.pk]
    for changes in ({"status": "on_hold"}, {"status": "closed", "closed_at": now}):
        Alert.objects.update(**changes)
        assert advance._claim(now=now + FIVE, limit=10) == []
    Alert.objects.update(status="open", closed_at=None, acknowledged_at=now)
    assert advance._claim(now=now + FIVE, limit=10) == [alert.run.pk]
    EscalationRun.objects.update(acknowledge_stops=True)
    assert advance._claim(now=now + FIVE, limit=10) == []


def test_a_tick_that_runs_twice_writes_nothing_twice(organization, policy, team, now):
    make_runs(organization, 3, policy=policy, groups=[team], now=now)
    for _ in range(2):
        advance_escalations(now=now + FIVE)
    assert Notification.objects.count() == 3 * 3
    assert EscalationRun.objects.filter(step=2).count() == 3


def test_those_who_are_notified_may_see_the_alert(organization, policy, team, now):
    alert = page(organization, policy=policy, groups=[team], now=now)
    assert set(alert.recipients.exclude(user=None).values_list("user__name", flat=True)) == {"Ana", "Bob"}
    advance_escalations(now=now + FIVE)
    assert set(alert.recipients.exclude(user=None).values_list("user__name", flat=True)) == {"Ana", "Bob", "Sam"}


def test_a_failing_run_is_quarantined_and_does_not_stop_the_others(organization, policy, team, person, now, caplog):
    person("olga", roles=["Owner"])
    alerts = make_runs(organization, 3, policy=policy, groups=[team], now=now)
    broken = EscalationRun.objects.get(alert=alerts[1])
    EscalationRun.objects.filter(pk=broken.pk).update(position={"places": "nonsense"})
    assert advance_escalations(now=now + FIVE) == 2
    broken.refresh_from_db()
    assert broken.error
    assert broken.next_step_at == now + FIVE + timedelta(minutes=1)
    notice = Notification.objects.get(kind="notice")
    assert (notice.user.name, notice.subject) == ("Olga", "The escalation of “job 1 is silent” cannot go on")
    advance_escalations(now=now + FIVE + timedelta(minutes=1))
    assert Notification.objects.filter(kind="notice").count() == 1
    assert Notification.objects.filter(step=2).count() == 2


def test_a_failing_run_goes_on_when_it_is_mended(organization, policy, team, now, caplog):
    alert = page(organization, policy=policy, groups=[team], now=now)
    good = EscalationRun.objects.get().position
    EscalationRun.objects.update(position=[])
    advance_escalations(now=now + FIVE)
    EscalationRun.objects.update(position=good)
    advance_escalations(now=now + FIVE + timedelta(minutes=1))
    assert alert.notifications.filter(step=2).count() == 1
    assert EscalationRun.objects.get().error == ""


def test_recovery_notices_cost_one_statement_however_many_alerts(organization, policy, team, now):
    alerts = make_runs(organization, 20, policy=policy, groups=[team], now=now)
    Notification.objects.update(status="accepted", next_attempt_at=None)
    spent = queries(lambda: write_recovery_notices([alert.pk for alert in alerts], now=now))
    assert spent <= 5
    assert Notification.objects.filter(kind="recovery").count() == 40


def test_recovery_notices_are_written_once(organization, policy, team, now):
    alert = page(organization, policy=policy, groups=[team], now=now)
    Notification.objects.update(status="accepted", next_attempt_at=None)
    for _ in range(2):
        write_recovery_notices([alert.pk], now=now)
    assert Notification.objects.filter(kind="recovery").count() == 2


def test_who_was_not_notified_gets_no_recovery_notice(organization, policy, team, now):
    alert = page(organization, policy=policy, groups=[team], now=now)
    Notification.objects.filter(user__name="Ana").update(status="failed", next_attempt_at=None)
    write_recovery_notices([alert.pk], now=now)
    assert not Notification.objects.filter(kind="recovery").exists()
    assert set(Notification.objects.values_list("status", flat=True)) == {"failed", "superseded"}


def test_a_tick_does_not_pay_for_runs_whose_alerts_are_taken(organization, now):
    """20,000 runs are overdue because somebody took their alerts; 20 are due."""
    owner = factories.UserFactory(organization=organization)
    number = 20_000
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO alerting_alert (organization_id, status, priority, subject, short_text, long_text, facts, "
            "source,"
            " source_name, source_id, opened_at, owner_id, assigned_at, close_reason)"
            " SELECT %s, CASE WHEN n <= 20 THEN 'open' ELSE 'assigned' END, 'none', 'x', 'x', 'x', '[]', 'Manual', "
            "'x', 'x',"
            " %s, CASE WHEN n > 20 THEN %s END, CASE WHEN n > 20 THEN %s::timestamptz END, ''"
            " FROM generate_series(1, %s) AS n",
            [organization.pk, now, owner.pk, now, number],
        )
        cursor.execute(
            "INSERT INTO escalation_escalationrun (alert_id, name, version, plan, position, acknowledge_stops,"
            " recovery_notice, step, next_step_at, parked, error)"
            " SELECT id, 'x', 1, '{}', '{}', false, true, 0, %s, false, '' FROM alerting_alert",
            [now],
        )
    with connection.cursor() as cursor:
        # Before and after: without statistics the planner may join all with all, for minutes.
        cursor.execute("ANALYZE alerting_alert, escalation_escalationrun")
        cursor.execute(statement("escalation", "park_runs"), {"now": now, "limit": number})
        cursor.execute("ANALYZE alerting_alert, escalation_escalationrun")
        for name, values in (
            ("claim_runs", {"now": now, "limit": 500}),
            ("park_runs", {"now": now, "limit": 500}),
            ("unpark_runs", {}),
        ):
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement('escalation', name)}", values)
            (plan,) = cursor.fetchone()
            assert touched(plan[0]["Plan"]) < 1_000, (name, plan)


def touched(node):
    """Return how many rows a plan read at most in one of its nodes."""
    own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return max([own, *(touched(inner) for inner in node.get("Plans", []))])


@pytest.mark.django_db(transaction=True)
def test_two_engines_at_once_write_each_notification_once(now, close_connections):
    organization = factories.OrganizationFactory()
    people = {name: factories.UserFactory(organization=organization, name=name) for name in ("Ana", "Sam")}
    team = factories.GroupFactory(organization=organization, primary=[people["Ana"]], secondary=[people["Sam"]])
    policy = factories.PolicyFactory(organization=organization)
    make_runs(organization, 200, policy=policy, groups=[team], now=now)
    counted = race(lambda: advance_escalations(now=now + FIVE, limit=10), workers=4)
    assert sum(counted) == 200
    assert Notification.objects.filter(step=2).count() == 200
    assert EscalationRun.objects.filter(step=2).count() == 200


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_two_engines_do_get_into_each_others_way(now, close_connections, monkeypatch):
    organization = factories.OrganizationFactory()
    team = factories.GroupFactory(
        organization=organization,
        primary=[factories.UserFactory(organization=organization)],
        secondary=[factories.UserFactory(organization=organization)],
    )
    make_runs(organization, 50, policy=factories.PolicyFactory(organization=organization), groups=[team], now=now)
    unlocked = statement("escalation", "claim_runs").replace("FOR NO KEY UPDATE OF run SKIP LOCKED", "")
    meeting = threading.Barrier(2)

    def claim(*, now, limit):
        with connection.cursor() as cursor:
            cursor.execute(unlocked, {"now": now, "limit": limit})
            found = [run_id for (run_id,) in cursor.fetchall()]
        meeting.wait(timeout=20)
        return found

    monkeypatch.setattr(advance, "_claim", claim)
    assert sum(race(lambda: advance_escalations(now=now + FIVE), workers=2)) > 50


@pytest.mark.django_db(transaction=True)
def test_two_deliverers_at_once_send_each_message_once(now, close_connections, server, settings):
    from escalation.notifications.deliver import deliver_due

    settings.CHANNEL_CONCURRENCY = {"email": 4}
    organization = factories.OrganizationFactory()
    ana = factories.UserFactory(organization=organization)
    make_runs(organization, 100, policy=factories.PolicyFactory(organization=organization), users=[ana], now=now)
    claimed = sum(race(lambda: deliver_due(now=now), workers=4))
    while more := deliver_due(now=now):  # a slow machine uses the time of one run up
        claimed += more
    assert claimed == 100
    assert len({message.extra_headers["Message-ID"] for message in server.seen}) == len(server.seen) == 100
    assert TimelineEntry.objects.filter(kind="notified").count() == 100


@pytest.mark.django_db(transaction=True)
def test_the_last_two_messages_of_a_walk_that_fail_together_still_lead_to_the_last_resort(
    now, close_connections, server
):
    from escalation.notifications.claim import claim
    from escalation.notifications.outcomes import DeliveryOutcome, record

    organization = factories.OrganizationFactory()
    factories.UserFactory(organization=organization, roles=["Owner"])
    people = [factories.UserFactory(organization=organization) for _ in range(2)]
    policy = factories.PolicyFactory(organization=organization, steps=[{"role": "primary"}])
    for _ in range(10):
        make_runs(organization, 1, policy=policy, users=people, now=now)
        claimed = claim("email", due_by=now, now=now, limit=len(people)).messages
        waiting = iter(claimed)
        race(
            lambda waiting=waiting: record([(next(waiting), DeliveryOutcome(error="no", permanent=True))], now=now),
            workers=2,
        )
        Notification.objects.filter(kind="last_resort").update(next_attempt_at=None, status="accepted")
    assert Notification.objects.filter(kind="last_resort").count() == 10


def test_runs_at_the_same_place_of_the_same_plan_are_walked_once(organization, policy, team, person, now, monkeypatch):
    walked = []
    real = walk.advance

    def counted(plan, *args, **kwargs):
        walked.append(plan)
        return real(plan, *args, **kwargs)

    monkeypatch.setattr(walk, "advance", counted)
    make_runs(organization, 20, policy=policy, groups=[team], now=now)
    make_runs(organization, 20, policy=policy, users=[person("eve")], now=now)
    assert len(walked) == 2
    walked.clear()

    assert (
        advance.advance_escalations(now=now + FIVE) == 20
    )  # Primary was notified at once; the team's Secondary comes now

    assert len(walked) == 1
    assert Notification.objects.filter(step=2).count() == 20
