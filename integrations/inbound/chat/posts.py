"""One request to a chat platform, and what its answer means for the message."""

import json
from collections.abc import Mapping
from typing import Any

from escalation.channels import http_client
from escalation.channels.base import DeliveryError
from integrations.inbound.chat.requests import name_in
from integrations.inbound.chat.slack import PASSING_ERRORS
from integrations.inbound.chat.wire import json_object


class NotTaken(DeliveryError):
    """The message cannot be written, now or later."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


def post_json(url: str, body: Mapping[str, Any], *, headers: Mapping[str, str]) -> str:
    """Post JSON; return the platform's id of the message, "" if it names none. Raises DeliveryError.

    Slack answers 200 with `ok: false` for what it does not take.
    """
    own_headers = {"Content-Type": "application/json; charset=utf-8", **headers}
    reply = http_client.post(url, body=json.dumps(body).encode(), headers=own_headers)
    answer = json_object(reply.body) or {}
    if answer.get("ok") is False:
        error = name_in(answer, "error") or "it does not say why"
        raise DeliveryError(f"Slack did not take it: {error}", permanent=error not in PASSING_ERRORS)
    return name_in(answer, "ts") or name_in(answer, "id")
