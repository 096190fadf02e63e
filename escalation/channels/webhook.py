"""Webhooks: a signed JSON document for each message, as docs/webhooks.md describes it (Standard Webhooks 1.0)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from escalation.channels import http_client, message_text
from escalation.channels.base import AlertSnapshot, Message


class WebhookChannel:
    """POST to the person's address; a message that is sent again has the same id."""

    def send(self, message: Message) -> str:
        """Send the document and return the message's id, which the receiver also gets."""
        body = json.dumps(document(message), ensure_ascii=False).encode("utf-8", "replace")
        stamp = str(int(message.at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": str(message.id),
            "Webhook-Id": str(message.id),
            "Webhook-Timestamp": stamp,
            "Webhook-Signature": sign(body, message_id=str(message.id), stamp=stamp, secrets=message.signing_secrets),
        }
        try:
            http_client.post(message.address, body=body, headers=headers)
        except http_client.Refused as error:
            # A 404 may come from a receiver that is being deployed; a 410 says that it is gone for good.
            error.bad_address = error.reply.status == HTTPStatus.GONE
            error.permanent = error.permanent or error.bad_address
            raise
        return str(message.id)

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def sign(body: bytes, *, message_id: str, stamp: str, secrets: Sequence[str]) -> str:
    """Return `v1,` and the HMAC-SHA256 over id, time stamp (Unix seconds) and body, in Base64.

    There is one for each secret, separated by spaces, as Standard Webhooks has it: after a change of SECRET_KEY the
    receiver may still know the secret of before.
    """
    signed = f"{message_id}.{stamp}.".encode() + body
    signatures = []
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        signatures.append(f"v1,{base64.b64encode(digest).decode()}")
    return " ".join(signatures)


def document(message: Message) -> dict[str, Any]:
    """Return the JSON document that the receiver gets."""
    bundle = message.bundle
    return {
        "id": str(message.id),
        "type": message.kind,
        "timestamp": message.at.isoformat(),
        "title": message_text.title(message),
        "short_text": message_text.short(message),
        "long_text": message_text.long(message),
        "link": message_text.link(message),
        "alert": _alert(message.alert) if message.alert else None,
        "bundle": bundle and {"count": bundle.count, "alerts": [_alert(alert) for alert in bundle.listed]},
    }


def _alert(alert: AlertSnapshot) -> dict[str, Any]:
    return {
        "id": alert.id,
        "status": alert.status,
        "priority": alert.priority,
        "subject": alert.subject,
        "source": alert.source,
        "source_name": alert.source_name,
        "source_id": alert.source_id,
        "opened_at": alert.opened_at.isoformat(),
        "closed_at": alert.closed_at.isoformat() if alert.closed_at else None,
    }
