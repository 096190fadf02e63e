"""A plain HTTP gateway for SMS or voice, described by settings: an address and a body with placeholders."""

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings

from escalation.channels import http_client
from escalation.channels.base import DeliveryError, Message


def send(kind: str, *, message: Message, text: str) -> str:
    """Send the message to the gateway and return the id that it answers, or our own id if it answers none.

    `{to}`, `{text}`, `{kind}` and `{id}` are replaced in the address and in every text of the JSON body; without a body
    in the settings, these four are sent as a form.
    """
    values = {"to": message.address, "text": text, "kind": kind, "id": str(message.id)}
    template = settings.GATEWAY_BODY
    if template is None:
        body, content = urlencode(values).encode(), "application/x-www-form-urlencoded"
    else:
        body, content = json.dumps(_filled(template, values)).encode(), "application/json"
    headers = {"Content-Type": content, "Idempotency-Key": values["id"], **settings.GATEWAY_HEADERS}
    address = fill(settings.GATEWAY_URL, {name: quote(value, safe="") for name, value in values.items()})
    reply = http_client.post(address, body=body, headers=headers)
    if not reply.body.strip():
        return values["id"]
    if not reply.headers.get("content-type", "").startswith("application/json"):
        return values["id"]
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise DeliveryError("The gateway's answer is not the JSON that it claims to be.", uncertain=True) from error
    ids = [answer.get(name) for name in ("id", "message_id", "messageId")] if isinstance(answer, dict) else []
    return next((str(value) for value in ids if isinstance(value, str | int) and value), values["id"])


def fill(template: str, values: dict[str, str]) -> str:
    """Return the template with its placeholders replaced; other braces stay as they are."""
    return re.sub(r"\{(to|text|kind|id)\}", lambda placeholder: values[placeholder[1]], template)


def _filled(part: Any, values: dict[str, str]) -> Any:
    if isinstance(part, str):
        return fill(part, values)
    if isinstance(part, list):
        return [_filled(inner, values) for inner in part]
    if isinstance(part, dict):
        return {name: _filled(inner, values) for name, inner in part.items()}
    return part
