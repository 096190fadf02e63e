"""iCalendar (RFC 5545): duty written out as a feed, and events read in from the calendar of another tool (pure)."""

import time as stopwatch
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice
from typing import Any, Final

from dateutil.rrule import rrulestr
from icalendar import Calendar, Event

from escalation.rota.clocks import instant, local_time

MOST_EVENTS: Final = 5_000
MOST_REPEATS: Final = 5_000
PATIENCE_SECONDS: Final = 10.0
_DAY = timedelta(days=1)
_FREQUENCIES: Final = {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
_REFUSED_PARTS: Final = {"BYHOUR", "BYMINUTE", "BYSECOND"}


class Unreadable(Exception):
    """The text is no calendar that can be read; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One time of one event: its words, and the e-mail addresses of who attends, in lower case."""

    starts_at: datetime
    ends_at: datetime
    summary: str
    emails: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Duty:
    """One line of a feed; `key` stays the same while the line means the same."""

    key: str
    summary: str
    starts_at: datetime
    ends_at: datetime


def write(name: str, duties: Iterable[Duty], *, now: datetime) -> bytes:
    """Return a calendar with one event for each duty."""
    calendar = Calendar()
    for field, value in {"prodid": "-//Heartbeat//On call//EN", "version": "2.0", "x-wr-calname": name}.items():
        calendar.add(field, value)
    for duty in duties:
        event = Event()
        event.add("uid", duty.key)
        event.add("dtstamp", now)
        event.add("dtstart", duty.starts_at.astimezone(UTC))
        event.add("dtend", duty.ends_at.astimezone(UTC))
        event.add("summary", duty.summary)
        event.add("transp", "TRANSPARENT")
        calendar.add_component(event)
    text: bytes = calendar.to_ical()
    return text


def read(text: bytes, *, zone: tzinfo, starts_at: datetime, ends_at: datetime) -> list[Occurrence]:
    """Return what the calendar says between two instants, in order; times without a zone are those of `zone`.

    Repeating events are followed day by day, week by week, month by month, year by year. Raises Unreadable.
    """
    deadline = stopwatch.monotonic() + PATIENCE_SECONDS
    trimmed = text.removeprefix(b"\xef\xbb\xbf").strip().upper()
    # The end is looked for because a calendar that arrived in part would leave people off duty.
    if not trimmed.startswith(b"BEGIN:VCALENDAR") or not trimmed.endswith(b"END:VCALENDAR"):
        raise Unreadable("This is not an iCalendar file.")
    events: list[Any]
    try:
        events = [event for calendar in Calendar.from_ical(text, multiple=True) for event in calendar.walk("VEVENT")]
        moved = {
            (str(event.get("UID")), _instant(event["RECURRENCE-ID"].dt, zone))
            for event in events
            if "RECURRENCE-ID" in event
        }
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise Unreadable("This is not an iCalendar file.") from error
    if len(events) > MOST_EVENTS:
        raise Unreadable(f"The calendar has more than {MOST_EVENTS} events.")
    found: list[Occurrence] = []
    for event in events:
        if stopwatch.monotonic() > deadline:
            raise Unreadable("It takes too long to follow the calendar's repeating events.")
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        try:
            for begins, ends in _times(event, zone=zone, ends_at=ends_at):
                repeats = "RECURRENCE-ID" not in event and (str(event.get("UID")), begins) in moved
                if not repeats and begins < ends and begins < ends_at and ends > starts_at:
                    found.append(Occurrence(begins, ends, str(event.get("SUMMARY", "")), _emails(event)))
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
            name = str(event.get("SUMMARY", "without a name"))[:80]
            raise Unreadable(f"The event “{name}” cannot be read: {error}") from error
    return sorted(found, key=lambda occurrence: (occurrence.starts_at, occurrence.ends_at))


def _times(event: Any, *, zone: tzinfo, ends_at: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield when the event takes place: once, or as often as it repeats until `ends_at`."""
    first = event["DTSTART"].dt
    here = first.tzinfo if isinstance(first, datetime) and first.tzinfo is not None else zone
    local = _local(first)
    length = _length(event, first, here)
    if "RRULE" not in event:
        yield instant(local, here), instant(local + length, here)
        return
    excluded = {_instant(item.dt, zone) for item in _dates(event.get("EXDATE"))}
    for moment in [
        *_repeats(event["RRULE"], local, here, ends_at),
        *(_local(d.dt) for d in _dates(event.get("RDATE"))),
    ]:
        begins = instant(moment, here)
        if begins not in excluded:
            yield begins, instant(moment + length, here)


def _repeats(rule: Any, first: datetime, zone: tzinfo, ends_at: datetime) -> Iterator[datetime]:
    """Yield the local times at which a rule repeats, from the first one on."""
    parts = {str(name).upper(): value for name, value in rule.items()}
    if str(parts["FREQ"][0]).upper() not in _FREQUENCIES or _REFUSED_PARTS & set(parts):
        raise ValueError("it repeats more often than daily")
    until = parts.pop("UNTIL", [None])[0]
    last = local_time(ends_at, zone)
    if until is not None:
        until = local_time(until, zone) if isinstance(until, datetime) and until.tzinfo else _local(until, time.max)
        last = min(last, until)
    text = ";".join(f"{name}={','.join(str(item) for item in value)}" for name, value in parts.items())
    for moment in islice(rrulestr(text, dtstart=first), MOST_REPEATS):
        if moment > last:
            return
        yield moment


def _length(event: Any, first: date, zone: tzinfo) -> timedelta:
    """Return how long the event lasts by the clock on the wall; a day without an end lasts until the next."""
    if "DTEND" in event:
        end = event["DTEND"].dt
        local = local_time(end, zone) if isinstance(end, datetime) and end.tzinfo else _local(end)
        return local - _local(first)
    if "DURATION" in event:
        return timedelta(seconds=event["DURATION"].dt.total_seconds())
    return timedelta() if isinstance(first, datetime) else _DAY


def _local(value: date, clock: time = time.min) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None, fold=0)
    return datetime.combine(value, clock)


def _instant(value: date, zone: tzinfo) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return instant(_local(value), zone)


def _dates(value: Any) -> Iterator[Any]:
    for line in value if isinstance(value, list) else [] if value is None else [value]:
        yield from line.dts


def _emails(event: Any) -> tuple[str, ...]:
    given = event.get("ATTENDEE", [])
    lines = [str(line).lower() for line in (given if isinstance(given, list) else [given])]
    return tuple(line.removeprefix("mailto:").strip() for line in lines if "@" in line)
