"""Carry out mails to integrations: an Email integration gets an event, a heartbeat a ping.

The caller holds a transaction and the lock of the mail's row.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Q

from integrations.inbound import mail_reading
from integrations.inbound.clean_values import clean
from integrations.inbound.event import Action, Fault, MailReading, MappedEvent, ReceivedEvent
from integrations.inbound.mail_reading import Delivery, MailSettings, loop_reason
from integrations.inbound.mapping import map_event
from integrations.inbound.parts import Result
from integrations.inbound.receive import IntegrationDeleted, config_of, kept_headers, receive
from integrations.models.events import InboundEvent
from integrations.models.history import MAIL_AGENT
from integrations.models.integrations import InboundIntegration
from integrations.ping_lane.batch import MAX_AGENT, Arrival, agent, record_pings

UNREADABLE: Final = "(unreadable)"
# Mails of one sender in a minute; further ones that open stand in one alert.
MAX_OF_SENDER: Final = 20
_MINUTE: Final = timedelta(minutes=1)
_MAX_ID: Final = 200
_NOT_FOR_IT: Final = frozenset({"rule", mail_reading.UNTRUSTED})


def carry_out_mail(row: InboundEvent, content: Mapping[str, Any], *, now: datetime) -> None:
    """Carry out a mail that was read, and store what became of it."""
    # A mail whose content could not be stored would be lost after three attempts.
    content, _lost = clean(dict(content))
    integration = _integrations().filter(pk=row.integration_id).first()
    if integration is None:
        _close_row(row, Result("ignored", None, "", "deleted"))
    elif integration.is_heartbeat:
        _ping(integration, row, content)
    else:
        _receive(row, integration, {**content, "thread": _thread_of(integration, content)}, now=now)


def carry_out_unreadable(row: InboundEvent, why: str, *, now: datetime) -> bool:
    """Open an alert for a mail that cannot be read; return whether its integration opens alerts.

    A heartbeat gets no ping by it: a silence too many is heard of, one too few is not.
    """
    integration = _integrations().filter(pk=row.integration_id).first()
    if integration is None or integration.is_heartbeat:
        return False
    _receive(row, integration, {"subject": UNREADABLE, "unread": why}, now=now)
    return True


def arrived(row: InboundEvent, content: Mapping[str, Any]) -> ReceivedEvent:
    """Return a mail as it arrived, with the content that was read in it as the payload, for `mail_event`."""
    # The number makes mails without a Message-ID differ.
    query = {**row.query, "number": str(row.pk)}
    headers = content.get("headers", {})
    return ReceivedEvent(raw=bytes(row.raw), received_at=row.received_at, payload=content, headers=headers, query=query)


def mail_event(integration: InboundIntegration, mail: ReceivedEvent) -> ReceivedEvent:
    """Return the event that an integration gets from a mail that arrived."""
    config, content, query = integration.event_settings, mail.payload, mail.query
    unique = str(content.get("message_id", "")) or f"mail {query.get('number', '')}"
    if "unread" in content:
        return _as_it_is(mail, about=query.get("key", "") or unique)
    payload, read = mail_reading.read(
        content,
        MailSettings(
            status_words=config.status_words,
            every_mail_opens=config.every_mail_opens,
            allowed_senders=config.allowed_senders,
            require_authenticated=config.require_authenticated,
            extract=config.extract,
            authserv_id=settings.MAIL_AUTHSERV_ID,
            host=own_host(),
        ),
        Delivery(
            key=query.get("key", ""),
            thread=str(content.get("thread", "")),
            sender=query.get("sender", ""),
            unique=unique,
        ),
    )
    return replace(mail, payload=payload, source=payload["extracted"].get("source", ""), mail=read)


def own_host() -> str:
    """Return the domain of the Message-IDs of our mails."""
    return urlsplit(settings.BASE_URL).hostname or ""


def _integrations() -> Any:
    return InboundIntegration.objects.select_related(
        "event_settings", "organization", "escalation_policy", "response_play"
    )


def _as_it_is(mail: ReceivedEvent, *, about: str) -> ReceivedEvent:
    """Return the event of a mail that cannot be read: it opens an alert of its own."""
    why = mail.payload["unread"]
    text = f"A mail came that could not be read: {why}. Its source is in the event."
    reading = MailReading(action=Action.OPEN, keys={"subject": UNREADABLE, "sourceid": about}, text=text)
    payload = {"subject": UNREADABLE, "body": "", "headers": {}, "extracted": {}}
    return replace(mail, payload=payload, fault=f"The mail could not be read: {why}.", mail=reading)


def _receive(row: InboundEvent, integration: InboundIntegration, content: Mapping[str, Any], *, now: datetime) -> None:
    integration, event = _who_takes(integration, arrived(row, content))
    if _is_flood(integration, content, now=now):
        integration = copy(integration)
        integration.event_settings = copy(integration.event_settings)
        limit = integration.event_settings.storm_per_minute
        integration.event_settings.storm_per_minute = min(limit, MAX_OF_SENDER)

    def keep(
        taken_by: InboundIntegration,
        event: ReceivedEvent,
        external_id: str,
        results: Sequence[Result],
        fault: Fault | None,
        *,
        now: datetime,  # noqa: ARG001 - as `receive` calls it
    ) -> int:
        InboundEvent.objects.filter(pk=row.pk, received_at=row.received_at).update(
            integration=taken_by,
            state=InboundEvent.State.READ,
            claimed_until=None,
            headers=kept_headers(event.headers),
            content=content,
            external_id=external_id,
            result=[result.as_json() for result in results],
            fault=f"{fault.field}: {fault.text}" if fault else "",
        )
        return row.pk

    try:
        receive(integration, event, now=now, external_id=_external_id(row, content), keep=keep)
    except IntegrationDeleted:
        _close_row(row, Result("ignored", None, "", "deleted"))


def _who_takes(integration: InboundIntegration, mail: ReceivedEvent) -> tuple[InboundIntegration, ReceivedEvent]:
    """Return the integration that takes a mail, and its event.

    Those that have the same alias are tried in their order: the first whose rules and senders do not refuse it takes
    it, or else the first of all.
    """
    first = integration, mail_event(integration, mail)
    alias = mail.query.get("alias", "")
    if not alias:
        return first
    others = _integrations().filter(
        organization=integration.organization_id,
        type=InboundIntegration.Type.EMAIL,
        event_settings__aliases__contains=[alias],
    )
    for candidate in others.filter(enabled=True).order_by("event_settings__sequence", "pk"):
        event = mail_event(candidate, mail)
        if any(not _is_refused(one) for one in map_event(event, config_of(candidate)).events):
            return candidate, event
    return first


def _is_refused(event: MappedEvent) -> bool:
    return event.action == "ignore" and event.reason in _NOT_FOR_IT


def _is_flood(integration: InboundIntegration, content: Mapping[str, Any], *, now: datetime) -> bool:
    """Return whether the sender sent more than MAX_OF_SENDER mails to the integration within a minute."""
    if not integration.event_settings.storm_per_minute:
        return False
    sender = content.get("from", {}).get("address", "")
    lately = InboundEvent.objects.filter(
        integration=integration, received_at__gt=now - _MINUTE, content__from__address=sender
    )
    return len(lately.order_by("-id").values_list("pk", flat=True)[:MAX_OF_SENDER]) >= MAX_OF_SENDER


def _thread_of(integration: InboundIntegration, content: Mapping[str, Any]) -> str:
    """Return the source id of the newest mail of this integration that this one answers; "" if it answers none."""
    named = [_cut(str(one)) for one in content.get("references", ())]
    if not named:
        return ""
    earlier = InboundEvent.objects.filter(Q(external_id__in=named), ~Q(external_id=""), integration=integration)
    result = earlier.order_by("-id").values_list("result", flat=True).first()
    return str(result[0].get("source_id", "")) if result else ""


def _external_id(row: InboundEvent, content: Mapping[str, Any]) -> str:
    """Return the id by which a mail that is delivered twice is found: of each key, its Message-ID."""
    message_id, key = str(content.get("message_id", "")), row.query.get("key", "")
    if not message_id:
        return ""
    return _cut(json.dumps([message_id, key]) if key else message_id)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_ID else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _ping(integration: InboundIntegration, row: InboundEvent, content: Mapping[str, Any]) -> None:
    """Record a ping for a mail to a heartbeat, received when the mail was, unless it is a loop."""
    reason = loop_reason(content, row.query.get("sender", ""), own_host())
    if not reason:
        sender = f"{MAIL_AGENT} {content.get('from', {}).get('address', '')}"
        user_agent = agent(sender.encode("utf-8", "replace")[:MAX_AGENT])
        record_pings([Arrival(token=integration.token, received_at=row.received_at, user_agent=user_agent)])
    headers = kept_headers(content.get("headers", {}))
    _close_row(row, Result("ignored" if reason else "pinged", None, "", reason), headers=headers, content=content)


def _close_row(row: InboundEvent, result: Result, **values: Any) -> None:
    InboundEvent.objects.filter(pk=row.pk, received_at=row.received_at).update(
        state=InboundEvent.State.READ, claimed_until=None, result=[result.as_json()], **values
    )
