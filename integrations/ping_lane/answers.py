"""The HTTP answers to pings, which the ping lane and the view share."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from heartbeat_project.kernel.problems import CONTENT_TYPE, RETRY_AFTER_SECONDS, STORE_AWAY, problem
from integrations.ping_lane.batch import Receipt, rfc3339


class RawResponse(NamedTuple):
    """An HTTP answer; `content` is the body, as JSON in bytes."""

    status: int
    content: bytes
    content_type: str = CONTENT_TYPE
    headers: Mapping[str, str] = MappingProxyType({})


def _problem(status: int, detail: str, code: str, **headers: str) -> RawResponse:
    return RawResponse(status, _json(problem(status, detail=detail, code=code)), headers=headers)


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


UNKNOWN = _problem(404, "No heartbeat has this URL. Copy the API URL from its page again.", "not_found")
ONLY_POST = _problem(405, "Ping with POST.", "method_not_allowed", Allow="POST")
GET_OR_POST = _problem(405, "Ping with POST, GET or HEAD.", "method_not_allowed", Allow="POST, GET, HEAD")
TOO_LARGE = _problem(413, "The body of a ping may have at most 1 MiB (1,048,576 bytes).", "too_large")
HEAD_TOO_LARGE = _problem(431, "The address and headers of a request may have at most 64 KiB.", "head_too_large")
BROKEN_OFF = _problem(400, "The body of the ping broke off, or its chunks are no chunks.", "broken_off")
TOO_SLOW = _problem(408, "The body of the ping did not arrive in time.", "too_slow")
BUSY = _problem(
    503,
    "More pings are waiting than can be kept. This one was not stored. Try again shortly.",
    "busy",
    **{"Retry-After": str(RETRY_AFTER_SECONDS)},
)
PULSE = RawResponse(200, b"{}", "application/json")
AWAY = RawResponse(503, _json(STORE_AWAY), headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def answer_to(receipt: Receipt | None) -> RawResponse:
    """Return the answer to an arrival; a receipt of None stands for an unknown token."""
    if receipt is None:
        return UNKNOWN
    if receipt.status == "method":
        return GET_OR_POST if receipt.allows_get else ONLY_POST
    deadline_at = f'"{rfc3339(receipt.deadline_at)}"' if receipt.deadline_at else "null"
    body = f'{{"status":"{receipt.status}","received_at":"{receipt.received_at}","deadline_at":{deadline_at}}}'
    return RawResponse(200, body.encode(), "application/json")
