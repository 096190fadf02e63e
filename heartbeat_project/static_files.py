"""Static files, sent part by part.

Under ASGI, Django reads a file to its end before it sends the first byte, and the whole of it stays in memory until the
client has read it and garbage is collected, which this process does rarely.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import IO, Any, Final

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from whitenoise.middleware import WhiteNoiseFileResponse, WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

PART_BYTES: Final = 64 * 1024


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # its package has no types
    """WhiteNoise, whose responses an event loop can send without a copy of the file."""

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> WhiteNoiseFileResponse:
        """Return the response with the file, which it closes."""
        response = WhiteNoiseMiddleware.serve(static_file, request)
        if isinstance(request, ASGIRequest):
            response.streaming_content = _parts(response.file_to_stream)
        return response


async def _parts(file: IO[Any] | None) -> AsyncIterator[bytes]:
    """Yield the file's content, and close it even if the client goes away; none of HEAD's, or of a file that it has."""
    if file is not None:
        with file:
            while part := await asyncio.to_thread(file.read, PART_BYTES):
                yield part
