"""Calendars that other tools write, read by the clock on the wall; and ours, which can be read back.

The parser runs in this process here; tests/faults/test_hostile_calendars.py has it in its child.
"""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalation.oncall.calendars import parser
from escalation.oncall.calendars.parser import UnreadableError
from escalation.oncall.calendars.text import FeedEvent, write

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FILES = Path(__file__).parent.parent / "calendars"

# The timer may fire within a callback of the garbage collector: that one is lost, and the next one stops the reading.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def calendar(*events: str) -> bytes:
    blocks = "".join(
        f"BEGIN:VEVENT\r\nUID:{number}\r\n{event}\r\nEND:VEVENT\r\n" for number, event in enumerate(events)
    )
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{blocks}END:VCALENDAR\r\n".encode()


def parse(text: bytes, *, zone=BERLIN, days: int = 60):
    return parser.read(text, zone=zone, starts_at=START, ends_at=START + days * DAY)


def shown(reading) -> list[tuple[datetime, datetime, str]]:
    return [
        (datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(ends, UTC), reading.texts[text]["summary"])
        for begins, ends, text in reading.occurrences
    ]


def times(text: bytes, *, days: int = 60) -> list[str]:
    return [f"{begins:%m-%d %H:%M}-{ends:%m-%d %H:%M}" for begins, ends, _ in shown(parse(text, days=days))]


def test_a_time_with_a_zone_a_time_without_and_whole_days():
    assert times(calendar("DTSTART;TZID=America/New_York:20260302T090000\r\nDURATION:PT2H")) == [
        "03-02 14:00-03-02 16:00"
    ]
    assert times(calendar("DTSTART:20260302T090000\r\nDTEND:20260302T100000")) == ["03-02 08:00-03-02 09:00"]
    assert times(calendar("DTSTART:20260302T090000Z\r\nDTEND:20260302T100000Z")) == ["03-02 09:00-03-02 10:00"]
    assert times(calendar("DTSTART;VALUE=DATE:20260302")) == ["03-01 23:00-03-02 23:00"]


def test_a_day_that_ends_on_itself_is_that_day():
    assert times(calendar("DTSTART;VALUE=DATE:20260302\r\nDTEND;VALUE=DATE:20260302")) == ["03-01 23:00-03-02 23:00"]


def test_a_rule_may_say_the_hour_once_and_no_more_often():
    rule = "RRULE:FREQ=WEEKLY;COUNT=2;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0"
    timed = calendar(f"DTSTART;TZID=Europe/Berlin:20260302T090000\r\nDURATION:PT8H\r\n{rule}")
    assert times(timed) == ["03-02 08:00-03-02 16:00", "03-09 08:00-03-09 16:00"]
    assert times(calendar(f"DTSTART;VALUE=DATE:20260302\r\n{rule}")) == [
        "03-01 23:00-03-02 23:00",
        "03-08 23:00-03-09 23:00",
    ]
    often = parse(timed.replace(b"BYHOUR=9", b"BYHOUR=9,17"))
    assert often.left_out == [("without a name", "it repeats more often than daily")]


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
    reading = parse(
        calendar(
            "DTSTART:20260302T090000Z\r\nDURATION:PT1H\r\nSUMMARY:Ana\\, on call\r\n"
            "ATTENDEE;CN=Ana:MAILTO:Ana@Example.com\r\nATTENDEE:mailto:bob@example.com\r\n"
            'ATTENDEE;PARTSTAT=declined;CN="Cy: 3":mailto:cy@example.com\r\nATTENDEE;CN=a"b:mailto:dee@example.com'
        )
    )
    assert reading.texts == [
        {
            "summary": "Ana, on call",
            "emails": ["ana@example.com", "bob@example.com", "dee@example.com"],
            "declined": ["cy@example.com"],
            "cancelled": False,
        }
    ]


