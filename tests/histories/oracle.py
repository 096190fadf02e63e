"""What should be silent when: a small account of jobs and time that knows nothing of the product's rows."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

DEAF_AFTER = timedelta(seconds=2)
CLOCK_WENT_BACK = timedelta(minutes=1)


@dataclass
class Job:
    """One heartbeat: since when it is being waited for, and for which deadlines it stayed silent."""

    interval: timedelta
    grace: timedelta = timedelta()
    waits_for_first_ping: bool = False
    enabled: bool = True
    armed: datetime | None = None
    missed: bool = False
    suspended: datetime | None = None
    last: datetime | None = None
    gap: timedelta | None = None
    pinged_since_enabled: bool = False
    excused: datetime | None = None
    silences: list[datetime] = field(default_factory=list)

    @property
    def deadline(self) -> datetime | None:
        return self.armed and self.armed + self.interval + self.grace

    @property
    def running(self) -> bool:
        return self.enabled and self.armed is not None and not self.missed


@dataclass
class Window:
    """A maintenance window over some jobs, or over all."""

    starts: datetime
    ends: datetime
    jobs: frozenset[str] | None
    applied: bool = False

    def covers(self, name: str) -> bool:
        return self.jobs is None or name in self.jobs

    def is_on(self, now: datetime) -> bool:
        return self.starts <= now < self.ends


class Oracle:
    """All jobs and windows, and until when pings could be stored."""

    def __init__(self, *, now: datetime) -> None:
        self.jobs: dict[str, Job] = {}
        self.windows: dict[str, Window] = {}
        self.heard = now
        self.outages: list[tuple[datetime, datetime]] = []

    # -- what people and jobs do ----------------------------------------------------------------------------------
    def start(self, name: str, *, now: datetime) -> None:
        """A fresh interval starts now, at the end of the maintenance that is on, or at the first ping."""
        job = self.jobs[name]
        job.enabled, job.missed, job.pinged_since_enabled = True, False, False
        job.suspended = max(
            (window.ends for window in self.windows.values() if window.covers(name) and window.is_on(now)),
            default=None,
        )
        job.armed = None if job.waits_for_first_ping else max(now, job.suspended or now)

    def stop(self, name: str) -> None:
        job = self.jobs[name]
        job.enabled, job.missed, job.armed = False, False, None

    def ping(self, name: str, *, now: datetime) -> None:
        job = self.jobs[name]
        if job.last is not None and timedelta() <= now - job.last <= job.interval + job.grace:
            job.gap = now - job.last
        job.last = now if job.last is None else max(job.last, now)
        if job.enabled:
            job.pinged_since_enabled = True
            # What ended with a miss begins anew; a timer that runs is never set back.
            since = None if job.missed else job.armed
            job.armed = max(moment for moment in (now, since, job.suspended) if moment is not None)
            job.missed = False

    def open_window(self, name: str, window: Window, *, now: datetime) -> None:
        self.windows[name] = window
        self.suspend(now=now)

    def delete_window(self, name: str, *, now: datetime) -> None:
        """What it covered gets a fresh interval from now, unless another window holds it."""
        window = self.windows.pop(name)
        if not window.applied:
            return
        released = {name for name in self.jobs if window.covers(name)}
        for job in (self.jobs[name] for name in released):
            if job.running and job.armed and job.armed > now:
                job.armed = now
            job.suspended = None
        for other in self.windows.values():
            if other.is_on(now) and (other.jobs is None or released & other.jobs):
                other.applied = False

    # -- what happens once a second -------------------------------------------------------------------------------
    def pulse(self, *, now: datetime) -> None:
        if now - self.heard >= DEAF_AFTER:
            self.outages.append((self.heard, now))
        if now > self.heard or now < self.heard - CLOCK_WENT_BACK:
            self.heard = now

    def tick(self, *, now: datetime) -> None:
        self.suspend(now=now)
        for outage in self.outages:
            self._move(*outage)
        self.outages.clear()
        for job in self._running():
            if job.deadline <= min(now, self.heard):
                job.missed = True
                job.silences.append(job.deadline)

    def suspend(self, *, now: datetime) -> None:
        for window in self.windows.values():
            if window.applied or window.starts > now:
                continue
            window.applied = True
            for job in (job for name, job in self.jobs.items() if window.covers(name)):
                job.suspended = max(job.suspended or window.ends, window.ends)
                if job.running and job.armed:
                    job.armed = max(job.armed, window.ends)

    def _move(self, started: datetime, ended: datetime) -> None:
        """Time in which nobody could hear is no silence; what was overdue before is overdue."""
        for job in self._running():
            if job.armed and job.armed < ended and job.deadline > started:
                first, last, off = self._expected(job, ended)
                if first - off <= ended and first + off >= started:
                    job.armed, job.excused = ended, last
                else:
                    job.armed = job.armed + (ended - max(job.armed, started))

    def _expected(self, job: Job, until: datetime) -> tuple[datetime, datetime, timedelta]:
        """Return the next ping that is expected, the last one by a time, and by how much each may be off."""
        gap = job.gap if job.pinged_since_enabled and job.gap and job.gap <= job.interval + job.grace else job.interval
        off = min(gap / 10, timedelta(minutes=5))
        since = job.last if job.pinged_since_enabled else job.armed
        assert since is not None
        first = last = max(since, job.excused or since) + gap
        while last + gap - off <= until:
            last += gap
        return first, last, off

    def _running(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.running]
