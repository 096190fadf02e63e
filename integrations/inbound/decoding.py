"""Reads the bytes of an event as a JSON value that PostgreSQL can store (pure).

Nothing is refused for its content: what cannot be read as what it was said to be is kept as text, with a fault that
says why. Only too many bytes are an error. Everything here is linear in the length of the body, which is 1 MiB at most,
packed and unpacked: counted while unpacking, so that a small body cannot become a large one.

Errors of a parser (ValueError with its subclasses, RecursionError, MemoryError) mean that the body is not JSON.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from integrations.inbound.clean_values import MAX_KEYS, clean, clean_text
from integrations.inbound.content_encodings import TooLarge, unpack

__all__ = ["Decoded", "TooLarge", "decode", "external_id"]

EXTERNAL_ID_LENGTH: Final = 200
# Digits of a number. Longer ones are kept as text: they would be slow to read, and overflow wherever they are compared.
_MAX_DIGITS: Final = 300
# A fraction from here on, or one as small, is text too: jsonb writes 1e308 with all its zeros, and a list of them as a
# text of 30 MB.
_HUGE: Final = 1e30
_FORM: Final = "application/x-www-form-urlencoded"
# Fields of a form that hold the whole event as JSON: GitHub and Slack use the first, Uptime Kuma the second.
_WRAPPERS: Final = ("payload", "data")
# Bytes before a body, or a part of it, that say what it is.
_HEADER_LENGTH: Final = 1000
_PART_HEADERS: Final = 4096
_BOUNDARY_LENGTH: Final = 100  # RFC 2046 allows 70, and two hyphens
_BLANKS: Final = " \t\r\n\0"
_BYTE_ORDER_MARKS: Final = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
# A closed list: some other encodings of Python take quadratic time, or are none of text.
_CHARSETS: Final = frozenset(
    {"utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be", "koi8-r", "koi8-u", "macintosh"}
    | {"shift-jis", "sjis", "windows-31j", "euc-jp", "iso-2022-jp", "euc-kr", "gb2312", "gbk", "gb18030", "big5"}
    | {"latin1", *(f"iso-8859-{number}" for number in range(1, 17) if number != 12)}
    | {f"{prefix}{number}" for prefix in ("windows-", "cp") for number in range(1250, 1259)}
)
# `; name=value` or `; name="value"`, in Content-Type and Content-Disposition.
_PARAMETER: Final = re.compile(r';\s*+([\w!#$%&\'*+.^`|~-]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]*+))')


# Not urllib's function: of a million percent signs that makes a million pieces of 200 MB.
_ESCAPED: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNESCAPED: Final = {
    f"{first}{second}".encode(): bytes.fromhex(first + second)
    for first in "0123456789ABCDEFabcdef"
    for second in "0123456789ABCDEFabcdef"
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A JSON value that PostgreSQL can store, and why it is not all that was sent ("" if it is)."""

    payload: Any
    fault: str = ""


class _NotJson(Exception):
    """The text is not JSON; the message says where it ceases to be."""


def decode(raw: bytes, *, headers: Mapping[str, str], query: Mapping[str, str]) -> Decoded:
    """Read a body, or the query if there is no body. Raises TooLarge, and nothing else.

    The names of `headers` are in lower case. JSON is tried first, since senders write wrong content types: then forms,
    then text. The query of a request with a body is not looked at.
    """
    body, unpack_fault = unpack(raw, headers=headers)
    value, read_fault = _read(body, headers.get("content-type", "")) if body.strip() else (_unwrap(_first(query)), "")
    payload, loss = clean(value)
    return Decoded(payload, " ".join(text for text in (read_fault, unpack_fault, loss) if text))


def external_id(headers: Mapping[str, str], payload: Any) -> str:
    """Return the sender's own name of this event, the same when it is sent again; "" if it has none.

    A longer one than EXTERNAL_ID_LENGTH ends with its hash. CloudEvents and SNS have theirs in the body too.
    """
    found = clean_text(next((text for text in _ids(headers, payload) if text), ""))
    if len(found) <= EXTERNAL_ID_LENGTH:
        return found
    digest = sha256(found.encode()).hexdigest()
    return f"{found[: EXTERNAL_ID_LENGTH - len(digest) - 1]}:{digest}"


