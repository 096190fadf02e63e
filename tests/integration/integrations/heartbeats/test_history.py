"""The ping history: partitions, counts by the hour, retention."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection

from escalation.models.notifications import Notification
from integrations.heartbeats import history
from integrations.heartbeats.history import keep_history, overflow_warning
from integrations.models.history import Ping, PingDay, PingHour
from integrations.models.outages import IngestProcess
from integrations.ping_lane.batch import Arrival, record_pings
from tests.factories import HeartbeatFactory, UserFactory

pytestmark = pytest.mark.django_db


def ping(integration, *, at):
    assert record_pings([Arrival(token=integration.token, received_at=at)])[0] is not None


def partitions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, count(*) FROM integrations_ping GROUP BY 1 ORDER BY 1")
        return dict(cursor.fetchall())


def test_partitions_are_made_ahead_and_pings_go_to_their_day(now):
    backup = HeartbeatFactory()
    keep_history(now=now)
    keep_history(now=now)

    ping(backup, at=now)
    ping(backup, at=now + timedelta(days=7))

    assert partitions() == {"integrations_ping_20260302": 1, "integrations_ping_20260309": 1}
    assert PingDay.objects.count() == 8


def test_a_missing_partition_never_refuses_a_ping_and_its_pings_move_when_it_is_made(now):
    backup = HeartbeatFactory()
    ping(backup, at=now)
    ping(backup, at=now + timedelta(days=400))
    assert partitions() == {"integrations_ping_other": 2}

    keep_history(now=now)

    assert partitions() == {"integrations_ping_20260302": 1, "integrations_ping_other": 1}


def test_a_day_that_ended_is_counted_by_the_hour(now):
    backup, report = HeartbeatFactory(), HeartbeatFactory()
    keep_history(now=now)
    for minute in (0, 59, 60):
        ping(backup, at=now + timedelta(minutes=minute))
    ping(report, at=now)

    keep_history(now=now + timedelta(hours=12, minutes=9))
    assert not PingHour.objects.exists(), "the day is not over for long enough"
    keep_history(now=now + timedelta(hours=12, minutes=11))
    keep_history(now=now + timedelta(hours=13))

    rows = PingHour.objects.order_by("integration_id", "hour").values_list("integration_id", "hour", "pings")
    assert list(rows) == [
        (backup.pk, now, 2),
        (backup.pk, now + timedelta(hours=1), 1),
        (report.pk, now, 1),
    ]


def test_days_older_than_the_retention_are_dropped_and_their_counts_are_kept(now, settings):
    settings.PING_RETENTION_DAYS = 3
    settings.PING_HOURS_RETENTION_DAYS = 10
    backup = HeartbeatFactory()
    keep_history(now=now)
    ping(backup, at=now)

    keep_history(now=now + timedelta(days=3))
    assert Ping.objects.count() == 1
    keep_history(now=now + timedelta(days=4))
    assert Ping.objects.count() == 0
    assert PingHour.objects.count() == 1
    keep_history(now=now + timedelta(days=11))
    assert PingHour.objects.count() == 0


def test_a_day_that_was_never_counted_is_not_dropped(now, settings, monkeypatch):
    settings.PING_RETENTION_DAYS = 3
    backup = HeartbeatFactory()
    keep_history(now=now)
    ping(backup, at=now)
    monkeypatch.setattr("integrations.heartbeats.history._count_hours", lambda day, *, now: None)

    keep_history(now=now + timedelta(days=30))

    assert Ping.objects.count() == 1


def test_days_are_utc_days_wherever_the_server_stands(now):
    backup = HeartbeatFactory()
    keep_history(now=now)
    ping(backup, at=datetime(2026, 3, 2, 23, 59, 59, 999_999, tzinfo=UTC))
    ping(backup, at=datetime(2026, 3, 3, 0, 0, tzinfo=UTC))

    assert partitions() == {"integrations_ping_20260302": 1, "integrations_ping_20260303": 1}


def test_web_processes_that_are_gone_are_forgotten(now):
    for age in (0, 5, 15):
        at = now - timedelta(minutes=age)
        IngestProcess.objects.create(process=uuid4(), stored_until=at, pulsed_at=at)
    keep_history(now=now)
    assert IngestProcess.objects.count() == 2


def test_a_day_that_cannot_be_made_stops_neither_the_other_days_nor_the_retention(now, settings, monkeypatch, caplog):
    monkeypatch.setattr(history, "PAUSE_SECONDS", 0)
    settings.PING_RETENTION_DAYS = 3
    keep_history(now=now)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE integrations_ping_20260317 (something_else integer)")

    keep_history(now=now + timedelta(days=10))
    keep_history(now=now + timedelta(days=10))

    made = {f"{row.day:%m%d}" for row in PingDay.objects.all()}
    assert made == {"0309", "0312", "0313", "0314", "0315", "0316", "0318", "0319"}
    assert "the partition of 2026-03-17 failed" in caplog.text


def test_a_partition_that_stands_without_its_row_gets_it(now):
    keep_history(now=now)
    PingDay.objects.all().delete()

    keep_history(now=now)

    assert PingDay.objects.count() == 8


def test_pings_past_the_retention_and_of_far_days_do_not_stand_in_the_way(now, settings):
    settings.PING_RETENTION_DAYS = 3
    backup = HeartbeatFactory()
    for days in (-40, -3, -1, 0, 7, 8, 300):
        ping(backup, at=now + timedelta(days=days))

    keep_history(now=now)

    assert partitions() == {
        "integrations_ping_20260227": 1,
        "integrations_ping_20260301": 1,
        "integrations_ping_20260302": 1,
        "integrations_ping_20260309": 1,
        "integrations_ping_other": 2,
    }


def test_a_default_partition_that_fills_is_said_in_the_log_and_to_the_operator(now, monkeypatch, caplog):
    monkeypatch.setattr(history, "OVERFLOW_FILLS", 2)
    backup = HeartbeatFactory()
    ping(backup, at=now + timedelta(days=300))
    assert overflow_warning() == ""
    ping(backup, at=now + timedelta(days=301))
    assert "in no day's partition" in overflow_warning()

    UserFactory(roles=["Owner"])
    for _ in range(2):
        keep_history(now=now)
    said = [record for record in caplog.records if record.getMessage().startswith("history: 2 or more pings")]
    assert [record.levelname for record in said] == ["WARNING"] * 2
    notice = Notification.objects.get()
    assert notice.subject == "Pings are not being sorted into days"
    assert "in no day's partition" in notice.text
