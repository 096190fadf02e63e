"""The engine: runs that are due go on, whoever ticks and however often."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from accounts.selectors import opted_out
from alerting.models import TimelineEntry
from escalation import walk
from escalation.models import EscalationRun
from escalation.services.last_resort import Reason, tell_stewards
from escalation.services.notices import write_owner_notice
from escalation.services.people import Directory
from escalation.services.steps import Step, take_step, write_steps
from heartbeat_project.kernel.batches import together_or_alone
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import array, records, statement

SET_ASIDE_FOR = timedelta(minutes=1)
REST_LIMIT = 5_000


def advance_escalations(*, now: datetime, limit: int = 1_000) -> int:
    """Do the next step of every run that is due and whose alert is open; return how many runs went on.

    Works in batches of `limit` runs, each one transaction. Two engines share the work: a run that one has locked is
    passed over by the other.
    """
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "wake_runs"))
        cursor.execute(statement("escalation", "rest_runs"), {"now": now, "limit": REST_LIMIT})
    advanced = 0
    while True:
        with transaction.atomic():
            claimed = _claim(now=now, limit=limit)
            advanced += together_or_alone(
                claimed,
                what="escalations",
                act=partial(_advance, now=now),
                set_aside=partial(_set_aside, now=now),
            )
        if len(claimed) < limit:
            return advanced


def hurry(alert_ids: Sequence[int], *, now: datetime) -> None:
    """Make what comes next in these alerts' walks due now; the engine is rung for.

    Where no step is left somebody hands on what nobody would take: the Owner and App Admins are told.
    """
    with transaction.atomic():
        runs = list(
            EscalationRun.objects.select_for_update(no_key=True, of=("self",))
            .select_related("alert")
            .filter(alert__in=alert_ids)
            .order_by("id"),
        )
        over = {
            run: Reason(f"The alert was escalated, and no further step follows in “{run.name}”.", remedy="")
            for run in runs
            if walk.coming(walk.Plan.load(run.plan), walk.Position.load(run.position)) is None
        }
        hurry_locked([run for run in runs if run not in over], now=now)
        TimelineEntry.objects.bulk_create(
            TimelineEntry(alert_id=run.alert_id, at=now, kind=TimelineEntry.Kind.WALK_ENDED, text=reason.why)
            for run, reason in over.items()
            if run.last_resort_at is not None
        )
        tell_stewards(over, now=now)


def hurry_locked(runs: Iterable[EscalationRun], *, now: datetime) -> None:
    """Make what comes next due now for runs whose rows the caller holds."""
    hurried = list(runs)
    for run in hurried:
        position = walk.hurry(walk.Position.load(run.position), now)
        run.position, run.next_step_at, run.resting = position.dump(), position.next_at, False
    moved = records({"id": run.pk, "position": run.position, "next_step_at": run.next_step_at} for run in hurried)
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "hurry_runs"), {"runs": moved})
    ring("escalation.advance_escalations", queue="engine")


def _claim(*, now: datetime, limit: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "claim_runs"), {"now": now, "limit": limit})
        return [run_id for (run_id,) in cursor.fetchall()]


def _advance(run_ids: Sequence[int], *, now: datetime) -> int:
    """Advance locked runs in the caller's transaction; runs at the same place of the same plan go together."""
    together: dict[tuple[Any, ...], list[tuple[int, int]]] = defaultdict(list)
    runs = EscalationRun.objects.filter(pk__in=run_ids).order_by("id")
    texts = {"plan_text": Cast("plan", TextField()), "position_text": Cast("position", TextField())}
    place = ("alert__organization_id", "name", "step", "plan_text", "position_text")
    rows = list(runs.annotate(**texts).values_list("id", "alert_id", "alert__integration_id", *place))
    silent_for = opted_out({integration_id for _, _, integration_id, *_ in rows})
    for run_id, alert_id, integration_id, *key in rows:
        together[(*key, silent_for.get(integration_id, frozenset()))].append((run_id, alert_id))
    plans = {text: walk.Plan.load(json.loads(text)) for text in {key[3] for key in together}}
    directory = Directory.of(plans.values(), now=now)
    steps = []
    for (organization_id, name, taken, plan, position, unwilling), members in together.items():
        step = take_step(
            plans[plan],
            walk.Position.load(json.loads(position)),
            directory,
            organization_id=organization_id,
            name=name,
            taken=taken,
            opted_out=unwilling,
            now=now,
        )
        step.runs.extend(members)
        steps.append(step)
    _save(steps)
    write_steps(steps, directory, now=now)
    return len(run_ids)


def _save(steps: Sequence[Step]) -> None:
    moved = [(run_id, place) for place, step in enumerate(steps) for run_id, _ in step.runs]
    standings = (
        {
            "number": place,
            "position": step.advance.position.dump(),
            "step": step.number,
            "next_step_at": step.next_at,
        }
        for place, step in enumerate(steps)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            statement("escalation", "save_runs"),
            {
                "ids": array(run_id for run_id, _ in moved),
                "places": array(place for _, place in moved),
                "standings": records(standings),
            },
        )


def _set_aside(run_id: int, error: Exception, *, now: datetime) -> None:
    """Try this one again in a minute; the first time, tell the Owner, because nobody is being told by it."""
    run = EscalationRun.objects.select_related("alert").get(pk=run_id)
    first = not run.error
    run.error = f"{type(error).__name__}: {error}".replace("\x00", "")
    run.next_step_at = now + SET_ASIDE_FOR
    run.save(update_fields=["error", "next_step_at"])
    if first:
        write_owner_notice(
            run.alert.organization_id,
            subject=f"The escalation of “{run.alert.subject}” cannot go on",
            text=f"Alert {run.alert_id} is open, and its escalation “{run.name}” failed: {run.error}\n"
            "It is tried again every minute. The log of the engine worker says more.",
            now=now,
        )
