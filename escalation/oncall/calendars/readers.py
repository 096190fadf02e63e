"""Threads in the delivery worker that read calendars, so that neither sending nor a tick waits for a slow server.

A tick starts them and returns. At most one calendar of each organization is read at once, and organizations take turns,
so that many, slow or hostile calendars of one organization do not delay those of another.
"""

import logging
import threading
import time
from datetime import datetime, timedelta
from typing import Final

from django.db import InterfaceError, OperationalError, connections

from escalation.models.on_call import Shift
from escalation.oncall.calendars.read import claim_calendar, note_failure, read_calendar
from escalation.oncall.calendars.text import Unreadable

log = logging.getLogger(__name__)

READERS: Final = 2  # threads in each process; heartbeat_project.kernel.confined runs as many children at once


class CalendarReaders:
    """The reader threads of this process; each ends when no calendar is due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Held while claiming, so that two threads do not choose the same organization.
        self._claiming = threading.Lock()
        self._running = 0
        self._busy: set[int] = set()
        self._served: dict[int, float] = {}
        self._ticked: tuple[datetime, float] | None = None

    def tick(self, *, now: datetime) -> None:
        """Start the missing threads, which read the calendars that are due, and return at once."""
        with self._lock:
            self._ticked = (now, time.monotonic())
            while self._running < READERS:
                # Daemons do not delay a shutdown. The claim of an interrupted read expires, and it is repeated.
                threading.Thread(target=self._run, name="calendar reader", daemon=True).start()
                self._running += 1

    def _now(self) -> datetime:
        assert self._ticked is not None  # noqa: S101 - a tick starts the readers
        now, at = self._ticked
        return now + timedelta(seconds=int(time.monotonic() - at))

    def _run(self) -> None:
        try:
            while (shift := self._claim()) is not None:
                try:
                    read_calendar(shift, now=self._now())
                except (OperationalError, InterfaceError):
                    raise
                except Exception:
                    log.exception("could not read the calendar of shift %s; will try again later", shift.pk)
                    # The failure is recorded, so that Managers are notified if it lasts, as with any calendar.
                    note_failure(
                        shift,
                        Unreadable("The calendar cannot be read because of an error in Heartbeat."),
                        now=self._now(),
                    )
                finally:
                    with self._claiming:
                        self._busy.discard(shift.group.organization_id)
        except (OperationalError, InterfaceError) as error:
            log.warning("calendars are not read until the next tick, because the database failed: %s", error)
        except Exception:
            log.exception("calendars are not read until the next tick, because a reader failed")
        finally:
            try:
                connections.close_all()
            finally:
                with self._lock:
                    self._running -= 1

    def _claim(self) -> Shift | None:
        with self._claiming:
            shift = claim_calendar(now=self._now(), served=self._served, busy=self._busy)
            if shift is None:
                if not self._busy:
                    self._served.clear()
                return None
            organization = shift.group.organization_id
            self._busy.add(organization)
            self._served[organization] = time.monotonic()
            return shift


READERS_HERE: Final = CalendarReaders()
