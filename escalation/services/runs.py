"""Start the escalations of new alerts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from alerting.models import Alert
from escalation import walk
from escalation.models import EscalationPolicy, EscalationRun, ResponsePlay
from escalation.services.last_resort import tell_stewards
from escalation.services.people import Directory
from escalation.services.plans import Compiler, Recipients
from escalation.services.steps import take_step, write_steps


@dataclass(frozen=True, slots=True)
class RunStart:
    """An alert with what its escalation follows, and whom the integration names."""

    alert: Alert
    policy: EscalationPolicy | None
    play: ResponsePlay | None
    group_ids: Sequence[int] = ()
    user_ids: Sequence[int] = ()

    @property
    def rule(self) -> EscalationPolicy | ResponsePlay | None:
        """The policy or the play."""
        return self.policy or self.play

    @property
    def refusal(self) -> str:
        """Why this cannot be walked at all; empty when it can."""
        if self.rule is None:
            return "The integration has no escalation policy and no response play."
        kind = "escalation policy" if self.policy else "response play"
        return "" if self.rule.enabled else f"The {kind} “{self.rule.name}” is disabled."


def start_runs(starts: Sequence[RunStart], *, now: datetime) -> None:
    """Start one run for each alert and do its first step at once, in the caller's transaction or one of its own.

    The number of statements does not depend on how many there are. A run that leads to nobody, or cannot be walked,
    is told to the Owners and App Admins in the same transaction.
    """
    if not starts:
        return
    with transaction.atomic():
        plans = _plans(starts)
        directory = Directory.of(plans)
        runs = [_run(begin, plan, now=now) for begin, plan in zip(starts, plans, strict=True)]
        steps = [
            take_step(run, plan, directory, now=now)
            for run, plan, begin in zip(runs, plans, starts, strict=True)
            if not begin.refusal
        ]
        EscalationRun.objects.bulk_create(runs)
        write_steps(steps, directory, now=now)
        refused = {run: begin.refusal for run, begin in zip(runs, starts, strict=True) if begin.refusal}
        tell_stewards(refused, now=now)


def _plans(starts: Sequence[RunStart]) -> list[walk.Plan]:
    compiler = Compiler(
        policies=[begin.policy for begin in starts if begin.policy],
        plays=[begin.play for begin in starts if begin.play],
        group_ids=[group_id for begin in starts for group_id in begin.group_ids],
    )
    return [_plan(begin, compiler) for begin in starts]


def _plan(begin: RunStart, compiler: Compiler) -> walk.Plan:
    recipients = Recipients(tuple(begin.group_ids), tuple(begin.user_ids))
    if begin.refusal:
        return walk.Plan()
    if begin.policy:
        return compiler.policy(begin.policy, recipients)
    assert begin.play  # noqa: S101 - there is no refusal
    return compiler.play(begin.play, recipients)


def _run(begin: RunStart, plan: walk.Plan, *, now: datetime) -> EscalationRun:
    position = walk.start(plan, now)
    return EscalationRun(
        alert=begin.alert,
        policy=begin.policy,
        play=begin.play,
        name=begin.rule.name if begin.rule else "",
        version=begin.rule.version if begin.rule else 0,
        plan=plan.dump(),
        position=position.dump(),
        acknowledge_stops=begin.policy.acknowledge_stops if begin.policy else False,
        recovery_notice=begin.rule.recovery_notice if begin.rule else True,
        next_step_at=position.next_at,
    )
