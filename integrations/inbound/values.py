"""JSON values as templates and conditions read them: looked up by key, as text and as numbers, all of it bounded."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

# Characters of any one text that is read or made.
TEXT_LIMIT: Final = 20_000
# Elements of a list that are joined to a text.
LIST_LIMIT: Final = 100
DEPTH_LIMIT: Final = 64

_SEPARATOR: Final = ", "
_NUMBER_LENGTH: Final = 50
_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_SCALARS: Final = (bool, int, float, datetime)


def lookup(value: Any, key: Any) -> Any:
    """Return the value of a key of an object, or of an index of a list; None if there is none.

    Only JSON keys and indices are found, never an attribute of a Python object. Keys that begin with "_" are not found.
    """
    found = None
    if isinstance(key, bool):
        return None
    if isinstance(value, Mapping):
        if isinstance(key, int):
            key = str(key)
        if isinstance(key, str) and not key.startswith("_"):
            found = value.get(key)
    elif isinstance(value, list):
        found = _element(value, key)
    return cut(found)


def cut(value: Any) -> Any:
    """Return the value; of a text at most 20,000 characters."""
    return value[:TEXT_LIMIT] if isinstance(value, str) and len(value) > TEXT_LIMIT else value


def text_of(value: Any) -> str:
    """Return the value as text: "" for null, a list joined by ", ", an object as JSON; at most 20,000 characters."""
    if isinstance(value, str):
        return value[:TEXT_LIMIT]
    if isinstance(value, list):
        return joined(value, _SEPARATOR)
    return _scalar_text(value) if value is None or isinstance(value, _SCALARS) else json_text(value)


def _scalar_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def joined(values: list[Any], separator: str) -> str:
    """Return the texts of the first 100 elements with a separator between them; at most 20,000 characters."""
    texts: list[str] = []
    length = 0
    for value in values[:LIST_LIMIT]:
        text = json_text(value) if isinstance(value, list) else text_of(value)
        texts.append(text)
        length += len(text) + len(separator)
        if length > TEXT_LIMIT:
            break
    return separator.join(texts)[:TEXT_LIMIT]


def json_text(value: Any) -> str:
    """Return the beginning of the value as JSON, at most 20,000 characters; no more than that is encoded."""
    pieces: list[str] = []
    length = 0
    for piece in _ENCODER.iterencode(cut(value)):
        pieces.append(piece)
        length += len(piece)
        if length > TEXT_LIMIT:
            break
    return "".join(pieces)[:TEXT_LIMIT]


def json_value(text: str) -> Any:
    """Return the value that a JSON text says, None if it says none.

    It has no NUL, no lone surrogate, no number that is not finite or has more than 18 digits, and a depth of 64: what
    is deeper is left out.
    """
    try:
        value = json.loads(text, parse_int=_whole_number, parse_float=_float, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return _clean(value, 1)


def number_of(value: Any) -> int | float | None:
    """Return a number, or the number that a text says; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        if text[:1] not in _NUMBER_STARTS or len(text) > _NUMBER_LENGTH or "_" in text:
            return None
        value = text
    elif not isinstance(value, int | float):
        return None
    try:
        number = int(value) if isinstance(value, int) else float(value)
        return number if math.isfinite(number) else None
    except (OverflowError, ValueError):
        return None


def is_empty(value: Any) -> bool:
    """Return whether the value is missing, null, a text without letters, or a list or object without content."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, list | Mapping) and not value)


def clean_text(text: str) -> str:
    """Return the text with U+FFFD in place of NUL and of lone surrogates, which PostgreSQL does not store."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _element(values: list[Any], key: Any) -> Any:
    if isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) <= 9:
        key = int(key)
    if isinstance(key, int) and -len(values) <= key < len(values):
        return values[key]
    return None


def _plain(value: Any) -> Any:
    """Return what JSON can say of a value that is not a JSON value."""
    return dict(value) if isinstance(value, Mapping) else str(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=_plain)


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= 18 else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if not isinstance(value, list | dict):
        return value
    if depth > DEPTH_LIMIT:
        return None
    if isinstance(value, list):
        return [_clean(element, depth + 1) for element in value]
    return {clean_text(key): _clean(element, depth + 1) for key, element in value.items()}
