"""The ground that tests of the lane share: real servers, and heartbeats `bench-1` to `bench-2000`."""

import pytest

from benchmarks.ground import ground as standing_ground


@pytest.fixture(scope="session")
def ground():
    with standing_ground(heartbeats=2_000) as place:
        yield place


@pytest.fixture
def emptied(ground):
    """The ground without the pings of earlier tests."""
    ground.sql("TRUNCATE integrations_ping")
    ground.sql("UPDATE integrations_heartbeat SET ping_count = 1, state = 'healthy'")
    return ground
