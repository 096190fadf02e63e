"""Cache published calendars for a minute, so that many readers of one calendar cost no more than one."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

KEPT_FOR: Final = timedelta(minutes=1)  # calendar programs are asked to wait five minutes between two reads
MAX_KEPT: Final = 32  # calendars in each process, of about a megabyte at most

_lock = threading.Lock()
_texts: OrderedDict[str, tuple[datetime, bytes]] = OrderedDict()


def cached(token: str, compute: Callable[[], bytes], *, now: datetime) -> bytes:
    """Return the calendar of a feed's token from the cache of this process, or compute and cache it.

    The caller must check each time that the token is still valid.
    """
    with _lock:
        at, text = _texts.get(token, (None, b""))
    if at is not None and timedelta() <= now - at < KEPT_FOR:
        return text
    text = compute()
    with _lock:
        _texts[token] = now, text
        _texts.move_to_end(token)
        while len(_texts) > MAX_KEPT:
            _texts.popitem(last=False)
    return text
