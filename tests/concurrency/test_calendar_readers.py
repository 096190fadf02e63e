"""Calendars are read by threads of their own: no tick waits for one, and no organization for another's."""

import http.server
import threading
import time
from contextlib import contextmanager
from ipaddress import ip_network

import pytest

from escalation.models.on_call import Shift, ShiftEntry
from escalation.oncall.calendars import readers as calendar_readers
from escalation.oncall.calendars.read import read_calendar
from escalation.oncall.calendars.readers import CalendarReaders
from escalation.tasks import read_calendars
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_shift
from tests.unit.test_calendars import FILES, calendar
from tests.world import minutes

pytestmark = pytest.mark.django_db(transaction=True)

GOOD = calendar("DTSTART:20260302T090000Z\r\nDURATION:PT8H\r\nSUMMARY:Ana")


class Server(http.server.ThreadingHTTPServer):
    """Answers /slow once it may, and counts how many wait for that; else with a file, or a good calendar."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.may_answer = threading.Event()
        self.waiting = self.most = 0
        self.lock = threading.Lock()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.strip("/")
        if name == "slow":
            with server.lock:
                server.waiting += 1
                server.most = max(server.most, server.waiting)
            server.may_answer.wait(20)
            with server.lock:
                server.waiting -= 1
        body = (FILES / f"{name}.ics").read_bytes() if (FILES / f"{name}.ics").exists() else GOOD
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def server(settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.0/8")]
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.may_answer.set()
            running.shutdown()
            thread.join()


@contextmanager
def readers_that_end(server, readers):
    """Let the readers end before the database is cleared."""
    try:
        yield readers
    finally:
        server.may_answer.set()
        until(lambda: readers._running == 0)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def organization_with(*urls):
    """Make an organization with Ana and a shift for each calendar."""
    ana = factories.UserFactory(name="Ana")
    group = factories.GroupFactory(organization=ana.organization, primary=[ana])
    return [make_shift(group, kind="calendar", calendar_url=url, name=str(number)) for number, url in enumerate(urls)]


def is_read(shift):
    return Shift.objects.get(pk=shift.pk).calendar_read_at is not None


def test_the_task_waits_for_no_calendar(server, monkeypatch):
    """Eight of these once took all threads of a delivery worker, for good."""
    shifts = [organization_with(server.url("slow"))[0] for _ in range(4)]
    readers = CalendarReaders()
    monkeypatch.setattr(calendar_readers, "READERS_HERE", readers)
    with readers_that_end(server, readers):
        for _ in range(8):
            began = time.monotonic()
            read_calendars()
            assert time.monotonic() - began < 1
        until(lambda: server.waiting == calendar_readers.READERS)
        server.may_answer.set()
        until(lambda: all(is_read(shift) for shift in shifts))
    assert server.most == calendar_readers.READERS


def test_slow_and_hostile_calendars_of_one_organization_keep_no_other_waiting(server):
    slow = organization_with(*[server.url("slow")] * 3, *[server.url("interval-zero")] * 3)
    Shift.objects.update(calendar_due_at=WHEN - minutes(60))
    others = [organization_with(server.url("good"))[0] for _ in range(3)]
    readers = CalendarReaders()
    with readers_that_end(server, readers):
        readers.tick(now=WHEN)
        until(lambda: server.waiting)
        until(lambda: all(is_read(shift) for shift in others))
        assert ShiftEntry.objects.filter(shift__in=others).count() == len(others)
        assert server.waiting == server.most == 1
        assert not any(is_read(shift) for shift in slow)
        server.may_answer.set()
        until(lambda: all(is_read(shift) for shift in slow))
    assert server.most == 1


def test_a_calendar_whose_reading_fails_here_stops_no_other(server, monkeypatch, caplog):
    broken, good = organization_with(server.url("broken"), server.url("good"))
    read = read_calendar

    def fail(shift, *, now):
        if shift == broken:
            raise RuntimeError("a fault of ours")
        return read(shift, now=now)

    monkeypatch.setattr(calendar_readers, "read_calendar", fail)
    readers = CalendarReaders()
    with readers_that_end(server, readers):
        readers.tick(now=WHEN)
        until(lambda: is_read(good))
    assert "a fault of ours" in caplog.text
    broken.refresh_from_db()
    assert broken.calendar_due_at > WHEN
    assert broken.calendar_failing_since is not None, "its Managers are notified"
    assert "an error in Heartbeat" in broken.calendar_error
