"""The ping lane on real processes: killed, frozen, restarted, left in the middle; what was answered 200 is stored."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.chaos import under_fire
from benchmarks.client import UNHEARD, pinging
from tests.faults.wire import connect, ping, request
from tests.processes import memory_mib, until

pytestmark = pytest.mark.serial


def at_once(port: int, numbers: range, *, seconds: float = 30.0):
    """Ping these heartbeats at once, each over its own connection; return futures."""
    pool = ThreadPoolExecutor(len(numbers))
    asked = [pool.submit(ping, port, number, seconds=seconds) for number in numbers]
    pool.shutdown(wait=False)
    return asked


def stored(ground) -> set[int]:
    return {number for (number,) in ground.sql("SELECT integration_id FROM integrations_ping")}


def test_the_database_restarts_and_a_web_process_is_killed_under_full_load(emptied):
    with emptied.web(workers=2) as web:
        before = web.pids()
        log = under_fire(emptied, web, seconds=8, connections=48)
        found = log.compare(emptied)
        until(lambda: web.started() == 3, seconds=60, what="the killed web process is replaced")

        assert set(before) != set(web.pids()), "no web process was killed"

    assert found["answered_200"] > 200
    assert found["lost"] == 0, "a ping that was answered 200 is not stored"
    assert found["more"] <= found["refused_or_closed"]
    assert found["timers_that_do_not_match_the_history"] == 0
    assert log.statuses[0] > 0, "nobody's connection was closed"
    assert log.statuses[UNHEARD] == 0
    assert log.strange == []


def test_a_broker_that_hangs_delays_no_ping_that_ends_a_silence(emptied):
    with emptied.web() as web:
        assert ping(web.port).status == 200
        emptied.sql("UPDATE integrations_heartbeat SET state = 'missed'")
        with (
            emptied.broker.frozen(),
            pinging(web.port, heartbeats=emptied.heartbeats, connections=16) as log,
        ):
            time.sleep(4)
            [(connections,)] = emptied.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        said = web.log.read_text()

    assert "the wake-up for" in said, "no wake-up was tried"
    assert set(log.statuses) == {200}
    # A wake-up on the way of the pings would hold up all sixteen clients for the second that it waits for the broker.
    assert sorted(log.milliseconds)[-16] < 900
    assert connections == 1, "the lane has one connection, and waking up workers none"


def test_what_waits_on_a_frozen_database_is_bounded_and_the_rest_is_notified_when_to_try_again(emptied):
    with emptied.web(HEARTBEAT_PING_MAX_WAITING="40") as web:
        assert ping(web.port, 101).status == 200
        [pid] = web.pids()
        with emptied.database.frozen():
            first = at_once(web.port, range(1, 101))
            time.sleep(1)
            memory = memory_mib(pid)
            with pinging(web.port, heartbeats=10, connections=16) as log:
                time.sleep(3)
            refused = ping(web.port)
            grown = memory_mib(pid) - memory
        answers = [asked.result() for asked in first]

        assert ping(web.port).status == 200

    assert refused.status == 503
    assert b"retry-after: 5\r\n" in refused.raw.lower()
    assert refused.seconds < 1
    assert set(log.statuses) == {503}
    assert grown < 10, "what is refused is kept"
    # The batch under way is not waiting any more, however many came in the same moment: 20 more wait behind it, and
    # the other half of the places is for heartbeats that have pinged.
    assert 20 <= [answer.status for answer in answers].count(200) <= 40
    assert {answer.status for answer in answers} == {200, 503}


@pytest.mark.long
def test_a_database_that_stays_frozen_holds_no_request_for_ever(emptied):
    with emptied.web() as web:
        assert ping(web.port).status == 200
        with emptied.database.frozen():
            asked = at_once(web.port, range(1, 30))
            answers = [one.result() for one in asked]
        again = until(lambda: ping(web.port).status == 200, seconds=10, what="pings are taken again")

    assert {answer.status for answer in answers} == {503}
    assert max(answer.seconds for answer in answers) < 20
    assert again


def test_what_waits_when_the_server_is_asked_to_end_is_committed_and_answered(emptied):
    with emptied.web() as web:
        assert ping(web.port, 2_000).status == 200
        with emptied.database.frozen():
            asked = at_once(web.port, range(1, 31))
            time.sleep(1)
            web.process.terminate()
            time.sleep(1)
            assert not any(one.done() for one in asked)
        answers = [one.result() for one in asked]

        assert web.process.wait(20) == 0

    assert [answer.status for answer in answers] == [200] * 30
    assert stored(emptied) == {*range(1, 31), 2_000}


def test_clients_that_hang_up_while_their_batch_waits_take_nothing_from_the_others(emptied):
    with emptied.web() as web:
        assert ping(web.port, 2_000).status == 200
        with emptied.database.frozen():
            leavers = [connect(web.port) for _ in range(20)]
            for number, leaver in enumerate(leavers, 101):
                leaver.sendall(request(number))
            asked = at_once(web.port, range(1, 21))
            time.sleep(1)
            for leaver in leavers:
                leaver.close()
            time.sleep(0.5)
        answers = [one.result() for one in asked]

        assert ping(web.port, 2_000).status == 200

    assert [answer.status for answer in answers] == [200] * 20
    assert stored(emptied) >= set(range(1, 21))


def test_connections_that_say_nothing_shut_nobody_out(emptied):
    with emptied.web() as web:
        silent = [connect(web.port) for _ in range(1_500)]
        try:
            answers = [ping(web.port, seconds=10) for _ in range(5)]
        finally:
            for one in silent:
                one.close()

    assert [answer.status for answer in answers] == [200] * 5
    assert max(answer.seconds for answer in answers) < 2
