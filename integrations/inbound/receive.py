"""Receive events: an event is stored and changes its alerts in one transaction, and is answered after the commit.

The row of the integration's EventState is locked meanwhile, so the events of one integration are carried out one after
the other: what they count, wait for and join needs no other lock.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from heartbeat_project.kernel.prepared import fetch_prepared
from heartbeat_project.kernel.sql import statement
from integrations.inbound.alerts import EventAlerts
from integrations.inbound.event import Fault, MappedEvent, MappingConfig, ReceivedEvent
from integrations.inbound.fault_notices import notice_fault
from integrations.inbound.mapping import map_event
from integrations.inbound.parts import Result
from integrations.models.events import EventState, InboundEvent
from integrations.models.integrations import InboundIntegration

# A sender's id names the same event for this long.
REPLAYED_WITHIN: Final = timedelta(hours=24)
# Headers that are kept, each cut to this many characters. Those that prove the sender are not kept.
HEADERS_KEPT, HEADER_LENGTH = 50, 1_000
SECRET_WORDS: Final = ("authorization", "cookie", "token", "secret", "signature", "api-key", "apikey")
HIDDEN: Final = "(not kept)"
# The columns of the state that an event may change beside the count.
_CHANGING: Final = (
    "fault",
    "fault_noticed_at",
    "minute",
    "opened_in_minute",
    "storm_alert_id",
    "group_alert_id",
    "group_ends_at",
)


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an event: the id of its row, one result for each of its parts, and the first fault."""

    event_id: int
    results: Sequence[Result]
    fault: Fault | None


class IntegrationDeleted(Exception):
    """The integration was deleted after the event's address was looked up."""


def receive(
    integration: InboundIntegration,
    event: ReceivedEvent,
    *,
    now: datetime,
    external_id: str = "",
    keep: Callable[..., int] | None = None,
) -> Received:
    """Store the event of an API, Email or Chat integration, and carry it out. Nothing is refused for its content.

    `integration` has its event settings loaded. An event whose external id came within the
    last 24 hours changes nothing and gets the first one's results. `keep` stores one that has a row already, as `_keep`
    stores others. Raises IntegrationDeleted.
    """
    mapped = map_event(event, config_of(integration))
    with transaction.atomic():
        state = _counted(integration, now=now)
        before = [getattr(state, field) for field in _CHANGING]
        results = _replayed(integration, external_id, now=now) if external_id else None
        if results is None:
            results = carry_out(integration, state, mapped.events, now=now)
        fault = first_fault(event, mapped.events)
        event_id = (keep or _keep)(integration, event, external_id, results, fault, now=now)
        state.fault = (
            {"at": now.isoformat(), "event": event_id, "field": fault.field, "text": fault.text} if fault else None
        )
        if fault:
            notice_fault(integration, state, fault, event_id, now=now)
        if before != [getattr(state, field) for field in _CHANGING]:
            state.save(update_fields=_CHANGING)
    return Received(event_id, results, fault)


def _counted(integration: InboundIntegration, *, now: datetime) -> EventState:
    """Count the event, and return the integration's state, which stays locked until the transaction ends."""
    parameters = {"integration": integration.pk, "now": now}
    rows = fetch_prepared(statement("integrations", "count_event"), parameters)
    if not rows:
        raise IntegrationDeleted
    event_count, *values = rows[0]
    changing = dict(zip(_CHANGING, values, strict=True))
    changing["fault"] = json.loads(changing["fault"]) if isinstance(changing["fault"], str) else changing["fault"]
    return EventState(integration=integration, event_count=event_count, last_event_at=now, **changing)


def _keep(
    integration: InboundIntegration,
    event: ReceivedEvent,
    external_id: str,
    results: Sequence[Result],
    fault: Fault | None,
    *,
    now: datetime,
) -> int:
    """Store the event with its results; return its id."""
    parameters: dict[str, Any] = {
        "type": integration.type,
        "integration": integration.pk,
        "organization": integration.organization_id,
        "now": now,
        "headers": json.dumps(kept_headers(event.headers)),
        "query": json.dumps(dict(event.query)),
        "source": event.source[:100],
        "external_id": external_id,
        "raw": event.raw,
        "size": len(event.raw),
        "result": json.dumps([result.as_json() for result in results]),
        "fault": f"{fault.field}: {fault.text}" if fault else "",
    }
    ((event_id,),) = fetch_prepared(statement("integrations", "keep_event"), parameters)
    return int(event_id)


def config_of(integration: InboundIntegration) -> MappingConfig:
    """Return the settings by which the integration's events are read."""
    settings = integration.event_settings
    return MappingConfig(
        name=integration.name,
        type_label=InboundIntegration.Type(integration.type).label,
        preset=settings.preset,
        mapping=settings.mapping,
        status_words=settings.status_words,
        rules=settings.rules,
        no_rule=settings.no_rule,
    )


def kept_headers(headers: Any) -> dict[str, str]:
    """Return the headers that are kept with an event; the values of those that may hold a secret are not."""
    kept = {}
    for name, value in list(headers.items())[:HEADERS_KEPT]:
        is_secret = any(word in name for word in SECRET_WORDS)
        kept[name] = HIDDEN if is_secret else value[:HEADER_LENGTH]
    return kept


def _replayed(integration: InboundIntegration, external_id: str, *, now: datetime) -> list[Result] | None:
    """Return the results of the event with this external id, as those of a replay; None if there was none."""
    earlier = (
        InboundEvent.objects.filter(
            integration=integration, external_id=external_id, received_at__gt=now - REPLAYED_WITHIN
        )
        # Its replays do not make it younger: a sender that always writes the same id is heard again after a day.
        .exclude(result__0__action="replayed")
        .order_by("id")
        .values_list("result", flat=True)
        .first()
    )
    if earlier is None:
        return None
    return [Result("replayed", one.get("alert"), one.get("source_id", ""), one.get("action", "")) for one in earlier]


def carry_out(
    integration: InboundIntegration, state: EventState, events: Sequence[MappedEvent], *, now: datetime
) -> list[Result]:
    """Do what the events say, with the integration's state locked; the caller saves it."""
    if not integration.enabled:
        return [Result("ignored", None, one.source_id, "disabled") for one in events]
    return EventAlerts(integration, state, now=now).carry_out(events)


def first_fault(event: ReceivedEvent, events: Sequence[MappedEvent]) -> Fault | None:
    """Return the first thing that could not be read as it should."""
    if event.fault:
        return Fault("payload", event.fault)
    return next((fault for one in events for fault in one.faults), None)
