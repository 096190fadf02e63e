"""The parts of an event, each with its key, and what became of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from heartbeat_project.kernel.ids import digest
from integrations.inbound.event import MappedEvent


def key_of(event: MappedEvent) -> str:
    """Return the SHA-256 by which events of one problem find each other."""
    return digest(json.dumps([event.source, event.source_name, event.source_id]))


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


def rounds_of(events: Sequence[MappedEvent]) -> Iterable[list[Part]]:
    """Return the parts of an event in as few lists as have no key twice: the second of a key is in the second list."""
    seen: Counter[str] = Counter()
    rounds: dict[int, list[Part]] = defaultdict(list)
    for number, event in enumerate(events):
        part = Part(number, event, key_of(event))
        rounds[seen[part.key]].append(part)
        seen[part.key] += 1
    return rounds.values()
