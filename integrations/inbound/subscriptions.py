"""Subscriptions of Amazon SNS: a worker confirms them after the event was stored, because that takes the network."""

from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.services.restores import unless_held
from heartbeat_project.kernel.wakeup import wake_on_commit
from integrations.inbound import sns
from integrations.inbound.decoding import decode
from integrations.models.events import EventState, InboundEvent


def asks_for_confirmation(payload: Any) -> bool:
    """Return whether an event asks to confirm a subscription."""
    return isinstance(payload, dict) and payload.get("Type") == sns.TYPE_SUBSCRIBE


def confirm_later(event_id: int) -> None:
    """Let a worker confirm the subscription that the event asks for; without the broker, this process does it."""
    wake_on_commit("integrations.confirm_subscription", queue="delivery", or_here=True, event_id=event_id)


@unless_held(False)
def confirm_subscription(event_id: int, *, now: datetime) -> bool:
    """Confirm the subscription, and write what came of it on the event; return whether it was confirmed.

    If it was not, that is the integration's fault, with the address to open by hand.
    """
    event = InboundEvent.objects.filter(pk=event_id).first()
    if event is None:
        return False
    payload = decode(bytes(event.raw), headers=event.headers, query=event.query).payload
    confirmation = sns.confirm(payload, now=now)
    with transaction.atomic():
        if confirmation.is_confirmed:
            parts = [{**part, "reason": confirmation.text} for part in event.result]
            InboundEvent.objects.filter(pk=event_id).update(result=parts)
        else:
            InboundEvent.objects.filter(pk=event_id).update(fault=f"payload: {confirmation.text}")
            fault = {"at": now.isoformat(), "event": event_id, "field": "payload", "text": confirmation.text}
            EventState.objects.filter(pk=event.integration_id or 0).update(fault=fault)
    return confirmation.is_confirmed
