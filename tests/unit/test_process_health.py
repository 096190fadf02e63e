"""What a web process knows about its own ping lane."""

import asyncio
from datetime import UTC, datetime, timedelta

from integrations.ping_lane.committer import Refused, StoreUnavailable
from integrations.ping_lane.health import PULSE_AGE_LIMIT, REFUSAL_COUNTS, ProcessHealth
from integrations.ping_lane.lane import PingLane

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Store:
    """Stands for the committer: answers what it is asked to."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def record(self, arrival):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ping(lane):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        pass

    path = "/Heartbeat/" + "x" * 22
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": path, "headers": [], "client": None}
    asyncio.run(lane(scope, receive, send))


def test_a_process_without_a_lane_knows_of_no_trouble():
    assert ProcessHealth().trouble(now=NOW) == ""


def test_a_pulse_that_stays_away_is_said_and_does_not_keep_pings_away():
    health = ProcessHealth()
    health.begins(NOW)
    assert health.degraded(now=NOW + PULSE_AGE_LIMIT) == ""
    assert "No pulse of this process has come back for 6 seconds" in health.degraded(now=NOW + PULSE_AGE_LIMIT + SECOND)
    assert health.trouble(now=NOW + PULSE_AGE_LIMIT + SECOND) == ""
    health.ends()
    assert health.degraded(now=NOW + PULSE_AGE_LIMIT + SECOND) == ""


def test_a_pulse_that_comes_back_and_cannot_be_committed_is_trouble():
    health = ProcessHealth()
    health.lost(NOW, why="connection refused")
    health.lost(NOW + PULSE_AGE_LIMIT, why="connection refused")
    assert health.trouble(now=NOW + PULSE_AGE_LIMIT) == ""
    assert "nothing for 6 seconds: connection refused" in health.trouble(now=NOW + PULSE_AGE_LIMIT + SECOND)
    health.stored()
    assert health.trouble(now=NOW + PULSE_AGE_LIMIT + SECOND) == ""
    health.lost(NOW, why="")
    health.pulsed(NOW)
    assert health.trouble(now=NOW + PULSE_AGE_LIMIT + SECOND) == ""


def test_a_refused_ping_is_trouble_for_a_while_or_until_one_is_stored():
    health = ProcessHealth()
    health.refused(NOW, why="No space left on device")
    health.pulsed(NOW + REFUSAL_COUNTS)
    assert "No space left on device" in health.trouble(now=NOW + REFUSAL_COUNTS)
    assert health.trouble(now=NOW + REFUSAL_COUNTS + SECOND) == ""
    health.stored()
    assert health.trouble(now=NOW) == ""


def test_a_store_that_was_away_is_back_with_the_next_pulse():
    """A load balancer that is notified 503 brings no ping that could say so."""
    health = ProcessHealth()
    lane = PingLane(
        None, Store(StoreUnavailable("connection refused"), Refused("disk full")), max_body_bytes=10, health=health
    )
    ping(lane)
    refused_at = health.refused_at
    health.pulsed(refused_at)
    assert "connection refused" in health.trouble(now=refused_at), "it was sent before"
    health.pulsed(refused_at + SECOND)
    assert health.trouble(now=refused_at + SECOND) == ""
    ping(lane)
    health.pulsed(health.refused_at + SECOND)
    assert "disk full" in health.trouble(now=health.refused_at)


def test_the_lane_says_what_became_of_its_pings(monkeypatch):
    from heartbeat_project.kernel import clock
    from integrations.ping_lane.batch import Receipt

    monkeypatch.setattr(clock, "now", lambda: NOW)
    health = ProcessHealth()
    receipt = Receipt(**dict.fromkeys(Receipt._fields) | {"status": "ok", "received_at": NOW})
    lane = PingLane(None, Store(StoreUnavailable("disk full"), None, receipt), max_body_bytes=10, health=health)
    ping(lane)
    assert "disk full" in health.trouble(now=NOW)
    ping(lane)
    assert "disk full" in health.trouble(now=NOW), "an unknown token is no proof: nothing was stored for it"
    ping(lane)
    assert health.trouble(now=NOW) == ""
