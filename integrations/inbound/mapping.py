"""Turns a received event into the words of alerts: recognize, split, read the fields, apply the rules.

A field is read from the mapping of the integration, then from the preset, then by the default keys. What fails there
is a fault of the event, and the next one is used: no content makes `map_event` raise.
"""

import logging
import unicodedata
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from integrations.inbound.default_keys import (
    IGNORE_WORDS,
    MAX_TEXT,
    PRIORITIES,
    DefaultReading,
    KeyIndex,
    StatusWords,
    auto_id,
    clean_line,
    clean_subject,
    clean_text,
    digest_of,
    long_text_of,
    plain_word,
    priority_of,
    url_of,
    without_state,
)
from integrations.inbound.event import (
    Action,
    Fault,
    MailReading,
    Mapped,
    MappedEvent,
    MappingConfig,
    ReceivedEvent,
    Then,
)
from integrations.inbound.event_times import parse_time
from integrations.inbound.presets import Preset, Reading, presets, recognize
from integrations.inbound.presets.members import Group, read_group
from integrations.inbound.presets.prepare import PREPARE
from integrations.inbound.rules import apply_rules
from integrations.inbound.templates import RenderError, TemplateError, compile_template
from integrations.inbound.unwrapping import Unwrapped, unwrap
from integrations.inbound.work import Work

log = logging.getLogger(__name__)

MAX_ELEMENTS: Final = 200
MAX_SUBJECT: Final = 300
MAX_SOURCE: Final = 100
MAX_SOURCE_NAME: Final = 200
MAX_SOURCE_ID: Final = 200
MAX_LONG_TEXT: Final = 20_000
_MAX_FAULT: Final = 500
# Elements that are looked at. Of those beyond MAX_ELEMENTS only the status counts, and others count as open.
_MAX_PARTS: Final = 1_000
# A source of these names would look like what Heartbeat itself opened.
_OWN_SOURCES: Final = {"heartbeat": "Heartbeat", "manual": "Manual"}
_NO_READING: Final = Reading()


def map_event(event: ReceivedEvent, config: MappingConfig) -> Mapped:
    """Return what an event says, one result for each element that it is split into; never raises for its content."""
    try:
        mapped = _map(_Job(event, config))
        return _ignored(mapped, event.mail.reason) if event.mail and event.mail.reason else mapped
    except Exception:
        log.exception("an event could not be mapped; the default is used")
    fault = Fault("payload", "The event could not be read, so only its text is here.")
    try:
        text = long_text_of(event.payload)
    except Exception:
        log.exception("an event has no text")
        text = ""
    subject = clean_line(f"{config.name}: event", MAX_SUBJECT)
    plain = MappedEvent(
        action=Action.OPEN,
        source=_source_of(event.source or config.type_label, config) or config.type_label,
        source_name=clean_line(config.name, MAX_SOURCE_NAME),
        # Never that of another event which could not be read either.
        source_id=auto_id(f"{subject}{digest_of(repr(event.raw))}"),
        subject=subject,
        short_text=subject,
        long_text=clean_text(text, MAX_LONG_TEXT),
        faults=[fault],
    )
    return Mapped("", [plain])


