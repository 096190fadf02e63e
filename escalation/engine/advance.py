"""The engine: advance the escalations that are due; any number of workers may do so at once."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import connection, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from accounts.models.users import User
from accounts.selectors import opted_out
from accounts.services.restores import unless_held
from alerting.models.alerts import Alert, TimelineEntry
from alerting.services import alerts
from alerting.via import UNSAID, Via
from escalation.engine import walk
from escalation.engine.last_resort import Reason, notify_fallback_recipients
from escalation.engine.notices import write_owner_notice
from escalation.engine.plan import Plan
from escalation.engine.recipients import RecipientDirectory
from escalation.engine.reviews import QUARANTINE, review_taken
from escalation.engine.write_step import Step, take_step, write_steps
from escalation.models.runs import EscalationRun
from heartbeat_project.kernel.batches import run_batch_isolating_failures
from heartbeat_project.kernel.sql import array, records, statement
from heartbeat_project.kernel.wakeup import wake_on_commit

# Runs that one tick parks at most, so that it gets to the runs that are to go on; the next tick parks the others.
PARK_LIMIT = 5_000


@dataclass(frozen=True, slots=True)
class _RunState:
    """What determines the next step of a run: runs of the same state take it together.

    Plan and position are texts as PostgreSQL writes them: equal ones are compared, and loaded once, as strings.
    """

    organization_id: int
    name: str
    steps_done: int
    plan_text: str
    position_text: str
    opted_out: frozenset[int]


@unless_held(0)
def advance_escalations(*, now: datetime, limit: int = 1_000) -> int:
    """Do the next step of every run that is due and whose alert is open; return how many runs went on.

    Works in batches of `limit` runs, each one transaction. Two engines share the work: each passes over the runs that
    the other has locked. Taken alerts are reviewed first, so that alerts that open again go on at once.
    """
    review_taken(now=now)
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "unpark_runs"))
        cursor.execute(statement("escalation", "park_runs"), {"now": now, "limit": PARK_LIMIT})
    advanced = 0
    while True:
        with transaction.atomic():
            claimed = _claim(now=now, limit=limit)
            advanced += run_batch_isolating_failures(
                claimed,
                batch_name="escalations",
                act=partial(_advance, now=now),
                quarantine=partial(_quarantine, now=now),
            )
        if len(claimed) < limit:
            return advanced


def escalate(alert: Alert, *, actor: User, now: datetime, via: Via = UNSAID) -> Alert:
    """Hand the alert on at a person's request, and make the next step of its escalation due now.

    The two belong together: an alert that was only marked as escalated would notify nobody. So nothing else in the
    product calls `alerting.services.alerts.escalate`; tests/architecture/test_alert_actions.py holds that. Raises what
    it raises.
    """
    with transaction.atomic():
        alert = alerts.escalate(alert, actor=actor, via=via, now=now)
        expedite([alert.pk], now=now)
    return alert


def expedite(alert_ids: Sequence[int], *, now: datetime) -> None:
    """Make the next step of these alerts' escalations due now, and wake the engine.

    If only retries and a repeat are left, the repeat begins now; if nothing is, the Owner and App Admins are notified.
    """
    with transaction.atomic():
        runs = list(
            EscalationRun.objects.select_for_update(no_key=True, of=("self",))
            .select_related("alert")
            .filter(alert__in=alert_ids)
            .order_by("id"),
        )
        ended: dict[EscalationRun, Reason] = {}
        for run in runs:
            plan, position = Plan.load(run.plan), walk.Position.load(run.position)
            if walk.coming_repeat(plan, position) is not None:
                run.position = walk.repeat_now(plan, position, now).dump()
            elif walk.coming(plan, position) is None:
                why = f"The alert was escalated, and no further step follows in “{run.name}”."
                ended[run] = Reason(why, remedy="")
        continuing = [run for run in runs if run not in ended]
        # A person wants somebody now: from here on the run waits for no morning.
        waiting = [run for run in continuing if run.plan.get("low_waits_until")]
        for run in waiting:
            run.plan["low_waits_until"] = None
        EscalationRun.objects.bulk_update(waiting, ["plan"])
        expedite_locked(continuing, now=now)
        # Fallback recipients are notified, and that is recorded, once for a run; later only its end is recorded.
        TimelineEntry.objects.bulk_create(
            TimelineEntry(alert_id=run.alert_id, at=now, kind=TimelineEntry.Kind.ESCALATION_ENDED, text=reason.why)
            for run, reason in ended.items()
            if run.last_resort_at is not None
        )
        notify_fallback_recipients(ended, now=now)


def expedite_locked(runs: Iterable[EscalationRun], *, now: datetime) -> None:
    """Make the next step due now for runs whose rows the caller holds, and wake the engine."""
    runs = list(runs)
    for run in runs:
        position = walk.expedite(walk.Position.load(run.position), now)
        run.position, run.next_step_at, run.parked = position.dump(), position.next_at, False
    rows = records({"id": run.pk, "position": run.position, "next_step_at": run.next_step_at} for run in runs)
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "expedite_runs"), {"runs": rows})
    wake_on_commit("escalation.advance_escalations", queue="engine")


def _claim(*, now: datetime, limit: int) -> list[int]:
    """Lock up to `limit` due runs that no other engine has locked; return their ids."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "claim_runs"), {"now": now, "limit": limit})
        return [run_id for (run_id,) in cursor.fetchall()]


