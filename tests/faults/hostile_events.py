"""Requests to the address of an API integration that no sender should send, drawn from a seed."""

import gzip
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import brotli
import zstandard

from tests.contract.test_post_alert import BAD_BODIES

SENDERS = Path(__file__).parents[1] / "fixtures" / "senders"
MAX_BODY = 1 << 20


@dataclass(frozen=True)
class Request:
    """What is sent; `source` and `query` are escaped already."""

    method: str
    source: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def _fixtures() -> list[tuple[bytes, dict[str, str]]]:
    found = []
    for path in sorted(SENDERS.glob("*/*")):
        if path.name != "headers.json":
            named = path.parent / "headers.json"
            found.append((path.read_bytes(), json.loads(named.read_text()) if named.exists() else {}))
    return found


FIXTURES = _fixtures()
VALUES: list[Any] = [
    None,
    "",
    "\0",
    "\ud800",
    "\udfff\ud800",
    "x" * 50_000,
    "resolved",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}",
    "é" * 400,
    "{{ payload }}",
    "javascript:alert(1)",
    "http://[::1",
    "9999-99-99T99:99:99Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    float("nan"),
    float("-inf"),
    -0.0,
    1e308,
    5e-324,
    10**200,
    2**63,
    -(2**31) - 1,
    True,
    [],
    {},
    [[]],
    [{}],
    [None, {"a": [1, {"b": "\0"}]}],
    {"": ""},
    {"\0": "\0", "\ud800": 1},
    [{"status": "firing"}] * 300,
    ["x"] * 11_000,
    {str(number): number for number in range(10_500)},
]
KEYS = [
    "status",
    "alerts",
    "payload",
    "event",
    "title",
    "alertKey",
    "severity",
    "url",
    "timestamp",
    "source",
    "each",
    "",
]
PIECES = [
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\\ud800",
    b"\\u0000",
    b"[" * 3_000,
    b'{"a":' * 3_000,
    b"9" * 5_000,
    b"1e999999",
    b"NaN",
    b"&a=%zz&payload={",
    b"\r\n\r\n--x",
    b'"',
    b",",
    b"}",
]
CONTENT_TYPES = [
    "application/json",
    "application/json; charset=utf-16",
    "application/json; charset=nonsense",
    "application/json; charset=" + "x" * 3_000,
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    'multipart/form-data; boundary="x"',
    "multipart/form-data; boundary=" + "-" * 200,
    "text/plain; charset=euc-jp",
    "text/xml",
    "application/cloudevents-batch+json",
    "*/*",
    ";;;=;",
    "\xe9\xff",
]
# A name is followed by the values that it may have.
HEADERS = {
    "User-Agent": ["Alertmanager/0.27.0", "GitHub-Hookshot/1", "\xff" * 200],
    "X-GitHub-Event": ["workflow_run", "ping", ""],
    "X-Gitlab-Event": ["Pipeline Hook", "\xe9"],
    "Sentry-Hook-Resource": ["event_alert", "installation"],
    "Request-ID": ["\xff", "r" * 5_000],
    "Idempotency-Key": ["k1", "k" * 6_000, " ", "\xff\xfe"],
    "Webhook-Id": ["w1"],
    "Ce-Id": ["1"],
    "Ce-Source": ["/a b"],
    "X-Amz-Sns-Message-Type": ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation", "x"],
    "X-Hub-Signature-256": ["sha256=", "sha256=" + "0" * 64, "\xff"],
    "Authorization": ["Basic %%%", "Bearer \xe9", "Basic " + "A" * 3_000],
    "Cookie": ["heartbeat_session=\xff; a=b;;;"],
    "X-Forwarded-For": ["999.1.1.1, \xff"],
    "X-Forwarded-Proto": ["https", "gopher"],
    "Accept-Encoding": ["gzip", "zstd;q=\xff"],
    "If-Match": ['"x"', "*"],
    "X-CSRFToken": ["x"],
    "Expect": ["100-continue"],
    "Date": ["never"],
}
SOURCES = [
    "",
    "/",
    "/Nagios",
    "/Heartbeat",
    "/%00",
    "/%FF%FE",
    "/%ED%A0%80",
    "/" + "s" * 2_000,
    "/%0d%0aX:%20y",
    "/..;a=b",
]