def _ignored(mapped: Mapped, reason: str) -> Mapped:
    """Return the events ignored for this reason: no rule opens an alert for a mail that is not trusted, or a loop."""
    events = [replace(event, action=Action.IGNORE, reason=reason, members=()) for event in mapped.events]
    return replace(mapped, events=events)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One element of an event, or all of it.

    `payload` is what templates and rules see, `inner` what the default keys read, `body` what the long text shows.
    `number` counts elements from 1, 0 is an event that is not split.
    """

    payload: Any
    inner: Any
    body: Any
    outer: Sequence[KeyIndex] = ()
    number: int = 0
    unwrapped: Unwrapped
    preset: Preset | None


@dataclass(frozen=True, slots=True)
class _Job:
    """An event, how it is mapped, and how much work its templates and rules may still be.

    The presets have a share of their own, so that a mapping that uses up its share leaves them theirs.
    """

    event: ReceivedEvent
    config: MappingConfig
    faults: list[Fault] = field(default_factory=list)
    own_work: Work = field(default_factory=Work)
    preset_work: Work = field(default_factory=Work)

    def context(self, payload: Any) -> dict[str, Any]:
        """Return what the names of a template stand for."""
        return {
            "payload": payload,
            "headers": self.event.headers,
            "query": self.event.query,
            "integration": self.config.name,
            "received_at": self.event.received_at,
        }


def _map(job: _Job) -> Mapped:
    if job.event.fault:
        job.faults.append(Fault("payload", job.event.fault))
    parts, count = _split(job)
    events = [_PartReader(part, job).read() for part in parts[:MAX_ELEMENTS]]
    if count > MAX_ELEMENTS:
        events.append(_rest(parts[MAX_ELEMENTS:], job, count=count - MAX_ELEMENTS))
    if job.faults:
        events[0] = replace(events[0], faults=[*job.faults, *events[0].faults])
    preset = parts[0].preset
    return Mapped(preset.name if preset else "", events)


def _split(job: _Job) -> tuple[list[_Part], int]:
    """Return the elements of an event, and how many there are: those of `each`, or of a list of objects, or itself."""
    payload, query = job.event.payload, [KeyIndex(job.event.query)]
    is_list = isinstance(payload, list) and all(isinstance(element, Mapping) for element in payload)
    if is_list and payload and "each" not in job.config.mapping:
        elements = enumerate(payload[:_MAX_PARTS], 1)
        return [_whole(element, job, number=number, outer=query) for number, element in elements], len(payload)
    whole = _whole(payload, job, number=0, outer=query)
    values = _elements(whole, job)
    if not values:
        return [whole], 1
    around = whole.payload if isinstance(whole.payload, dict) else {}
    whole = replace(whole, outer=[KeyIndex(around), *whole.outer])
    return [_element(value, whole, around, number) for number, value in enumerate(values[:_MAX_PARTS], 1)], len(values)


def _element(value: Any, whole: _Part, around: dict[str, Any], number: int) -> _Part:
    """Return an element of `each`: templates and rules see its keys before those around it."""
    own = value if isinstance(value, dict) else {"item": value}
    inner = value if isinstance(value, Mapping) else {"text": value}
    return replace(whole, payload=ChainMap(own, around), inner=inner, body=value, number=number)


def _whole(payload: Any, job: _Job, *, number: int, outer: Sequence[KeyIndex]) -> _Part:
    event, config = job.event, job.config
    if event.mail is not None:
        unwrapped = Unwrapped(payload=payload, inner=event.mail.keys)
        return _Part(payload=payload, inner=event.mail.keys, body=event.mail.text, unwrapped=unwrapped, preset=None)
    unwrapped = unwrap(payload, event.headers)
    payload, inner = unwrapped.payload, unwrapped.inner
    preset = recognize(payload, event.headers) if config.preset == "auto" else presets().get(config.preset)
    if preset and preset.prepare and isinstance(payload, Mapping):
        payload = PREPARE[preset.prepare](payload)
        inner = payload if inner is unwrapped.payload else inner
    hints = [KeyIndex(unwrapped.hints)] if unwrapped.hints else []
    return _Part(
        payload=payload,
        inner=inner,
        body=unwrapped.inner,
        outer=[*hints, *outer],
        number=number,
        unwrapped=unwrapped,
        preset=preset,
    )


def _elements(whole: _Part, job: _Job) -> list[Any]:
    """Return the list that the integration's `each` names; [] if it has none."""
    template = job.config.mapping.get("each")
    if not template:
        return []
    try:
        value = compile_template(template).evaluate(job.context(whole.payload), work=job.own_work)
    except (TemplateError, RenderError) as error:
        job.faults.append(Fault("each", str(error)[:_MAX_FAULT]))
        return []
    if value is not None and not isinstance(value, list):
        job.faults.append(Fault("each", "The value is not a list, so the event was not split."))
    return value if isinstance(value, list) else []


def _rest(parts: Sequence[_Part], job: _Job, *, count: int) -> MappedEvent:
    """Return the elements beyond the limit as one."""
    is_open = count > len(parts)
    for part in parts:
        is_open = is_open or _PartReader(part, job).action() is not Action.CLOSE
    name = clean_line(job.config.name, MAX_SUBJECT)
    subject = clean_line(f"{name}: and {count} more", MAX_SUBJECT)
    reader = _PartReader(parts[0], job)
    return MappedEvent(
        action=Action.OPEN if is_open else Action.CLOSE,
        source=reader.source(),
        source_name=reader.source_name(),
        source_id=auto_id(f"{name}: and more"),
        subject=subject,
        short_text=subject,
        long_text=f"An event had more than {MAX_ELEMENTS} elements. These {count} have one alert.",
    )