# Written by us after what people report of calendar programs and libraries: file, what is read, what is left out.
BEN = "03-10 08:00-10 16:00 Ben"
READ = {
    "begins-outside-its-rule": (
        ["03-02 08:00-02 16:00 Ana", "03-03 08:00-03 16:00 Ana", "03-10 08:00-10 16:00 Ana"],
        [],
    ),
    "broken-off-event": ([BEN], ["Ana"]),
    "daily-since-2005": ([f"03-0{day} 08:00-0{day} 16:00 Ana" for day in (1, 2, 3, 4)], []),
    "edited-then-excluded": (["03-01 23:00-06 23:00 Ana", "03-15 23:00-20 23:00 Ana"], []),
    "edited-twice": (["03-02 09:00-02 17:00 Ana"], []),
    "exdate-of-a-day": (
        ["03-01 23:30-02 07:30 Ana", "03-03 23:30-04 07:30 Ana", "03-04 23:30-05 07:30 Ana"],
        [],
    ),
    "exdate-of-a-time": (["03-01 23:00-02 23:00 Ana", "03-05 23:00-06 23:00 Ana"], []),
    "exdate-without-a-zone": (["03-02 14:00-02 22:00 Ana"], []),
    "folded-within-a-letter": (["03-02 09:00-02 17:00 On call: José Lima"], []),
    "interval-below-zero": ([BEN], ["Ana"]),
    "interval-zero": ([BEN], ["Ana"]),
    "never-matches": ([BEN], ["Ana"]),
    "one-bad-event": (
        [BEN],
        ["Stand-up", "Without a start", "Next Monday", "Three times a day", "Backwards", "Only a moment"],
    ),
    "one-uid-for-all": (
        [f"03-0{day} 09:00-0{day} 17:00 {name}" for day, name in ((2, "Ana"), (3, "Ben"), (4, "Cy"), (5, "Dee"))],
        [],
    ),
    "passed-over": (["03-28 01:30-28 07:00 Ana", "03-29 01:00-29 06:00 Ana", "03-30 00:30-30 06:00 Ana"], []),
    "rdate-alone": (["03-02 08:00-02 16:00 Ana", "03-05 08:00-05 16:00 Ana", "04-02 07:00-02 15:00 Ana"], []),
    "rdate-periods": (["03-02 08:00-02 09:00 Ana", "03-03 09:00-03 12:00 Ana", "04-02 08:00-02 10:00 Ana"], []),
    "this-and-future": (
        [
            *("03-24 08:00-24 16:00 Ana", "03-31 07:00-31 15:00 Ana"),
            *("04-07 09:00-07 13:00 Ben", "04-14 09:00-14 13:00 Ben"),
        ],
        [],
    ),
    "this-and-future-cancelled": (["03-01 23:00-02 23:00 Ana", "03-08 23:00-09 23:00 Ana"], []),
    "two-sequences": (["03-05 09:00-05 17:00 Ben"], []),
    "unknown-zone": ([BEN], ["Ana", "Cy", "Dee"]),
    "until-of-days": (
        [
            *("03-01 23:00-02 23:00 Ana", "03-02 23:00-03 23:00 Ana", "03-03 23:00-04 23:00 Ana"),
            *("03-10 21:00-10 22:00 Ben", "03-11 21:00-11 22:00 Ben"),
        ],
        [],
    ),
    "windows-zone": (
        [
            f"03-{day} 0{hour}:00-{day} {hour + 8}:00 {name}"
            for day, hour in ((27, 8), (28, 8), (29, 7))
            for name in ("Ana", "Ben")
        ],
        [],
    ),
    "x-wr-timezone": (["03-02 14:00-02 22:00 Ana", "03-04 05:00-05 05:00 Ben", "03-06 09:00-06 17:00 Cy"], []),
    "zone-in-the-file": (["03-27 07:00-27 15:00 Ana", "03-28 07:00-28 15:00 Ana", "03-29 06:00-29 14:00 Ana"], []),
    "zone-that-never-ends": ([BEN], ["Ana"]),
}
OF_PEOPLE = {"declined", "whole-names"}  # tests/integration/escalation/oncall/test_calendars.py


def test_each_file_has_its_test():
    assert {path.stem for path in FILES.glob("*.ics")} == READ.keys() | OF_PEOPLE


@pytest.mark.parametrize("name", READ)
def test_what_people_report_of_calendars_is_read_as_it_is_meant(name, monkeypatch):
    monkeypatch.setattr(parser, "EVENT_SECONDS", 0.3)
    reading = parse((FILES / f"{name}.ics").read_bytes())
    expected, left_out = READ[name]
    assert [f"{begins:%m-%d %H:%M}-{ends:%d %H:%M} {words}" for begins, ends, words in shown(reading)] == expected
    assert [event for event, _ in reading.left_out] == left_out
    assert reading.notes == []


def test_it_is_said_why_an_event_is_left_out():
    assert parse((FILES / "unknown-zone.ics").read_bytes()).left_out == [
        ("Ana", "its time zone “Customized Time Zone” is not known"),
        ("Cy", "its time zone is not known"),
        ("Dee", "its time zone “Mars/Olympus” is not known"),
    ]
    assert dict(parse((FILES / "one-bad-event.ics").read_bytes()).left_out) == {
        "Stand-up": "it repeats more often than daily",
        "Without a start": "it has no DTSTART",
        "Next Monday": "DTSTART is not valid: Expected datetime, date, or time. Got: 'next Monday'",
        "Three times a day": "it repeats more often than daily",
        "Backwards": "it ends before it begins",
        "Only a moment": "it has no end",
    }


