"""Calendars in and out over real HTTP, and the guard against addresses that lead into our own network."""

import http.server
import socket
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest

from accounts.services.users import update_user
from escalation.models.on_call import Shift, ShiftEntry
from escalation.oncall.calendars import fetch as fetching
from escalation.oncall.calendars import read
from escalation.oncall.calendars import text as parsing
from escalation.oncall.calendars.fetch import NotFetched, fetch
from escalation.oncall.calendars.read import read_due_calendars
from heartbeat_project.kernel.confined import Limits, run_confined
from heartbeat_project.masking import masked
from tests import factories
from tests.factories import WHEN
from tests.factories.shifts import make_absence, make_rotation, make_shift
from tests.unit.test_calendars import calendar
from tests.world import minutes


class Server(http.server.ThreadingHTTPServer):
    """A server whose answer can be changed: (status, headers, body)."""

    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
    drips = False
    protocol_line = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/on-call.ics"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.protocol_line:
            self.wfile.write(self.server.protocol_line + b"\r\n\r\n")
            return
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        if self.server.drips:
            self.drip()
        self.end_headers()
        self.wfile.write(body)

    def drip(self):
        """Send a byte of a header now and then, as long as somebody listens."""
        self.flush_headers()
        with suppress(OSError):
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, *arguments):
        """Say nothing."""


@contextmanager
def serving():
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.daemon_threads = True
        server.server_close()
        thread.join()


