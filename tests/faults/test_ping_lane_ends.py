"""SIGTERM under load: what was taken is answered and stored, nothing else is, and connections end in order."""

import threading
import time
from collections import Counter, defaultdict
from datetime import datetime

import pytest

from benchmarks.client import CLOSED, UNHEARD, pinging
from tests.faults.wire import connect, heard, loopback, request
from tests.figures import record_figure
from tests.processes import how_busy, until

pytestmark = pytest.mark.serial

END_SECONDS = 5  # a supervisor waits for fifteen
PIPELINES, DEPTH = 8, 20


class Pipeline:
    """Send many pings at once over one connection, again and again, until the server ends it; note the answers."""

    def __init__(self, port: int, number: int) -> None:
        self.port, self.source = port, loopback(number)
        self.received: Counter[datetime] = Counter()
        self.others: list[bytes] = []
        self.last = b""
        self.in_order = False
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with connect(self.port, source=self.source, seconds=30) as connection, connection.makefile("rb") as stream:
            try:
                while True:
                    connection.sendall(b"".join(request(number) for number in range(1, DEPTH + 1)))
                    for _ in range(DEPTH):
                        if not self._read(stream):
                            self.in_order = True
                            return
            except OSError:  # reset: the server will not read what was sent after its last answer
                return

    def _read(self, stream) -> bool:
        """Read one answer; return whether there was one."""
        lines = []
        while (line := stream.readline()) not in {b"\r\n", b""}:
            lines.append(line.lower())
        if not lines:
            return False
        self.last = b"".join(lines)
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        body = stream.read(length)
        if lines[0].startswith(b"http/1.1 200 "):
            self.received[datetime.fromisoformat(body.decode().split('"')[7])] += 1
        else:
            self.others.append(self.last + body)
        return True


@pytest.mark.parametrize(
    ("loop", "times"),
    [("uvloop", 1), *(pytest.param(loop, 10, marks=pytest.mark.long) for loop in ("uvloop", "asyncio"))],
)
def test_sigterm_under_load_answers_what_it_stored_and_stores_what_it_answered(emptied, loop, times):
    totals, slowest = Counter[str](), 0.0
    for _ in range(times):
        found, seconds = end_under_load(emptied, loop)
        totals.update(found)
        slowest = max(slowest, seconds)
    fault = f"SIGTERM under load, {times} times, {loop}"
    wrong = {kind: count for kind, count in totals.items() if kind not in {"answered 200", "closed", "503"}}
    assert wrong == dict.fromkeys(wrong, 0)
    promise = f"stored and not answered, or answered and not stored, of {totals['answered 200']:,} pings"
    record_figure(fault, promise, sum(wrong.values()), unit="", at_most=0)
    record_figure(fault, "pings whose connection was closed, none of them stored", totals["closed"], unit="")
    record_figure(fault, "the process has ended after", slowest, unit="s", at_most=END_SECONDS * how_busy())


def end_under_load(ground, loop: str) -> tuple[Counter[str], float]:
    """Ping in every way, end the web server, and return what was counted, and after how many seconds it had ended."""
    ground.sql("TRUNCATE integrations_ping")
    with ground.web(options=("--loop", loop)) as web:
        silent = [connect(web.port) for _ in range(20)]
        idle = [connect(web.port) for _ in range(20)]
        for one in idle:
            one.sendall(request(1))
            assert heard(one, seconds=10).status == 200
        pipelines = [Pipeline(web.port, number) for number in range(PIPELINES)]
        with pinging(web.port, heartbeats=ground.heartbeats, connections=32, mark=True) as log:
            for pipeline in pipelines:
                pipeline.thread.start()
            until(lambda: log.statuses[200] > 500, seconds=20, what="pings are taken")
            began = time.monotonic()
            web.process.terminate()
            code = web.process.wait(30)
            seconds = time.monotonic() - began
        for pipeline in pipelines:
            pipeline.thread.join(10)
        ends = [heard(one, seconds=1) for one in (*silent, *idle)]
        for one in (*silent, *idle):
            one.close()
        said = web.log.read_text(errors="replace")

    assert code == 0
    assert "Traceback" not in said
    assert all(end.closed and end.raw == b"" for end in ends)
    assert set(log.statuses) <= {200, 503, CLOSED}, log.statuses
    assert log.statuses[UNHEARD] == 0
    found = Counter(log.compare_each(ground))
    rows: defaultdict[str, Counter[datetime]] = defaultdict(Counter)
    for source, at in ground.sql("SELECT host(source_ip), received_at FROM integrations_ping"):
        rows[source][at] += 1
    for pipeline in pipelines:
        assert not pipeline.thread.is_alive()
        assert pipeline.received, "nothing was sent"
        assert pipeline.others == []
        found["lost"] += (pipeline.received - rows[pipeline.source]).total()
        found["stored_without_a_200"] += (rows[pipeline.source] - pipeline.received).total()
    found["answered 200"] = log.statuses[200] + sum(pipeline.received.total() for pipeline in pipelines)
    found["closed"], found["503"] = log.statuses[CLOSED], log.statuses[503]
    return found, seconds
