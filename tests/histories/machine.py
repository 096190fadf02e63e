"""A team, its jobs and the world around them as a state machine: its beginning, its end, and what always holds."""

import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection, transaction
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from accounts.contact_kinds import CONTACT_KINDS
from accounts.models.groups import Group
from accounts.models.users import User
from alerting.models.alerts import Alert, TimelineEntry
from alerting.states import Action
from alerting.via import CONSOLE
from escalation.models.notifications import Notification
from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.notifications import outcomes
from escalation.notifications.providers import channel_pool
from escalation.notifications.providers.sender_pool import SENDER_POOL
from escalation.policies.plays import TierRule, create_play
from escalation.responses.act import act
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError, FieldError
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from tests.conftest import NOON
from tests.histories.exchange import NEVER_AGAIN, Exchange, Sent, WorkerLost
from tests.histories.oracle import Job, Oracle
from tests.world import SECOND, World, minutes, seconds

PEOPLE = ("ana", "ben", "cem", "dana", "max")
LONG_ENOUGH = minutes(12 * 60)
OVER = ("closed", "cancelled")
# A refusal in plain words is an answer, not an accident.
REFUSED = (DomainError, FieldError)


def _back_off(channel: str, _: UUID, tries: int) -> timedelta:
    pauses = CONTACT_KINDS[channel].pauses
    return pauses[min(max(tries, 1), len(pauses)) - 1]


class WatchedWorld(World):
    """The world, with the oracle notified of all that passes, and a delivery whose worker may die."""

    def __init__(self, oracle: Oracle, exchange: Exchange, *, now: datetime) -> None:
        self.oracle = oracle
        self.exchange = exchange
        self.slept = False
        super().__init__(now=now)

    def sleep(self, by: timedelta) -> None:
        super().sleep(by)
        self.slept = True

    def pulse(self) -> None:
        if not self.slept:
            # `advance` commits the pulses of the seconds that it passes over.
            self.oracle.heard = max(self.oracle.heard, self.now - SECOND)
        self.slept = False
        super().pulse()
        self.oracle.pulse(now=self.now)

    def work(self, part: str) -> None:
        try:
            super().work(part)
        except WorkerLost:
            # The process is gone, and with it what it knew of its lines.
            SENDER_POOL.forget()
            return
        if part == "detector":
            self.oracle.tick(now=self.now)
            self.check_silences_are_over()
        if part == "delivery":
            self.check_no_lease_is_forgotten()

    def check_silences_are_over(self) -> None:
        """After a tick no alert is live whose job is not silent."""
        live = set(Alert.objects.exclude(status__in=OVER).values_list("source_name", flat=True))
        fine = {name for name, job in self.oracle.jobs.items() if not job.missed}
        assert not live & fine, f"{live & fine} pinged in time, and an alert is live"

    def check_no_lease_is_forgotten(self) -> None:
        late = Notification.objects.filter(status="sending", next_attempt_at__lte=self.now)
        assert not late.exists(), f"{late.count()} messages are being sent by nobody"