def _advance(run_ids: Sequence[int], *, now: datetime) -> int:
    """Advance locked runs in the caller's transaction; return their number.

    Runs of the same state take their step together: a storm opens thousands of alerts by one policy, and the walk is
    computed once for all of them.
    """
    runs_by_state: dict[_RunState, list[tuple[int, int]]] = defaultdict(list)
    runs = EscalationRun.objects.filter(pk__in=run_ids).order_by("id")
    texts = {"plan_text": Cast("plan", TextField()), "position_text": Cast("position", TextField())}
    columns = ("alert__organization_id", "name", "step", "plan_text", "position_text")
    rows = list(runs.annotate(**texts).values_list("id", "alert_id", "alert__integration_id", *columns))
    opted_out_by_integration = opted_out({integration_id for _, _, integration_id, *_ in rows})
    for run_id, alert_id, integration_id, organization_id, name, steps_done, plan_text, position_text in rows:
        unwilling = opted_out_by_integration.get(integration_id, frozenset())
        state = _RunState(organization_id, name, steps_done, plan_text, position_text, unwilling)
        runs_by_state[state].append((run_id, alert_id))
    plans = {text: Plan.load(json.loads(text)) for text in {state.plan_text for state in runs_by_state}}
    directory = RecipientDirectory.of(plans.values(), now=now)
    steps = []
    for state, members in runs_by_state.items():
        step = take_step(
            plans[state.plan_text],
            walk.Position.load(json.loads(state.position_text)),
            directory,
            organization_id=state.organization_id,
            name=state.name,
            steps_done=state.steps_done,
            opted_out=state.opted_out,
            now=now,
        )
        step.runs.extend(members)
        steps.append(step)
    _save(steps)
    write_steps(steps, now=now)
    return len(run_ids)


def _save(steps: Sequence[Step]) -> None:
    """Save the runs of these steps: each position is sent once, and each run refers to it by its number."""
    run_ids: list[int] = []
    numbers: list[int] = []
    for number, step in enumerate(steps):
        run_ids += (run_id for run_id, _ in step.runs)
        numbers += [number] * len(step.runs)
    positions = (
        {
            "number": number,
            "position": step.advance.position.dump(),
            "step": step.number,
            "next_step_at": step.next_at,
        }
        for number, step in enumerate(steps)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            statement("escalation", "save_runs"),
            {"ids": array(run_ids), "numbers": array(numbers), "positions": records(positions)},
        )


def _quarantine(run_id: int, error: Exception, *, now: datetime) -> None:
    """Try this run again in a minute; the first time, e-mail the Owner, because it notifies nobody meanwhile."""
    run = EscalationRun.objects.select_related("alert").get(pk=run_id)
    first = not run.error
    run.error = f"{type(error).__name__}: {error}".replace("\x00", "")
    run.next_step_at = now + QUARANTINE
    run.save(update_fields=["error", "next_step_at"])
    if first:
        write_owner_notice(
            run.alert.organization_id,
            subject=f"The escalation of “{run.alert.subject}” cannot go on",
            text=f"Alert #{run.alert_id} is open, and nobody else is notified of it, because “{run.name}” failed: "
            f"{run.error}\n"
            "Take it, or call somebody. Heartbeat tries again every minute; the log of the engine worker says more.",
            now=now,
        )
