"""Many detectors and pings at once, over real connections; each guard with its negative control."""

import threading
from collections.abc import Callable

import pytest
from django.db import IntegrityError, close_old_connections, connection, transaction

from alerting.models.alerts import Alert
from alerting.states import LIVE
from escalation.models.notifications import Notification
from heartbeat_project.kernel.sql import statement
from integrations.heartbeats import detection
from integrations.heartbeats.detection import detect_misses
from integrations.heartbeats.edits import update_heartbeat
from integrations.heartbeats.outages import move_deadlines
from integrations.heartbeats.recoveries import close_recovered
from integrations.maintenance.windows import suspend_heartbeats
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from integrations.models.outages import Outage
from integrations.models.windows import MaintenanceWindow
from integrations.ping_lane.batch import Arrival, record_pings, record_pulse
from tests.factories import OrganizationFactory, UserFactory
from tests.world import minutes, seconds

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]


def at_once(*calls: Callable[[], object]) -> list[BaseException]:
    """Run the calls in threads that start together, each with a connection of its own; return what they raised."""
    barrier = threading.Barrier(len(calls))
    raised: list[BaseException] = []

    def run(call):
        try:
            connection.ensure_connection()
            barrier.wait()
            call()
        except BaseException as error:  # noqa: BLE001 - the test asserts on it
            raised.append(error)
        finally:
            connection.close()
            close_old_connections()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return raised


def silent_heartbeats(count: int, *, now) -> list[InboundIntegration]:
    """Make `count` heartbeats of one organization that are all due at `now`."""
    organization = OrganizationFactory()
    person = UserFactory(organization=organization, name="Ana", email="ana@example.com")
    policy = organization.escalation_policies.first()
    made = InboundIntegration.objects.bulk_create(
        InboundIntegration(organization=organization, name=f"job {number}", escalation_policy=policy, created_at=now)
        for number in range(count)
    )
    Heartbeat.objects.bulk_create(
        Heartbeat(
            integration=integration,
            interval_minutes=5,
            state=Heartbeat.State.HEALTHY,
            last_ping_at=now - minutes(5),
            armed_at=now - minutes(5),
            deadline_at=now,
        )
        for integration in made
    )
    through = InboundIntegration.recipient_users.through
    through.objects.bulk_create(through(inboundintegration=integration, user=person) for integration in made)
    record_pulse(now=now)
    return made


def test_eight_detectors_over_a_thousand_due_rows_open_exactly_a_thousand_alerts(now):
    silent_heartbeats(1_000, now=now)

    raised = at_once(*[lambda: detect_misses(now=now, limit=50) for _ in range(8)])
    detect_misses(now=now)

    assert raised == []
    assert Alert.objects.count() == 1_000
    assert Alert.objects.values("integration_id").distinct().count() == 1_000
    assert Notification.objects.count() == 1_000
    assert not Heartbeat.objects.exclude(error="").exists(), "two of them had the same row"


def test_without_the_lock_the_detectors_collide_and_the_database_still_forbids_a_second_alert(now, monkeypatch):
    """The negative control: the same claim without FOR UPDATE SKIP LOCKED."""
    silent_heartbeats(1_000, now=now)
    unlocked = statement("integrations", "claim_missed").replace("FOR UPDATE SKIP LOCKED", "")
    monkeypatch.setattr(detection, "statement", lambda *_: unlocked)
    monkeypatch.setattr(detection, "_quarantine", _raise)

    raised = at_once(*[lambda: detect_misses(now=now, limit=50) for _ in range(8)])

    assert raised, "the race did not happen: this test proves nothing"
    assert Alert.objects.values("integration_id").distinct().count() == Alert.objects.count()


def _raise(integration_id, error, *, now):
    raise error


def test_the_database_refuses_a_second_live_alert_and_a_second_alert_for_one_silence(now):
    [backup] = silent_heartbeats(1, now=now)
    detect_misses(now=now)
    first = Alert.objects.get()

    for expected_at, closed in ((now + minutes(1), False), (first.expected_at, True)):
        if closed:
            Alert.objects.update(status="closed", closed_at=now)
        with pytest.raises(IntegrityError):
            Alert.objects.create(
                organization=first.organization,
                subject="again",
                source="Heartbeat",
                integration_type="heartbeat",
                source_name=backup.name,
                source_id=str(backup.pk),
                integration_id=backup.pk,
                expected_at=expected_at,
                opened_at=now,
            )


