"""Real processes while the clock steps: of all with the database, and of one process alone."""

import re
import threading
import time
from pathlib import Path

import pytest

from tests.figures import record_figure
from tests.processes import PostOffice, Stack, running_stack, until

pytestmark = pytest.mark.serial

SILENT, KEPT = 25, 5
# From a deadline to the alert, and to the mail: a second each, and the machine may be busy with all the processes.
ALERT_WITHIN, SENT_WITHIN = 8.0, 30.0


class Jobs:
    """Heartbeats: some that ping on, and two flocks that fall silent, before and after the step."""

    def __init__(self, stack: Stack, name: str, *, interval: float) -> None:
        self.stack = stack
        self.interval = interval
        stack.sql("UPDATE accounts_organization SET bundle_seconds = 3 RETURNING 1")
        self.person = stack.person(name)
        self.kept = self._make(f"{name} kept", KEPT)
        self.early, self.late = self._make(f"{name} early", SILENT), self._make(f"{name} late", SILENT)
        self.over = threading.Event()
        self.pinging = threading.Thread(target=self._ping_on)
        self.refused = 0

    def _make(self, name: str, count: int) -> list[dict]:
        minutes = self.interval / 60
        return [
            self.stack.heartbeat(
                f"{name} {number}", recipients=[self.person], interval_minutes=minutes, start_timer="first_ping"
            )
            for number in range(count)
        ]

    def _ping_on(self) -> None:
        while not self.over.wait(1.0):
            self.refused += sum(self.stack.ping(job["api_url"]) != 200 for job in self.kept)

    def ping(self, jobs: list[dict]) -> float:
        """Ping these for the last time and return when that was, in seconds of time.monotonic()."""
        at = time.monotonic()
        assert all(self.stack.ping(job["api_url"]) == 200 for job in jobs)
        return at

    def alerts(self, jobs: list[dict]) -> int:
        ids = ",".join(str(job["id"]) for job in jobs)
        return self.stack.sql(f"SELECT count(*) FROM alerting_alert WHERE integration_id IN ({ids})")[0][0]

    def unsent(self) -> int:
        query = f"SELECT count(*) FROM escalation_notification WHERE next_attempt_at IS NOT NULL AND user_id = {self.person}"
        return self.stack.sql(query)[0][0]


def write_at_once(file: Path, moves: str) -> None:
    """Move the clocks; nobody may read the file when it is half written, which would be a step of its own."""
    new = file.with_suffix(".new")
    new.write_text(moves)
    new.replace(file)


def step(stack: Stack, file: Path, name: str, moves: str, *, interval: float = 12.0) -> dict[str, float]:
    """Move the clock while timers run and messages wait.

    Return how long it took until alerts and messages were there.
    """
    jobs = Jobs(stack, name, interval=interval)
    jobs.pinging.start()
    try:
        early_at = jobs.ping(jobs.early)
        time.sleep(interval / 2)
        late_at = jobs.ping(jobs.late)
        until(lambda: jobs.alerts(jobs.early) > SILENT / 2, seconds=interval + 20, what="the first are silent")
        write_at_once(file, moves)
        stepped_at = time.monotonic()
        until(lambda: jobs.alerts(jobs.early) == SILENT, seconds=60, what="all of the first have an alert")
        early = time.monotonic() - max(stepped_at, early_at + interval)
        assert time.monotonic() - late_at < 60
        until(lambda: jobs.alerts(jobs.late) == SILENT, seconds=60, what=f"the others have an alert\n{stack.tail()}")
        late = time.monotonic() - late_at - interval
        until(lambda: jobs.unsent() == 0, seconds=60, what=f"no message waits\n{stack.tail()}")
        sent = time.monotonic() - late_at - interval
    finally:
        jobs.over.set()
        jobs.pinging.join()
    assert jobs.alerts(jobs.kept) == 0, stack.tail()
    assert jobs.alerts(jobs.early + jobs.late) == 2 * SILENT, "nothing twice"
    return {"early": early, "late": late, "sent": sent, "refused": jobs.refused}


@pytest.fixture(scope="module")
def post():
    with PostOffice() as office:
        yield office


@pytest.fixture(scope="module")
def clock_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("clock", numbered=True) / "moves"
    for folder in (path.parent, *path.parent.parents[:3]):
        folder.chmod(0o755)
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def stack(post, clock_file):
    with running_stack(EMAIL_URL=post.url, HEARTBEAT_TEST_CLOCK=str(clock_file)) as running:
        yield running


@pytest.mark.long
def test_two_hours_back_hide_no_silence_and_leave_no_page_waiting(stack, clock_file):
    seconds = step(stack, clock_file, "ana", "all -7200\n", interval=6.0)

    assert seconds["late"] < ALERT_WITHIN, seconds
    assert seconds["sent"] < SENT_WITHIN, seconds
    [(count,)] = stack.sql("SELECT count(*) FROM integrations_clockstep")
    assert count == 1

    # A clock that one machine alone has wrong is named.
    write_at_once(clock_file, "all -7200\nasgi 300\n")
    said = until(lambda: stack.get("/readyz")[1]["parts"].get("clock"), seconds=30, what="the wrong clock is named")
    write_at_once(clock_file, "all -7200\n")
    assert re.search(r"The clock of .+ \(web\) is (5 minutes|\d+ seconds) ahead of the database's", said), said
    assert stack.get("/readyz")[0] == 200


# A step of all clocks makes what comes later run with moved clocks; each is by the one before.
MATRIX = [
    *("all -14400", "all -7200", "all -93600", "all -7200"),
    *(
        f"all -7200\n{word} {by}"
        for word in ("asgi", "engine", "delivery", "beat")
        for by in (7200, -7200, 86400, -86400)
    ),
]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_each_step_of_all_clocks_and_of_one(stack, clock_file):
    for number, moves in enumerate(MATRIX):
        seconds = step(stack, clock_file, f"person{number}", f"{moves}\n")
        # A step ahead is an outage: whatever was to ping in it has a new interval.
        ahead = 12.0 if moves == "all -7200" else 0.0
        fault = f"clock moved: {moves.splitlines()[-1]} s"
        record_figure(fault, "alerts after their deadline", seconds["late"], unit="s", at_most=ALERT_WITHIN + ahead)
        record_figure(fault, "messages after their alert", seconds["sent"], unit="s", at_most=SENT_WITHIN + ahead)
