"""What a preset needs of a payload and no template can say. Presets name these functions."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from integrations.inbound.default_keys import text_of

_MAX_KEYS: Final = 200


def group_values(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add `groupValues`: the values by which Alertmanager grouped, without the name of the alert."""
    labels = payload.get("groupLabels")
    if not isinstance(labels, Mapping):
        return payload
    texts = [text_of(labels[key]) for key in sorted(labels)[:_MAX_KEYS] if key != "alertname"]
    return {**payload, "groupValues": [text for text in texts if text]}


def zabbix_macros(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add each value under the name of its macro, such as EVENT.ID for event_id, without macros that have no value.

    Zabbix sends `{EVENT.ID}` or `*UNKNOWN*` for a macro that does not apply: many events would have the same id.
    """
    known = {key: value for key, value in payload.items() if not _is_unresolved(value)}
    macros = {
        key.upper().replace("_", "."): text_of(value)
        for key, value in list(known.items())[:_MAX_KEYS]
        if not isinstance(value, Mapping)
    }
    return {**known, **macros}


PREPARE: Final[Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]] = {
    function.__name__: function for function in (group_values, zabbix_macros)
}


def _is_unresolved(value: Any) -> bool:
    text = value.strip() if isinstance(value, str) else ""
    return text == "*UNKNOWN*" or (text[:1] == "{" and text[-1:] == "}" and text[1:-1].replace(".", "").isupper())
