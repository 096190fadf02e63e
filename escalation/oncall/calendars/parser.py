"""Parse an iCalendar text (RFC 5545) in a child process with hard limits, see heartbeat_project.kernel.confined.

Standard input is one line of JSON (`zone`, and `starts_at` and `ends_at` in seconds since 1970), then the text.
Standard output is JSON: either `error`, or `texts`, `occurrences` as [start, end, index of the text], `left_out` as
[name, reason], and `notes`. Of the project it uses only the rule for local times.

This script sorts the content lines into events, so that a bad event does not affect others. icalendar then parses the
properties of each event, and recurring-ical-events computes when it takes place. That library gets local times without
a zone, so that events repeat at the same local time in summer and winter.
"""

import json
import os
import runpy
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final, cast

import recurring_ical_events
from icalendar import Calendar, Event, Timezone
from icalendar.parser import Contentline
from icalendar.prop import vRecur
from icalendar.timezone import tzp

_KERNEL = Path(__file__).resolve().parents[3] / "heartbeat_project" / "kernel"
_RULE = runpy.run_path(str(_KERNEL / "local_time.py"))
instant = cast("Callable[[datetime, tzinfo], datetime]", _RULE["instant"])
local_time = cast("Callable[[datetime, tzinfo], datetime]", _RULE["local_time"])

MAX_EVENTS: Final = 5_000  # that repeat, or are near the time asked for
MAX_DATES: Final = 5_000  # RDATEs and EXDATEs of one event
MAX_OCCURRENCES: Final = 5_000  # in the answer; later ones are left out
MAX_COLLECTED: Final = 50_000  # occurrences that are computed before the earliest are chosen
MAX_PARTS: Final = 100  # VCALENDARs in one text
MAX_ZONES: Final = 100  # of one VCALENDAR
MAX_LINE: Final = 100_000  # characters of one content line
MAX_WORDS: Final = 500  # characters of a summary
MAX_DEPTH: Final = 8  # of components within each other
MAX_LEFT_OUT: Final = 20  # events left out that are named; the others are counted
MAX_NAME: Final = 60  # characters of a name in a message
# Processor time: an event that takes longer is left out, and a calendar that takes longer is refused.
EVENT_SECONDS: Final = 1.0
EDIT_SECONDS: Final = 0.002  # added for each edited occurrence of an event
SECONDS: Final = 4.0
NICE: Final = 10  # a low priority, so that sending goes first

