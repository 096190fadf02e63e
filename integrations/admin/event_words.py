"""The words in which the pages of integrations say what became of an event, and what to do about a fault."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.template.defaultfilters import filesizeformat
from django.urls import reverse

from integrations.admin.payload_tree import MAX_LINES, tree_of
from integrations.inbound.event import Action
from integrations.inbound.presets import presets
from integrations.inbound.receive import config_of
from integrations.inbound.replays import CannotBeDecoded, stored, try_mapping
from integrations.inbound.settings_checks import MAPPED
from integrations.models.events import InboundEvent
from integrations.models.integrations import InboundIntegration

SHOWN_RESULTS: Final = 3  # parts of an event in a list
# A larger event is read on its own page only: an open page of its integration asks every few seconds.
LARGEST_LIVE: Final = 65_536

# result -> (colour, icon, word)
LOOKS: Final[Mapping[str, tuple[str, str, str]]] = {
    "opened": ("bad", "bell", "Opened an alert"),
    "appended": ("wait", "ok", "Appended"),
    "closed": ("ok", "ok", "Closed"),
    "acknowledged": ("wait", "person", "Acknowledged"),
    "waiting": ("wait", "wait", "Delayed"),
    "grouped": ("wait", "bell", "Joined a group"),
    "folded": ("warn", "bell", "Part of a storm"),
    "ignored": ("idle", "off", "Ignored"),
    "replayed": ("idle", "off", "Had come before"),
}
_REASONS: Final[Mapping[str, str]] = {
    "nothing_to_close": "it says that something is over, and no alert of it is open",
    "nothing_to_update": "it belongs to an alert that is not open",
    "older_than_close": "the sender closed the same problem at a later time",
    "settled": "the problem was over before its delay had passed",
    "rule": "a rule says so, or none holds",
    "maintenance": "a maintenance window covers the integration",
    "disabled": "the integration is disabled",
    "test": "it is a test of the sender",
    "untrusted": "the sender did not prove itself",
    "loop": "it is an automatic answer, a bounce, or a message of ours",
    "deleted": "the integration was deleted",
    "delay": "an alert opens after the delay, if no close comes before",
    "member": "one member; others of its alert are open",
}
ASKS: Final[Mapping[str, str]] = {
    Action.OPEN: "open an alert",
    Action.UPDATE: "update its alert",
    Action.ACKNOWLEDGE: "acknowledge its alert",
    Action.CLOSE: "close its alert",
    Action.IGNORE: "nothing",
}


@dataclass(frozen=True, slots=True)
class ResultLine:
    """What became of a part of an event, in words."""

    look: tuple[str, str, str]
    alert: int | None
    source_id: str
    why: str


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event in a list."""

    row: InboundEvent
    results: list[ResultLine]
    more: int


def result_lines(results: Iterable[Mapping[str, Any]]) -> list[ResultLine]:
    """Return the results of an event, as they are stored, in words."""
    lines = []
    for result in results:
        action, reason = str(result.get("action", "")), str(result.get("reason", ""))
        why = _REASONS.get(reason, reason)
        if action == "replayed":
            why = f"an event with the same id: {LOOKS[reason][2].lower()}" if reason in LOOKS else ""
        look = LOOKS.get(action, ("idle", "off", action))
        lines.append(ResultLine(look, result.get("alert"), str(result.get("source_id", "")), why))
    return lines


def event_lines(rows: Iterable[InboundEvent]) -> list[EventLine]:
    """Return events for a list."""
    return [
        EventLine(row, result_lines(row.result[:SHOWN_RESULTS]), max(0, len(row.result) - SHOWN_RESULTS))
        for row in rows
    ]


def reading_of(
    integration: InboundIntegration, row: InboundEvent | None, *, largest: int | None = None
) -> dict[str, Any] | None:
    """Return what the present settings read in an event: product, fields and their number; None without an event.

    `why_not` says why nothing was read: its body has more than `largest` bytes, or cannot be unpacked.
    """
    if row is None:
        return None
    if largest is not None and row.size > largest:
        size = filesizeformat(largest)
        return {"why_not": f"It is larger than {size}, so it is read only on its own page: “Payload and headers”."}
    try:
        event = stored(row)
        mapped = try_mapping(integration, event, {})
    except CannotBeDecoded as error:
        return {"why_not": f"Nothing can be read in it. {error}"}
    first = mapped.events[0]
    fields = {
        "Subject": first.subject,
        "Asks to": ASKS[first.action],
        "Key": first.source_id,
        "Priority": first.priority or integration.priority or "as the policy says",
        "Source": first.source,
        "Link": first.url,
    }
    tree, left_out = tree_of(event.payload)
    return {
        "tree": tree,
        "left_out": left_out,
        "max_lines": MAX_LINES,
        "recognized": label_of(mapped.preset),
        "fields": {name: value for name, value in fields.items() if value},
        "count": len(mapped.events),
    }


def label_of(preset: str) -> str:
    """Return the name of the product that was recognized; "" for none."""
    return presets()[preset].label if preset in presets() else ""


def fault_help(integration: InboundIntegration, fault: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a fault with what to do about it, and where; None without a fault."""
    if not fault:
        return None
    field, event = str(fault.get("field", "")), fault.get("event")
    mapping = reverse("admin:integrations_inboundintegration_mapping", args=[integration.pk])
    sample = f"?event={event}" if event else ""
    help_ = {"text": fault.get("text", ""), "field": field, "event": event, "at": fault.get("at")}
    if field in MAPPED:
        name = config_of(integration).mapping.get(field)
        todo = f"Mend the template of “{field}”." if name else f"Give “{field}” a template of its own."
        return help_ | {"todo": todo, "link": f"{mapping}{sample}#id_map_{field}", "link_text": "Open the field"}
    if field == "rules":
        return help_ | {"todo": "Mend the rule.", "link": f"{mapping}{sample}#id_rules", "link_text": "Open the rules"}
    if field == "delay":
        return help_ | {"todo": "Mend the delay.", "link": "#id_delay_mode", "link_text": "Open the delay"}
    todo = "Look at what arrived, and let the sender send JSON, or a form, with the right Content-Type."
    link = reverse("admin:integrations_inboundintegration_event", args=[integration.pk, event]) if event else ""
    return help_ | {"todo": todo, "link": link, "link_text": "Open the event"}
