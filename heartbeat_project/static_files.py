"""Static files: their hashed names, what browsers keep for a year, and files sent part by part.

The names need no build step: `/static/heartbeat/page.<hash>.js` is computed from the source file when a page first
names it. Under ASGI, Django reads other files to their end before it sends the first byte, and the whole of it stays in
memory until the client has read it and garbage is collected, which this process does rarely.
"""

import asyncio
import gzip
import hashlib
import mimetypes
import posixpath
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import brotli
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.core.exceptions import SuspiciousFileOperation
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.utils._os import safe_join
from whitenoise.middleware import WhiteNoiseFileResponse, WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

PART_BYTES: Final = 64 * 1024
DIGITS: Final = 12  # of the hash in a name
A_YEAR: Final = 365 * 86_400
# Larger files keep their names, and are sent part by part.
MAX_BYTES: Final = 1024 * 1024
_HASHED: Final = re.compile(rf"(?P<stem>.+)\.(?P<digest>[0-9a-f]{{{DIGITS}}})(?P<ending>\.[A-Za-z0-9]+)")
# What files name relative to themselves: url(...) in style sheets, and imports of our modules.
_IN_CSS: Final = re.compile(r"""(url\(\s*["']?)(?!data:|https?:|[#/])([^"')#?]+)""")
_IN_MODULES: Final = re.compile(r"""(\b(?:from|import)\s*")(\./[\w./-]+\.js)""")
_NAMES: Final = {".css": _IN_CSS, ".js": _IN_MODULES}
_REFUSED: Final = re.compile(r";q=0(\.0*)?$")
_COMPRESSED: Final = frozenset({".css", ".js", ".svg", ".json", ".html", ".txt", ".map"})
# As good as the highest levels within some percent, in a tenth of their time.
_BROTLI_QUALITY: Final = 9
_ENCODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "br": lambda body: brotli.compress(body, quality=_BROTLI_QUALITY),
    "gzip": lambda body: gzip.compress(body, mtime=0),
}


@dataclass(slots=True)
class Asset:
    """A static file as it is sent under its hashed name; `encoded` fills as clients ask for encodings."""

    body: bytes
    digest: str
    content_type: str
    is_compressed: bool
    encoded: dict[str, bytes] = field(default_factory=dict)

    def encode(self, accepted: str) -> tuple[str, bytes]:
        """Return the best encoding among those of an Accept-Encoding header, and the body in it; "" for the plain one.

        A client that refuses an encoding by `;q=0` gets the plain body.
        """
        parts = [part.replace(" ", "").lower() for part in accepted.split(",")]
        names = {part.partition(";")[0] for part in parts if not _REFUSED.search(part)}
        for encoding, compress in _ENCODINGS.items():
            if self.is_compressed and encoding in names:
                if encoding not in self.encoded:
                    self.encoded[encoding] = compress(self.body)
                return encoding, self.encoded[encoding]
        return "", self.body


_assets: dict[str, Asset] = {}  # by plain name; as many as there are files


def asset_of(name: str) -> Asset | None:
    """Return the file of this plain name, such as `heartbeat/page.js`; None if there is none or it is too large."""
    if name in _assets and not settings.DEBUG:
        return _assets[name]
    path = _source(name)
    if path is None or path.stat().st_size > MAX_BYTES:
        return None
    body = path.read_bytes()
    ending = path.suffix.lower()
    if ending in _NAMES:
        text = _NAMES[ending].sub(lambda match: match[1] + _relative(name, match[2]), body.decode())
        body = text.encode()
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if content_type.startswith("text/"):
        content_type += "; charset=utf-8"
    digest = hashlib.sha256(body).hexdigest()[:DIGITS]
    _assets[name] = Asset(body, digest, content_type, is_compressed=ending in _COMPRESSED)
    return _assets[name]


def hashed_name(name: str) -> str:
    """Return the name with the hash of the file's content; the name as it is if there is no such file."""
    asset = asset_of(name)
    if asset is None:
        return name
    stem, ending = posixpath.splitext(name)
    return f"{stem}.{asset.digest}{ending}"


def _relative(name: str, reference: str) -> str:
    """Return a reference in the file of this name with the hash of what it names; unchanged if that is elsewhere."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), reference.strip()))
    if target.startswith(".."):
        return reference
    return posixpath.join(posixpath.dirname(reference), posixpath.basename(hashed_name(target)))


def _source(name: str) -> Path | None:
    """Return the file of a name: among the collected ones, or in the source folders. None for any other."""
    try:
        path = safe_join(settings.STATIC_ROOT, name) if settings.STATIC_ROOT else finders.find(name)
    except (SuspiciousFileOperation, ValueError):
        return None
    return Path(path) if path and Path(path).is_file() else None


class HashedNames(StaticFilesStorage):
    """The addresses of static files: with the hash of their content, so that browsers may keep them for a year."""

    def url(self, name: str | None) -> str:
        """Return the address."""
        return super().url(hashed_name(name) if name else name)


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # its package has no types
    """Serves files by their hashed names from memory, and others as WhiteNoise, which an event loop can send."""

    def __call__(self, request: HttpRequest) -> Any:
        """Return the file, or pass the request on."""
        path = request.path_info
        if path.startswith(self.static_prefix) and request.method in {"GET", "HEAD"}:
            named = _HASHED.fullmatch(path.removeprefix(self.static_prefix))
            asset = asset_of(named["stem"] + named["ending"]) if named else None
            if named and asset:
                return _answer(request, asset, is_current=named["digest"] == asset.digest)
        return super().__call__(request)

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> WhiteNoiseFileResponse:
        """Return the response with the file, which it closes."""
        response = WhiteNoiseMiddleware.serve(static_file, request)
        if isinstance(request, ASGIRequest):
            response.streaming_content = _parts(response.file_to_stream)
        return response


def _answer(request: HttpRequest, asset: Asset, *, is_current: bool) -> HttpResponse:
    """Return a file. A page from before an upgrade gets the file of today, and does not keep it."""
    encoding, body = asset.encode(request.headers.get("Accept-Encoding", ""))
    keep = f"public, max-age={A_YEAR}, immutable" if is_current else "no-cache"
    response = HttpResponse(b"" if request.method == "HEAD" else body, content_type=asset.content_type)
    response["Content-Length"] = str(len(body))
    response["Cache-Control"] = keep
    if asset.is_compressed:
        response["Vary"] = "Accept-Encoding"
    if encoding:
        response["Content-Encoding"] = encoding
    return response


async def _parts(file: IO[Any] | None) -> AsyncIterator[bytes]:
    """Yield the file's content, and close it even if the client goes away; none of HEAD's, or of a file that it has."""
    if file is not None:
        with file:
            while part := await asyncio.to_thread(file.read, PART_BYTES):
                yield part
