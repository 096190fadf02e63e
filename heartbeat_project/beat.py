"""Beat's scheduler, whose periodic tasks stay due when the clock is set back."""

import time
from typing import Any, Final

from celery.schedules import schedstate
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

# Seconds between two queries whether the schedule was changed; Celery would query at each check, 14 times a second.
LOOK_SECONDS: Final = 5.0


class Entry(ModelEntry):  # type: ignore[misc] # the package has no types
    """A periodic task that is due as well if its last run is in the future, because the clock was set back."""

    def is_due(self) -> Any:
        """Return whether the task is due, and the seconds until the next check."""
        every = getattr(self.schedule, "run_every", None)
        if every is not None and self.last_run_at > self._default_now() + every:
            return schedstate(is_due=True, next=every.total_seconds())
        return super().is_due()


class Scheduler(DatabaseScheduler):  # type: ignore[misc] # the package has no types
    """The scheduler of django_celery_beat with our entries."""

    Entry = Entry
    _look_at = 0.0

    def schedule_changed(self) -> bool:
        """Return whether the schedule was changed since it was read; False between two queries."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_SECONDS
        return bool(super().schedule_changed())
