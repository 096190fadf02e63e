"""What a step of a walk writes: notifications, lines in the timeline, who may now see the alert."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerting.models import TimelineEntry
from alerting.services import add_viewers
from escalation import walk
from escalation.models import EscalationRun, Notification
from escalation.services.last_resort import tell_stewards
from escalation.services.people import Directory
from heartbeat_project.kernel.doorbell import ring

HOPEFUL = (
    Notification.Status.PENDING,
    Notification.Status.SENDING,
    Notification.Status.ACCEPTED,
    Notification.Status.DELIVERED,
)
_Kind = TimelineEntry.Kind


@dataclass(frozen=True, slots=True)
class Step:
    """What one moment brought to one run."""

    run: EscalationRun
    advance: walk.Advance

    @property
    def ended(self) -> bool:
        """Whether nothing more comes after it."""
        return self.run.next_step_at is None


def take_step(run: EscalationRun, plan: walk.Plan, directory: Directory, *, now: datetime) -> Step:
    """Advance one run in memory; the caller saves it, then calls `write_steps`."""
    advance = walk.advance(
        plan,
        walk.Position.load(run.position),
        now=now,
        people=directory.people,
        reachable=directory.reachable,
    )
    run.position = advance.position.dump()
    run.next_step_at = advance.position.next_at
    if advance.tells:
        run.step += 1
    return Step(run, advance)


def write_steps(steps: Sequence[Step], directory: Directory, *, now: datetime) -> None:
    """Write what saved runs came to, in a number of statements that does not depend on how many there are."""
    written = [row for step in steps for row in _notifications(step, directory, now=now)]
    # Two engines cannot step the same run; a conflict means that this very step was written before.
    Notification.objects.bulk_create(written, ignore_conflicts=True, batch_size=2_000)
    add_viewers((step.run.alert_id, tell.person) for step in steps for tell in step.advance.tells)
    ended = [step for step in steps if step.ended]
    hopeless = without_hope([step.run.pk for step in ended])
    TimelineEntry.objects.bulk_create(
        [
            TimelineEntry(alert_id=step.run.alert_id, at=now, kind=_Kind.SKIPPED, text=str(gap))
            for step in steps
            for gap in step.advance.gaps
        ]
        + [
            TimelineEntry(
                alert_id=step.run.alert_id,
                at=now,
                kind=_Kind.WALK_ENDED,
                text=f"No further step follows in “{step.run.name}”.",
            )
            for step in ended
            if step.run.pk not in hopeless
        ],
    )
    tell_stewards({step.run: _why_nobody(step) for step in ended if step.run.pk in hopeless}, now=now)
    if written:
        ring("escalation.deliver_due", queue="delivery")


def without_hope(run_ids: Sequence[int]) -> set[int]:
    """Return those of the runs that have no page which reached somebody or still may."""
    if not run_ids:
        return set()
    hopeful = Notification.objects.filter(run__in=run_ids, kind=Notification.Kind.PAGE, status__in=HOPEFUL)
    return set(run_ids) - set(hopeful.values_list("run_id", flat=True).distinct())


def _notifications(step: Step, directory: Directory, *, now: datetime) -> list[Notification]:
    """Return a row for each contact method of each person; their own delays hold unless the policy is centralized."""
    return [
        Notification(
            organization_id=step.run.alert.organization_id,
            alert_id=step.run.alert_id,
            run=step.run,
            kind=Notification.Kind.PAGE,
            user_id=tell.person,
            contact_method=method,
            channel=method.kind,
            label=method.label,
            address=method.address,
            step=step.run.step,
            round=tell.round,
            created_at=now,
            next_attempt_at=now
            + (timedelta() if tell.centralized else timedelta(seconds=round(float(method.delay_minutes) * 60))),
        )
        for tell in step.advance.tells
        for method in directory.methods(tell)
    ]


def _why_nobody(step: Step) -> str:
    """Say why the walk told nobody."""
    if step.run.step:
        return f"Nobody whom “{step.run.name}” names could be told: every notification failed."
    said = " ".join(str(gap) for gap in step.advance.gaps)
    return f"Nobody whom “{step.run.name}” names can be reached. {said}".strip()
