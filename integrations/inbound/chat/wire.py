"""Reads the bodies of requests within bounds, and decides to which addresses answers may go (pure)."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from integrations.inbound.chat.requests import MAX_FIELDS, MAX_URL

_PORTS: Final = {"http": 80, "https": 443}


def json_object(raw: bytes | str) -> Mapping[str, Any] | None:
    """Return the object that a body holds; None for anything else."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def form(raw: bytes) -> dict[str, str] | None:
    """Return the fields of a form, of a repeated one the first; None for too many, or what is none."""
    try:
        pairs = parse_qsl(
            raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace"
        )
    except ValueError:
        return None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def is_at(url: str, *bases: str) -> bool:
    """Return whether an address that came with a request leads to the host and port of one of ours."""
    if not url or len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    place = _place(url)
    return place is not None and any(place == _place(base) for base in bases if base)


def _place(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname.lower(), port
