"""Mails to integrations: stored as they arrived for each integration that they are written to, and read by a worker."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction

from escalation.responses.replies.mail_replies import message_named_in
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from integrations.inbound.mail_addresses import named_recipients, recipient_parameters
from integrations.inbound.mails import TooManyWaiting, count_put_off, insert, store_mail
from integrations.models.events import InboundEvent
from integrations.models.integrations import InboundIntegration


class Recipient(NamedTuple):
    """An integration that a mail is written to, with the key behind the plus sign, or the alias of the address."""

    integration_id: int
    organization_id: int
    key: str
    alias: str


def store_received(raw: bytes, *, recipients: Sequence[str] = (), sender: str = "", now: datetime) -> list[int]:
    """Store a mail once for each integration that it is written to, or as an answer; return the ids of the rows.

    Without `recipients`, those of the SMTP transaction, its headers say to whom it is written. `sender` is that of the
    transaction, "<>" for none. All is stored, or nothing: raises TooManyWaiting.
    """
    found = recipients_of(recipients or named_recipients(raw), now=now)
    is_answer = not recipients and message_named_in(raw) is not None
    ids = _store(raw, found, sender=sender, now=now) if found else []
    if not found or is_answer:
        ids.append(store_mail(raw, now=now).pk)
    return ids


def recipients_of(addresses: Sequence[str], *, now: datetime) -> list[Recipient]:
    """Return the integrations of these addresses, each once for each key, in the order of the addresses."""
    if not addresses:
        return []
    parameters, keys = recipient_parameters(addresses)
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "mail_recipients"), {**parameters, "now": now})
        rows = cursor.fetchall()
    found = [
        Recipient(integration_id, organization_id, keys[place - 1], addresses[place - 1].lower() if is_alias else "")
        for place, integration_id, organization_id, is_alias in rows
    ]
    return list(dict.fromkeys(found))


def _store(raw: bytes, recipients: Sequence[Recipient], *, sender: str, now: datetime) -> list[int]:
    ids: list[int] = []
    refused: int | None = None
    with transaction.atomic():
        for recipient in recipients:
            event = InboundEvent(
                type=InboundIntegration.Type.EMAIL,
                received_at=now,
                raw=raw,
                size=len(raw),
                integration_id=recipient.integration_id,
                organization_id=recipient.organization_id,
                query=delivery_of(recipient.key, recipient.alias, sender),
            )
            pk = insert(event)
            if pk is None:
                refused = recipient.organization_id
                transaction.set_rollback(True)
                break
            ids.append(pk)
        else:
            if ids:
                wake_on_commit("integrations.read_events", queue="engine")
    if refused is not None:
        count_put_off(refused, now=now)
        raise TooManyWaiting("Too many mails like this wait to be read. Send it again in a minute.")
    return ids


def delivery_of(key: str, alias: str, sender: str) -> dict[str, str]:
    """Return what is stored of the SMTP transaction beside a mail: only what it says."""
    values = {"key": key, "alias": alias, "sender": sender[:320]}
    return {name: value for name, value in values.items() if value}