def drawn(seed: str) -> Request:
    """Return the request of a seed, always the same."""
    dice = random.Random(seed)
    body, headers = dice.choice(FIXTURES)
    named = {name.title(): value for name, value in headers.items()}
    if dice.random() < 0.3:
        body = BAD_BODIES[dice.choice(list(BAD_BODIES))]
        named = {"Content-Type": "application/json"}
    for _ in range(dice.choice([0, 1, 1, 2, 4])):
        body = dice.choice(MUTATIONS)(body, dice)
    if dice.random() < 0.3:
        named["Content-Type"] = dice.choice(CONTENT_TYPES)
    for name in dice.sample(list(HEADERS), dice.choice([0, 0, 1, 2, 5])):
        named[name] = dice.choice(HEADERS[name])
    body, encoding = _packed(body, dice)
    if encoding:
        named["Content-Encoding"] = encoding
    return Request(
        method=dice.choices(["POST", "GET", "OPTIONS", "PUT", "HEAD", "BREW"], [92, 3, 2, 1, 1, 1])[0],
        source=dice.choice(SOURCES) if dice.random() < 0.3 else "",
        query=_query(dice),
        headers=tuple(named.items()),
        body=body,
    )


def _query(dice: random.Random) -> str:
    if dice.random() < 0.8:
        return ""
    names = ["payload", "data", "status", "\0", "a[b]", *(f"k{number}" for number in range(dice.choice([0, 0, 1_500])))]
    hostile = ["%", "%zz", "%00", "%FF", quote('{"title": "x"}'), "[" * 50, "&" * 50]
    return urlencode(dict.fromkeys(names, "1")) + "&payload=" + dice.choice(hostile).replace(" ", "+")


def _packed(body: bytes, dice: random.Random) -> tuple[bytes, str]:
    if dice.random() < 0.75:
        return body, ""
    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": partial(brotli.compress, quality=2),
        "zstd": zstandard.compress,
    }
    name = dice.choice(list(pack))
    inner = bytes(3 * MAX_BODY) if dice.random() < 0.05 else body
    packed = pack[name](inner)
    fate = dice.random()
    if fate < 0.2:
        packed = packed[: dice.randrange(len(packed) + 1)]
    elif fate < 0.3:
        packed = body
    elif fate < 0.4:
        return pack["gzip"](packed), f"{name}, gzip"
    return packed, dice.choice([name, name, name.upper(), "identity", "compress", f"{name}," * 20, "\xff"])


# -- mutations ----------------------------------------------------------------------------------------------------
def _flip(body: bytes, dice: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(dice.choice([1, 5, 50])):
        if changed:
            changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def _cut(body: bytes, dice: random.Random) -> bytes:
    ends = sorted(dice.randrange(len(body) + 1) for _ in range(2))
    return body[: ends[0]] + body[ends[1] :]


def _insert(body: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(body) + 1)
    return body[:at] + dice.choice(PIECES) + body[at:]


def _repeat(body: bytes, dice: random.Random) -> bytes:
    # A few are larger than an event may be.
    return (body * dice.choice([2, 20, 300]))[: MAX_BODY + dice.choice([-1, 0, 1])]


def _value(body: bytes, dice: random.Random) -> bytes:
    """Change a value somewhere in the JSON."""
    try:
        root = [json.loads(body)]
    except (ValueError, RecursionError):
        return _insert(body, dice)
    place: Any = root
    for _ in range(dice.randrange(6)):
        inner = [value for value in (place.values() if isinstance(place, dict) else place) if value]
        inner = [value for value in inner if isinstance(value, dict | list)]
        if not inner:
            break
        place = dice.choice(inner)
    value = dice.choice(VALUES)
    if isinstance(place, dict):
        place[dice.choice([*place, *KEYS])] = value
    else:
        place[dice.randrange(len(place))] = value
    return _dumped(root[0])


def _shape(body: bytes, dice: random.Random) -> bytes:
    """Make a list, an element or a text of the whole."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return _flip(body, dice)
    copies = min(dice.choice([1, 2, 250, 1_100]), MAX_BODY // (len(body) + 2))
    shapes = [
        [value] * copies,
        {"payload": value},
        {"alerts": [value] * 3},
        json.dumps(value),
        {"Message": _text(value)},
    ]
    return _dumped(dice.choice(shapes))


def _form(body: bytes, dice: random.Random) -> bytes:
    name = dice.choice(["payload", "data", "x"])
    if dice.random() < 0.5:
        return f"{name}=".encode() + quote(body).encode()
    return b'--x\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n\r\n' + body + b"\r\n--x--\r\n"


def _charset(body: bytes, dice: random.Random) -> bytes:
    return body.decode("utf-8", "replace").encode(dice.choice(["utf-16", "utf-32", "utf-8-sig", "cp037"]), "replace")


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    _flip,
    _cut,
    _insert,
    _repeat,
    _value,
    _value,
    _value,
    _shape,
    _form,
    _charset,
]


def _text(value: Any) -> str:
    return json.dumps(value)


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()