_DAY = timedelta(days=1)
_MARGIN = 2 * _DAY  # more than any local time differs from UTC
_FREQUENCIES: Final = {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
_SUB_DAILY: Final = {"BYHOUR", "BYMINUTE", "BYSECOND"}
_RULE_PARTS: Final = {
    *("FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"),
    *("BYDAY", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYSETPOS"),
    *_SUB_DAILY,
}
_TIMES: Final = {"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"}
_KEPT: Final = _TIMES | {"UID", "SEQUENCE", "STATUS", "SUMMARY", "DTSTAMP"}
_ORIGIN: Final = "X-HEARTBEAT-ORIGIN"


class UnreadableError(Exception):
    """The text is not a calendar that can be read; the message says why and is shown to people."""


class BadEventError(Exception):
    """An event cannot be read; the message says why and is shown to people."""


class OutOfTimeError(BaseException):
    """An event has used up its processor time. Not an Exception, since libraries catch those."""


@dataclass
class Block:
    """The content lines of one VEVENT that are used, its attendees, and its first values by name."""

    lines: list[str] = field(default_factory=list)
    attendees: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    dates: int = 0
    fault: str = ""

    @property
    def name(self) -> str:
        """The summary, cut, by which people recognize the event."""
        words = self.values.get("SUMMARY", "").replace("\\,", ",").replace("\\n", " ").strip()
        return words[:MAX_NAME] or "without a name"

    def keep(self, name: str, value: str, line: str) -> None:
        """Keep a content line if it is used; note a fault if the event exceeds a limit."""
        if name == "ATTENDEE":
            self.attendees.append(line[:MAX_WORDS])
        elif name in _KEPT:
            if name in {"RDATE", "EXDATE"}:
                self.dates += value.count(",") + 1
            if self.dates > MAX_DATES:
                self.fault = f"it has more than {MAX_DATES} single dates"
            elif len(line) > MAX_LINE:
                self.fault = f"its {name} is too long"
            else:
                self.values.setdefault(name, value)
                self.lines.append(line)


@dataclass
class Part:
    """One VCALENDAR of the text."""

    blocks: list[Block] = field(default_factory=list)
    zones: list[list[str]] = field(default_factory=list)
    zone_name: str = ""


@dataclass
class Parsed:
    """A VEVENT as icalendar parsed it; `text` is the index of its summary in `Reading.texts`."""

    event: Any
    block: Block
    text: int


@dataclass
class Reading:
    """The result of reading a calendar, which becomes the answer."""

    texts: list[dict[str, Any]] = field(default_factory=list)
    occurrences: list[tuple[int, int, int]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    left_out_count: int = 0
    notes: list[str] = field(default_factory=list)

    def leave_out(self, name: str, reason: str) -> None:
        """Note an event that is left out, once for each name and reason."""
        if (name, reason) not in self.left_out:
            self.left_out_count += 1
            if len(self.left_out) < MAX_LEFT_OUT:
                self.left_out.append((name, reason))


def main() -> None:
    """Answer the question on standard input."""
    os.nice(NICE)
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))


def answer(request_bytes: bytes) -> bytes:
    """Return the answer to a question; the module's docstring gives both formats."""
    head, _, text = request_bytes.partition(b"\n")
    question = json.loads(head)
    starts_at, ends_at = (datetime.fromtimestamp(question[name], UTC) for name in ("starts_at", "ends_at"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zone = _known_zone(question["zone"]) or UTC
        try:
            result: Any = vars(read(text, zone=zone, starts_at=starts_at, ends_at=ends_at))
        except UnreadableError as error:
            result = {"error": str(error)}
    return json.dumps(result, ensure_ascii=False).encode("utf-8", "replace")


def read(text: bytes, *, zone: tzinfo, starts_at: datetime, ends_at: datetime) -> Reading:
    """Return the occurrences between two instants; times without a zone are local times of `zone`."""
    until = time.process_time() + SECONDS
    trimmed = text.removeprefix(b"\xef\xbb\xbf").strip()
    # The end is checked, since with a calendar that was cut off nobody would be on call.
    if not trimmed.upper().startswith(b"BEGIN:VCALENDAR") or not trimmed.upper().endswith(b"END:VCALENDAR"):
        raise UnreadableError("This is not an iCalendar file.")
    reading = Reading()
    for part in _parts(trimmed):
        tzp.use_default()  # forget the zones that the previous calendar defined
        _define_zones(part.zones)
        default_zone = zone
        if part.zone_name:
            named_zone = _known_zone(part.zone_name)
            default_zone = named_zone or zone
            if named_zone is None:
                reading.notes.append(
                    f"Its time zone “{part.zone_name[:MAX_NAME]}” is not known: times without a zone are read in the "
                    "time zone of the shift."
                )
        for series in _series(part.blocks, starts_at=starts_at, ends_at=ends_at):
            try:
                with _timeout(EVENT_SECONDS + len(series) * EDIT_SECONDS):
                    occurrences = list(
                        _expand_series(series, reading, zone=default_zone, starts_at=starts_at, ends_at=ends_at)
                    )
            except OutOfTimeError:
                reading.leave_out(series[0].name, "it takes too long to compute when it repeats")
                occurrences = []
            reading.occurrences += occurrences
            if time.process_time() > until or len(reading.occurrences) > MAX_COLLECTED:
                raise UnreadableError("It takes too long to compute the calendar's repeating events.")
    reading.occurrences.sort()
    if len(reading.occurrences) > MAX_OCCURRENCES:
        last = datetime.fromtimestamp(reading.occurrences[MAX_OCCURRENCES][0], UTC)
        reading.notes.append(
            f"It has more than {MAX_OCCURRENCES} events; those from {last:%Y-%m-%d %H:%M} UTC on are left out for now."
        )
        del reading.occurrences[MAX_OCCURRENCES:]
    # Only texts of occurrences in the answer are sent, so their indexes change.
    used = sorted({text for _, _, text in reading.occurrences})
    indexes = {text: index for index, text in enumerate(used)}
    reading.texts = [reading.texts[text] for text in used]
    reading.occurrences = [(begins, ends, indexes[text]) for begins, ends, text in reading.occurrences]
    return reading


def _parts(text: bytes) -> list[Part]:
    """Sort the content lines of a text into calendars with their events and zones. Raises UnreadableError."""
    sorter = _Sorter()
    for line in _content_lines(text):
        sorter.add(line)
    if sorter.within:
        raise UnreadableError("This is not an iCalendar file.")
    return sorter.parts


class _Sorter:
    """Sorts one content line after the other; `within` names the components that are open. Other lines are dropped."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.within: list[str] = []
        self._block: Block | None = None

    def add(self, line: str) -> None:
        """Add the next line of the text to the calendar, event or zone that it belongs to."""
        name, value = _name_and_value(line)
        if name == "BEGIN":
            self._begin(value.strip().upper())
        if not self.within:
            return
        part = self.parts[-1]
        if self.within[1:2] == ["VTIMEZONE"]:
            if not name.startswith("X-"):
                part.zones[-1].append(line)
        elif self.within == ["VCALENDAR", "VEVENT"] and self._block is not None:
            self._block.keep(name, value, line)
        elif self.within == ["VCALENDAR"] and name == "X-WR-TIMEZONE":
            part.zone_name = value.strip()
        if name == "END":
            self._end(value.strip().upper())

    def _begin(self, kind: str) -> None:
        if self.within and kind == "VCALENDAR":
            raise UnreadableError("This is not an iCalendar file.")
        if kind == "VEVENT":
            # An event is never nested: a component before it whose end is missing must not swallow it.
            del self.within[1:]
            if self._block is not None:
                self._block.fault = "its end is missing"
        self.within.append(kind)
        if len(self.within) > MAX_DEPTH:
            raise UnreadableError(f"The calendar nests its parts more than {MAX_DEPTH} deep.")
        if self.within == ["VCALENDAR"]:
            self.parts.append(Part())
            if len(self.parts) > MAX_PARTS:
                raise UnreadableError(f"The file has more than {MAX_PARTS} calendars.")
        elif self.within == ["VCALENDAR", "VEVENT"]:
            self._block = Block()
            self.parts[-1].blocks.append(self._block)
        elif self.within == ["VCALENDAR", "VTIMEZONE"]:
            self.parts[-1].zones.append([])
        elif self.within[0] != "VCALENDAR":
            self.within.clear()

    def _end(self, kind: str) -> None:
        if kind == "VCALENDAR":
            if self._block is not None:
                self._block.fault = "its end is missing"
            self.within.clear()
        elif kind in self.within:
            while self.within.pop() != kind:
                pass
        if len(self.within) < 2:
            self._block = None


def _content_lines(text: bytes) -> Iterator[str]:
    """Yield the lines with their continuations; some tools fold a line within the bytes of one character."""
    joined = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n ", b"").replace(b"\n\t", b"")
    return (line for line in joined.decode("utf-8", "replace").split("\n") if line.strip())


def _name_and_value(line: str) -> tuple[str, str]:
    """Return the name of a line in capitals, and the value after its first colon outside of quotes."""
    head, colon, value = line.partition(":")
    while colon and head.count('"') % 2:
        more, colon, value = value.partition(":")
        head += colon + more
        if len(head) > MAX_WORDS:
            break
    return head.partition(";")[0].strip().upper(), value


def _define_zones(zones: list[list[str]]) -> None:
    """Register the zones that the calendar defines with icalendar; a zone that cannot be read stays unknown."""
    for lines in zones[:MAX_ZONES]:
        rules = [value for name, value in map(_name_and_value, lines) if name in {"RRULE", "EXRULE"}]
        try:
            for rule in rules:
                _check_rule(vRecur.from_ical(rule))
            with _timeout(EVENT_SECONDS):
                Timezone.from_ical("\r\n".join([*lines, "END:VTIMEZONE", ""]))
        except (Exception, OutOfTimeError):  # noqa: BLE001, S112 - for any error the zone stays unknown
            continue


def _known_zone(name: str) -> tzinfo | None:
    try:
        return tzp.timezone(name)
    except (OSError, ValueError, RecursionError):  # such as the name of a folder, or a very long path
        return None


def _series(blocks: Iterable[Block], *, starts_at: datetime, ends_at: datetime) -> Iterator[list[Block]]:
    """Yield the events of each UID, newest first, without single events that are far from the time asked for."""
    series_by_uid: dict[object, list[Block]] = {}
    for block in blocks:
        series_by_uid.setdefault(block.values.get("UID") or id(block), []).append(block)
    first, last = f"{starts_at - _MARGIN:%Y%m%d}", f"{ends_at + _MARGIN:%Y%m%d}"
    count = 0
    for series in series_by_uid.values():
        if len(series) == 1 and _is_elsewhere(series[0], first, last):
            continue
        count += len(series)
        if count > MAX_EVENTS:
            raise UnreadableError(f"The calendar has more than {MAX_EVENTS} events.")
        yield sorted(series, key=_newness, reverse=True)


def _is_elsewhere(block: Block, first: str, last: str) -> bool:
    values = block.values
    if block.fault or {"RRULE", "RDATE", "RECURRENCE-ID", "EXRULE"} & values.keys():
        return False
    start = values.get("DTSTART", "")[:8]
    end = values.get("DTEND", "" if "DURATION" in values else start)[:8]
    return start.isdecimal() and len(start) == 8 and (start > last or (end.isdecimal() and start <= end < first))


def _newness(block: Block) -> tuple[int, str]:
    text = block.values.get("SEQUENCE", "").strip()
    return (int(text) if text.isdecimal() and len(text) < 10 else 0), block.values.get("DTSTAMP", "")


def _expand_series(
    blocks: list[Block], reading: Reading, *, zone: tzinfo, starts_at: datetime, ends_at: datetime
) -> Iterator[tuple[int, int, int]]:
    """Yield the occurrences of the events of one UID, as in the answer; leave out events that cannot be read."""
    parsed: list[Parsed] = []
    for block in blocks:
        with _leaving_out(block, reading):
            parsed.append(_parse_event(block, reading))
    # The newest is first: of two events with the same sequence number the library uses the first.
    masters = [parsed_event for parsed_event in parsed if "RECURRENCE-ID" not in parsed_event.event]
    groups = [[parsed_event] for parsed_event in parsed]
    if masters:
        # Some tools give all events the same UID: one that is neither newer nor older is an event of its own.
        newness = _newness(masters[0].block)
        others = [parsed_event for parsed_event in masters[1:] if _newness(parsed_event.block) == newness]
        edits = [parsed_event for parsed_event in parsed if "RECURRENCE-ID" in parsed_event.event]
        groups = [[masters[0], *edits], *([parsed_event] for parsed_event in others)]
    for group in groups:
        with _leaving_out(group[0].block, reading):
            event_zone = _zone_of(group[0].event) or zone
            yield from _occurrences(group, reading, zone=event_zone, starts_at=starts_at, ends_at=ends_at)


@contextmanager
def _leaving_out(block: Block, reading: Reading) -> Iterator[None]:
    """Leave the event out, and go on, if reading it within the block fails."""
    try:
        yield
    except BadEventError as error:
        reading.leave_out(block.name, str(error))
    except MemoryError:
        raise
    except OSError:  # such as a zone that is the name of a folder; the message would show a local path
        reading.leave_out(block.name, "its time zone is not known")
    except Exception as error:  # noqa: BLE001 - the libraries raise many kinds
        reading.leave_out(block.name, f"it cannot be read: {str(error)[:MAX_NAME] or type(error).__name__}")


def _occurrences(
    group: list[Parsed], reading: Reading, *, zone: tzinfo, starts_at: datetime, ends_at: datetime
) -> Iterator[tuple[int, int, int]]:
    """Yield the occurrences of a series; `group` is the repeating event, then its edits."""
    local = Local(zone, first=group[0].event["DTSTART"].dt)
    for begins_on, ends_on, text in _local_times(group, local, reading, starts_at=starts_at, ends_at=ends_at):
        begins, ends = instant(begins_on, zone), instant(ends_on, zone)
        if begins >= ends_at or ends < starts_at or reading.texts[text]["cancelled"]:
            continue
        if begins_on == ends_on:
            reading.leave_out(group[0].block.name, "it has no end")
        elif begins < ends and ends > starts_at:
            yield int(begins.timestamp()), int(ends.timestamp()), text


def _local_times(
    group: list[Parsed], local: "Local", reading: Reading, *, starts_at: datetime, ends_at: datetime
) -> Iterator[tuple[datetime, datetime, int]]:
    """Yield start, end and text index of each occurrence, in local times; ends may lie outside of the two instants."""
    master = group[0]
    if not group[1:] and not {"RRULE", "RDATE", "EXDATE"} & master.block.values.keys():
        start, end = local.start_and_end(master.event)
        yield midnight(start), midnight(end), master.text
        return
    calendar = Calendar()
    for parsed_event in group:
        # An event that cannot be read is left out, and its edits still take place at their own times.
        with _leaving_out(parsed_event.block, reading):
            calendar.add_component(local.event(parsed_event))
    query = recurring_ical_events.of(calendar, components=["VEVENT"])
    first, last = (local_time(at, local.zone) for at in (starts_at - _MARGIN, ends_at + _MARGIN))
    for event in query.between(first, last):
        yield midnight(event["DTSTART"].dt), midnight(event["DTEND"].dt), int(event[_ORIGIN])


def _parse_event(block: Block, reading: Reading) -> Parsed:
    """Parse the properties of an event, and add its text to the reading. Raises BadEventError."""
    if block.fault:
        raise BadEventError(block.fault)
    if "EXRULE" in block.values:
        raise BadEventError("it has an EXRULE, which is not read")
    event: Any = Event.from_ical("\r\n".join(["BEGIN:VEVENT", *block.lines, "END:VEVENT", ""]))
    for name, error in event.errors:
        if name is None or name in _TIMES:
            raise BadEventError(f"{name or 'a line'} is not valid: {error[:MAX_NAME]}")
    if "DTSTART" not in event:
        raise BadEventError("it has no DTSTART")
    for name, kind in {"DTSTART": date, "DTEND": date, "DURATION": timedelta, "RECURRENCE-ID": date}.items():
        if isinstance(event.get(name), list):
            raise BadEventError(f"it has more than one {name}")
        if name in event and not isinstance(event[name].dt, kind):
            raise BadEventError(f"its {name} is not valid")
    emails, declined = _attendees(block.attendees)
    summary = event.get("SUMMARY", "")
    reading.texts.append(
        {
            "summary": str(summary[0] if isinstance(summary, list) else summary)[:MAX_WORDS],
            "emails": emails,
            "declined": declined,
            "cancelled": block.values.get("STATUS", "").strip().upper() == "CANCELLED",
        }
    )
    return Parsed(event, block, len(reading.texts) - 1)


def _attendees(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the addresses of the people who attend, and of those who declined."""
    emails: list[str] = []
    declined: list[str] = []
    for line in lines:
        parameters: Any = {}
        try:
            _, parameters, value = Contentline(line).parts()  # type: ignore[no-untyped-call]  # as it is declared
        except ValueError:
            value = line[line.lower().rfind("mailto:") :]
        address = str(parameters.get("EMAIL") or value).lower()
        address = address.removeprefix("mailto:").strip()
        if "@" in address:
            has_declined = str(parameters.get("PARTSTAT", "")).upper() == "DECLINED"
            (declined if has_declined else emails).append(address)
    return emails, declined


def _zone_of(event: Any) -> tzinfo | None:
    first = event["DTSTART"].dt
    return first.tzinfo if isinstance(first, datetime) else None


def midnight(value: date) -> datetime:
    """Return a time as it is, and a day as its beginning."""
    return value if isinstance(value, datetime) else datetime.combine(value, datetime.min.time())


class Local:
    """Converts the times of one series into local times of its zone, or into days if the series has whole days."""

    def __init__(self, zone: tzinfo, *, first: date) -> None:
        """`first` is when the series begins."""
        self.zone = zone
        self.first = self.of(first)
        self.whole_days = not isinstance(first, datetime)

    def of(self, value: date) -> date:
        """Return a time as a local time; a day stays a day."""
        return local_time(value, self.zone) if isinstance(value, datetime) and value.tzinfo else value

    def day(self, value: date) -> date:
        """Return the day of a time: the local day if it is midnight in the zone, otherwise the day as written."""
        local = self.of(value)
        if isinstance(local, datetime) and isinstance(value, datetime):
            return (local if local.time() == datetime.min.time() else value).date()
        return local

    def as_in_series(self, value: date) -> date:
        """Return a time or day in the form of the series; in a series of times a day means the series' time on it."""
        if self.whole_days:
            return self.day(value)
        return self.of(value) if isinstance(value, datetime) else datetime.combine(value, midnight(self.first).time())

    def event(self, parsed_event: Parsed) -> Any:
        """Return the event in local times, with the properties that the library uses. Raises BadEventError."""
        original, local = parsed_event.event, Event()
        start, end = self.start_and_end(original)
        local.add("UID", "series")
        local.add("DTSTART", start)
        local.add("DTEND", end)
        local.add("SEQUENCE", _newness(parsed_event.block)[0])
        local.add(_ORIGIN, str(parsed_event.text))
        if "RECURRENCE-ID" in original:
            _check_zone(original["RECURRENCE-ID"], original["RECURRENCE-ID"].dt)
            is_wide = str(original["RECURRENCE-ID"].params.get("RANGE", "")).upper() == "THISANDFUTURE"
            parameters = {"RANGE": "THISANDFUTURE"} if is_wide else {}
            local.add("RECURRENCE-ID", self.as_in_series(original["RECURRENCE-ID"].dt), parameters=parameters)
        for rule in _as_list(original.get("RRULE")):
            local.add("RRULE", self._rule(rule))
        # A day excludes all occurrences that begin on it; in a series of days a time excludes its day.
        excluded = [
            self.day(moment) if self.whole_days else self.of(moment) for moment in _dates_of(original, "EXDATE")
        ]
        if excluded:
            local.add("EXDATE", excluded)
        further = [self._rdate(moment) for moment in _dates_of(original, "RDATE")]
        if further:
            local.add("RDATE", further)
        return local

    def start_and_end(self, event: Any) -> tuple[date, date]:
        """Return when the event begins and ends, as local times or days. Raises BadEventError."""
        start = self.of(_checked_date(event["DTSTART"]))
        if "DTEND" in event:
            end = self.of(_checked_date(event["DTEND"]))
            if isinstance(start, datetime) != isinstance(end, datetime):
                start, end = midnight(start), midnight(end)
            elif end == start and not isinstance(end, datetime):
                end = start + _DAY  # as calendar programs show it, although RFC 5545 says otherwise
        elif "DURATION" in event:
            length = event["DURATION"].dt
            end = (midnight(start) if length % _DAY else start) + length
        else:
            end = start if isinstance(start, datetime) else start + _DAY
        if midnight(end) < midnight(start):
            raise BadEventError("it ends before it begins")
        return start, end

    def _rule(self, rule: Any) -> vRecur:
        parts = _check_rule(rule)
        if self.whole_days:
            parts = {name: value for name, value in parts.items() if name not in _SUB_DAILY}
        if "UNTIL" in parts:
            until = parts["UNTIL"][0]
            if self.whole_days:
                parts["UNTIL"] = [self.day(until)]
            elif isinstance(until, datetime):
                parts["UNTIL"] = [self.of(until)]
            else:
                parts["UNTIL"] = [datetime.combine(until, datetime.max.time().replace(microsecond=0))]
        return vRecur(parts)

    def _rdate(self, moment: Any) -> Any:
        if not isinstance(moment, tuple):
            return self.as_in_series(moment)
        begins, ends = moment
        start = self.of(begins)
        return start, (ends if isinstance(ends, timedelta) else midnight(self.of(ends)) - midnight(start))


def _check_rule(rule: Any) -> dict[str, Any]:
    """Return the parts of a recurrence rule. Raises BadEventError for an unsupported rule, before it is expanded."""
    parts = {str(name).upper(): value if isinstance(value, list) else [value] for name, value in rule.items()}
    # A single hour or minute is allowed: some tools repeat the time of DTSTART there.
    several = any(len(parts[name]) > 1 for name in _SUB_DAILY & parts.keys())
    if str(parts.get("FREQ", [""])[0]).upper() not in _FREQUENCIES or several:
        raise BadEventError("it repeats more often than daily")
    if parts.keys() - _RULE_PARTS:
        raise BadEventError(f"its rule has a part that is not read: {min(parts.keys() - _RULE_PARTS)[:MAX_NAME]}")
    for name in ("INTERVAL", "COUNT"):
        if any(number < 1 for number in parts.get(name, [])):
            raise BadEventError(f"its rule has the {name} {parts[name][0]}; it must be 1 or more")
    return parts


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _dates_of(event: Any, name: str) -> Iterator[Any]:
    """Yield the times, days or periods of all properties with this name. Raises BadEventError."""
    for line in _as_list(event.get(name)):
        for item in line.dts:
            _check_zone(line, item.dt)
            yield item.dt


def _checked_date(prop: Any) -> date:
    _check_zone(prop, prop.dt)
    return cast("date", prop.dt)


def _check_zone(prop: Any, value: Any) -> None:
    """Raise BadEventError for a time in a zone that neither the time zone database nor the calendar defines."""
    moment = value[0] if isinstance(value, tuple) else value
    name = prop.params.get("TZID")
    if name and isinstance(moment, datetime) and moment.tzinfo is None:
        raise BadEventError(f"its time zone “{str(name)[:MAX_NAME]}” is not known")


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError within the block after this much processor time."""

    def give_up(*_: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGVTALRM, give_up)
    # Repeated, since an exception is lost if it occurs within a callback of the garbage collector.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds / 4)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


if __name__ == "__main__":
    main()
