"""What a web process knows about its own ping lane."""

import asyncio
from datetime import UTC, datetime, timedelta

from integrations.ingest.committer import Away
from integrations.ingest.hearing import PULSE_AGE_LIMIT, REFUSAL_COUNTS, Hearing
from integrations.ingest.lane import PingLane

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Store:
    """Stands for the committer: answers what it is told to."""

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

    scope = {"type": "http", "method": "POST", "path": "/Heartbeat/" + "x" * 22, "headers": [], "client": None}
    asyncio.run(lane(scope, receive, send))


def test_a_process_without_a_lane_knows_of_no_trouble():
    assert Hearing().trouble(now=NOW) == ""


def test_a_pulse_that_stays_away_is_trouble():
    hearing = Hearing()
    hearing.pulsed(NOW)
    assert hearing.trouble(now=NOW + PULSE_AGE_LIMIT) == ""
    assert "no pulse for 6 seconds" in hearing.trouble(now=NOW + PULSE_AGE_LIMIT + SECOND)


def test_a_refused_ping_is_trouble_for_a_while_or_until_one_is_stored():
    hearing = Hearing()
    hearing.refused(NOW, why="No space left on device")
    hearing.pulsed(NOW + REFUSAL_COUNTS)
    assert "No space left on device" in hearing.trouble(now=NOW + REFUSAL_COUNTS)
    assert hearing.trouble(now=NOW + REFUSAL_COUNTS + SECOND) == ""
    hearing.stored()
    assert hearing.trouble(now=NOW) == ""


def test_the_lane_says_what_became_of_its_pings(monkeypatch):
    from heartbeat_project.kernel import clock
    from integrations.ingest.record import Receipt

    monkeypatch.setattr(clock, "now", lambda: NOW)
    hearing = Hearing()
    receipt = Receipt(**dict.fromkeys(Receipt._fields) | {"status": "ok", "received_at": NOW})
    lane = PingLane(None, Store(Away("disk full"), None, receipt), max_body_bytes=10, hearing=hearing)
    ping(lane)
    assert "disk full" in hearing.trouble(now=NOW)
    ping(lane)
    assert "disk full" in hearing.trouble(now=NOW), "an unknown token is no proof: nothing was stored for it"
    ping(lane)
    assert hearing.trouble(now=NOW) == ""
