"""Requests to providers and endpoints: what an answer, or none, means for a delivery."""

from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from django.conf import settings

from escalation.channels.base import DeliveryError
from escalation.channels.send_deadline import seconds_left
from heartbeat_project.kernel import http_client
from heartbeat_project.kernel.database import release_connection
from heartbeat_project.kernel.http_client import HttpReply

MAX_ANSWER_BYTES: Final = 64 * 1024
# 4xx that are about the moment, not about the request.
PASSING: Final = frozenset({408, 425, 429})
LONGEST_RETRY_AFTER: Final = timedelta(hours=1)
# Letters of an answer that stand in the error text.
EXCERPT: Final = 200


class Refused(DeliveryError):
    """The other side answered, and it was no success; `reply` is its answer."""

    def __init__(self, reply: HttpReply, message: str, *, permanent: bool) -> None:
        super().__init__(message, permanent=permanent, retry_after=_retry_after(reply))
        self.reply = reply


def post(url: str, *, body: bytes, headers: Mapping[str, str], seconds: float | None = None) -> HttpReply:
    """Send a POST and return the answer if it is a 2xx.

    `seconds` is the limit for the whole exchange, by default as the settings have it; it never lasts longer than the
    send that it is part of, see escalation.channels.send_deadline.

    Raises Refused for any other answer, and DeliveryError without one: `uncertain` once the request was on its way,
    `unreached` before, and `permanent` for an address that will not be better next time, such as one that is not
    public.
    """
    release_connection()
    limit = seconds_left(settings.OUTGOING_TIMEOUT_SECONDS if seconds is None else seconds)
    try:
        reply = http_client.post(url, body=body, headers=headers, seconds=limit, max_bytes=MAX_ANSWER_BYTES)
    except http_client.NoAnswer as error:
        raise DeliveryError(str(error), uncertain=error.sent, unreached=not error.sent) from error
    except http_client.HttpError as error:
        raise DeliveryError(str(error), permanent=True) from error
    if 200 <= reply.status < 300:
        return reply
    permanent = 300 <= reply.status < 500 and reply.status not in PASSING
    raise Refused(reply, _status_text(reply), permanent=permanent)


def _status_text(reply: HttpReply) -> str:
    """Say what was answered, in one line."""
    try:
        phrase = f" {HTTPStatus(reply.status).phrase}"
    except ValueError:
        phrase = ""
    if 300 <= reply.status < 400:
        return f"{reply.status}{phrase}: redirects are not followed. Enter the address it leads to."
    excerpt = " ".join(reply.text.split())[:EXCERPT]
    return f"{reply.status}{phrase}{': ' + excerpt if excerpt else ''}"


def _retry_after(reply: HttpReply) -> timedelta | None:
    """Return how long the other side asks to be left alone, in whole seconds and at most an hour."""
    value = reply.headers.get("retry-after", "").strip()
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        return None
    return min(timedelta(seconds=int(value)), LONGEST_RETRY_AFTER)
