"""The bodies of stored events as people read them: what was understood, and what arrived."""

import base64
import json
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import BinaryField, QuerySet
from django.db.models.functions import Substr

from integrations.inbound.decoding import TooLarge, decode
from integrations.models.events import InboundEvent
from integrations.models.integrations import InboundIntegration

# Bytes of a body in a list of events, and characters of its payload as JSON. A body may have 1 MiB.
LIST_LIMIT: Final = 65_536
# The longest character of UTF-8 has 4 bytes, so at most 3 remain of one that was cut.
_MOST_OF_A_CHARACTER: Final = 3


@dataclass(frozen=True, slots=True)
class Body:
    """A body: `payload` is what was understood, `raw` what arrived, as "text" or in "base64"."""

    payload: Any
    raw: str
    raw_encoding: str
    truncated: bool = False


def for_list(events: QuerySet[InboundEvent]) -> QuerySet[InboundEvent]:
    """Load no more of each body than a list shows."""
    raw_start = Substr("raw", 1, LIST_LIMIT, output_field=BinaryField())
    return events.defer("raw").annotate(raw_start=raw_start)


def body_of(event: InboundEvent) -> Body:
    """Return the whole body."""
    raw = bytes(event.raw)
    return Body(_payload(event, raw), *_readable(raw))


def body_in_list(event: InboundEvent) -> Body:
    """Return the body of an event that was loaded by `for_list`; one that is too long is cut, without a payload."""
    raw = bytes(event.raw_start)  # type: ignore[attr-defined] # an annotation
    if event.size > LIST_LIMIT:
        return Body(None, *_readable(raw), truncated=True)
    payload = _payload(event, raw)
    if len(json.dumps(payload, ensure_ascii=False)) > LIST_LIMIT:
        return Body(None, *_readable(raw), truncated=True)
    return Body(payload, *_readable(raw))


def _payload(event: InboundEvent, raw: bytes) -> Any:
    """Return what the mapping reads; None for a body that is too large when it is unpacked, or was not read yet."""
    if event.type == InboundIntegration.Type.EMAIL:
        return event.content
    try:
        return decode(raw, headers=event.headers, query=event.query).payload
    except TooLarge:
        return None


def _readable(raw: bytes) -> tuple[str, str]:
    """Return the text of bytes and "text", or their Base64 and "base64"; half a character at the end is left out."""
    for length in range(len(raw), max(-1, len(raw) - _MOST_OF_A_CHARACTER - 1), -1):
        try:
            return raw[:length].decode(), "text"
        except UnicodeDecodeError as error:
            if error.start < len(raw) - _MOST_OF_A_CHARACTER:
                break
    return base64.b64encode(raw).decode(), "base64"
