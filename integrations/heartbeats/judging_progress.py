"""Notes of the engine's progress in judging deadlines, by which a standstill is noticed even while none is due."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from accounts.services.restores import held_for
from escalation.engine.progress import Work, is_time_to_write, note, write_notes
from integrations.heartbeats.detection import read_judge_until


@contextmanager
def judging(*, now: datetime) -> Iterator[None]:
    """Note that an engine worker runs a tick in this block and, after it, up to when deadlines were judged."""
    note(Work.ENGINE, at=now)
    try:
        yield
        if is_time_to_write() and held_for(now=now) is None:
            judge_until = read_judge_until(now=now)
            if judge_until is not None:
                note(Work.JUDGED, at=judge_until)
    finally:
        write_notes()
