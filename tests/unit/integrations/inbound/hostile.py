"""Bodies made to hurt a parser: small ones by chance, and ones of the full size."""

import gzip
import itertools
import json
import random
import zlib
from collections.abc import Iterator

import brotli
import zstandard

from integrations.inbound.content_encodings import MAX_BYTES

SCRAPS = [
    *('{"a":', "[", "]", "}", ",", ":", '"', "\\", "\\u0000", "\\ud800", "\\udc00", "\\ud83d\\ude00", "\0", "\r\n\r\n"),
    *(
        "NaN",
        "-Infinity",
        "1e999",
        "-",
        "0.",
        "1" * 5000,
        "1e-999",
        "null",
        "true",
        '{"":""}',
        '"\\u00e9"',
        "é",
        "€",
        "😀",
    ),
    *("payload=", "data=", "&", "=", "%", "%00", "%ff", "+", "--x", "--x--", "\n", " ", "\t", "\ufeff", "\u2028"),
    *(
        'Content-Disposition: form-data; name="a"',
        "name=",
        'filename="b"',
        "[" * 80,
        '{"a":' * 70,
        "]" * 80,
        "<?xml",
        "&#0;",
    ),
]
TYPES = [
    *(None, "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"),
    *(
        "multipart/form-data",
        "application/json; charset=utf-16",
        "text/plain; charset=iso-2022-jp",
        "a/b; charset=idna",
    ),
    *("application/json; charset=shift_jis", ';="\\', "\ud800\0", "; " * 600, 'x; a="' + "\\" * 900, "x" * 5000),
]
ENCODINGS = [None] * 8 + ["gzip", "deflate", "br", "zstd", "gzip, br", "br, zstd, gzip", "no", ", ,", "\0\ud800"]
PACKERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstandard.compress,
}


def bodies(*, seed: int, count: int) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Yield bodies with their headers: scraps of formats in a row, packed or not, some of them damaged."""
    chance = random.Random(seed)
    for _ in range(count):
        body = "".join(chance.choices(SCRAPS, k=chance.randrange(12))).encode()
        if chance.random() < 0.3:
            body = json.dumps({scrap: chance.choices(SCRAPS, k=2) for scrap in chance.choices(SCRAPS, k=4)}).encode()
        if chance.random() < 0.1:
            body = chance.randbytes(chance.randrange(200))
        encoding = chance.choice(ENCODINGS)
        for name in (encoding or "").split(", "):
            body = PACKERS[name](body) if name in PACKERS and chance.random() < 0.8 else body
        if body and chance.random() < 0.2:
            body = body[: chance.randrange(len(body))]
        if body and chance.random() < 0.2:
            where = chance.randrange(len(body))
            body = body[:where] + chance.randbytes(3) + body[where:]
        headers = {"content-type": chance.choice(TYPES), "content-encoding": encoding}
        yield body, {name: value for name, value in headers.items() if value is not None}


def full(piece: str, begin: str = "", end: str = "") -> bytes:
    """Return a body of the full size of this piece, again and again."""
    room = MAX_BYTES - len(begin.encode()) - len(end.encode())
    return (begin + piece * (room // len(piece.encode())) + end).encode()


def numbered(form: str, begin: str, end: str, separator: str = ",") -> bytes:
    """Return a body of the full size of many different pieces."""
    pieces, size = [], len(begin) + len(end)
    for number in itertools.count():
        piece = form % number
        size += len(piece.encode()) + len(separator)
        if size > MAX_BYTES:
            return (begin + separator.join(pieces) + end).encode()
        pieces.append(piece)
    raise AssertionError


SIZED = {
    "open brackets": lambda: full("["),
    "open objects": lambda: full('{"a":'),
    "empty lists": lambda: full("[],", "[", "[]]"),
    "empty objects": lambda: full("{},", "[", "{}]"),
    "small objects": lambda: full('{"":0},', "[", "0]"),
    "objects in objects": lambda: full('{"":{}},', "[", "0]"),
    "small lists": lambda: full("[1],", "[", "0]"),
    "deep trees": lambda: full("[" * 60 + "]" * 60 + ",", "[", "0]"),
    "too deep trees": lambda: full("[" * 600 + "]" * 600 + ",", "[", "0]"),
    "too deep and wide": lambda: full('{"":1},', "[" * 70, "0" + "]" * 70),
    "too deep numbers": lambda: full("1e15,", "[" * 70, "0" + "]" * 70),
    "numbers": lambda: full("1,", "[", "1]"),
    "large numbers": lambda: full("1000,", "[", "1]"),
    "fractions": lambda: full("1.5,", "[", "1]"),
    "huge numbers": lambda: full("1e308,", "[", "1]"),
    "fractions with exponents": lambda: full("1e29,", "[", "1]"),
    "one number": lambda: full("1"),
    "long numbers": lambda: full("1" * 100_000 + ",", "[", "1]"),
    "long fractions": lambda: full("0." + "1" * 250 + ",", "[", "1]"),
    "numbers just kept": lambda: full("1" * 300 + ",", "[", "1]"),
    "constants": lambda: full("NaN,", "[", "NaN]"),
    "many keys": lambda: numbered('"%x":0', "{", "}"),
    "many long keys": lambda: numbered('"kkkkkkkkkkkkkkkkkkkkkkkkkkkk%x":0', "{", "}"),
    "one key": lambda: full('"":0,', "{", '"":0}'),
    "strings": lambda: full('"",', "[", '""]'),
    "other strings": lambda: numbered('"%xé"', "[", "]"),
    "escapes": lambda: full("\\ud800", '["', '"]'),
    "escaped NUL": lambda: full("\\u0000", '["', '"]'),
    "short escapes": lambda: full('"\\ud800",', "[", "0]"),
    "open string": lambda: full('\\"', '["'),
    "white space": lambda: full(" ", "", "x"),
    "line breaks and an error": lambda: full("\n", "[", "x"),
    "bytes of no encoding": lambda: b"\xff" * MAX_BYTES,
    "NUL": lambda: bytes(MAX_BYTES),
    "form": lambda: numbered("%x=1", "", "", "&"),
    "empty form": lambda: full("&", "a=1"),
    "percent signs": lambda: full("%41", "a="),
    "percent signs and letters": lambda: full("é%41", "a="),
    "bad percent signs": lambda: full("%", "a="),
    "objects in a form": lambda: numbered("%x={", "", "", "&"),
    "form in a form": lambda: full("%5B", "payload="),
    "parts": lambda: numbered('--x\r\nContent-Disposition: form-data; name="%x"\r\n\r\n1', "", "--x--", "\r\n"),
    "small parts": lambda: full("--x\n", "", "form-data;"),
    "nearly boundaries": lambda: full("-" * 69 + "\r\n", "-" * 70 + "x\r\nform-data;"),
    "parameters": lambda: full('; a="\\', '--x\r\nContent-Disposition: form-data; name="a"'),
    "angle brackets": lambda: full("<a b=c>"),
}
