"""Start the escalation of an alert again because its problem has become more urgent."""

from dataclasses import replace
from datetime import datetime

from django.db.models import Q

from escalation.engine import walk
from escalation.engine.plan import Plan
from escalation.models.nights import waits_until
from escalation.models.runs import EscalationRun
from escalation.policies.edits import put_away_unsent
from heartbeat_project.kernel.wakeup import wake_on_commit


def start_again(alert_id: int, *, priority: str, now: datetime) -> None:
    """Let the run of an open alert begin at its first step, with the urgency of `priority`.

    Messages that were not sent yet are superseded. Does nothing if the alert has no run.
    """
    run = EscalationRun.objects.select_for_update(no_key=True).filter(Q(alert=alert_id)).first()
    if run is None:
        return
    rule = run.policy or run.play
    put_away_unsent([alert_id])
    plan = Plan.load(run.plan)
    low_waits = waits_until(priority, low_waits_until=rule.low_waits_until) if rule else plan.low_waits_until
    plan = replace(plan, priority=priority, low_waits_until=low_waits)
    begin(run, plan, now=now)
    run.save()
    wake_on_commit("escalation.advance_escalations", queue="engine")


def begin(run: EscalationRun, plan: Plan, *, now: datetime) -> None:
    """Set a run, whose row the caller has locked and saves, to the beginning of a plan."""
    position = walk.start(plan, now)
    run.plan, run.position = plan.dump(), position.dump()
    # A new step number: the last resort is used once for each number at which an escalation began.
    run.step += 1
    run.begun_at_step, run.last_resort_at = run.step, None
    run.next_step_at, run.parked, run.error = position.next_at, False, ""
