"""When recurring work was last done: noted in memory, and written to the database every few seconds."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection

from escalation.models.progress import Progress
from heartbeat_project.kernel.sql import statement

Work = Progress.Work

# Seconds between two writes of a process: a query for each message would cost too much. Readers allow for this delay.
WRITE_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Notes:
    """What this process has done since its last write: by work, the last time and how often.

    `write_at` is the time of the next write, in seconds of the monotonic clock.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    entries: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    write_at: float = 0.0


_NOTES: Final = _Notes()


def note(work: Work, *, at: datetime, times: int = 1) -> None:
    """Remember that this was done, `times` times and last at `at`; costs no query."""
    with _NOTES.lock:
        _, count = _NOTES.entries.get(work, (at, 0))
        _NOTES.entries[work] = at, count + times


def is_time_to_write() -> bool:
    """Return whether this process should write its notes now."""
    return time.monotonic() >= _NOTES.write_at


def write_notes() -> None:
    """Write this process's notes if it is time to; one of several threads does. After an error they are kept."""
    with _NOTES.lock:
        if not is_time_to_write():
            return
        _NOTES.write_at = time.monotonic() + WRITE_SECONDS
        entries, _NOTES.entries = _NOTES.entries, {}
    # In one order in all processes, so that two that write the same rows cannot deadlock.
    works = sorted(entries)
    parameters: dict[str, Any] = {
        "works": works,
        "times": [entries[work][0] for work in works],
        "counts": [entries[work][1] for work in works],
    }
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement("escalation", "write_progress"), parameters)
    except Exception:
        for work, (at, times) in entries.items():
            note(Work(work), at=at, times=times)
        raise


def progress() -> Mapping[str, Progress]:
    """Return the rows by their work; work that was never done has none."""
    return {row.work: row for row in Progress.objects.all()}


def last_done(work: Work) -> datetime | None:
    """Return when this work was last done; None if it never was."""
    return Progress.objects.filter(work=work).values_list("at", flat=True).first()


def oldest_due(*, now: datetime) -> datetime | None:
    """Return since when the longest overdue message has been due; None if none is."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "oldest_due"), {"now": now})
        at: datetime | None = cursor.fetchone()[0]
        return at
