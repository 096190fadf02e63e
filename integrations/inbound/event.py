"""The types of an inbound event on its way to an alert; see docs/architecture.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

# The header that has the sender's Content-Type, which Django must not see: it refuses some of them.
RAW_TYPE: Final = "x-heartbeat-content-type"


class Action(StrEnum):
    """What an event asks for."""

    OPEN = "open"
    UPDATE = "update"
    ACKNOWLEDGE = "acknowledge"
    CLOSE = "close"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a part of an event could not be read as configured; the event is used all the same.

    `field` is the field of the mapping, or "payload", "rules" or "delay".
    """

    field: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReading:
    """What a mail or chat message says by itself, below what the mapping and the extraction of its integration say.

    `keys` are those that the default reading knows. `reason` says why it is ignored, whatever else it says. A chat
    message has its `subject` as it was written, further groups to be notified, and the beginning of the timeline.
    """

    action: Action
    keys: Mapping[str, str]
    text: str
    extracted: Sequence[str] = ()  # the fields that are in `payload.extracted`
    reason: str = ""
    subject: str = ""
    recipient_groups: Sequence[int] = ()
    opened_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """One request, mail or chat message to an integration, decoded.

    The names of `headers` are in lower case. `payload` is a JSON value that PostgreSQL can store. `source` is the last
    segment of the address, `fault` says why the body could not be read as what it was said to be.
    """

    raw: bytes
    received_at: datetime
    payload: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    fault: str = ""
    mail: MailReading | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """What a rule asks for besides an action; None and empty mean: as the integration says."""

    escalation_policy: int | None = None
    response_play: int | None = None
    recipient_groups: Sequence[int] = ()
    recipient_users: Sequence[int] = ()
    replace: bool = False
    note: str = ""
    delay: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A part of an event with a state of its own, such as one alert of an Alertmanager group."""

    key: str
    subject: str
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedEvent:
    """One event in the words of an alert.

    `priority` "" means: that of the policy. `reason` says why it is ignored. `event_at` is the sender's time; if the
    sender `repeats` a problem as long as it lasts, that is when it began. `rules` are the numbers, from 1, of the rules
    that held. `opened_by` begins the first entry of the timeline; "" means: the integration.
    """

    action: Action
    source: str
    source_name: str
    source_id: str
    subject: str
    short_text: str
    long_text: str
    priority: str = ""
    url: str = ""
    event_at: datetime | None = None
    repeats: bool = False
    reason: str = ""
    members: Sequence[Member] = ()
    then: Then = Then()
    rules: Sequence[int] = ()
    faults: Sequence[Fault] = ()
    opened_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """The settings of an integration that turn what it received into alerts; the fields are those of the API."""

    name: str
    type_label: str
    preset: str = "auto"
    mapping: Mapping[str, str] = field(default_factory=dict)
    status_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rules: Sequence[Mapping[str, Any]] = ()
    no_rule: str = "continue"


@dataclass(frozen=True, slots=True)
class Mapped:
    """The result of the mapping: the preset that was recognised ("" for none), and the events in their order."""

    preset: str
    events: Sequence[MappedEvent]
