"""The parts of an event, each with its key, and what became of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from heartbeat_project.kernel.ids import digest
from integrations.inbound.default_keys import clean_line
from integrations.inbound.event import MappedEvent
from integrations.inbound.mapping import MAX_SOURCE_NAME


def key_of(event: MappedEvent, *, name: str) -> str:
    """Return the SHA-256 by which events of one problem find each other.

    `name` is the integration's. Where that is the source name, it does not count: after it has changed, what is open
    must still be found.
    """
    source_name = "" if event.source_name == clean_line(name, MAX_SOURCE_NAME) else event.source_name
    return digest(json.dumps([event.source, source_name, event.source_id]))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one part of an event; `reason` says why it was ignored or waits."""

    action: str
    alert_id: int | None
    source_id: str
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as the API names them."""
        return {
            "action": self.action,
            "alert": self.alert_id,
            "source_id": self.source_id,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an event, with its number and its key."""

    number: int
    event: MappedEvent
    key: str

    def result(self, action: str, alert_id: int | None, reason: str = "") -> Result:
        """Return what became of this part."""
        return Result(action, alert_id, self.event.source_id, reason)


def rounds_of(events: Sequence[MappedEvent], *, name: str) -> Iterable[list[Part]]:
    """Return the parts of an event in as few lists as have no key twice: the second of a key is in the second list.

    `name` is the integration's.
    """
    seen: Counter[str] = Counter()
    rounds: dict[int, list[Part]] = defaultdict(list)
    for number, event in enumerate(events):
        part = Part(number, event, key_of(event, name=name))
        rounds[seen[part.key]].append(part)
        seen[part.key] += 1
    return rounds.values()
