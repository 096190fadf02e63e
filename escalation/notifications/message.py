"""Messages: all that a channel prints, read from the database once, before anything is sent."""

import uuid
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings

from accounts.models.contact_methods import ContactMethod
from accounts.signing import signing_secrets
from alerting.local_times import in_readers_zone
from alerting.models.alerts import Alert
from alerting.models.bridges import Bridge
from alerting.states import Action, Status
from escalation.channels.base import AlertSnapshot, AllowedAction, BridgeSnapshot, Message
from escalation.channels.message_kinds import MessageKind
from escalation.engine import plan, walk
from escalation.engine.next_step_text import what_next
from escalation.models.notifications import ASKING, TO_OWNER, Notification
from escalation.notifications.bundles import bundle_message
from escalation.notifications.call_menu import call_menu
from escalation.notifications.claim import Claim
from escalation.responses import tokens
from escalation.responses.allowed_actions import allowed_actions_in, caption
from heartbeat_project.kernel.wording import one_line, zone

_ChannelKind: Final = ContactMethod.Kind


def claimed_message(claimed: Claim, *, now: datetime) -> Message:
    """Return what is to be sent for a claim: about one alert, a notice, or about many alerts at once."""
    notification = claimed.notification
    is_bundle = claimed.alerts > 1
    method = notification.contact_method
    message = _addressed(
        id=claimed.message_id,
        kind=notification.kind,
        channel=notification.channel,
        address=method.address if method else notification.address,
        reader=str(notification.recipient),
        time_zone=notification.recipient.time_zone,
        organization=notification.organization_id,
        is_bundle=is_bundle,
        now=now,
    )
    message = replace(message, pressing=notification.is_pressing)
    if is_bundle:
        listed = [snapshot_in_bundle(alert, message=message) for alert in claimed.listed]
        return bundle_message(message, listed, count=claimed.alerts, reason=claimed.reason)
    return replace(
        message,
        alert=snapshot(notification.alert, time_zone=_zone_of_texts(notification)) if notification.alert else None,
        subject=notification.subject,
        text=notification.text,
        next_text=_next_text(notification, may_answer=bool(message.allowed_actions), now=now),
    )


def notice_over(method: ContactMethod, *, subject: str, text: str, speech: str = "", now: datetime) -> Message:
    """Return a notice about a contact method, to be sent over it."""
    message = _addressed(
        id=uuid.uuid4(),
        kind=Notification.Kind.NOTICE,
        channel=method.kind,
        address=method.address,
        reader=str(method.holder),
        time_zone=method.holder.time_zone,
        organization=method.holder.organization_id,
        is_bundle=False,
        now=now,
    )
    return replace(message, subject=subject, text=text, speech=speech)


def snapshot(alert: Alert, *, time_zone: str = "UTC") -> AlertSnapshot:
    """Return an alert as a message about it alone shows it, with the times of its texts in this time zone."""
    bridge = _bridge_snapshot(alert.bridge_or_copy) if alert.bridge_or_copy else None
    return replace(
        _listed(alert),
        short_text=in_readers_zone(alert.short_text, alert.facts, time_zone=time_zone),
        long_text=in_readers_zone(alert.long_text, alert.facts, time_zone=time_zone),
        acknowledged_by=str(alert.acknowledged_by or ""),
        bridge=bridge,
    )


def snapshot_in_bundle(alert: Alert, *, message: Message) -> AlertSnapshot:
    """Return an alert as a message about many lists it; nothing is read from the database for it."""
    respond_url = tokens.page_url(message.id, alert_id=alert.pk) if message.respond_url else ""
    return replace(_listed(alert), respond_url=respond_url)


def _zone_of_texts(notification: Notification) -> str:
    """Return the time zone of the times in a message's texts; UTC if groups or programs read it."""
    user = notification.user
    return user.time_zone if user is not None and notification.channel != _ChannelKind.WEBHOOK else "UTC"


def _bridge_snapshot(bridge: Bridge) -> BridgeSnapshot:
    return BridgeSnapshot(
        name=bridge.name,
        phone_number=bridge.phone_number,
        access_code=bridge.access_code,
        meeting_url=bridge.meeting_url,
    )


def _listed(alert: Alert) -> AlertSnapshot:
    return AlertSnapshot(
        id=alert.pk,
        status=alert.status,
        status_label=alert.get_status_display(),
        priority=alert.priority,
        priority_label=alert.get_priority_display(),
        subject=alert.subject,
        short_text=alert.short_text,
        long_text=alert.long_text,
        source=alert.source,
        source_name=alert.source_name,
        source_id=alert.source_id,
        known_as=alert.known_as,
        opened_at=alert.opened_at,
        facts=alert.facts,
        url=alert.url,
        is_test=alert.is_test,
        ends_when=alert.ends_when,
        expected_at=alert.expected_at,
        acknowledged_at=alert.acknowledged_at,
        closed_at=alert.closed_at,
        close_reason=alert.close_reason,
    )


def _addressed(
    *,
    id: UUID,  # noqa: A002 - as the message has it
    kind: str,
    channel: str,
    address: str,
    reader: str,
    time_zone: str,
    organization: int,
    is_bundle: bool,
    now: datetime,
) -> Message:
    """Return a message without its text: whom it is to, and how they may respond."""
    actions: Collection[Action] = allowed_actions_in(id) if kind in ASKING else ()
    to_owner = kind in TO_OWNER
    keys_work = channel == _ChannelKind.VOICE and "twilio" in settings.VOICE_PROVIDERS
    return Message(
        id=id,
        kind=MessageKind(kind),
        address=address,
        reader=reader,
        time_zone=time_zone,
        organization=organization,
        at=now,
        allowed_actions=tuple(AllowedAction(action, caption(action, to_owner=to_owner)) for action in actions),
        respond_url=tokens.page_url(id) if actions else "",
        reply_address=tokens.reply_address(id) if actions else "",
        button_token=tokens.button(id) if actions else "",
        call_menu=call_menu(id, allowed_actions=actions, many=is_bundle) if keys_work else None,
        signing_secrets=tuple(signing_secrets(address)) if channel == _ChannelKind.WEBHOOK else (),
    )


def _next_text(notification: Notification, *, may_answer: bool, now: datetime) -> str:
    """Say what happens if the reader of a page does nothing; nothing for other kinds, which do not print it.

    A page may be about an alert that is assigned or on hold: its owner asked the reader for help.
    """
    alert, run = notification.alert, notification.run
    if alert is None or notification.kind != Notification.Kind.PAGE:
        return ""
    if alert.status == Status.ASSIGNED and alert.owner:
        return f"{one_line(str(alert.owner))} has this alert. Its escalation does not go on while that is so."
    if alert.status == Status.ON_HOLD:
        return "This alert is on hold. Its escalation does not go on until it is resumed."
    return what_next(
        walk.coming_or_repeat(plan.Plan.load(run.plan), walk.Position.load(run.position)) if run else None,
        ends_when=alert.ends_when,
        at=now,
        zone=zone(notification.recipient.time_zone),
        may_answer=may_answer,
    )
