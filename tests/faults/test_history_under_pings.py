"""Pings at 200 a second over HTTP while the days of their history are made: all are stored, none waits for a second.

The short forms, over connections to the database, are in tests/concurrency/test_partitions_under_pings.py.
"""

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.client import pinging
from benchmarks.ground import Ground, ground
from benchmarks.harness import ROOT
from heartbeat_project.kernel import clock
from tests.figures import record_figure

pytestmark = [pytest.mark.serial, pytest.mark.long]

KEEP = "from integrations.heartbeats.history import keep_history; from heartbeat_project.kernel import clock; "
KEEP += "keep_history(now=clock.now())"
# As many as 200 pings a second are in 50 minutes, over nine days.
MISSED = """
INSERT INTO integrations_ping_other (integration_id, received_at, method)
SELECT n % 100 + 1, now() - n * interval '1.296 seconds', 'POST' FROM generate_series(1, 600000) AS n
"""


@pytest.fixture
def place(tmp_path):
    """A ground of its own, whose clock a test may move."""
    moves = tmp_path / "moves"
    moves.write_text("")
    with ground(heartbeats=200) as own:
        yield own, moves


def keep_history(own: Ground, moves: Path) -> None:
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", KEEP]
    env = {**own.env, "HEARTBEAT_TEST_CLOCK": str(moves)}
    subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=120)


@pytest.mark.parametrize("when", ["from the first second", "after nine days off", "over midnight"])
def test_200_pings_a_second_while_days_are_made(place, when):
    own, moves = place
    if when == "after nine days off":
        own.sql(MISSED)
    if when == "over midnight":
        # By the moved clock of all, midnight comes in 40 seconds, when the web server runs and is pinged.
        now = clock.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        moves.write_text(f"all {(midnight - now).total_seconds() - 40:.0f}\n")
        keep_history(own, moves)
        past_midnight = now + timedelta(seconds=43)
    with (
        own.web(HEARTBEAT_TEST_CLOCK=str(moves)) as web,
        pinging(web.port, heartbeats=own.heartbeats, connections=20, per_second=200) as log,
    ):
        time.sleep(3)
        keep_history(own, moves)
        time.sleep(5)
        if when == "over midnight":
            time.sleep(max(0.0, (past_midnight - clock.now()).total_seconds()))
            keep_history(own, moves)
    compared = log.compare(own)
    fault = f"200 pings a second {when}"
    record_figure(fault, "slowest ping while days are made", max(log.milliseconds) / 1000, unit="s", at_most=1)
    record_figure(fault, "answered 200 and not stored", compared["lost"], unit="", at_most=0)
    record_figure(fault, "refused", compared["refused_or_closed"], unit="", at_most=0)
    assert own.sql("SELECT to_regclass('integrations_ping_aside')") == [(None,)]
    assert own.sql("SELECT count(*) FROM integrations_ping_other") == [(0,)]
    [(days,)] = own.sql("SELECT count(DISTINCT tableoid) FROM integrations_ping")
    assert days >= {"from the first second": 1, "after nine days off": 9, "over midnight": 2}[when]
