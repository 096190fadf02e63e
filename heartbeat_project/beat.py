"""Beat's scheduler: sends what is due at whole seconds, looks once a second, and goes on when the clock is set back."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from celery.schedules import schedstate
from django.db import connection
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from heartbeat_project.schedule import FORMERLY_PERIODIC

# Seconds between two queries whether the schedule was changed; Celery would query at each check.
LOOK_SECONDS: Final = 5.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(ModelEntry):  # type: ignore[misc] # the package has no types
    """A periodic task whose runs count from a whole multiple of its period, so that all tasks are due together.

    It is due as well if its last run is in the future, because the clock was set back.
    """

    def is_due(self) -> Any:
        """Return whether the task is due, and the seconds until the next check."""
        every = getattr(self.schedule, "run_every", None)
        if every is None or not self._is_plain():
            return super().is_due()
        pause = self.last_run_at + every - self._default_now()
        if pause <= timedelta() or pause > 2 * every:
            return schedstate(is_due=True, next=every.total_seconds())
        return schedstate(is_due=False, next=pause.total_seconds())

    def _is_plain(self) -> bool:
        """Return whether only the period decides: the package's own check takes ten times as long."""
        model = self.model
        return bool(model.enabled and not model.start_time and not model.expires and not model.one_off)

    def __next__(self) -> Any:
        """Return the entry after a run that begins now."""
        entry = super().__next__()
        every = getattr(self.schedule, "run_every", None)
        if every:
            begun = entry.last_run_at
            entry.last_run_at = entry.model.last_run_at = begun - (begun - _EPOCH) % every
        return entry


class Changes:
    """When the schedule was last changed, asked without the ORM, which takes longer than the answer."""

    @staticmethod
    def last_change() -> datetime | None:
        """Return the time of the last change; None before the first."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT last_update FROM django_celery_beat_periodictasks WHERE ident = 1")
            row: tuple[datetime] | None = cursor.fetchone()
        return row[0] if row else None


class Scheduler(DatabaseScheduler):  # type: ignore[misc] # the package has no types
    """The scheduler of django_celery_beat with our entries, and with no heap beside them."""

    Entry = Entry
    Changes = Changes
    _look_at = 0.0

    def setup_schedule(self) -> None:
        """Write the schedule into the database, without the tasks that are no longer periodic."""
        PeriodicTask.objects.filter(name__in=FORMERLY_PERIODIC).delete()
        super().setup_schedule()

    def tick(self, *_: Any, **__: Any) -> float:
        """Send all tasks that are due; return the seconds until the next one is, at most `max_interval`.

        Celery's own sends one task per call, compares all entries each time, and calls again and again within the last
        10 ms. Its heap also holds times by the clock: after a step back, the first entry would hide the others.
        """
        pauses = [float(self.max_interval)]
        for entry in list(self.schedule.values()):
            is_due, pause = entry.is_due()
            if is_due:
                next_entry = self.reserve(entry)
                self.apply_entry(entry, producer=self.producer)
                is_due, pause = next_entry.is_due()
            pauses.append(0.0 if is_due else pause)
        return min(pauses)

    def reserve(self, entry: Any) -> Any:
        """Return the entry after its run, which takes its place in the schedule."""
        next_entry = super().reserve(entry)
        self._schedule[next_entry.name] = next_entry
        return next_entry

    def schedule_changed(self) -> bool:
        """Return whether the schedule was changed since it was read; False between two queries."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_SECONDS
        return bool(super().schedule_changed())
