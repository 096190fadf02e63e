"""Read a calendar from an address that a user gave: within bounds of size and time, never from our own network."""

from http import HTTPStatus
from typing import Final

from heartbeat_project.kernel import http_client
from heartbeat_project.kernel.wording import clip

MAX_REDIRECTS: Final = 3
# Letters of what a server or library says about a failure.
_MAX_ERROR: Final = 200
_HEADERS: Final = {"Accept": "text/calendar, */*;q=0.1"}


class NotFetched(Exception):
    """Nothing could be fetched; the message says why and is shown to people."""


def fetch(url: str, *, max_bytes: int, seconds: float) -> bytes:
    """Return what the address answers, after a few redirects at most. Raises NotFetched.

    `max_bytes` is the most that is read of an answer, `seconds` the limit for all requests together.
    """
    try:
        reply = http_client.get(
            url, headers=_HEADERS, seconds=seconds, max_bytes=max_bytes, max_redirects=MAX_REDIRECTS
        )
    except http_client.NoAnswer as error:
        if error.sent and error.timed_out:
            raise NotFetched("The calendar's server is too slow.") from error
        raise NotFetched(f"The calendar's server cannot be reached: {clip(str(error), _MAX_ERROR)}.") from error
    except http_client.HttpError as error:
        raise NotFetched(clip(str(error), 2 * _MAX_ERROR)) from error
    if reply.status != HTTPStatus.OK:
        raise NotFetched(f"The calendar's server answered {_status_text(reply.status)}.")
    if reply.is_cut:
        raise NotFetched(f"The calendar is larger than {max_bytes // 1024} KiB.")
    return reply.body


def _status_text(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
