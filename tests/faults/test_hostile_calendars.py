"""Calendars that once took a thread for good, or many seconds, read as they are in service: in a child with limits."""

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from escalation.oncall.calendars import text as calendars
from escalation.oncall.calendars.text import TooCostly, Unreadable, read
from tests.unit.test_calendars import FILES, START, calendar

GOOD = "DTSTART:20260310T080000Z\r\nDURATION:PT8H\r\nSUMMARY:Ben"


def parse(text):
    return read(text, zone=ZoneInfo("Europe/Berlin"), starts_at=START, ends_at=START + timedelta(days=60))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("DURATION:PT8H\r\nRRULE:FREQ=DAILY;INTERVAL=0;BYMONTH=2;BYMONTHDAY=30", "INTERVAL 0"),
        ("DURATION:PT8H\r\nRDATE:" + ",".join(["20260303T090000Z"] * 120_000), "single dates"),
    ],
)
def test_one_event_is_left_out_at_once_and_the_others_are_kept(event, reason):
    began = time.monotonic()
    reading = parse(calendar("SUMMARY:Ana\r\nDTSTART:20260302T090000Z\r\n" + event, GOOD))
    assert [(one.summary, one.starts_at) for one in reading.occurrences] == [
        ("Ben", datetime(2026, 3, 10, 8, tzinfo=UTC))
    ]
    (remark,) = reading.remarks
    assert remark.startswith("These events cannot be read and are left out: “Ana” (")
    assert reason in remark
    assert time.monotonic() - began < 10


def test_very_many_events_are_refused():
    with pytest.raises(Unreadable, match="more than 5000 events"):
        parse(b"BEGIN:VCALENDAR\n" + b"BEGIN:VEVENT\nEND:VEVENT\n" * 70_000 + b"END:VCALENDAR")


def test_thousands_of_true_events_are_read_within_the_limits():
    """A guard that refused them would leave people without a shift."""
    event = (
        "UID:{0}@example.com\r\nDTSTART;TZID=Europe/Berlin:20260302T090000\r\nDURATION:PT8H\r\nSUMMARY:Ana {0}\r\n"
        "ATTENDEE;CN=Ana;PARTSTAT=ACCEPTED:mailto:ana{0}@example.com\r\nDESCRIPTION:{1}"
    )
    reading = parse(calendar(*(event.format(number, "x" * 100) for number in range(2_500))))
    assert (len(reading.occurrences), reading.remarks) == (2_500, ())


def test_a_parser_that_takes_too_much_is_ended_and_it_is_said(monkeypatch, tmp_path):
    parser = tmp_path / "parser.py"
    parser.write_text("import sys\nsys.stdin.read()\nx = bytearray(1 << 30)")
    monkeypatch.setattr(calendars, "PARSER", parser)
    with pytest.raises(TooCostly, match="it took more than 256 MiB of memory to read"):
        parse(calendar(GOOD))


def test_a_file_of_the_tests_reads_the_same_in_the_child():
    reading = parse((FILES / "unknown-zone.ics").read_bytes())
    assert [one.summary for one in reading.occurrences] == ["Ben"]
    (remark,) = reading.remarks
    assert remark == (
        "These events cannot be read and are left out: “Ana” (its time zone “Customized Time Zone” is not known); "
        "“Cy” (its time zone is not known); “Dee” (its time zone “Mars/Olympus” is not known)."
    )
