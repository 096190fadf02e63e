"""A web process that is stopped, or away, for a while: no ping that was sent in time is followed by an alert."""

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection

from alerting.models.alerts import Alert
from heartbeat_project.kernel import clock
from integrations.models.heartbeats import Heartbeat
from integrations.models.outages import IngestProcess, Outage
from tests.figures import record_figure
from tests.processes import until
from tests.web_trial import Figures, Web, detecting, make_jobs, trial

pytestmark = pytest.mark.django_db(transaction=True)
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
EVERY = 6.0  # the shortest interval there is, seconds


@contextlib.contextmanager
def running(folder: Path, *, count: int = 1) -> Iterator[list[Web]]:
    """Run so many web processes until the end of the block."""
    webs = [Web(folder / f"web{number}.log") for number in range(count)]
    try:
        for web in webs:
            web.start()
        yield webs
    finally:
        for web in webs:
            web.end()


def test_pings_that_wait_in_a_stopped_process_come_in_time_and_a_restart_is_one_outage(tmp_path):
    """The short form of those below: one process, a hundred deadlines that pass while it is stopped."""
    with running(tmp_path) as [web], detecting():
        jobs = make_jobs(100, interval=EVERY, shares=[1], ports=[web.port])
        # Over a connection that is there already, and over a new one that the stopped process does not accept.
        kept = [socket.create_connection(("127.0.0.1", web.port)) for _ in jobs[:50]]
        process = IngestProcess.objects.get().process
        with web.stopped():
            begun = clock.now()
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE integrations_heartbeat SET armed_at = %s - interval '6 s' + n * interval '10 ms',"
                    " deadline_at = %s + n * interval '10 ms'"
                    " FROM unnest(%s::bigint[]) WITH ORDINALITY AS job (id, n) WHERE integration_id = job.id",
                    [begun + timedelta(seconds=1)] * 2 + [[job.pk for job in jobs]],
                )
            connections = kept + [socket.create_connection(("127.0.0.1", web.port)) for _ in jobs[50:]]
            for job, each in zip(jobs, connections, strict=True):
                each.sendall(f"POST /Heartbeat/{job.token} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            assert clock.now() < begun + timedelta(seconds=1), "the pings were not sent in time"
            time.sleep((begun + timedelta(seconds=2.6) - clock.now()).total_seconds())
        for each in connections:
            each.settimeout(30)
            assert each.recv(20).startswith(b"HTTP/1.1 200 ")
            each.close()
        until(Outage.objects.exclude(done_at=None).exists, seconds=10, what="an outage that is applied")
        time.sleep(0.5)
        assert not Alert.objects.exists()
        [outage] = Outage.objects.all()
        assert outage.ended_at - outage.started_at > timedelta(seconds=2.5)

        # They ping no more; the process is ended and started again.
        Heartbeat.objects.update(deadline_at=clock.now() + timedelta(minutes=5), armed_at=clock.now())
        web.end()
        assert not IngestProcess.objects.exists()
        ended_at = clock.now()
        web.start()
        assert IngestProcess.objects.get().process != process
        outage = Outage.objects.exclude(pk=outage.pk).get()
        assert outage.started_at < ended_at < outage.ended_at


def stopped(folder: Path, *, count: int, seconds: float, jobs: int) -> Figures:
    with running(folder, count=count) as webs:
        pinging = make_jobs(jobs, interval=EVERY, shares=SHARES, ports=[web.port for web in webs])
        trial(pinging, lambda: webs[0].stop_for(seconds), after=EVERY * 2 + 2)
        return Figures.of(pinging)


def away(folder: Path, *, seconds: float, how: signal.Signals, jobs: int, times: int) -> Figures:
    with running(folder) as [web]:
        pinging = make_jobs(jobs, interval=EVERY, shares=SHARES, ports=[web.port])

        def go_away() -> None:
            for _ in range(times):
                web.end(how=how)
                time.sleep(seconds)
                web.start()
                time.sleep(1)

        trial(pinging, go_away, after=EVERY * 2 + 2)
        return Figures.of(pinging, lost_ones_too=True)


def say(capsys: pytest.CaptureFixture[str], figures: str) -> None:
    """Show the figures of a long run."""
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")


@pytest.mark.long
@pytest.mark.serial
@pytest.mark.parametrize("seconds", [1, 2, 4, 6, 20])
@pytest.mark.parametrize("count", [1, 2])
def test_stopped_under_500_pings_a_second(tmp_path, capsys, count, seconds):
    figures = stopped(tmp_path, count=count, seconds=seconds, jobs=2_200)
    say(capsys, f"{count} web processes, one stopped for {seconds} s: {figures}")
    record_figure(
        f"web process stopped for {seconds} s under 500 pings/s, {count} running",
        f"false alarms among {figures.pings:,} pings",
        len(figures.false),
        unit="",
        at_most=0 if count == 1 or seconds <= 5 else None,
    )


@pytest.mark.long
@pytest.mark.serial
@pytest.mark.parametrize("seconds", [0.5, 2, 6, 12, 18, 20])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_away_three_times_with_senders_that_do_not_retry(tmp_path, capsys, seconds, how):
    figures = away(tmp_path, seconds=seconds, how=how, jobs=400, times=3)
    say(capsys, f"web away three times for {seconds} s after {how.name}: {figures}")
    record_figure(
        f"web away three times for {seconds} s ({how.name}), senders do not retry",
        f"false alarms among {figures.pings:,} pings, {figures.pings - figures.stored:,} of them lost",
        len(figures.false),
        unit="",
        at_most=0,
    )
