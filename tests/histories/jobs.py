"""What happens to jobs: they ping or do not, and people edit, switch, delete and maintain them."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from accounts.models.users import User
from integrations.configuration.edits import delete_integration, rotate_token
from integrations.heartbeats.edits import update_heartbeat
from integrations.maintenance.windows import create_window, delete_window
from integrations.models.windows import MaintenanceWindow
from tests.histories.machine import PEOPLE, History
from tests.histories.oracle import Window
from tests.world import minutes

JOBS = ("backup", "sync", "report", "import", "probe")
jobs = st.sampled_from(JOBS)
intervals = st.sampled_from([0.5, 1, 2, 3.5, 5, 12]).map(minutes)


class Jobs(History):
    """Pings, edits of integrations, maintenance."""

    @rule(name=jobs)
    def ping(self, name: str) -> None:
        job = self.oracle.jobs.get(name)
        if job is None or self.would_repeat(name):
            return
        receipt = self.world.ping(self.job(name))
        self.oracle.ping(name, now=self.world.now)
        assert receipt.status == ("ok" if job.enabled else "disabled")
        assert receipt.deadline_at == job.deadline

    @rule()
    def every_job_pings(self) -> None:
        for name in list(self.oracle.jobs):
            self.ping(name)

    def would_repeat(self, name: str) -> bool:
        """Return whether an interval from now ends at the very instant of an earlier silence: a clock that was set
        back by whole seconds may bring that about, one that counts microseconds does not.
        """
        job = self.oracle.jobs[name]
        return self.world.now + job.interval + job.grace in job.silences

    @rule(name=jobs, every=intervals, first_ping=st.booleans(), who=st.sampled_from(PEOPLE))
    def add(self, name: str, every: timedelta, first_ping: bool, who: str) -> None:
        if name not in self.oracle.jobs:
            policy = self.policies["together"] if "together" in self.policies else next(iter(self.policies.values()))
            self.add_job(name, every, first_ping=first_ping, escalation_policy=policy, recipients=[who])

    @rule(name=jobs)
    def delete(self, name: str) -> None:
        if len(self.oracle.jobs) > 2 and name in self.oracle.jobs:
            delete_integration(self.job(name), actor=self.owner, now=self.world.now)
            del self.oracle.jobs[name]

    @rule(name=jobs, every=intervals, grace=st.sampled_from([0, 0, 1, 4]).map(minutes))
    def change_times(self, name: str, every: timedelta, grace: timedelta) -> None:
        job = self.oracle.jobs.get(name)
        if job is None or (job.armed and job.armed + every + grace in job.silences and not job.missed):
            return
        update_heartbeat(
            self.job(name),
            actor=self.owner,
            now=self.world.now,
            interval_minutes=every.total_seconds() / 60,
            grace_minutes=grace.total_seconds() / 60,
        )
        job.interval, job.grace = every, grace

    @rule(name=jobs)
    def switch(self, name: str) -> None:
        job = self.oracle.jobs.get(name)
        if job is None or (not job.enabled and self.would_repeat(name)):
            return
        update_heartbeat(self.job(name), actor=self.owner, now=self.world.now, enabled=not job.enabled)
        if job.enabled:
            self.oracle.stop(name)
        else:
            self.oracle.start(name, now=self.world.now)

    @rule(name=jobs, groups=st.sets(st.sampled_from(["database", "network"])), users=st.sets(st.sampled_from(PEOPLE)))
    def address(self, name: str, groups: set[str], users: set[str]) -> None:
        if name in self.oracle.jobs:
            update_heartbeat(
                self.job(name),
                actor=self.owner,
                now=self.world.now,
                recipient_groups=[self.group(group) for group in sorted(groups)],
                recipient_users=list(User.objects.filter(pk__in=[self.user(who).pk for who in users]).order_by("id")),
            )

    @rule(name=jobs, data=st.data())
    def follow(self, name: str, data: st.DataObject) -> None:
        """Let a job follow another policy or play."""
        if name not in self.oracle.jobs:
            return
        chosen = data.draw(st.sampled_from(sorted({**self.policies, **self.plays})))
        policy, play = self.policies.get(chosen), self.plays.get(chosen)
        update_heartbeat(
            self.job(name), actor=self.owner, now=self.world.now, escalation_policy=policy, response_play=play
        )

    @rule(name=jobs)
    def rotate(self, name: str) -> None:
        if name in self.oracle.jobs:
            rotate_token(self.job(name), actor=self.owner, now=self.world.now)

    @rule(
        name=st.sampled_from(["upgrade", "move"]),
        over=st.none() | st.sets(jobs, min_size=1),
        begins=st.sampled_from([-5, 0, 0, 3, 10]).map(minutes),
        lasts=st.sampled_from([1, 6, 45]).map(minutes),
    )
    def plan_maintenance(self, name: str, over: set[str] | None, begins: timedelta, lasts: timedelta) -> None:
        chosen = None if over is None else over & set(self.oracle.jobs)
        if name in self.oracle.windows or chosen == set():
            return
        window = Window(
            self.world.now + begins, self.world.now + begins + lasts, None if chosen is None else frozenset(chosen)
        )
        create_window(
            self.world.organization,
            name=name,
            starts_at=window.starts,
            ends_at=window.ends,
            now=self.world.now,
            integrations=[self.job(job) for job in sorted(chosen or ())],
            all_integrations=chosen is None,
        )
        self.oracle.open_window(name, window, now=self.world.now)

    @precondition(lambda self: self.oracle.windows)
    @rule(data=st.data())
    def end_maintenance(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.oracle.windows)))
        delete_window(MaintenanceWindow.objects.get(name=name), now=self.world.now)
        self.oracle.delete_window(name, now=self.world.now)