def test_a_zone_of_the_calendar_that_is_not_known_is_said():
    reading = parse(
        calendar("DTSTART:20260302T090000\r\nDURATION:PT1H").replace(b"PRODID", b"X-WR-TIMEZONE:Mars\r\nPRODID")
    )
    assert [begins.hour for begins, _, _ in shown(reading)] == [8]
    assert reading.notes == [
        "Its time zone “Mars” is not known: times without a zone are read in the time zone of the shift."
    ]


@pytest.mark.parametrize("name", [b"a/" * 50_000, b"Eu\0rope", b"..", b"x" * 100_000])
def test_neither_is_one_with_a_name_that_none_has(name):
    day = calendar("DTSTART:20260302T090000\r\nDURATION:PT1H")
    reading = parse(day.replace(b"PRODID", b"X-WR-TIMEZONE:" + name + b"\r\nPRODID"))
    assert [begins.hour for begins, _, _ in shown(reading)] == [8]
    assert "is not known" in reading.notes[0]


def test_what_has_no_end_takes_no_event_with_it():
    event = "DTSTART:20260302T090000Z\r\nDTEND:20260302T100000Z"
    for text in (
        calendar(event).replace(b"PRODID", b"BEGIN:VTIMEZONE\r\nTZID:x\r\nPRODID"),
        calendar(event, event + "\r\nBEGIN:VALARM", event + "\r\nBEGIN:VALARM"),
        calendar(event).replace(b"PRODID", b"BEGIN:VTODO\r\nBEGIN:X\r\nPRODID"),
    ):
        assert len(times(text)) == text.count(b"BEGIN:VEVENT")


def test_edits_of_what_cannot_be_read_take_place():
    series = "UID:x\r\nSUMMARY:Ana\r\nDTSTART:20260302T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;INTERVAL=0"
    edit = "UID:x\r\nSUMMARY:Ben\r\nDTSTART:20260303T120000Z\r\nDURATION:PT1H\r\nRECURRENCE-ID:20260303T090000Z"
    text = (
        b"BEGIN:VCALENDAR\r\n"
        + b"".join(f"BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n".encode() for event in (series, edit))
        + b"END:VCALENDAR"
    )
    reading = parse(text)
    assert [words for _, _, words in shown(reading)] == ["Ben"]
    assert [name for name, _ in reading.left_out] == ["Ana"]


def test_thousands_of_events_with_one_uid_are_read_in_a_moment():
    text = calendar(*[f"DTSTART:20260302T{n % 24:02}0000Z\r\nDURATION:PT1H\r\nSUMMARY:{n}" for n in range(3_000)])
    once = b"\r\n".join(b"UID:x" if line.startswith(b"UID") else line for line in text.split(b"\r\n"))
    assert len(shown(parse(once))) == 3_000


LONG_AGO = "UID:{0}\r\nDTSTART:20190302T090000Z\r\nDTEND:20190302T100000Z"


def test_events_elsewhere_in_time_do_not_count():
    many = [LONG_AGO.format(number) for number in range(3_000)]
    many += [f"UID:day {number}\r\nDTSTART;VALUE=DATE:20190302" for number in range(3_000)]
    assert times(calendar(*many, "DTSTART:20260302T090000Z\r\nDTEND:20260302T100000Z")) == ["03-02 09:00-03-02 10:00"]


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ("RDATE:" + ",".join(["20260303T090000Z"] * 120_000), "it has more than 5000 single dates"),
        ("\r\n".join(["EXDATE:20260303T090000Z"] * 70_000), "it has more than 5000 single dates"),
        ("RDATE:" + "2" * 200_000, "its RDATE is too long"),
        ("RRULE:FREQ=YEARLY;COUNT=0", "its rule has the COUNT 0; it must be 1 or more"),
        ("RRULE:FREQ=YEARLY;RSCALE=CHINESE", "its rule has a part that is not read: RSCALE"),
        ("EXRULE:FREQ=YEARLY", "it has an EXRULE, which is not read"),
        ("RRULE:FREQ=MINUTELY", "it repeats more often than daily"),
        ("RRULE:INTERVAL=2", "it repeats more often than daily"),
        ("DTSTART:20260304T090000Z", "it has more than one DTSTART"),
        ("RRULE:FREQ=DAILY;INTERVAL=0.5", "RRULE is not valid: Expected int, got: 0.5"),
        ("DTEND:PT1H", "its DTEND is not valid"),
        ("RECURRENCE-ID:yesterday", "RECURRENCE-ID is not valid: Expected datetime, date, or time. Got: 'yesterday'"),
    ],
)
def test_an_event_beyond_a_bound_is_left_out_and_the_rest_is_kept(event, why):
    lines = "DTSTART:20260302T090000Z\r\nDURATION:PT1H\r\nSUMMARY:{}\r\n"
    reading = parse(calendar(lines.format("Ana") + event, lines.format("Ben").strip()))
    assert reading.left_out == [("Ana", why)]
    assert [words for _, _, words in shown(reading)] == ["Ben"]