def test_a_ping_racing_the_detector_never_leaves_a_healthy_heartbeat_with_an_alert_nor_a_silent_one_without(now):
    backups = silent_heartbeats(500, now=now)

    for number in range(0, 500, 25):
        some = backups[number : number + 25]
        raised = at_once(
            *[lambda: detect_misses(now=now, limit=7) for _ in range(2)],
            *[
                lambda part=part: [
                    record_pings([Arrival(token=integration.token, received_at=now - seconds(1))])
                    for integration in part
                ]
                for part in (some[:12], some[12:])
            ],
        )
        assert raised == []
    close_recovered(now=now)

    live = set(Alert.objects.filter(status__in=sorted(LIVE)).values_list("integration_id", flat=True))
    missed = set(Heartbeat.objects.filter(state="missed").values_list("pk", flat=True))
    assert live == missed
    assert Heartbeat.objects.filter(state="healthy").count() == 500, "every one of them was pinged in the end"
    assert Alert.objects.exists(), "the detector never won: this test proves nothing"


def test_what_another_detector_holds_is_passed_over_and_not_waited_for(now):
    held, *others = silent_heartbeats(4, now=now)

    with transaction.atomic():
        Heartbeat.objects.select_for_update().get(pk=held.pk)
        raised = at_once(lambda: impatient(detect_misses, now=now))

    assert raised == []
    assert set(Alert.objects.values_list("integration_id", flat=True)) == {other.pk for other in others}


def test_what_another_recovery_holds_is_passed_over_and_not_waited_for(now):
    held, *others = backups = silent_heartbeats(4, now=now)
    detect_misses(now=now)
    record_pings([Arrival(token=integration.token, received_at=now + seconds(5)) for integration in backups])

    with transaction.atomic():
        Heartbeat.objects.select_for_update().get(pk=held.pk)
        raised = at_once(lambda: impatient(close_recovered, now=now + seconds(6)))

    assert raised == []
    closed = Alert.objects.filter(status="closed").values_list("integration_id", flat=True)
    assert set(closed) == {other.pk for other in others}


def test_a_ping_that_commits_while_its_deadline_is_being_moved_is_not_moved(now):
    [backup] = silent_heartbeats(1, now=now)
    Heartbeat.objects.update(armed_at=now, deadline_at=now + minutes(5))
    record_pulse(now=now + minutes(2))

    overtaken(
        by=lambda: record_pings([Arrival(token=backup.token, received_at=now + minutes(3))]),
        call=lambda: move_deadlines(now=now + minutes(3)),
    )

    assert Outage.objects.get().done_at is not None
    row = Heartbeat.objects.get()
    assert (row.armed_at, row.deadline_at) == (now + minutes(3), now + minutes(8))


def test_a_ping_that_commits_while_its_interval_is_being_changed_is_kept(now):
    [backup] = silent_heartbeats(1, now=now)

    overtaken(
        by=lambda: record_pings([Arrival(token=backup.token, received_at=now + minutes(1))]),
        call=lambda: update_heartbeat(backup, actor=None, now=now + minutes(1), interval_minutes=7),
    )

    row = Heartbeat.objects.get()
    assert (row.last_ping_at, row.armed_at, row.deadline_at) == (*[now + minutes(1)] * 2, now + minutes(8))


def test_two_pulses_that_end_one_outage_write_it_once(now):
    record_pulse(now=now)

    overtaken(
        by=lambda: record_pulse(now=now + minutes(3)),
        call=lambda: record_pulse(now=now + minutes(3) + seconds(0.1)),
    )

    assert Outage.objects.count() == 1


def test_a_later_outage_is_not_applied_before_one_that_another_is_applying(now):
    """A deadline that the first moves into the second would be taken for overdue before it."""
    [made] = silent_heartbeats(1, now=now)
    first, second = (
        Outage.objects.create(started_at=now + minutes(start), ended_at=now + minutes(start + 2)) for start in (-1, 2)
    )
    with transaction.atomic():
        Outage.objects.select_for_update().get(pk=first.pk)
        assert at_once(lambda: move_deadlines(now=now + minutes(5))) == []
    assert not Outage.objects.filter(pk=second.pk, moved_count__gt=0).exists()
    move_deadlines(now=now + minutes(5))
    assert Heartbeat.objects.get(pk=made.pk).armed_at == now + minutes(3)
    assert not Outage.objects.filter(done_at=None).exists()


def test_an_outage_that_another_is_applying_is_not_waited_for(now):
    silent_heartbeats(1, now=now)
    record_pulse(now=now + minutes(3))

    with transaction.atomic():
        Outage.objects.select_for_update().get()
        raised = at_once(lambda: impatient(move_deadlines, now=now + minutes(3)))

    assert raised == []


