"""What the settings of an integration make of an event: tried without a trace, or carried out again."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.models.users import User
from alerting.models.alerts import Alert, TimelineEntry
from alerting.services.alerts import write_timeline
from heartbeat_project.kernel.errors import DomainError
from integrations.inbound.chat.reading import chat_event
from integrations.inbound.decoding import TooLarge, decode
from integrations.inbound.edits import set_settings
from integrations.inbound.event import Fault, Mapped, ReceivedEvent
from integrations.inbound.mail_events import arrived, mail_event
from integrations.inbound.mapping import map_event
from integrations.inbound.parts import Result
from integrations.inbound.receive import carry_out, config_of, first_fault
from integrations.models.events import EventState, InboundEvent
from integrations.models.integrations import InboundIntegration


class HasNoEvents(DomainError):
    """Heartbeats have no mapping: a ping says only that it came."""

    code = "has_no_events"
    title = "This integration maps no events"
    status = 409


class CannotBeDecoded(DomainError):
    """The event is larger than 1 MiB when it is unpacked."""

    code = "too_large"
    title = "The event is too large"
    status = 413


class NotReadYet(CannotBeDecoded):
    """The mail waits to be read, or was ignored before it was."""

    code = "not_read"
    title = "The mail was not read"
    status = 409


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of a replayed event, or would; `results` has one for each of `mapped.events`."""

    mapped: Mapped
    results: Sequence[Result]
    fault: Fault | None


def try_mapping(integration: InboundIntegration, event: ReceivedEvent, settings: Mapping[str, Any]) -> Mapped:
    """Return what the integration would read in an event with these settings instead of its own; nothing is stored.

    Raises FieldError for settings that could not be saved, and HasNoEvents.
    """
    check_maps_events(integration)
    tried = copy.copy(integration)
    tried.event_settings = copy.copy(integration.event_settings)
    set_settings(tried.event_settings, settings, organization_id=integration.organization_id)
    return map_event(_as_mail(tried, event), config_of(tried))


def check_maps_events(integration: InboundIntegration) -> None:
    """Raise HasNoEvents for a heartbeat."""
    if integration.is_heartbeat:
        raise HasNoEvents


def sample(
    payload: Any, headers: Mapping[str, str], *, now: datetime, query: Mapping[str, str] | None = None
) -> ReceivedEvent:
    """Return an event as if it had come in: text is the body itself, any other value JSON. Raises CannotBeDecoded."""
    raw = payload.encode(errors="replace") if isinstance(payload, str) else json.dumps(payload).encode()
    return _read(raw, {name.lower(): value for name, value in headers.items()}, query=query, received_at=now)


def stored(row: InboundEvent) -> ReceivedEvent:
    """Return a stored event as it came in, without the headers that are not kept. Raises CannotBeDecoded.

    The payload of a mail is what was read in it.
    """
    if row.type == InboundIntegration.Type.EMAIL:
        if row.content is None:
            raise NotReadYet("This mail has not been read, so it can be neither tried nor replayed.")
        return arrived(row, row.content)
    event = _read(bytes(row.raw), row.headers, query=row.query, received_at=row.received_at)
    return replace(event, source=row.source)


def replay(integration: InboundIntegration, row: InboundEvent, *, actor: User, now: datetime, dry_run: bool) -> Replay:
    """Carry a stored event out again, by the present settings; with `dry_run`, take all of it back.

    The row keeps the newest result. The timelines of the alerts say that it was a replay, and by whom.
    """
    check_maps_events(integration)
    event = _as_mail(integration, stored(row))
    mapped = map_event(event, config_of(integration))
    fault = first_fault(event, mapped.events)
    with transaction.atomic():
        state = EventState.objects.select_for_update().get(pk=integration.pk)
        results = carry_out(integration, state, mapped.events, now=now)
        if dry_run:
            transaction.set_rollback(True)
        else:
            InboundEvent.objects.filter(pk=row.pk).update(
                result=[result.as_json() for result in results], fault=f"{fault.field}: {fault.text}" if fault else ""
            )
            state.save()
            _write_lines(row, results, actor=actor, now=now)
    return Replay(mapped, _with_stored_alerts(results) if dry_run else results, fault)


def _as_mail(integration: InboundIntegration, event: ReceivedEvent) -> ReceivedEvent:
    """Return the event that an Email or Chat integration gets from a message; others get it as it is."""
    if integration.type == InboundIntegration.Type.CHAT:
        return chat_event(integration, event)
    if integration.type != InboundIntegration.Type.EMAIL:
        return event
    content = event.payload if isinstance(event.payload, Mapping) else {"body": str(event.payload or "")}
    sender = content.get("from")
    if not isinstance(sender, Mapping):
        content = {**content, "from": {"address": str(sender or ""), "name": ""}}
    if not isinstance(content.get("headers"), Mapping):
        content = {**content, "headers": dict(event.headers)}
    return mail_event(integration, replace(event, payload=content))


def _write_lines(row: InboundEvent, results: Sequence[Result], *, actor: User, now: datetime) -> None:
    received = f"{row.received_at:%Y-%m-%d %H:%M:%S} UTC"
    text = f"This came from a replay of event {row.pk}, received at {received}, which {actor} started."
    alert_ids = dict.fromkeys(result.alert_id for result in results if result.alert_id is not None)
    if alert_ids:
        write_timeline(TimelineEntry.Kind.UPDATED, [(alert_id, text) for alert_id in alert_ids], now=now)


def _with_stored_alerts(results: Sequence[Result]) -> list[Result]:
    """Return the results without the ids of alerts that were taken back."""
    named = [result.alert_id for result in results if result.alert_id is not None]
    known = set(Alert.objects.filter(pk__in=named).values_list("pk", flat=True))
    return [result if result.alert_id in known else replace(result, alert_id=None) for result in results]


def _read(
    raw: bytes, headers: Mapping[str, str], *, received_at: datetime, query: Mapping[str, str] | None = None
) -> ReceivedEvent:
    try:
        decoded = decode(raw, headers=headers, query=query or {})
    except TooLarge as error:
        raise CannotBeDecoded("It is larger than 1 MiB when it is unpacked.") from error
    return ReceivedEvent(
        raw=raw,
        received_at=received_at,
        payload=decoded.payload,
        headers=headers,
        query=query or {},
        fault=decoded.fault,
    )