def test_only_some_of_what_is_left_out_is_named():
    reading = parse(calendar(*(f"SUMMARY:{number}" for number in range(100))))
    assert (len(reading.left_out), reading.left_out_count) == (20, 100)


def test_of_too_many_times_the_earliest_are_kept_and_it_is_said():
    event = "DTSTART;VALUE=DATE:20260301\r\nRRULE:FREQ=DAILY"
    reading = parse(calendar(*[event] * 120))
    assert len(reading.occurrences) == 5_000
    assert reading.notes == ["It has more than 5000 events; those from 2026-04-10 22:00 UTC on are left out for now."]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not an iCalendar file"),
        (b"<html>Sign in</html>", "not an iCalendar file"),
        (b"\xff\xfe\x00", "not an iCalendar file"),
        (b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "not an iCalendar file"),
        (b"BEGIN:VCALENDAR\nBEGIN:VCALENDAR\nEND:VCALENDAR", "not an iCalendar file"),
        (b"BEGIN:VCALENDAR\n" + b"BEGIN:VEVENT\nEND:VEVENT\n" * 70_000 + b"END:VCALENDAR", "more than 5000 events"),
        (b"BEGIN:VCALENDAR\n" + b"BEGIN:X\n" * 200_000 + b"END:VCALENDAR", "more than 8 deep"),
        (b"BEGIN:VCALENDAR\nX-WR-TIMEZONE:M\nEND:VCALENDAR\n" * 40_000, "more than 100 calendars"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(text, why):
    with pytest.raises(UnreadableError, match=why):
        parse(text)


@pytest.mark.parametrize(
    "event",
    [
        "DTSTART:20200302T090000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "DTSTART;VALUE=DATE:19000101\r\nDURATION:P3000D\r\nRRULE:FREQ=DAILY",
        "DTSTART;VALUE=DATE:00010101\r\nRRULE:FREQ=DAILY;BYMONTHDAY=13;BYDAY=FR",
    ],
)
def test_what_takes_too_long_together_is_refused(event, monkeypatch):
    monkeypatch.setattr(parser, "EVENT_SECONDS", 0.1)
    monkeypatch.setattr(parser, "SECONDS", 0.3)
    with pytest.raises(UnreadableError, match="too long to compute"):
        parse(calendar(*[event] * 30))


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_no_bytes_are_a_fault(noise):
    for text in (noise, calendar(noise.decode("latin-1"))):
        with contextlib.suppress(UnreadableError):
            parse(text)


PIECES = st.sampled_from(
    [
        *("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "SEQUENCE", "UID", "ATTENDEE"),
        *(
            ";",
            ":",
            ",",
            "=",
            '"',
            "TZID=Europe/Berlin",
            "TZID=Mars",
            "VALUE=DATE",
            "VALUE=PERIOD",
            "RANGE=THISANDFUTURE",
        ),
        *("20260302T090000Z", "20260302", "00010101T000000", "99991231T235959", "PT1H", "-P1D", "P9999999D"),
        *("FREQ=DAILY", "FREQ=YEARLY", "INTERVAL=9", "COUNT=3", "UNTIL=20260401", "BYDAY=MO,-1SU,99TU", "BYSETPOS=-1"),
        *("\r\n", "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VALARM", "END:VCALENDAR", "\x00", "é"),
    ]
)


@given(st.lists(PIECES, max_size=40))
@settings(deadline=None)
def test_no_pieces_of_a_calendar_are_a_fault(pieces):
    text = calendar("DTSTART:20260302T090000Z\r\n" + "".join(pieces))
    with contextlib.suppress(UnreadableError):
        json.dumps(vars(parse(text)))


@given(st.lists(st.tuples(st.integers(0, 80_000), st.integers(1, 5_000)), max_size=20))
def test_what_is_written_can_be_read_back(rota_periods):
    role_holders = [
        FeedEvent(
            f"{number}@x", f"Event {number}", START + timedelta(minutes=at), START + timedelta(minutes=at + length)
        )
        for number, (at, length) in enumerate(rota_periods)
    ]
    found = parse(write("Mine", role_holders, now=START), zone=UTC, days=70)
    assert sorted((words, begins, ends) for begins, ends, words in shown(found)) == sorted(
        (role_holder.summary, role_holder.starts_at, role_holder.ends_at) for role_holder in role_holders
    )
