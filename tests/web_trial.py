"""Real web processes over the test's database that are stopped and ended, with jobs that ping them and do not retry."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from django.db import connection, connections

from alerting.models.alerts import Alert
from embedded.process import tied
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.sql import records
from integrations.heartbeats.tick import tick
from integrations.models.history import Ping
from integrations.models.outages import IngestProcess, Outage
from tests import factories
from tests.processes import ROOT, free_port, until

ANSWERED = b"HTTP/1.1 200 "
TIMEOUT = 60.0


def database_url() -> str:
    """Return the address of the test's own database."""
    given = connection.get_connection_params()
    host, port = str(given.get("host", "")), str(given.get("port", ""))
    account = quote(str(given.get("user", "")))
    if password := given.get("password"):
        account += f":{quote(str(password))}"
    if host.startswith("/"):
        return f"postgres://{account}@/{given['dbname']}?host={host}"
    return f"postgres://{account}@{host}{f':{port}' if port else ''}/{given['dbname']}"


@dataclass
class Web:
    """One web process as production starts it, on a port of its own."""

    log: Path
    port: int = field(default_factory=free_port)
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, seconds: float = 60) -> None:
        """Start it and return when its pulses count."""
        others = set(IngestProcess.objects.values_list("process", flat=True))
        env = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": database_url(),
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "SECRET_KEY": "for-tests-only",
            "HEARTBEAT_HOST": "127.0.0.1",
            "HEARTBEAT_PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "heartbeat_project.settings",
            **self.env,
        }
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "heartbeat_project.serve", "--port", str(self.port)],
                cwd=ROOT,
                env=env,
                stdout=output,
                stderr=output,
                preexec_fn=tied(signal.SIGTERM),  # noqa: PLW1509 - nothing is left behind by a killed test
            )
        until(
            lambda: IngestProcess.objects.exclude(process__in=others).exists(),
            seconds=seconds,
            what=f"a pulse of the web process\n{self.log.read_text()}",
            every=0.02,
        )

    @property
    def worker(self) -> int:
        assert self.process is not None
        pid = self.process.pid
        [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the process in its tracks for as long as the block lasts."""
        pid = self.worker
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def stop_for(self, seconds: float) -> None:
        """Stop the process in its tracks for so long."""
        with self.stopped():
            time.sleep(seconds)

    def end(self, *, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, cleanly or by SIGKILL to the process that listens and its worker."""
        if self.process is None:
            return
        if how == signal.SIGKILL:
            with contextlib.suppress(ValueError, ProcessLookupError, OSError):
                os.kill(self.worker, signal.SIGKILL)
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)
        self.process = None


@contextlib.contextmanager
def detecting() -> Iterator[None]:
    """Tick once a second and right after pulses, as workers do that hear of them."""
    over = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not over.wait(0.2):
                tick(now=clock.now())
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failed.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    assert failed == []


@dataclass
class Job:
    """A heartbeat and what was sent to it: (sent at, was it answered 200)."""

    pk: int
    token: str
    every: float
    port: int
    keeps_alive: bool
    pings: list[tuple[datetime, bool]] = field(default_factory=list)