class History(RuleBasedStateMachine):
    """How a history begins, what holds after every step of it, and how it ends."""

    world: WatchedWorld

    @initialize(bundle=st.sampled_from([0, 5]), silent=st.booleans())
    def begin(self, bundle: int, silent: bool) -> None:
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        SENDER_POOL.forget()
        self.oracle = Oracle(now=NOON)
        self.exchange = Exchange(now=lambda: self.world.now)
        self.patched = pytest.MonkeyPatch()
        for kind, line in self.exchange.channels().items():
            self.patched.setitem(channel_pool.CHANNELS, kind, line)
        self.patched.setattr(settings, "SMS_PROVIDERS", ["gateway"])
        self.patched.setattr(clock, "now", lambda: self.world.now)
        # The spread comes from a random id: without it a history can be replayed.
        self.patched.setattr(outcomes, "back_off", _back_off)
        self.held: defaultdict[int | None, list[datetime]] = defaultdict(list)
        self.world = WatchedWorld(self.oracle, self.exchange, now=NOON)
        self.world.bundle(seconds(bundle))
        self.populate()
        if silent:
            self.world.advance(minutes(6))

    def populate(self) -> None:
        world = self.world
        world.person("olga", roles=["Owner"])
        self.groups = {
            "database": world.team("database", primary=["ana", "ben"], secondary=["cem"], managers=["max"]),
            "network": world.team("network", primary=["dana"], secondary=["ana"]),
        }
        self.absences: list[int] = []
        self.policies: dict[str, EscalationPolicy] = {
            "in turn": world.policy(
                name="in turn",
                repeats=1,
                reopen_after_minutes=20,
                steps=[
                    {"role": "primary", "between_members_minutes": 2, "retries": 1, "retry_interval_minutes": 3},
                    {"role": "secondary", "wait_minutes": 5},
                    {"role": "manager", "wait_minutes": 5},
                ],
            ),
            "together": world.policy(name="together", acknowledge_stops=True),
        }
        self.plays: dict[str, ResponsePlay] = {
            "play": create_play(
                world.organization,
                name="play",
                tiers=[
                    TierRule(0, users=[world.person("ben")]),
                    TierRule(5, groups=[self.groups["network"]], users=[world.person("cem")]),
                ],
            )
        }
        team = self.groups["database"]
        self.add_job("backup", minutes(5), escalation_policy=self.policies["together"], recipient_groups=[team])
        self.add_job("sync", minutes(2), escalation_policy=self.policies["in turn"], recipient_groups=[team])
        self.add_job("report", minutes(3), response_play=self.plays["play"], recipients=["dana"])

    def add_job(self, name: str, every: timedelta, *, first_ping: bool = False, **fields) -> None:
        start = "first_ping" if first_ping else "when_enabled"
        self.world.heartbeat(name, every=every, start_timer=start, **fields)
        self.oracle.jobs[name] = Job(every, waits_for_first_ping=first_ping)
        self.oracle.start(name, now=self.world.now)

    # -- what rules look at ---------------------------------------------------------------------------------------
    def job(self, name: str) -> InboundIntegration:
        return InboundIntegration.objects.get(name=name)

    def user(self, name: str) -> User:
        return User.objects.get(pk=self.world.person(name).pk)

    def group(self, name: str) -> Group:
        return Group.objects.get(pk=self.groups[name].pk)

    @property
    def owner(self) -> User:
        return self.user("olga")

    # -- what always holds ----------------------------------------------------------------------------------------
    @invariant()
    def all_is_as_promised(self) -> None:
        self.one_live_alert_for_each_job()
        self.what_is_open_goes_on_or_says_why_not()
        self.what_is_silent_is_not_forgotten()
        self.nobody_is_notified_twice()
        self.nothing_is_sent_that_nobody_wants()
        self.silence_is_what_the_oracle_says()

    def one_live_alert_for_each_job(self) -> None:
        live = Counter(
            Alert.objects.exclude(status__in=OVER)
            .filter(integration_type="heartbeat")
            .values_list("integration_id", flat=True)
        )
        assert all(count == 1 for count in live.values()), live

    def what_is_open_goes_on_or_says_why_not(self) -> None:
        stands_still = Alert.objects.filter(status="open", run__next_step_at=None)
        stands_still = stands_still.exclude(run__acknowledge_stops=True, acknowledged_at__isnull=False)
        for alert in stands_still.exclude(notifications__status__in=["pending", "sending"]):
            said = set(alert.timeline.values_list("kind", flat=True))
            assert said & {"escalation_ended", "last_resort"}, (
                f"nothing follows for {alert.source_name}: {story(alert)}"
            )

    def what_is_silent_is_not_forgotten(self) -> None:
        """What was taken is looked at again, unless its rule says never and its owner knows.

        What is closed says why.
        """
        silent = {name for name, job in self.oracle.jobs.items() if job.missed}
        newest: dict[int | None, Alert] = {alert.integration_id: alert for alert in Alert.objects.order_by("id")}
        for alert in newest.values():
            if alert.source_name not in silent:
                continue
            if alert.status in OVER:
                ends = {"closed", "cancelled"}
                assert alert.timeline.filter(kind__in=ends).exists(), f"closed by nobody: {story(alert)}"
                continue
            run = alert.run
            acknowledged = run.acknowledge_stops and alert.acknowledged_at is not None
            if alert.status == "open" and not acknowledged:
                continue  # see what_is_open_goes_on_or_says_why_not
            assert not (alert.hold_until and run.review != "hold_ends"), f"the hold has no end: {story(alert)}"
            assert run.review_at or (not run.reopen_after_minutes and self.owner_knows(alert)), story(alert)

    def owner_knows(self, alert: Alert) -> bool:
        """Return whether the owner took the alert, or did something since somebody else gave it to them."""
        given = alert.timeline.filter(kind="assigned").order_by("-id").first()
        if alert.status != "assigned" or given is None or given.actor_id == alert.owner_id:
            return True
        return alert.timeline.filter(actor=alert.owner_id, id__gt=given.pk).exists()

    def nobody_is_notified_twice(self) -> None:
        notified: defaultdict[tuple, list[Sent]] = defaultdict(list)
        for sent in self.exchange.sent:
            for carried in sent.carried:
                notified[carried.key].append(sent)
        for key, messages in notified.items():
            if len(messages) == 1:
                continue
            assert sum(sent.known for sent in messages) <= 1, f"notified twice: {key} {messages}"
            assert len(messages) == 2, f"sent more than once more: {key} {messages}"
            assert messages[0].channel not in NEVER_AGAIN, f"called twice: {key} {messages}"
            # What was on hold in between is notified by itself when somebody resumes it.
            held = any(messages[0].at <= at <= messages[-1].at for at in self.held.get(key[1], ()))
            assert held or len({sent.message_id for sent in messages}) == 1, f"under two ids: {key} {messages}"

    def nothing_is_sent_that_nobody_wants(self) -> None:
        for sent in self.exchange.sent:
            for carried in sent.carried:
                if carried.kind == "recovery":
                    assert (carried.status, carried.close_reason) == ("closed", "closed by heartbeat"), (sent, carried)
                elif carried.kind in {"assignment", "reminder"}:
                    assert carried.status in {"assigned", "on_hold"} or carried.stopped, (sent, carried)
                    assert carried.owner in {None, carried.user}, (sent, carried)
                elif carried.alert is not None:
                    assert (carried.status, carried.stopped) == ("open", False), (sent, carried)

    def silence_is_what_the_oracle_says(self) -> None:
        rows = {row.integration.name: row for row in Heartbeat.objects.select_related("integration")}
        opened: defaultdict[int | None, list[datetime | None]] = defaultdict(list)
        for integration_id, expected_at in Alert.objects.order_by("id").values_list("integration_id", "expected_at"):
            opened[integration_id].append(expected_at)
        assert set(rows) == set(self.oracle.jobs)
        for name, job in self.oracle.jobs.items():
            row = rows[name]
            assert (row.state == "disabled") != job.enabled, name
            assert (row.state == "missed") == job.missed, f"{name}: {row.state}, {job}"
            assert row.deadline_at == job.deadline, f"{name}: {row.deadline_at}, {job.deadline}, {job}"
            assert opened[row.pk] == job.silences, f"{name}: {opened[row.pk]}, {job}"

    # -- how it ends ----------------------------------------------------------------------------------------------
    def teardown(self) -> None:
        if not hasattr(self, "atomic"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.end_well()
        finally:
            self.patched.undo()
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    def end_well(self) -> None:
        """Mend all that is broken and wait: then everything that is open has reached somebody or says why not."""
        self.exchange.troubles.clear()
        self.exchange.worker_dies = ""
        self.world.away.clear()
        for alert in Alert.objects.filter(status="on_hold"):
            act(alert, Action.RESUME, via=CONSOLE, actor=self.owner, now=self.world.now)
        for _ in range(400):
            self.world.beat()
            wait = self.world.next_due() - self.world.now
            if wait > LONG_ENOUGH:
                break
            self.world.advance(max(wait, SECOND), at_most_every=seconds(20))
        else:
            raise AssertionError(f"it never ends: {story(*Alert.objects.all())}")
        self.all_is_as_promised()
        self.everybody_was_notified_or_it_says_why_not()
        connection.check_constraints()

    def everybody_was_notified_or_it_says_why_not(self) -> None:
        notified = {
            carried.alert
            for sent in self.exchange.sent
            for carried in sent.carried
            if carried.alert is not None and carried.kind in {"page", "last_resort"}
        }
        for alert in Alert.objects.filter(status="open").exclude(pk__in=notified).select_related("run"):
            if alert.run.acknowledge_stops and alert.acknowledged_at is not None:
                continue
            said = list(alert.timeline.values_list("kind", "text"))
            failed = any(kind == "notification_failed" and "last resort" in text for kind, text in said)
            nobody = any("There is no active Owner" in text for kind, text in said if kind == "last_resort")
            assert failed or nobody, f"{alert.source_name} reached nobody, and nobody knows why: {story(alert)}"


def story(*alerts: Alert) -> str:
    """Return what the timelines and the outbox say, for whoever reads a failure."""
    said = []
    for alert in alerts:
        run = alert.run
        said.append(f"\n#{alert.pk} {alert.source_name} {alert.status}, next step at {run.next_step_at}")
        lines = TimelineEntry.objects.filter(alert=alert).values_list("at", "kind", "text")
        said += [f"  {at:%H:%M:%S} {kind}: {text}" for at, kind, text in lines]
        said += [
            f"  {row.kind} {row.step}.{row.retry}.{row.repeat} to {row.address}: {row.status}, {row.next_attempt_at}"
            for row in Notification.objects.filter(alert=alert).order_by("created_at")
        ]
    return "\n".join(said)
