"""Limit how many requests a web process handles at once, fairly between organizations.

Each request has a thread of its own. Many that compute at once would hold up the pings that the same process takes.
They would also hold all connections of the pool, so that the pages of everybody else were refused.
"""

from contextlib import ExitStack
from typing import Any, Final

from heartbeat_project.kernel.database import release_connection
from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.fair_queue import FairQueue, Full

# Requests. Fewer than the connections of the pool, because signing in, opening a link of a message and reading a
# calendar need connections, too, and do not wait in this queue.
AT_ONCE: Final = 4
MAX_WAITING_OF_ONE: Final = 60  # requests of one organization
MAX_WAITING: Final = 400  # requests of all organizations
WAIT_SECONDS: Final = 5.0
RETRY_AFTER_SECONDS: Final = 5
QUEUE: Final = FairQueue(AT_ONCE, per_source=MAX_WAITING_OF_ONE, in_all=MAX_WAITING)

# The key in a request's META under which a middleware puts the ExitStack that ends the turn with the response. Without
# it, as in a command, no turn is needed.
TURN: Final = "heartbeat.turn"


class TooMuchAtOnce(NotNow):
    """The organization sends more requests than this process handles at once."""

    def __init__(self) -> None:
        super().__init__(
            "Your organization sends too many requests at once. Nothing was done. Try again in a few seconds.",
            retry_after=RETRY_AFTER_SECONDS,
        )


def take_turn(meta: dict[str, Any], organization_id: int) -> None:
    """Wait for the organization's turn, which the request keeps until its response is sent. Raises TooMuchAtOnce."""
    turn: ExitStack | None = meta.pop(TURN, None)
    if turn is None:
        return
    if QUEUE.is_taken:
        release_connection()  # a request that waits holds no connection
    try:
        turn.enter_context(QUEUE.turn(str(organization_id), seconds=WAIT_SECONDS))
    except Full:
        raise TooMuchAtOnce from None
