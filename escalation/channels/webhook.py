"""Webhooks: a signed JSON document for each message, as docs/webhooks.md describes it (Standard Webhooks 1.0)."""

import base64
import hashlib
import hmac
import json
from http import HTTPStatus
from typing import Any

from accounts.signing import signing_secret
from alerting.models import Alert
from escalation.channels import outgoing, texts
from escalation.channels.base import Message


class WebhookChannel:
    """POST to the person's address; a message that is sent again carries the same id."""

    def send(self, message: Message) -> str:
        """Send the document and return the message's id, under which the receiver knows it too."""
        body = json.dumps(document(message), ensure_ascii=False).encode("utf-8", "replace")
        stamp = str(int(message.at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": str(message.id),
            "Webhook-Id": str(message.id),
            "Webhook-Timestamp": stamp,
            "Webhook-Signature": sign(body, message_id=str(message.id), stamp=stamp, address=message.address),
        }
        try:
            outgoing.post(message.address, body=body, headers=headers)
        except outgoing.Refused as error:
            # 404 may be a receiver that is just being installed; 410 says that it is gone for good.
            error.bad_address = error.reply.status == HTTPStatus.GONE
            raise
        return str(message.id)

    def close(self) -> None:
        """Have nothing to let go of."""


def sign(body: bytes, *, message_id: str, stamp: str, address: str) -> str:
    """Return `v1,` and the HMAC-SHA256 over id, time stamp (Unix seconds) and body, in Base64."""
    key = base64.b64decode(signing_secret(address).removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def document(message: Message) -> dict[str, Any]:
    """Return what the receiver gets."""
    bundle = message.bundle
    return {
        "id": str(message.id),
        "type": message.kind,
        "timestamp": message.at.isoformat(),
        "title": texts.title(message),
        "short_text": texts.short(message),
        "long_text": texts.long(message),
        "link": texts.link(message),
        "alert": _alert(message.alert) if message.alert else None,
        "bundle": bundle and {"count": bundle.count, "alerts": [_alert(alert) for alert in bundle.listed]},
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.pk,
        "status": alert.status,
        "priority": alert.priority,
        "subject": alert.subject,
        "source": alert.source,
        "source_name": alert.source_name,
        "source_id": alert.source_id,
        "opened_at": alert.opened_at.isoformat(),
        "closed_at": alert.closed_at.isoformat() if alert.closed_at else None,
    }
