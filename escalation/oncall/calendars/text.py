"""Write on-call periods as iCalendar text, and read events from the calendar of another tool (RFC 5545)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from heartbeat_project.kernel.confined import Overrun, run_confined

PARSER: Final = Path(__file__).with_name("parser.py")


class Unreadable(Exception):
    """The text is not a calendar that can be read; the message says why and is shown to people."""


class TooCostly(Unreadable):
    """Reading the calendar exceeded a limit of time or memory."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence of an event, with the e-mail addresses of people who attend and who declined, in lower case."""

    starts_at: datetime
    ends_at: datetime
    summary: str
    emails: tuple[str, ...] = ()
    declined: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CalendarReading:
    """The occurrences in a calendar, in order of time; `remarks` are sentences about events that could not be read."""

    occurrences: tuple[Occurrence, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event of a feed; `key` becomes its UID and must stay the same when the feed is written again."""

    key: str
    summary: str
    starts_at: datetime
    ends_at: datetime


def write(name: str, events: Iterable[FeedEvent], *, now: datetime) -> bytes:
    """Return a calendar of this name with these events, as iCalendar text; `now` is when it is written."""
    calendar = Calendar()
    for field, value in {"prodid": "-//Heartbeat//On call//EN", "version": "2.0", "x-wr-calname": name}.items():
        calendar.add(field, value)
    for event in events:
        component = Event()
        component.add("uid", event.key)
        component.add("dtstamp", now)
        component.add("dtstart", event.starts_at.astimezone(UTC))
        component.add("dtend", event.ends_at.astimezone(UTC))
        component.add("summary", event.summary)
        # People on call can still accept meetings: the event must not mark them as busy.
        component.add("transp", "TRANSPARENT")
        calendar.add_component(component)
    text: bytes = calendar.to_ical()
    return text


def read(text: bytes, *, zone: ZoneInfo, starts_at: datetime, ends_at: datetime) -> CalendarReading:
    """Return the occurrences between two instants; times without a zone are local times of `zone`.

    Events that cannot be read are left out and named in the remarks. The text is parsed in a child process with hard
    limits, of which two run at once: do not call this from a thread that must not wait. Raises Unreadable.
    """
    question = {"zone": zone.key, "starts_at": int(starts_at.timestamp()), "ends_at": int(ends_at.timestamp())}
    try:
        answer = json.loads(run_confined(PARSER, json.dumps(question).encode() + b"\n" + text))
    except Overrun as error:
        raise TooCostly(f"The calendar cannot be read: {error}.") from error
    except OSError as error:
        raise Unreadable("The calendar cannot be read now: no process could be started to read it.") from error
    if "error" in answer:
        raise Unreadable(answer["error"])
    if answer["left_out"] and not answer["occurrences"]:
        # An empty reading would leave nobody on call: keep the last good copy.
        raise Unreadable(f"None of the coming events can be read. {_left_out_remarks(answer)[0]}")
    texts = [(text["summary"], tuple(text["emails"]), tuple(text["declined"])) for text in answer["texts"]]
    occurrences = (
        Occurrence(datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(ends, UTC), *texts[text])
        for begins, ends, text in answer["occurrences"]
    )
    return CalendarReading(tuple(occurrences), (*_left_out_remarks(answer), *answer["notes"]))


def _left_out_remarks(answer: dict[str, Any]) -> list[str]:
    names = "; ".join(f"“{name}” ({reason})" for name, reason in answer["left_out"])
    further = answer["left_out_count"] - len(answer["left_out"])
    if not names:
        return []
    others = f" and {further} others" if further else ""
    return [f"These events cannot be read and are left out: {names}{others}."]