def _ids(headers: Mapping[str, str], payload: Any) -> Iterator[str]:
    """Yield the places of an id in their order, many of them empty."""
    fields = payload if isinstance(payload, dict) else {}
    for name in ("idempotency-key", "webhook-id", "x-github-delivery", "x-gitlab-event-uuid", "x-amz-sns-message-id"):
        yield headers.get(name, "").strip()
    if "TopicArn" in fields:
        yield _as_id(fields.get("MessageId"))
    yield _pair(headers.get("ce-source", "").strip(), headers.get("ce-id", "").strip())
    if "specversion" in fields:
        yield _pair(_as_id(fields.get("source")), _as_id(fields.get("id")))
    if "sentry-hook-resource" in headers:
        yield headers.get("request-id", "").strip()


def _as_id(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _pair(source: str, name: str) -> str:
    # A source is a URI reference, which has no space; without one, the name alone is not unique.
    return f"{source} {name}" if source and name else ""


def _read(body: bytes, content_type: str) -> tuple[Any, str]:
    """Return the value of a body and why it is not what it was said to be."""
    kind, parameters = _header_parts(content_type)
    text = _decode_text(body, parameters.get("charset", ""))
    stripped = text.strip(_BLANKS)
    why_not = ""
    if kind.endswith("json") or stripped.startswith(("{", "[")):
        try:
            return _parse_json(stripped), ""
        except _NotJson as error:
            why_not = str(error)
    is_multipart = kind == "multipart/form-data" or (body.startswith(b"--") and b"form-data;" in body[:_PART_HEADERS])
    if is_multipart and (fields := _multipart_fields(body, parameters)):
        return _unwrap(fields), ""
    form = body.strip(_BLANKS.encode())
    if _is_form(form, kind):
        return _unwrap(_form_fields(form, parameters.get("charset", ""))), ""
    if is_multipart:
        return text, "The form has no fields that can be read."
    # Text is a fault only if it was not announced as text.
    is_text = kind.startswith("text/") or kind.endswith("xml")
    return text, "" if is_text and not why_not else f"not JSON{why_not}."


def _parse_json(text: str) -> Any:
    """Return the value of a JSON text, in which line breaks may stand in strings. Raises _NotJson."""
    try:
        return _JSON.decode(text)
    except json.JSONDecodeError as error:
        raise _NotJson(f": {error.msg} (line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise _NotJson(": it is nested too deeply") from error
    except (ValueError, MemoryError) as error:
        raise _NotJson("") from error


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MAX_DIGITS else digits


def _fraction(digits: str) -> float | str:
    if len(digits) > _MAX_DIGITS:
        return digits
    number = float(digits)
    return number if number == 0 or 1 / _HUGE <= abs(number) < _HUGE else digits


# The constants are NaN, Infinity and -Infinity. Templates of people often put a text with line breaks into quotes as it
# is, which `strict` would not take.
_JSON: Final = json.JSONDecoder(parse_int=_integer, parse_float=_fraction, parse_constant=str, strict=False)


def _decode_text(data: bytes, charset: str) -> str:
    """Return bytes as text: in their own encoding if it is true, else as UTF-8, else as Windows-1252."""
    name = charset.strip().lower().replace("_", "-")
    named = [name] if name in _CHARSETS else []
    marked = [encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)]
    for encoding in (*named, *marked, "utf-8"):
        try:
            return data.decode(encoding).removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", "replace")


def _header_parts(header: str) -> tuple[str, dict[str, str]]:
    """Return the value of a header in lower case, and its parameters."""
    header = header[:_HEADER_LENGTH]
    parameters: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(header):
        parameters.setdefault(name.lower(), _unquote(quoted) or bare)
    return header.partition(";")[0].strip().lower(), parameters


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _unwrap(fields: dict[str, Any]) -> Any:
    """Return the event that a form holds as JSON in one of its fields, else the form itself.

    Uptime Kuma sends its objects one by one in a query, so that a field which is an object becomes one.
    """
    for name in _WRAPPERS:
        if isinstance(value := _object_or_text(fields.get(name, ""), "{["), dict | list):
            return value
    return {name: _object_or_text(text, "{") for name, text in fields.items()}


def _object_or_text(text: str, openings: str) -> Any:
    stripped = text.strip(_BLANKS)
    if not stripped.startswith(tuple(openings)):
        return text
    try:
        return _parse_json(stripped)
    except _NotJson:
        return text


def _first(fields: Mapping[str, str]) -> dict[str, str]:
    """Return at most one field more than are kept, so that the loss is still seen."""
    return dict(pair for pair, _ in zip(fields.items(), range(MAX_KEYS + 1), strict=False))


def _is_form(body: bytes, kind: str) -> bool:
    """Return whether a body is a form: its first name has no blanks, and if nobody says so, nothing has blanks."""
    name, equals, _ = body[:_HEADER_LENGTH].partition(b"=")
    if not equals or name.split(None, 1) != [name] or name.startswith((b"<", b"{", b"[", b'"', b"--")):
        return False
    is_unsaid = kind in {"", "application/octet-stream"} or kind.endswith("json")
    return kind == _FORM or (is_unsaid and body.split(None, 1) == [body])


def _form_fields(body: bytes, charset: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for pair in body.replace(b"+", b" ").split(b"&", MAX_KEYS + 1)[: MAX_KEYS + 1]:
        if pair:
            name, _, value = pair.partition(b"=")
            fields[_decode_text(_unescape(name), charset)] = _decode_text(_unescape(value), charset)
    return fields


def _unescape(text: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: _UNESCAPED[match[1]], text)


def _multipart_fields(body: bytes, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a form in parts (RFC 7578), without its files."""
    first_line = body[:_HEADER_LENGTH].split(b"\n", 1)[0].strip()
    for delimiter in (b"--" + parameters.get("boundary", "").encode("utf-8", "replace"), first_line):
        if 2 < len(delimiter) <= _BOUNDARY_LENGTH and (fields := _fields_between(delimiter, body, parameters)):
            return fields
    return {}


def _fields_between(delimiter: bytes, body: bytes, parameters: Mapping[str, str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    # What stands before the first delimiter is no part, and what stands behind the last begins with "--".
    for part in body.split(delimiter, MAX_KEYS + 2)[1 : MAX_KEYS + 2]:
        if part.startswith(b"--"):
            break
        head, value = _part(part)
        if head:
            name, text = _field(head, value, parameters.get("charset", ""))
            if name is not None:
                fields[name] = text
    return fields


def _part(part: bytes) -> tuple[str, bytes]:
    """Return the headers of a part, and its content."""
    for blank_line in (b"\r\n\r\n", b"\n\n"):
        end = part.find(blank_line, 0, _PART_HEADERS)
        if end >= 0:
            content = part[end + len(blank_line) :]
            ending = b"\r\n" if content.endswith(b"\r\n") else b"\n"
            return part[:end].decode("utf-8", "replace"), content.removesuffix(ending)
    return "", b""


def _field(head: str, value: bytes, charset: str) -> tuple[str | None, str]:
    """Return the name of a part and its text; None as the name of a file."""
    name: str | None = None
    for line in head.splitlines():
        key, _, rest = line.partition(":")
        kind, parameters = _header_parts(rest)
        if key.strip().lower() == "content-disposition":
            if kind != "form-data" or "filename" in parameters or "filename*" in parameters:
                return None, ""
            name = parameters.get("name")
        elif key.strip().lower() == "content-type":
            charset = parameters.get("charset", charset)
    return name, _decode_text(value, charset) if name is not None else ""
