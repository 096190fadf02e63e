"""Forms of users who are not signed in: only a few large ones are read at once, and their senders take turns.

Each request has its own thread, and anyone can send a form of 1 MiB without signing in, which costs Django up to a
second of processor time. Sixty of those at once delayed pings, which the same process receives, by seconds.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.http import HttpRequest

from heartbeat_project.kernel.database import release_connection
from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.fair_queue import FairQueue, Full
from heartbeat_project.kernel.proxies import SENDER, Sender

# Forms to sign in and to answer an alert are smaller. A form of this size is read in some milliseconds, like a page.
SMALL_BYTES: Final = 8 * 1024
AT_ONCE: Final = 2  # large forms that one process reads at once
MAX_WAITING_OF_ONE: Final = 60  # requests of one source that wait
MAX_WAITING: Final = 200  # requests that wait in all
WAIT_SECONDS: Final = 5.0
RETRY_AFTER_SECONDS: Final = 5
QUEUE: Final = FairQueue(AT_ONCE, per_source=MAX_WAITING_OF_ONE, in_all=MAX_WAITING)
_View = TypeVar("_View", bound=Callable[..., Any])
_FORMS: Final = {"application/x-www-form-urlencoded", "multipart/form-data"}


class TooManyForms(NotNow):
    """Too many large forms of users who are not signed in came at once."""

    def __init__(self) -> None:
        super().__init__(
            "Too many large forms came at once. Nothing was done. Try again in a few seconds.",
            retry_after=RETRY_AFTER_SECONDS,
        )


def takes_no_form(view: _View) -> _View:
    """Mark a view that reads the raw body whatever its Content-Type is, such as a mail or a signed payload."""
    view.takes_no_form = True  # type: ignore[attr-defined]
    return view


def has_form(view: Callable[..., Any]) -> bool:
    """Return whether a view may read a form; API views read only JSON."""
    return not (hasattr(view, "takes_no_form") or hasattr(view, "cls"))


def read_form(request: HttpRequest) -> None:
    """Read the form of a request that is not signed in; a large one waits for its turn. Raises TooManyForms."""
    if request.content_type not in _FORMS or _is_small(request):
        return
    if QUEUE.is_taken:
        release_connection()  # a waiting request must not hold a database connection
    sender: Sender = request.META.get(SENDER, Sender())
    try:
        with QUEUE.turn(sender.networks, seconds=WAIT_SECONDS):
            _ = request.POST
    except Full:
        raise TooManyForms from None


def _is_small(request: HttpRequest) -> bool:
    """Return whether the form declares a small length; one that comes in chunks declares none."""
    length = request.META.get("CONTENT_LENGTH", "")
    return length.isdecimal() and len(length) < 10 and int(length) <= SMALL_BYTES
