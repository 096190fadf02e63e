"""What is inside an event that another system only passed on: Amazon SNS and CloudEvents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from integrations.inbound.default_keys import text_of
from integrations.inbound.values import json_value

_SNS_TYPES: Final = ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation")
_MAX_LAYERS: Final = 3
_MAX_MESSAGE: Final = 300_000  # letters; SNS takes 256 KiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwrapped:
    """An event and what is inside.

    `payload` is what templates and rules see: what is inside, before what is around it. `inner` is what is inside
    alone, `hints` has known keys of what is around. `status` and `key` are those of the carrier, "" if it has none.
    """

    payload: Any
    inner: Any
    hints: Mapping[str, Any] = field(default_factory=dict)
    status: str = ""
    key: str = ""
    is_handshake: bool = False


def unwrap(payload: Any, headers: Mapping[str, str]) -> Unwrapped:
    """Return what is inside an event; the event itself if it carries nothing else."""
    unwrapped = _binary_cloud_event(payload, headers)
    for _ in range(_MAX_LAYERS):
        layer = _sns(unwrapped) or _cloud_event(unwrapped)
        if layer is None:
            break
        unwrapped = layer
    return unwrapped


def _sns(outer: Unwrapped) -> Unwrapped | None:
    carrier = outer.inner
    if not isinstance(carrier, Mapping) or carrier.get("Type") not in _SNS_TYPES or "TopicArn" not in carrier:
        return None
    message = carrier.get("Message")
    value = None
    if isinstance(message, str) and message.lstrip()[:1] == "{" and len(message) <= _MAX_MESSAGE:
        value = json_value(message)
    hints = {"subject": carrier.get("Subject")}
    if isinstance(value, Mapping):
        return Unwrapped(payload=_over(outer.payload, value), inner=value, hints=hints)
    return Unwrapped(
        payload=outer.payload,
        inner={**hints, "message": message},
        is_handshake=carrier["Type"] != "Notification",
    )


def _cloud_event(outer: Unwrapped) -> Unwrapped | None:
    carrier = outer.inner
    if not isinstance(carrier, Mapping) or not all(
        text_of(carrier.get(key)) for key in ("specversion", "type", "source")
    ):
        return None
    data = carrier.get("data", {})
    payload = _over(outer.payload, data) if isinstance(data, Mapping) else outer.payload
    return _from_attributes(carrier, payload=payload, inner=data)


def _binary_cloud_event(payload: Any, headers: Mapping[str, str]) -> Unwrapped:
    if "ce-specversion" not in headers:
        return Unwrapped(payload=payload, inner=payload)
    attributes = {name: headers.get(f"ce-{name}") for name in ("type", "source", "subject")}
    return _from_attributes(attributes, payload=payload, inner=payload)


def _from_attributes(attributes: Mapping[str, Any], *, payload: Any, inner: Any) -> Unwrapped:
    kind, subject = text_of(attributes.get("type")), text_of(attributes.get("subject"))
    return Unwrapped(
        payload=payload,
        inner=inner,
        hints={"subject": f"{kind} {subject}".strip()},
        # The last word of a type such as "com.example.disk.resolved".
        status=kind[-100:].replace("_", ".").replace("-", ".").rpartition(".")[2],
        key=f"{text_of(attributes.get('source'))} {subject}" if subject else "",
    )


def _over(outer: Any, inner: Mapping[str, Any]) -> Any:
    return {**outer, **inner} if isinstance(outer, Mapping) else inner