def make_jobs(count: int, *, interval: float, shares: Sequence[float], ports: Sequence[int]) -> list[Job]:
    """Return heartbeats of so many seconds; every second one pings over connections that it keeps open.

    `shares` are the parts of the interval after which they ping; the jobs take turns.
    """
    now = clock.now()
    first = factories.HeartbeatFactory(now=now, interval_minutes=round(interval / 60, 1))
    others = [{"n": number} for number in range(count - 1)]
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH made AS (INSERT INTO integrations_inboundintegration (organization_id, type, name, token,"
            " escalation_policy_id, enabled, created_at) SELECT organization_id, type, 'copy ' || n,"
            " md5(random()::text), escalation_policy_id, true, created_at FROM integrations_inboundintegration,"
            " jsonb_to_recordset(%(others)s::jsonb) AS other (n int) WHERE id = %(id)s RETURNING id)"
            " INSERT INTO integrations_heartbeat (integration_id, interval_minutes, grace_minutes, start_timer,"
            " allow_get, state, ping_count, armed_at, deadline_at, error) SELECT made.id, interval_minutes,"
            " grace_minutes, start_timer, allow_get, state, ping_count, armed_at, deadline_at, error"
            " FROM integrations_heartbeat, made WHERE integration_id = %(id)s",
            {"others": records(others), "id": first.pk},
        )
        # All have begun to ping before the first deadline.
        cursor.execute(
            "UPDATE integrations_heartbeat SET armed_at = armed_at + interval '10 s',"
            " deadline_at = deadline_at + interval '10 s'"
        )
        cursor.execute("SELECT id, token FROM integrations_inboundintegration ORDER BY id")
        rows = cursor.fetchall()
    return [
        Job(
            pk,
            token,
            every=interval * shares[number % len(shares)],
            port=ports[number % len(ports)],
            keeps_alive=number // len(ports) % 2 == 0,
        )
        for number, (pk, token) in enumerate(rows)
    ]


async def ping_all(jobs: Sequence[Job], *, over: asyncio.Event) -> None:
    """Let every job ping at its cadence until it is over; what fails is not tried again."""
    await asyncio.gather(*(_ping(job, number / len(jobs), over) for number, job in enumerate(jobs)))


async def _ping(job: Job, phase: float, over: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    at = loop.time() + job.every * phase
    kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    sending: set[asyncio.Task[None]] = set()
    while not over.is_set():
        await asyncio.sleep(max(0.0, at - loop.time()))
        at += job.every
        if job.keeps_alive:
            kept = await _send(job, kept)
            at = max(at, loop.time())
        else:
            task = asyncio.create_task(_send_once(job))
            sending.add(task)
            task.add_done_callback(sending.discard)
    if sending:
        await asyncio.wait(sending, timeout=TIMEOUT)
    if kept is not None:
        kept[1].close()


async def _send_once(job: Job) -> None:
    kept = await _send(job, None)
    if kept is not None:
        kept[1].close()


async def _send(
    job: Job, kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Send one ping and return the connection if it stays open."""
    sent_at = clock.now()
    if kept is not None and kept[0].at_eof():  # closed by the server meanwhile, as any client would see
        kept[1].close()
        kept = None
    number = len(job.pings)
    job.pings.append((sent_at, False))
    writer: asyncio.StreamWriter | None = None
    try:
        reader, writer = kept or await asyncio.open_connection("127.0.0.1", job.port)
        if kept is None:
            job.pings[number] = (clock.now(), False)  # a connection that is not there carries no ping
        request = f"POST /Heartbeat/{job.token} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}"
        writer.write(request.encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
    except (OSError, EOFError, TimeoutError, ValueError):
        if writer is not None:
            writer.close()
        return None
    job.pings[number] = (job.pings[number][0], head.startswith(ANSWERED))
    return reader, writer


def false_alarms(jobs: Sequence[Job], *, lost_ones_too: bool = False) -> list[str]:
    """Return the alerts for a deadline before which a ping was sent that came after it and was answered 200.

    With `lost_ones_too`, also those before which a ping was sent within its cadence that was lost: an outage is no
    silence of the job.
    """
    by_id = {job.pk: job for job in jobs}
    received: defaultdict[int, list[datetime]] = defaultdict(list)
    for pk, received_at in Ping.objects.values_list("integration_id", "received_at"):
        received[pk].append(received_at)
    found = []
    for alert in Alert.objects.filter(integration_id__in=list(by_id)).order_by("id"):
        job, deadline = by_id[alert.integration_id or 0], alert.expected_at
        assert deadline is not None
        # What came before the deadline has moved it.
        sent = sum(stored and sent_at < deadline for sent_at, stored in job.pings)
        came = sum(received_at < deadline for received_at in received[job.pk])
        lost = lost_ones_too and any(
            deadline - timedelta(seconds=job.every) < sent_at < deadline for sent_at, _ in job.pings
        )
        if sent > came or lost:
            kind = "kept" if job.keeps_alive else "new"
            ages = [(deadline - sent_at).total_seconds() for sent_at, _ in job.pings][-5:]
            found.append(f"{job.pk} ({kind}, every {job.every} s): {deadline}, sent {ages} s before it")
    return found


@dataclass
class Figures:
    """What came of a trial."""

    pings: int
    stored: int
    alerts: int
    false: list[str]
    outages: list[float]

    @classmethod
    def of(cls, jobs: Sequence[Job], *, lost_ones_too: bool = False) -> "Figures":
        """Count what there is now."""
        return cls(
            pings=sum(len(job.pings) for job in jobs),
            stored=sum(stored for job in jobs for _, stored in job.pings),
            alerts=Alert.objects.count(),
            false=false_alarms(jobs, lost_ones_too=lost_ones_too),
            outages=[(row.ended_at - row.started_at).total_seconds() for row in Outage.objects.order_by("id")],
        )

    def __str__(self) -> str:
        return (
            f"{self.pings} pings, {self.stored} stored, {self.alerts} alerts, {len(self.false)} false, "
            f"outages of {self.outages} s; {self.false[:5]}"
        )


def trial(jobs: Sequence[Job], what: Callable[[], object], *, before: float = 12.0, after: float = 14.0) -> None:
    """Ping, do `what` to the web processes in a thread, and go on pinging; times in seconds."""

    def in_a_thread() -> None:
        try:
            what()
        finally:
            connections.close_all()

    async def go() -> None:
        over = asyncio.Event()
        pinging = asyncio.create_task(ping_all(jobs, over=over))
        await asyncio.sleep(before)
        await asyncio.to_thread(in_a_thread)
        await asyncio.sleep(after)
        over.set()
        await pinging

    with detecting():
        asyncio.run(go())
