"""Unpacks compressed bodies, counting while they inflate; see decode().

Compressed input comes in pieces, so that what a broken stream held before its fault is kept.
"""

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

import brotli
import zstandard

from heartbeat_project.kernel.wording import clip

# Bytes of a body, before and after it is unpacked.
MAX_BYTES: Final = 1024 * 1024
# Content-Encoding may name several, each of which packs the result of the one before.
MAX_ENCODINGS: Final = 2
# Streams behind each other that count as one body.
_MAX_STREAMS: Final = 100
# Letters of the header that are looked at.
_HEADER_LENGTH: Final = 200
# Bytes at the beginning of a body that show whether it is text: packed data is not printable for so long.
_TEXT_LENGTH: Final = 16
_PIECE: Final = 4096
# A block of zstd may have 4 bytes and hold 128 KiB: of that many bytes not more than 2 MiB come at once.
_ZSTD_PIECE: Final = 64
# RFC 9659: a receiver of zstd over HTTP must take windows of 8 MiB, and no sender may use larger ones.
_ZSTD_WINDOW: Final = 8 * 1024 * 1024
_GZIP: Final = zlib.MAX_WBITS + 16
_BROKEN: Final = (zlib.error, brotli.error, zstandard.ZstdError, EOFError)


class TooLarge(Exception):
    """The body has more than MAX_BYTES, as it came or unpacked."""


def unpack(raw: bytes, *, headers: Mapping[str, str]) -> tuple[bytes, str]:
    """Return the body without its Content-Encoding, and what is wrong with it ("" if nothing is). Raises TooLarge.

    Of a broken stream, what came before the fault is returned. A body that is not packed as its header says is returned
    as it is: some proxies unpack bodies and leave the header.
    """
    if len(raw) > MAX_BYTES:
        raise TooLarge
    names = [name.strip().lower() for name in headers.get("content-encoding", "")[:_HEADER_LENGTH].split(",")]
    names = [name for name in names if name not in {"", "identity"}]
    if len(names) > MAX_ENCODINGS:
        return raw, f"The body has {len(names)} encodings; {MAX_ENCODINGS} are read at most."
    body, faults = raw, []
    for name in reversed(names):
        if name not in _STREAMS:
            faults.append(f"The encoding “{clip(name, 40)}” is not known.")
            break
        unpacked, is_whole = _collect(_STREAMS[name](body))
        if not is_whole and (not unpacked or _is_text(body)):
            faults.append(f"The body could not be unpacked as {name}.")
            break
        if not is_whole:
            faults.append(f"The {name} data is damaged or incomplete; {len(unpacked):,} bytes of it could be read.")
        body = unpacked
    return body, " ".join(faults)


def _is_text(body: bytes) -> bool:
    """Return whether a body that breaks as a stream is none: nearly any text begins like a bare deflate stream."""
    return body[:_TEXT_LENGTH].isascii() and body[:_TEXT_LENGTH].decode().isprintable()


def _collect(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return the pieces that come before an error, and whether all came."""
    unpacked = bytearray()
    try:
        for piece in pieces:
            unpacked += piece
            if len(unpacked) > MAX_BYTES:
                raise TooLarge
    except _BROKEN:
        return bytes(unpacked), False
    return bytes(unpacked), True


def _gzip(body: bytes) -> Iterator[bytes]:
    """Yield what the members of a gzip file hold; bytes behind them that begin no member are padding."""
    position = 0
    for _ in range(_MAX_STREAMS):
        position = yield from _inflate(body, position, _GZIP)
        if not body.startswith(b"\x1f\x8b", position):
            return
    raise EOFError


def _deflate(body: bytes) -> Iterator[bytes]:
    """Yield what a zlib stream holds (RFC 9110), or a bare deflate stream, which some clients send under that name."""
    is_zlib = len(body) > 1 and body[0] & 0x0F == zlib.DEFLATED and (body[0] << 8 | body[1]) % 31 == 0
    yield from _inflate(body, 0, zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


def _inflate(body: bytes, position: int, wbits: int) -> Generator[bytes, None, int]:
    """Yield what one stream holds, and return the position of its end."""
    stream = zlib.decompressobj(wbits)
    while not stream.eof:
        piece = body[position : position + _PIECE]
        if not piece:
            raise EOFError
        position += len(piece)
        before = stream.copy()
        try:
            unpacked = stream.decompress(piece, MAX_BYTES + 1)
        except zlib.error:
            # It keeps back what it had unpacked of this piece. Byte by byte, that comes out until the fault.
            for index in range(len(piece)):
                yield before.decompress(piece[index : index + 1], MAX_BYTES + 1)
            raise
        yield unpacked
    return position - len(stream.unused_data)


def _brotli(body: bytes) -> Iterator[bytes]:
    stream = brotli.Decompressor()
    for position in range(0, len(body), _PIECE):
        unpacked = stream.process(body[position : position + _PIECE], output_buffer_limit=_PIECE)
        # It may have taken the whole piece and still hold what that unpacks to.
        while unpacked:
            yield unpacked
            unpacked = b"" if stream.is_finished() else stream.process(b"", output_buffer_limit=_PIECE)
        if stream.is_finished():
            return
    raise EOFError


def _zstd(body: bytes) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    position = 0
    for _ in range(_MAX_STREAMS):
        stream = context.decompressobj()
        while not stream.eof:
            piece = body[position : position + _ZSTD_PIECE]
            if not piece:
                raise EOFError
            position += len(piece)
            yield stream.decompress(piece)
        position -= len(stream.unused_data)
        if position == len(body):
            return
    raise EOFError


_STREAMS: Final[Mapping[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
