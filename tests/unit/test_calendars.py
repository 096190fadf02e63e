"""Calendars that other tools write, read by the clock on the wall; and ours, which can be read back."""

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalation.calendars import Duty, Unreadable, read, write

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def calendar(*events: str) -> bytes:
    blocks = "".join(
        f"BEGIN:VEVENT\r\nUID:{number}\r\n{event}\r\nEND:VEVENT\r\n" for number, event in enumerate(events)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{blocks}END:VCALENDAR\r\n".encode()


def times(text: bytes, *, days: int = 60) -> list[str]:
    found = read(text, zone=BERLIN, starts_at=START, ends_at=START + days * DAY)
    return [f"{one.starts_at:%m-%d %H:%M}-{one.ends_at:%m-%d %H:%M}" for one in found]


def test_a_time_with_a_zone_a_time_without_and_whole_days():
    assert times(calendar("DTSTART;TZID=America/New_York:20260302T090000\r\nDURATION:PT2H")) == [
        "03-02 14:00-03-02 16:00"
    ]
    assert times(calendar("DTSTART:20260302T090000\r\nDTEND:20260302T100000")) == ["03-02 08:00-03-02 09:00"]
    assert times(calendar("DTSTART:20260302T090000Z\r\nDTEND:20260302T100000Z")) == ["03-02 09:00-03-02 10:00"]
    assert times(calendar("DTSTART;VALUE=DATE:20260302")) == ["03-01 23:00-03-02 23:00"]


def test_repeating_events_keep_their_local_time_over_the_change_of_the_clocks():
    weekly = calendar(
        "DTSTART;TZID=Europe/Berlin:20260323T090000\r\nDTEND;TZID=Europe/Berlin:20260323T170000\r\n"
        "RRULE:FREQ=WEEKLY;UNTIL=20260406T235959Z\r\nEXDATE;TZID=Europe/Berlin:20260406T090000"
    )
    assert times(weekly) == ["03-23 08:00-03-23 16:00", "03-30 07:00-03-30 15:00"]


def test_an_occurrence_that_was_moved_replaces_the_one_that_it_was():
    moved = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n"
        "BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260302T090000Z\r\nDTEND:20260302T100000Z\r\nRRULE:FREQ=DAILY;COUNT=3\r\nEND:VEVENT\r\n"
        "BEGIN:VEVENT\r\nUID:1\r\nRECURRENCE-ID:20260303T090000Z\r\nDTSTART:20260303T120000Z\r\nDTEND:20260303T130000Z\r\nEND:VEVENT\r\n"
        "END:VCALENDAR\r\n"
    )
    assert times(moved.encode()) == ["03-02 09:00-03-02 10:00", "03-03 12:00-03-03 13:00", "03-04 09:00-03-04 10:00"]


def test_cancelled_events_and_events_elsewhere_in_time_are_left_out():
    assert times(calendar("DTSTART:20260302T090000Z\r\nDURATION:PT1H\r\nSTATUS:CANCELLED")) == []
    assert times(calendar("DTSTART:20250302T090000Z\r\nDURATION:PT1H")) == []
    assert times(calendar("DTSTART:20250302T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=YEARLY")) == [
        "03-02 09:00-03-02 10:00"
    ]


def test_words_and_addresses():
    (one,) = read(
        calendar(
            "DTSTART:20260302T090000Z\r\nDURATION:PT1H\r\nSUMMARY:Ana\\, on call\r\n"
            "ATTENDEE;CN=Ana:MAILTO:Ana@Example.com\r\nATTENDEE:mailto:bob@example.com"
        ),
        zone=UTC,
        starts_at=START,
        ends_at=START + 9 * DAY,
    )
    assert (one.summary, one.emails) == ("Ana, on call", ("ana@example.com", "bob@example.com"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>Sign in</html>",
        b"\xff\xfe\x00",
        b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n",
        calendar("DTSTART:20260302T090000Z\r\nRRULE:FREQ=SECONDLY"),
        calendar("DTSTART:20260302T090000Z\r\nRRULE:FREQ=DAILY;BYHOUR=1,2,3"),
        calendar("DTSTART:yesterday"),
        calendar("SUMMARY:no start"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(text):
    with pytest.raises(Unreadable) as found:
        times(text)
    assert str(found.value)


@given(st.binary(max_size=300))
def test_no_bytes_are_a_fault(noise):
    for text in (noise, calendar(noise.decode("latin-1"))):
        with contextlib.suppress(Unreadable):
            times(text)


@given(st.lists(st.tuples(st.integers(0, 80_000), st.integers(1, 5_000)), max_size=20))
def test_what_is_written_can_be_read_back(spans):
    duties = [
        Duty(f"{number}@x", f"Duty {number}", START + timedelta(minutes=at), START + timedelta(minutes=at + length))
        for number, (at, length) in enumerate(spans)
    ]
    found = read(write("Mine", duties, now=START), zone=UTC, starts_at=START, ends_at=START + 70 * DAY)
    assert sorted((one.summary, one.starts_at, one.ends_at) for one in found) == sorted(
        (duty.summary, duty.starts_at, duty.ends_at) for duty in duties
    )
