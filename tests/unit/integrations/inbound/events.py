"""Events as senders send them, and what becomes of them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integrations.inbound.event import MappedEvent, MappingConfig, ReceivedEvent
from integrations.inbound.mapping import map_event

SENDERS = Path(__file__).resolve().parents[3] / "fixtures" / "senders"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def words(text: str) -> list[str]:
    return text.split()


def received(payload: Any, headers: Mapping[str, str] | None = None, **fields: Any) -> ReceivedEvent:
    return ReceivedEvent(raw=b"", received_at=NOW, payload=payload, headers=headers or {}, **fields)


def mapped(payload: Any, headers: Mapping[str, str] | None = None, **config: Any):
    """Return the result of mapping a payload with an integration named Shop."""
    event = {key: config.pop(key) for key in ("query", "source", "fault") if key in config}
    config.setdefault("type_label", "API")
    return map_event(received(payload, headers, **event), MappingConfig(name="Shop", **config))


def one(payload: Any, headers: Mapping[str, str] | None = None, **config: Any) -> MappedEvent:
    [event] = mapped(payload, headers, **config).events
    return event


def body_of(sender: str, name: str) -> Any:
    return json.loads((SENDERS / sender / f"{name}.json").read_text("utf-8"))


def headers_of(sender: str, **more: str) -> dict[str, str]:
    return {**body_of(sender, "headers"), **{name.replace("_", "-"): value for name, value in more.items()}}
