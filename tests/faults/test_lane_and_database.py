"""The database goes away under full load, or changes under the lane's statements: each ping is where its answer says.

Each ping has a user agent of its own, so its row is known.
"""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from benchmarks.client import Log, pinging
from benchmarks.ground import Ground
from tests.faults.test_ping_lane_holds import at_once, stored
from tests.faults.wire import ping
from tests.figures import record_figure
from tests.processes import how_busy, until

pytestmark = pytest.mark.serial

LANE = "SELECT pid FROM pg_stat_activity WHERE application_name = 'heartbeat-lane'"
RECOVERY_SECONDS = 5


def restart(ground: Ground) -> None:
    ground.database.end()
    time.sleep(0.5)
    ground.database.start()


def kill(ground: Ground) -> None:
    ground.database.child.kill()
    ground.database.child.wait()
    time.sleep(0.5)
    ground.database.start()


def kill_a_session(ground: Ground) -> None:
    """Kill the lane's session; PostgreSQL ends all others and reads its log again."""
    os.kill(ground.sql(LANE)[0][0], signal.SIGKILL)
    with contextlib.suppress(psycopg.OperationalError):
        while True:
            ground.sql("SELECT 1")
            time.sleep(0.01)
    until(lambda: reached(ground), seconds=30, what="the database is back", every=0.02)


def reached(ground: Ground) -> bool:
    try:
        ground.sql("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def wait_for(count: int, log: Log) -> None:
    """Wait until so many more pings are answered 200."""
    goal = log.statuses[200] + count
    until(lambda: log.statuses[200] > goal, seconds=30, what="pings are taken")


def expect_each_where_its_answer_says(log: Log, ground: Ground, *, at_most: int) -> dict[str, int]:
    """Compare the log with the table; `at_most` pings may be stored that were answered 503."""
    found = log.compare_each(ground)
    unsure = found.pop("stored_without_a_200")
    assert found == dict.fromkeys(found, 0)
    assert unsure <= at_most
    compared = log.compare(ground)
    assert compared["lost"] == 0
    assert compared["timers_that_do_not_match_the_history"] == 0
    assert log.strange == []
    return {**found, "unsure": unsure}


@pytest.mark.parametrize(
    ("away", "loop"),
    [
        pytest.param(kill_a_session, "uvloop", id="a session is killed"),
        *(
            pytest.param(away, loop, id=f"{name}, {loop}", marks=pytest.mark.long)
            for name, away in {"killed": kill, "restarted": restart, "a session is killed": kill_a_session}.items()
            for loop in ("uvloop", "asyncio")
        ),
    ],
)
def test_the_database_goes_away_under_full_load(emptied, request, away: Callable[[Ground], None], loop):
    connections = 64
    with (
        emptied.web(options=("--loop", loop)) as web,
        pinging(web.port, heartbeats=emptied.heartbeats, connections=connections, mark=True) as log,
    ):
        wait_for(500, log)
        left = time.monotonic()
        away(emptied)
        back = time.monotonic()
        assert log.statuses[503], "no ping was refused"
        wait_for(500, log)

    # One batch was under way, which may have been committed though nobody heard of it.
    found = expect_each_where_its_answer_says(log, emptied, at_most=connections)
    assert set(log.statuses) == {200, 503}, log.statuses
    taken = min(one.ended_at for one in log.marked.values() if one.status == 200 and one.sent_at > back)
    refused = [one.ended_at - one.sent_at for one in log.marked.values() if one.status == 503]
    total = log.statuses.total()
    fault = f"database, {request.node.callspec.id}, under full load"
    record_figure(fault, f"lost or twice of {total:,} pings, {log.statuses[200]:,} answered 200", 0, unit="", at_most=0)
    record_figure(fault, f"stored of {len(refused):,} answered 503", found["unsure"], unit="", at_most=connections)
    record_figure(fault, "slowest 503", max(refused), unit="s", at_most=3 * how_busy())
    record_figure(fault, "database away for", back - left, unit="s")
    record_figure(fault, "first 200 after it is back", taken - back, unit="s", at_most=RECOVERY_SECONDS * how_busy())


@pytest.fixture(scope="module")
def web(ground):
    with ground.web() as web:
        yield web


@pytest.mark.parametrize("how", ["pg_terminate_backend", "pg_cancel_backend"])
def test_a_session_that_is_ended_in_the_middle_of_a_batch_stores_nothing_of_it(emptied, web, how):
    assert ping(web.port, 2_000).status == 200
    with emptied.connected() as other:
        other.execute("LOCK TABLE integrations_ping IN ACCESS EXCLUSIVE MODE")
        asked = at_once(web.port, range(1, 41))
        [(pid,)] = until(
            lambda: emptied.sql(f"{LANE} AND wait_event_type = 'Lock'"), seconds=10, what="the batch is under way"
        )
        time.sleep(0.3)  # the others wait behind it
        emptied.sql(f"SELECT {how}(%s)", [pid])
        until(lambda: any(one.done() for one in asked), seconds=5, what="its pings are refused")
        assert {one.result().status for one in asked if one.done()} == {503}
    answers = {number: one.result() for number, one in enumerate(asked, 1)}

    taken = {number for number, said in answers.items() if said.status == 200}
    assert Counter(said.status for said in answers.values()).keys() == {200, 503}
    assert all(b"retry-after: 5\r\n" in said.raw.lower() for said in answers.values() if said.status == 503)
    assert stored(emptied) == taken | {2_000}


CHANGES = [
    # Of these columns the lane's statements return some, and compare others.
    (
        "ALTER TABLE integrations_heartbeat ALTER state TYPE varchar(99)",
        "ALTER TABLE integrations_heartbeat ALTER state TYPE {state}",
    ),
    (
        "ALTER TABLE integrations_heartbeat ADD COLUMN more text NOT NULL DEFAULT 'x'",
        "ALTER TABLE integrations_heartbeat DROP COLUMN more",
    ),
    (
        "ALTER TABLE integrations_inboundintegration ALTER token TYPE varchar(99)",
        "ALTER TABLE integrations_inboundintegration ALTER token TYPE {token}",
    ),
    ("CREATE INDEX more ON integrations_heartbeat (last_gap)", "DROP INDEX more"),
    ("ANALYZE integrations_heartbeat", "ANALYZE integrations_inboundintegration"),
]


@pytest.mark.long
def test_tables_that_change_under_load_refuse_no_ping(emptied, web):
    query = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE NOT attisdropped AND attrelid IN ('integrations_heartbeat'::regclass, 'integrations_inboundintegration'::regclass)"
    )
    types = dict(emptied.sql(query))
    with pinging(web.port, heartbeats=emptied.heartbeats, connections=16, mark=True) as log:
        for there, back in CHANGES:
            for change in (there, back.format(**types)):
                wait_for(40, log)
                emptied.sql(change)
        wait_for(40, log)

    expect_each_where_its_answer_says(log, emptied, at_most=0)
    assert set(log.statuses) == {200}, log.statuses
    assert dict(emptied.sql(query)) == types