@pytest.fixture
def server(settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.0/8")]
    with serving() as running:
        yield running


def get(url):
    return fetch(url, max_bytes=1000, seconds=5)


# -- fetching ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:10.1.2.3]", "[64:ff9b::7f00:1]", "0.0.0.0"])
def test_an_address_in_a_private_network_is_refused_however_it_is_written(settings, host):
    settings.OUTGOING_ALLOW = []
    with pytest.raises(NotFetched, match="HEARTBEAT_OUTGOING_ALLOW"):
        fetch(f"http://{host}:1/standby.ics", max_bytes=10, seconds=5)


def test_a_name_that_leads_to_our_own_network_is_refused_before_anything_is_sent(settings):
    with serving() as running, pytest.raises(NotFetched, match="private network"):
        get(running.url.replace("127.0.0.1", "localhost"))


def test_a_redirect_into_our_own_network_is_refused_too(server, settings):
    settings.OUTGOING_ALLOW = [ip_network("127.0.0.1/32")]
    server.answer = (302, {"Location": f"http://127.0.0.2:{server.server_port}/"}, b"")
    with pytest.raises(NotFetched, match=r"127.0.0.2.* private network"):
        get(server.url)


def test_a_slow_name_server_does_not_hold_the_reader_up(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(3))
    began = time.monotonic()
    with pytest.raises(NotFetched, match="was not found within"):
        fetch("http://slow.example/", max_bytes=1_000, seconds=1)
    assert time.monotonic() - began < 2


def test_a_redirect_is_followed_but_not_for_ever(server):
    server.answer = (302, {"Location": "/there"}, b"")
    with pytest.raises(NotFetched, match="redirects too often"):
        get(server.url)
    server.answer = (301, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(NotFetched, match="does not begin"):
        get(server.url)


def test_size_status_and_time_are_bounded(server):
    server.answer = (200, {}, b"x" * 1000)
    assert len(get(server.url)) == 1000
    server.answer = (200, {}, b"x" * 1001)
    with pytest.raises(NotFetched, match="larger"):
        get(server.url)
    server.answer = (500, {}, b"")
    with pytest.raises(NotFetched, match="500"):
        get(server.url)
    server.answer = (302, {"Location": "http://[::1"}, b"")
    with pytest.raises(NotFetched, match="not an address"):
        get(server.url)
    server.protocol_line = b"HTTP/1.1 500 " + b"<b>" * 20_000
    with pytest.raises(NotFetched) as caught:
        get(server.url)
    assert len(str(caught.value)) < 300
    server.protocol_line = b"X" * 60_000
    with pytest.raises(NotFetched) as caught:
        get(server.url)
    assert len(str(caught.value)) < 300
    server.protocol_line = b""
    server.answer = (200, {"Content-Length": "10"}, b"x")
    with pytest.raises(NotFetched, match="broke off"):
        get(server.url)
    server.drips = True
    with pytest.raises(NotFetched, match="too slow"):
        fetch(server.url, max_bytes=1000, seconds=0.5)
    server.drips = False
    with pytest.raises(NotFetched, match="cannot be reached"):
        get("http://127.0.0.1:1/")
    assert fetching.MAX_REDIRECTS < 10


# -- in ---------------------------------------------------------------------------------------------------------------
@pytest.fixture
def shift(server, db):
    organization = factories.OrganizationFactory()
    ana, bob = (
        factories.UserFactory(
            organization=organization, name=name, email=f"{name.lower().replace(' ', '.')}@example.com"
        )
        for name in ("Ana Lima", "Bob")
    )
    group = factories.GroupFactory(organization=organization, primary=[ana, bob])
    return make_shift(group, kind="calendar", calendar_url=server.url, name="Calendar")


def entries():
    rows = ShiftEntry.objects.order_by("starts_at", "user__name")
    return [(entry.user.name, entry.role, f"{entry.starts_at:%d %H}", f"{entry.ends_at:%d %H}") for entry in rows]


def test_events_are_matched_to_members_by_e_mail_or_by_name(server, shift):
    server.answer = (
        200,
        {},
        calendar(
            "DTSTART:20260302T090000Z\r\nDURATION:PT8H\r\nSUMMARY:x\r\nATTENDEE:mailto:Bob@example.com",
            "DTSTART:20260303T090000Z\r\nDURATION:PT8H\r\nSUMMARY:On call: ana  lima (days)",
            "DTSTART:20260304T090000Z\r\nDURATION:PT8H\r\nSUMMARY:Secondary: ana.lima@example.com",
            "DTSTART:20260305T090000Z\r\nDURATION:PT8H\r\nSUMMARY:Bobby",
            "DTSTART:20260305T090000Z\r\nRRULE:FREQ=HOURLY\r\nSUMMARY:Stand-up",
            "DTSTART:20260303T090000Z\r\nDURATION:PT8H\r\nSUMMARY:Ana Lima",  # the same again
        ),
    )
    assert read_due_calendars(now=WHEN) == 1
    assert entries() == [
        ("Bob", "primary", "02 09", "02 17"),
        ("Ana Lima", "primary", "03 09", "03 17"),
        ("Ana Lima", "secondary", "04 09", "04 17"),
    ]
    shift.refresh_from_db()
    assert shift.calendar_error == (
        "These events cannot be read and are left out: “Stand-up” (it repeats more often than daily). "
        "No active member of the group was found in: “Bobby”."
    )
    assert shift.calendar_read_at == WHEN
    assert read_due_calendars(now=WHEN + minutes(1)) == 0  # not due yet


FILES = Path(__file__).parents[3] / "calendars"


@pytest.fixture
def team(shift):
    """Ana, Ben and José Lima in the shift's group."""
    shift.group.members.all().delete()
    organization = shift.group.organization
    for name, email in (("Ana", "ana"), ("Ben", "ben"), ("Jos\u00e9 Lima", "jose.lima")):
        person = factories.UserFactory(organization=organization, name=name, email=f"{email}@example.com")
        shift.group.members.create(user=person, role="primary", position=0)
    return shift


def test_whole_names_count_and_who_is_covered_does_not(server, team):
    server.answer = (200, {}, (FILES / "whole-names.ics").read_bytes())
    read_due_calendars(now=WHEN)
    assert [(name, begins) for name, _, begins, _ in entries()] == [
        ("Ben", "03 09"),
        ("Ana", "04 09"),
        ("José Lima", "05 09"),
    ]
    team.refresh_from_db()
    assert team.calendar_error == ("No active member of the group was found in: “On call: Ana Torres”, “Team lunch”.")


def test_who_declined_is_not_on_call(server, team):
    server.answer = (200, {}, (FILES / "declined.ics").read_bytes())
    read_due_calendars(now=WHEN)
    assert [(name, begins) for name, _, begins, _ in entries()] == [("Ben", "02 09"), ("Ana", "04 09")]
    team.refresh_from_db()
    assert team.calendar_error == "No active member of the group was found in: “On call: Ana”."


def test_what_is_listed_and_what_is_kept_is_bounded(server, team, monkeypatch):
    events = [f"DTSTART:2026030{day}T090000Z\r\nDURATION:PT1H\r\nSUMMARY:Ana, Ben" for day in range(2, 9)]
    lunches = [f"DTSTART:20260302T090000Z\r\nDURATION:PT1H\r\nSUMMARY:Lunch {number}" for number in range(30)]
    server.answer = (200, {}, calendar(*events, *lunches))
    monkeypatch.setattr(read, "MAX_ENTRIES", 5)
    read_due_calendars(now=WHEN)
    assert [begins for _, _, begins, _ in entries()] == ["03 09", "03 09", "04 09", "04 09", "05 09"]
    team.refresh_from_db()
    assert "“Lunch 19” and 10 others." in team.calendar_error
    assert team.calendar_error.endswith(
        "The calendar has more than 5 events: those from 2026-03-05 on are left out for now."
    )


def due_in(shift):
    return Shift.objects.get(pk=shift.pk).calendar_due_at - WHEN


def test_a_calendar_that_fails_is_tried_less_and_less_often(server, shift, monkeypatch, tmp_path):
    """Up to as often as others are read; one that takes too much, up to once an hour."""

    def try_it(failing):
        since = WHEN - minutes(failing) if failing else None
        Shift.objects.update(calendar_due_at=WHEN, calendar_failing_since=since)
        assert read_due_calendars(now=WHEN) == 0
        return due_in(shift)

    server.answer = (200, {}, b"<html>")
    assert [try_it(failing) for failing in (0, 3, 8, 24 * 60)] == [minutes(pause) for pause in (5, 5, 8, 15)]
    hostile = tmp_path / "parser.py"
    hostile.write_text("import sys\nsys.stdin.read()\nwhile True: pass")
    monkeypatch.setattr(parsing, "PARSER", hostile)
    monkeypatch.setattr(parsing, "run_confined", partial(run_confined, limits=Limits(cpu_seconds=1)))
    assert try_it(24 * 60) == minutes(60)
    shift.refresh_from_db()
    assert shift.calendar_error == (
        "The calendar cannot be read: it took more than 1 seconds of processor time to read."
    )


def test_calendars_that_were_due_together_are_spread(server, shift):
    others = [make_shift(shift.group, kind="calendar", calendar_url=server.url, name=str(name)) for name in range(3)]
    server.answer = (200, {}, calendar())
    assert read_due_calendars(now=WHEN) == 4
    pauses = {due_in(one) for one in [shift, *others]}
    assert len(pauses) == 4
    assert minutes(15) <= min(pauses) <= max(pauses) < minutes(17)


def test_organizations_take_turns(server, shift):
    for name in range(3):
        make_shift(shift.group, kind="calendar", calendar_url=server.url, name=str(name))
    other = make_shift(factories.GroupFactory(), kind="calendar", calendar_url=server.url, name="Other")
    Shift.objects.exclude(pk=other.pk).update(calendar_due_at=WHEN - minutes(60))
    server.answer = (200, {}, calendar())
    assert read_due_calendars(now=WHEN, limit=2) == 2
    assert Shift.objects.get(pk=other.pk).calendar_read_at == WHEN


def test_a_failure_keeps_the_last_good_copy_and_is_shown(server, shift, client_for):
    server.answer = (200, {}, calendar("DTSTART:20260302T090000Z\r\nDURATION:PT8H\r\nSUMMARY:Bob"))
    read_due_calendars(now=WHEN)
    for answer, said in (
        ((503, {}, b""), "answered 503"),
        ((200, {}, b"<html>"), "not an iCalendar file"),
        ((200, {}, server.answer[2][:-10]), "not an iCalendar file"),
        (
            (200, {}, calendar("DTSTART;TZID=Mars:20260302T090000\r\nSUMMARY:Bob")),
            "None of the coming events can be read.",
        ),
    ):
        server.answer = answer
        Shift.objects.update(calendar_due_at=WHEN)
        assert read_due_calendars(now=WHEN) == 0
        assert len(entries()) == 1
        stored = client_for(shift.group.members.first().user).get(f"/api/v1/shifts/{shift.pk}/").json()
        assert said in stored["calendar_error"]


def test_a_new_address_drops_the_old_copy_and_is_read_at_once(server, shift, client_for):
    server.answer = (200, {}, calendar("DTSTART:20260302T090000Z\r\nDURATION:PT8H\r\nSUMMARY:Bob"))
    read_due_calendars(now=WHEN)
    admin = factories.UserFactory(organization=shift.group.organization, roles=["App Admin"])
    answer = client_for(admin).patch(f"/api/v1/shifts/{shift.pk}/", {"calendar_url": server.url + "?2"}, format="json")
    assert answer.status_code == 200, answer.json()
    assert entries() == []
    assert Shift.objects.get().calendar_due_at > WHEN


def test_the_secret_of_a_feed_stands_in_no_log():
    assert masked("/calendar/abcDEF-_123456789.ics") == "/calendar/***"
    assert masked("/api/v1/users/me/calendar/") == "/api/v1/users/me/calendar/"


# -- out --------------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_person_and_a_group_have_a_secret_feed_that_can_be_replaced(client, client_for, monkeypatch):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: WHEN)
    ana, bob = (factories.UserFactory(name="Ana"), None)
    bob = factories.UserFactory(organization=ana.organization, name="Bob")
    group = factories.GroupFactory(organization=ana.organization, name="Database", primary=[ana, bob])
    make_rotation(group, primary=[ana, bob], first="2026-03-02")
    for root, said in (
        ("/api/v1/users/me/calendar/", "SUMMARY:On call: Database (Primary)"),
        (f"/api/v1/groups/{group.pk}/calendar/", "SUMMARY:Bob (Primary)"),
    ):
        url = client_for(ana).get(root).json()["url"]
        assert client_for(ana).get(root).json()["url"] == url
        path = url.removeprefix("http://127.0.0.1:8000")
        answer = client.get(path)
        assert answer["Content-Type"].startswith("text/calendar")
        assert said in answer.content.decode(), answer.content.decode()
    other = client_for(bob).get(root).json()["url"].removeprefix("http://127.0.0.1:8000")
    assert other != path
    assert client_for(ana).post(root).json()["url"] != url
    assert client.get(path).status_code == 404
    assert client.get(other).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("leave", ["deactivated", "out of the group", "without the right"])
def test_of_a_groups_calendar_only_the_leavers_address_ends(client, client_for, leave):
    ana = factories.UserFactory(name="Ana")
    bob = factories.UserFactory(organization=ana.organization, name="Bob")
    admin = factories.UserFactory(organization=ana.organization, roles=["App Admin"])
    group = factories.GroupFactory(organization=ana.organization, primary=[ana, bob])
    url = f"/api/v1/groups/{group.pk}/calendar/"
    paths = {
        user: client_for(user).get(url).json()["url"].removeprefix("http://127.0.0.1:8000")
        for user in (ana, bob, admin)
    }
    assert len(set(paths.values())) == 3
    assert {client.get(path).status_code for path in paths.values()} == {200}
    if leave == "deactivated":
        update_user(ana, actor=admin, now=WHEN, is_active=False)
    elif leave == "out of the group":
        group.members.filter(user=ana).delete()
    else:
        ana.roles.clear()
    assert client.get(paths[ana]).status_code == 404
    assert [client.get(paths[user]).status_code for user in (bob, admin)] == [200, 200]


@pytest.mark.django_db
def test_my_feed_says_for_whom_i_am_on_call_and_leaves_out_when_i_am_out(client, client_for, monkeypatch):
    from heartbeat_project.kernel import clock

    monkeypatch.setattr(clock, "now", lambda: WHEN)
    ana = factories.UserFactory(name="Ana")
    bob, cy = (factories.UserFactory(organization=ana.organization, name=name) for name in ("Bob", "Cy"))
    group = factories.GroupFactory(organization=ana.organization, name="Database", primary=[ana, cy])
    make_shift(group, primary=[ana, cy], name="Three hours", starts_at=WHEN, ends_at=WHEN + minutes(180))
    group.members.all().update(role="manager")  # so that the member list has nobody before and after
    for who in (ana, cy):
        make_absence(who, bob, starts_at=WHEN + minutes(60), ends_at=WHEN + minutes(120))

    def events(who):
        url = client_for(who).get("/api/v1/users/me/calendar/").json()["url"]
        text = client.get(url.removeprefix("http://127.0.0.1:8000")).content.decode().replace("\r\n ", "")
        lines = [line.partition(":") for line in text.splitlines() if line.startswith(("UID", "DTSTART", "SUMMARY"))]
        found = [value for _, _, value in lines]
        return text.count("BEGIN:VEVENT"), found

    count, said = events(bob)
    assert count == 2
    assert {"On call: Database (Primary) for Ana", "On call: Database (Primary) for Cy"} <= set(said)
    assert len({value for value in said if value.endswith(".heartbeat")}) == 2  # each its own event
    assert said.count("20260302T120000Z") == 2
    count, said = events(ana)
    assert count == 2
    assert {value for value in said if value.startswith("2026")} == {"20260302T110000Z", "20260302T130000Z"}
    assert "for" not in " ".join(said)


@pytest.mark.django_db
def test_the_feed_of_somebody_who_was_deactivated_is_gone(client, client_for):
    ana = factories.UserFactory()
    path = client_for(ana).get("/api/v1/users/me/calendar/").json()["url"].removeprefix("http://127.0.0.1:8000")
    assert client.get(path).status_code == 200
    ana.is_active = False
    ana.save()
    assert client.get(path).status_code == 404
    assert client.get("/calendar/nothing.ics").status_code == 404