@dataclass(slots=True)
class _PartReader:
    """Reads the fields of one element."""

    part: _Part
    job: _Job
    faults: list[Fault] = field(default_factory=list)
    _readings: Sequence[Reading] = field(init=False)
    _words: StatusWords = field(init=False)
    _default: DefaultReading = field(init=False)
    _group: Group | None = field(init=False, default=None)
    _context: dict[str, Any] = field(init=False)
    _reason: str = field(init=False, default="")

    def __post_init__(self) -> None:
        part, event, config = self.part, self.job.event, self.job.config
        preset, is_element = part.preset, part.number > 0
        self._context = self.job.context(part.payload)
        self._readings = (
            preset.readings(part.payload, event.headers, is_element=is_element and "each" in config.mapping)
            if preset
            else [_reading_of_mail(event.mail) if event.mail else _NO_READING]
        )
        otherwise = next((reading.otherwise for reading in self._readings if reading.otherwise), Action.OPEN)
        layers = [config.status_words, *(reading.status_words for reading in self._readings)]
        self._words = StatusWords(*layers, otherwise=otherwise)
        self._default = DefaultReading(KeyIndex(part.inner), part.outer, is_element=is_element)
        if preset and preset.members and not (is_element and "each" in config.mapping):
            self._group = read_group(part.payload, preset.members, self._words, now=event.received_at)

    def read(self) -> MappedEvent:
        """Return the element in the words of an alert, after the rules."""
        action, mail = self.action(), self.job.event.mail
        full_subject = self._full_subject()
        subject = clean_line(full_subject, MAX_SUBJECT)
        mapped = MappedEvent(
            action=action,
            source=self.source(),
            source_name=self.source_name(),
            source_id=self._source_id(),
            subject=subject,
            short_text=self._field("short_text", _line) or subject,
            long_text=self._long_text(),
            priority=self._priority(),
            url=self._field("url", url_of) or self._default.url(),
            event_at=self._event_at(action),
            repeats=bool(self.part.preset and self.part.preset.repeats and "event_at" not in self.job.config.mapping),
            reason=self._reason if action is Action.IGNORE else "",
            members=self._group.members if self._group else (),
            faults=self.faults,
            then=Then(recipient_groups=mail.recipient_groups) if mail else Then(),
            opened_by=mail.opened_by if mail else "",
        )
        return apply_rules(mapped, self.job.config, self._context, work=self.job.own_work)

    def action(self) -> Action:
        """Return what the element asks for by its status; `_reason` says why it is ignored."""
        self._reason = "rule"
        if own := self._rendered("status", self.job.config.mapping):
            return self._of_word(own)
        if reason := self._ignored_because():
            self._reason = reason
            return Action.IGNORE
        if self._group is not None:
            return self._group.action
        for reading in self._readings:
            if word := self._rendered("status", reading.fields):
                return self._of_word(word)
        return self._default_action()

    def _default_action(self) -> Action:
        if (mail := self.job.event.mail) is not None:
            return mail.action
        word = self._default.status() or self.part.unwrapped.status
        return self._of_word(word) if word else self._default.action_without_status()

    def source(self) -> str:
        """Return what the event came from: a mapped text, the address, the preset, or the type."""
        part, config = self.part, self.job.config
        label = part.preset.label if part.preset else config.type_label
        return _source_of(self._field("source", _line) or _line(self.job.event.source) or label, config)

    def source_name(self) -> str:
        """Return the mapped source name, or the name of the integration."""
        return clean_line(self._field("source_name", _line) or self.job.config.name, MAX_SOURCE_NAME)

    def _of_word(self, word: str) -> Action:
        if plain_word(word) in IGNORE_WORDS:
            self._reason = "test"
        return self._words.action(word)

    def _ignored_because(self) -> str:
        if self.part.unwrapped.is_handshake:
            return "untrusted"
        return self._readings[0].ignore

    def _full_subject(self) -> str:
        return self._accepted("subject", self.job.config.mapping, _line) or self._own_subject()

    def _own_subject(self) -> str:
        """Return the subject that the event has without the mapping of the integration."""
        for reading in self._readings:
            if own := self._accepted("subject", reading.fields, clean_subject):
                return own
        if self.job.event.mail is not None and self.job.event.mail.subject:
            return self.job.event.mail.subject
        if own := self._default.own_subject():
            return own
        # Elements without a subject of their own would all have that of the event, and so one id.
        number = f" {self.part.number}" if self.part.number else ""
        if outer := self._default.outer_subject():
            return f"{outer}{number}"
        if isinstance(self.part.inner, str) and not self._is_broken():
            return clean_subject(self.part.inner) or self._nameless(number)
        return self._nameless(number)

    def _nameless(self, number: str) -> str:
        return f"{self.job.config.name}: event{number}"

    def _is_broken(self) -> bool:
        """Return whether the text is what is left of a body that could not be decoded, which is no subject."""
        return bool(self.job.event.fault) and str(self.part.inner).lstrip()[:1] in {"{", "[", "<"}

    def _source_id(self) -> str:
        unwrapped, preset = self.part.unwrapped, self.part.preset
        found = self._field("source_id", _line)
        if not found and preset is None:
            found = unwrapped.key
        found = found or _line(self._default.source_id()) or self._auto_id()
        return clean_text(found, MAX_SOURCE_ID) if len(found) <= MAX_SOURCE_ID else digest_of(found)

    def _auto_id(self) -> str:
        """Return the id of an event that gives none: what the subject says without the state.

        A mapped subject is read once more in an event without the state: with it, no close would find its open.
        """
        subject = ""
        if template := self.job.config.mapping.get("subject"):
            context = self._context | {"payload": without_state(self.part.payload, self._words)}
            with suppress(TemplateError, RenderError):  # which is a fault already
                subject = clean_subject(
                    compile_template(template).render(context, limit=MAX_TEXT, work=self.job.own_work).strip()
                )
        subject = subject or self._own_subject()
        return auto_id(f"{subject}{self._about(subject)}")

    def _about(self, subject: str) -> str:
        """Return the place of an event without a subject: those of two hosts are two alerts. "" if it has a subject."""
        is_nameless = subject == self._nameless(f" {self.part.number}" if self.part.number else "")
        return self._default.lone_place() if is_nameless else ""

    def _long_text(self) -> str:
        """Return the mapped text; else the lead of the preset or of the event, and its values below."""
        own = self._rendered("long_text", self.job.config.mapping, limit=MAX_LONG_TEXT)
        if not own:
            leads = (self._rendered("long_text", reading.fields, limit=MAX_LONG_TEXT) for reading in self._readings)
            own = long_text_of(self.part.body, lead=next(filter(None, leads), "") or self._default.text())
        return clean_text(own, MAX_LONG_TEXT)

    def _priority(self) -> str:
        if own := self._accepted("priority", self.job.config.mapping, _mapped_priority):
            return own
        if self._group is not None and self._group.priority:
            return self._group.priority
        for reading in self._readings:
            if own := self._accepted("priority", reading.fields, _mapped_priority):
                return own
        return self._default.priority()

    def _event_at(self, action: Action) -> datetime | None:
        for fields in (self.job.config.mapping, *(reading.fields for reading in self._readings)):
            text = self._rendered("event_at", fields)
            if text and (time := parse_time(text, now=self.job.event.received_at)):
                return time
        return self._group.event_at(action) if self._group else None

    def _field(self, name: str, accept: Callable[[str], str]) -> str:
        """Return a field from the mapping of the integration, else from the preset; "" for neither."""
        if own := self._accepted(name, self.job.config.mapping, accept):
            return own
        for reading in self._readings:
            if own := self._accepted(name, reading.fields, accept):
                return own
        return ""

    def _accepted(self, name: str, fields: Mapping[str, str], accept: Callable[[str], str]) -> str:
        text = self._rendered(name, fields)
        value = accept(text) if text else ""
        if text and not value and fields is self.job.config.mapping:
            self._add_fault(name, f"“{clean_line(text, 100)}” cannot be used here.")
        return value

    def _rendered(self, name: str, fields: Mapping[str, str], *, limit: int = MAX_TEXT) -> str:
        """Return what a field's template renders to; "" if there is none, or it fails, which is a fault."""
        template = fields.get(name)
        if not template:
            return ""
        work = self.job.own_work if fields is self.job.config.mapping else self.job.preset_work
        try:
            return compile_template(template).render(self._context, limit=limit, work=work).strip()
        except (TemplateError, RenderError) as error:
            self._add_fault(name, str(error))
            return ""

    def _add_fault(self, name: str, text: str) -> None:
        fault = Fault(name, clean_text(text, _MAX_FAULT))
        if fault not in self.faults:
            self.faults.append(fault)


def _reading_of_mail(mail: MailReading) -> Reading:
    """Return the reading of the fields that were extracted from a mail, as templates over the mail."""
    return Reading(fields={name: f"{{{{ payload.extracted.{name} }}}}" for name in mail.extracted})


def _line(text: str) -> str:
    """Return a text on one line, of any length."""
    return clean_line(text, MAX_TEXT)


def _mapped_priority(text: str) -> str:
    word = text.lower()
    return word if word in PRIORITIES else priority_of(text)


def _source_of(text: str, config: MappingConfig) -> str:
    """Return a source that cannot be taken for one of Heartbeat's own."""
    line = clean_line(text, MAX_SOURCE)
    visible = "".join(letter for letter in unicodedata.normalize("NFKC", line) if unicodedata.category(letter) != "Cf")
    own = _OWN_SOURCES.get(visible.strip().casefold())
    return f"{config.type_label}: {own}" if own else line
