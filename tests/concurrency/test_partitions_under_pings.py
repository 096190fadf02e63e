"""Partitions of the ping history are made while pings come in, over real connections."""

import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from statistics import median

import psycopg
import pytest
from django.db import connection

from integrations.heartbeats import history
from integrations.heartbeats.history import keep_history
from integrations.models.history import Ping, PingDay
from integrations.ping_lane.batch import Arrival, record_pings
from tests.factories import HeartbeatFactory
from tests.processes import how_busy, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.serial]

FILL = """
INSERT INTO integrations_ping_other (integration_id, received_at, method)
SELECT 1, %s::timestamptz - n * interval '8 seconds', 'POST' FROM generate_series(1, %s) AS n
"""


@pytest.fixture(autouse=True)
def no_partitions_are_left():
    yield
    with connection.cursor() as cursor:
        for name in history._attached(cursor) - {history.OVERFLOW}:
            cursor.execute(f"DROP TABLE {name}")
        cursor.execute(f"DROP TABLE IF EXISTS {history.ASIDE}")


def in_overflow() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM integrations_ping_other")
        return cursor.fetchone()[0]


@contextmanager
def another_connection():
    wanted = ("dbname", "user", "password", "host", "port")
    given = {name: value for name, value in connection.get_connection_params().items() if name in wanted}
    with psycopg.connect(**given) as other:
        yield other


class Pinging:
    """Two senders, as fast as their pings are answered, until the block ends."""

    def __init__(self, token, *, now):
        self.token, self.now = token, now
        self.sent, self.slowest = 0, 0.0
        self.errors = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(2)]

    def _send(self):
        try:
            while not self._over.is_set():
                started = time.monotonic()
                assert record_pings([Arrival(token=self.token, received_at=self.now)])[0] is not None
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.sent += 1
                time.sleep(0.002)
        except BaseException as error:  # noqa: BLE001 - the test asserts on it
            self.errors.append(error)
        finally:
            connection.close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        # Pings of a day without a partition come in before the partitions are made.
        until(lambda: self.sent >= 20 or self.errors, seconds=60, what="pings are stored")
        return self

    def __exit__(self, *_):
        sent = self.sent
        until(lambda: self.sent >= sent + 20 or self.errors, seconds=60, what="pings are stored")
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def test_partitions_are_made_although_pings_of_today_never_pause(now):
    backup = HeartbeatFactory()

    with Pinging(backup.token, now=now) as pinging:
        keep_history(now=now)

    assert not pinging.errors
    assert pinging.slowest < 1 * how_busy()
    assert PingDay.objects.count() == 8
    keep_history(now=now)
    assert in_overflow() == 0
    assert Ping.objects.count() == pinging.sent


def test_nine_days_in_the_default_partition_are_moved_while_pings_come(now):
    with connection.cursor() as cursor:
        cursor.execute(FILL, [now, 9 * 10_800])
    backup = HeartbeatFactory()

    with Pinging(backup.token, now=now) as pinging:
        keep_history(now=now)

    assert not pinging.errors
    assert pinging.slowest < 1 * how_busy()
    assert in_overflow() == 0
    assert Ping.objects.count() == 9 * 10_800 + pinging.sent
    assert PingDay.objects.count() == 17
    assert PingDay.objects.exclude(counted_at=None).count() == 9


def test_over_midnight_each_ping_finds_its_day(now):
    keep_history(now=now)
    backup = HeartbeatFactory()
    midnight = now + timedelta(hours=12)

    with (
        Pinging(backup.token, now=midnight - timedelta(milliseconds=1)) as before,
        Pinging(backup.token, now=midnight) as after,
    ):
        keep_history(now=midnight)

    assert not before.errors + after.errors
    assert max(before.slowest, after.slowest) < 1 * how_busy()
    assert in_overflow() == 0
    assert Ping.objects.filter(received_at__lt=midnight).count() == before.sent
    assert Ping.objects.filter(received_at__gte=midnight).count() == after.sent


def test_two_that_move_the_same_pings_move_each_once(now):
    with connection.cursor() as cursor:
        cursor.execute(FILL, [now, 30_000])
    raised = []

    def keep():
        try:
            keep_history(now=now)
        except BaseException as error:  # noqa: BLE001 - the test asserts on it
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=keep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    keep_history(now=now)

    assert not raised
    assert (Ping.objects.count(), in_overflow()) == (30_000, 0)


def test_moving_goes_on_where_it_stopped(now, monkeypatch):
    with connection.cursor() as cursor:
        cursor.execute(FILL, [now, 30_000])
    with monkeypatch.context() as cut_short:
        cut_short.setattr(history, "MOVE", "SELECT 1 / 0 WHERE %s::tid <> '(64,0)' OR %s::tid = '(0,0)' OR %s IS NULL")
        keep_history(now=now)
        assert Ping.objects.count() == 0

    history.make_partitions(now=now, seconds=0)
    assert Ping.objects.count() == 0
    history.make_partitions(now=now + timedelta(minutes=1))
    assert (Ping.objects.count(), in_overflow()) == (30_000, 0)


def test_each_batch_that_moves_pings_is_short_and_takes_no_lock_that_a_ping_waits_for(now):
    with connection.cursor() as cursor:
        cursor.execute(FILL, [now, 60_000])
    took, rows = [], []

    def watched(execute, sql, *rest):
        began = time.monotonic()
        result = execute(sql, *rest)
        if sql == history.MOVE:
            took.append(time.monotonic() - began)
            rows.append(rest[-1]["cursor"].rowcount)
            with another_connection() as other:  # the batch is not committed yet
                # What a ping's INSERT takes, on the table and all its partitions; it fails if it would have to wait.
                other.execute("LOCK TABLE integrations_ping IN ROW EXCLUSIVE MODE NOWAIT")
                other.rollback()
        return result

    with connection.execute_wrapper(watched):
        keep_history(now=now)

    assert (Ping.objects.count(), in_overflow()) == (60_000, 0)
    assert len(took) >= 5
    assert 0 < max(rows) <= 15_000
    assert median(took) < 0.5


def test_making_partitions_gives_way_to_pings_while_somebody_reads_the_history(now, caplog):
    """Pings queue behind a statement that waits for the table's lock, which a long report keeps from it."""
    backup = HeartbeatFactory()
    assert record_pings([Arrival(token=backup.token, received_at=now)])[0] is not None
    with another_connection() as report:
        report.execute("SELECT count(*) FROM integrations_ping")
        with Pinging(backup.token, now=now) as pinging:
            keep_history(now=now)
        report.rollback()

    assert not pinging.errors
    assert 0.3 < pinging.slowest < 1 * how_busy(), "it waited for the lock, and gave up"
    assert "making ping partitions failed, and will be tried again" in caplog.text
    assert PingDay.objects.count() == 0
    keep_history(now=now)
    assert (PingDay.objects.count(), in_overflow()) == (8, 0)
    assert Ping.objects.count() == pinging.sent + 1