def overtaken(*, by, call):
    """Make the call while a transaction that did `by` is open; commit that once the call waits for it."""
    raised: list[BaseException] = []
    waiting = threading.Thread(target=lambda: raised.extend(at_once(call)))
    with transaction.atomic():
        by()
        waiting.start()
        with connection.cursor() as cursor:
            blocked = False
            while not blocked:
                assert waiting.is_alive(), "it did not wait: this test proves nothing"
                cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
                [blocked] = cursor.fetchone()
    waiting.join(timeout=120)
    assert raised == []


def impatient(call, **arguments):
    """Make the call with a connection that waits for no lock; it is as patient as before when it returns to its pool."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '500ms'")
    try:
        call(**arguments)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")


def test_pings_of_many_heartbeats_in_different_orders_never_deadlock(now):
    backups = silent_heartbeats(40, now=now)
    forwards = [Arrival(token=integration.token, received_at=now) for integration in backups]

    raised = at_once(
        *[
            lambda batch=batch: [record_pings(batch) for _ in range(20)]
            for batch in (forwards, forwards[::-1], forwards[::2] + forwards[1::2], forwards)
        ]
    )

    assert raised == []
    assert set(Heartbeat.objects.values_list("ping_count", flat=True)) == {80}


def test_without_the_order_of_the_locks_the_same_pings_do_deadlock(now, monkeypatch):
    forwards = [Arrival(token=integration.token, received_at=now) for integration in silent_heartbeats(400, now=now)]
    ordered = statement("integrations", "record_pings")
    by_id = "WHERE heartbeat.integration_id IN (SELECT id FROM arrived)\n    ORDER BY heartbeat.integration_id\n"
    as_they_came = (
        "JOIN (SELECT id, min(ordinality) AS turn FROM arrived GROUP BY id) AS came"
        " ON came.id = heartbeat.integration_id ORDER BY came.turn\n"
    )
    unordered = ordered.replace(by_id, as_they_came).replace("    FOR UPDATE\n", "    FOR UPDATE OF heartbeat\n")
    assert unordered != ordered
    monkeypatch.setattr("integrations.ping_lane.batch.statement", lambda *_: unordered)

    over = threading.Event()

    def record_until_one_fails(batch):
        try:
            for _ in range(1_000):
                if over.is_set():
                    break
                record_pings(batch)
        finally:
            over.set()

    raised = at_once(*[lambda batch=batch: record_until_one_fails(batch) for batch in (forwards, forwards[::-1])])

    assert any("deadlock detected" in str(error) for error in raised), raised


def test_a_window_that_begins_locks_heartbeats_in_the_order_of_pings(now):
    """Else the two wait for each other, and a thousand pings may be refused."""
    first, second = silent_heartbeats(2, now=now)
    Heartbeat.objects.filter(pk=first.pk).update(deadline_at=now + minutes(1))  # now it lies behind the other
    MaintenanceWindow.objects.create(
        organization=first.organization, name="all", starts_at=now, ends_at=now + minutes(9), all_integrations=True
    )

    def begin():
        with connection.cursor() as cursor:  # as for many
            cursor.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
        suspend_heartbeats(now=now)

    waiting = threading.Thread(target=lambda: at_once(begin))
    with transaction.atomic():
        Heartbeat.objects.select_for_update().get(pk=first.pk)
        waiting.start()
        with connection.cursor() as cursor:
            blocked = False
            while not blocked:
                assert waiting.is_alive(), "it did not wait: this test proves nothing"
                cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
                [blocked] = cursor.fetchone()
        Heartbeat.objects.select_for_update(nowait=True).get(pk=second.pk)
    waiting.join(timeout=60)
    assert Heartbeat.objects.filter(suspended_until=now + minutes(9)).count() == 2


def test_two_recoveries_at_once_close_each_alert_once(now):
    backups = silent_heartbeats(100, now=now)
    detect_misses(now=now)
    record_pings([Arrival(token=integration.token, received_at=now + seconds(5)) for integration in backups])

    raised = at_once(*[lambda: close_recovered(now=now + seconds(6), limit=10) for _ in range(4)])
    close_recovered(now=now + seconds(7))

    assert raised == []
    assert Alert.objects.filter(status="closed", close_reason="closed by heartbeat").count() == 100
    for alert in Alert.objects.prefetch_related("timeline")[:100]:
        assert [entry.kind for entry in alert.timeline.all()].count("closed") == 1


def test_a_worker_that_is_gone_in_the_middle_of_a_transaction_lets_go_of_its_locks():
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("1min",)
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)
