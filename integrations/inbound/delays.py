"""Delays: an event that opens an alert may wait for time to pass, or for more events of its key (pure)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from integrations.inbound.event import Action, Fault, MappedEvent, Member, Then
from integrations.models.events import EventKey

MODES: Final = ("none", "minutes", "count", "count_within")
MAX_COUNT: Final = 1_000
MAX_MINUTES: Final = 44_640  # 31 days


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether the newest event of a key waits.

    `since` are the RFC 3339 times of the events that count, `due_at` is when it waits no more, and `reason` says for
    what it waits.
    """

    goes_on: bool
    since: list[str]
    due_at: datetime | None = None
    reason: str = ""

    @classmethod
    def of(cls, kept: EventKey | None, delay: Mapping[str, Any], *, now: datetime) -> "Waiting":
        """Return the state of a key at which another event arrives now; `kept` is what was kept of it before."""
        since = [*(kept.waiting_since if kept and kept.waiting is not None else []), now.isoformat()]
        mode, length = delay.get("mode", "none"), timedelta(minutes=float(delay.get("minutes") or 0))
        count = int(delay.get("count") or 1)
        if mode == "minutes":
            # What was kept, which a step back of the clock has moved.
            due_at = (kept and kept.due_at) or now + length
            return cls(now < due_at, since[:1], due_at, "delay")
        if mode == "count_within":
            since = [at for at in since if datetime.fromisoformat(at) > now - length]
        elif mode != "count":
            return cls(goes_on=False, since=[])
        return cls(len(since) < count, since[-MAX_COUNT:], None, f"event {len(since)} of {count}")


def dump_event(event: MappedEvent) -> dict[str, Any]:
    """Return an event as JSON can hold it."""
    values = asdict(event)
    values["event_at"] = event.event_at and event.event_at.isoformat()
    return values


def load_event(values: Mapping[str, Any]) -> MappedEvent:
    """Return the event that `dump_event` wrote."""
    event_at = values["event_at"]
    more: dict[str, Any] = {
        "action": Action(values["action"]),
        "event_at": datetime.fromisoformat(event_at) if event_at else None,
        "members": [Member(**member) for member in values["members"]],
        "then": Then(**values["then"]),
        "faults": [Fault(**fault) for fault in values["faults"]],
    }
    return MappedEvent(**{**values, **more})
