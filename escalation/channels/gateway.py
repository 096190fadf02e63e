"""A plain HTTP gateway for SMS or voice, described by settings: an address and a body with places to fill."""

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings

from escalation.channels import outgoing
from escalation.channels.base import DeliveryError, Message


def send(kind: str, *, message: Message, text: str) -> str:
    """Hand the message to the gateway and return the id it gave, or our own where it gave none.

    `{to}`, `{text}`, `{kind}` and `{id}` are filled into the address and into every text of the JSON body; without a
    body these four go as a form.
    """
    values = {"to": message.address, "text": text, "kind": kind, "id": str(message.id)}
    template = settings.GATEWAY_BODY
    if template is None:
        body, content = urlencode(values).encode(), "application/x-www-form-urlencoded"
    else:
        body, content = json.dumps(_filled(template, values)).encode(), "application/json"
    headers = {"Content-Type": content, "Idempotency-Key": values["id"], **settings.GATEWAY_HEADERS}
    address = fill(settings.GATEWAY_URL, {name: quote(value, safe="") for name, value in values.items()})
    reply = outgoing.post(address, body=body, headers=headers)
    if not reply.body.strip():
        return values["id"]
    if not reply.headers.get("content-type", "").startswith("application/json"):
        return values["id"]
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError) as error:
        raise DeliveryError("The answer said that it is JSON, and was not.", uncertain=True) from error
    found = [answer.get(name) for name in ("id", "message_id", "messageId")] if isinstance(answer, dict) else []
    return next((str(value) for value in found if isinstance(value, str | int) and value), values["id"])


def fill(template: str, values: dict[str, str]) -> str:
    """Return the template with its places filled; other braces stay what they are."""
    return re.sub(r"\{(to|text|kind|id)\}", lambda place: values[place[1]], template)


def _filled(part: Any, values: dict[str, str]) -> Any:
    if isinstance(part, str):
        return fill(part, values)
    if isinstance(part, list):
        return [_filled(inner, values) for inner in part]
    if isinstance(part, dict):
        return {name: _filled(inner, values) for name, inner in part.items()}
    return part
