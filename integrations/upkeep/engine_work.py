"""The engine's work of each second: its parts, and whether one of them has anything to do, which is rarely so."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db import close_old_connections, connection

from alerting.models.alerts import TEST_LASTS
from heartbeat_project.kernel.sql import statement
from integrations.heartbeats.judging_progress import judging
from integrations.inbound.chat.threads import CHANGES
from integrations.inbound.mails import LEASE

log = logging.getLogger(__name__)

# Seconds between two ticks of a process that run all parts, whether or not work seems to be due: a kind of work that
# `is_work_due` did not know would be late, and not forgotten.
ALL_SECONDS: Final = 10.0


def is_work_due(*, now: datetime) -> bool:
    """Return whether any part of the engine has work: one statement, where the parts themselves take 37.

    It may say so without reason, such as for deadlines while nothing is judged.
    """
    parameters: dict[str, datetime | list[str]] = {
        "now": now,
        "chat_kinds": [str(kind) for kind in CHANGES],
        "tests_since": now - TEST_LASTS,
        "lease_end": now + LEASE,
        "tomorrow": now + timedelta(days=1),
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "is_engine_work_due"), parameters)
        is_due: bool = cursor.fetchone()[0]
    return is_due


class EngineWork:
    """Runs the parts of the engine's work in their order, if any of them has work.

    `parts` maps names for the log to functions.
    """

    def __init__(self, parts: Mapping[str, Callable[[], object]], *, monotonic: Callable[[], float] = time.monotonic):
        self._parts = parts
        self._monotonic = monotonic
        self._all_at = float("-inf")

    def tick(self, *, now: datetime) -> None:
        """Run all parts if work is due, or if this process has not done so for ALL_SECONDS; raise no error of a part.

        A part that fails holds up no other: the error is logged, and the next tick tries again.
        """
        if not self._is_time_for_all() and not self._is_work_due(now=now):
            with judging(now=now):
                pass  # no deadline has passed: all of them are judged
            return
        for name, part in self._parts.items():
            self._isolated(name, part)

    def _is_time_for_all(self) -> bool:
        at = self._monotonic()
        if at < self._all_at:
            return False
        self._all_at = at + ALL_SECONDS
        return True

    def _is_work_due(self, *, now: datetime) -> bool:
        due = self._isolated("the look for due work", lambda: is_work_due(now=now))
        return due is not False  # an error may hide anything

    def _isolated(self, name: str, part: Callable[[], object]) -> object:
        try:
            return part()
        except Exception:
            log.exception("%s failed; the next tick tries again", name)
            # The error may have been that of the connection.
            close_old_connections()
            return None
