"""People who leave after they were notified do not count as reached: if nobody else does, the walk goes on at once."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Final

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from accounts.services.restores import unless_held
from alerting.models.alerts import Alert, TimelineEntry
from alerting.selectors import people_who_may_answer, who_may_answer
from alerting.services.alerts import write_timeline
from escalation.engine import plan, walk
from escalation.engine.advance import expedite_locked
from escalation.engine.last_resort import Reason
from escalation.engine.reached import people_behind, runs_that_reach_nobody
from escalation.engine.reviews import open_again
from escalation.models.runs import EscalationRun
from escalation.notifications.after_failures import go_on
from escalation.notifications.judge_again import move_to_covers
from heartbeat_project.kernel.sql import array, records, statement

# Number of runs that are locked in one transaction.
BATCH: Final = 2_000
_WHY: Final = "Nobody who was notified can answer any more."


@unless_held(0)
def go_on_without_leavers(*, now: datetime) -> int:
    """Let escalations go on whose notified people have all left; return the number of escalations.

    People have left if they were deactivated, were taken out of the group, or lost the right to answer. Without a
    further step the Owners and App Admins are notified. Alerts whose owner has left are opened again. Pages to people
    who went out of office move to their covers. Any number of workers may do this at once.
    """
    move_to_covers(now=now)
    count = _reopen_without_owner(now=now)
    run_ids = _without_reader(now=now)
    for first in range(0, len(run_ids), BATCH):
        count += _go_on(run_ids[first : first + BATCH], now=now)
    return count


def _reopen_without_owner(*, now: datetime) -> int:
    """Open alerts again that are assigned to somebody who cannot act on them any more; return their number."""
    with transaction.atomic():
        locked = EscalationRun.objects.select_for_update(no_key=True, skip_locked=True, of=("alert", "self"))
        assigned = locked.select_related("alert__owner").filter(alert__status=Alert.Status.ASSIGNED)
        runs = list(assigned.exclude(alert__owner__in=people_who_may_answer()).order_by("pk")[:BATCH])
        if not runs:
            return 0
        open_again([(run, f"{run.alert.owner}, who had it, cannot answer any more.") for run in runs], now=now)
        # Nobody knows of the alert now, so the next step does not wait for its time.
        expedite_locked(EscalationRun.objects.filter(pk__in=[run.pk for run in runs]), now=now)
    return len(runs)


def _without_reader(*, now: datetime) -> list[int]:
    """Return the runs that wait for people of whom none counts any more; the number of statements is fixed."""
    with connection.cursor() as cursor:
        # In a storm many runs share few plans, so people are looked up for each plan and not for each run.
        cursor.execute(statement("escalation", "waiting_plans"), {"now": now})
        waiting = cursor.fetchall()
        if not waiting:
            return []
        people_by_plan = people_behind({text: plan.Plan.load(json.loads(text)) for text, _ in waiting})
        able = who_may_answer(chain.from_iterable(people_by_plan.values()))
        waiting_ids: list[int] = []
        plan_numbers: list[int] = []
        people: list[dict[str, int]] = []
        for number, (text, run_ids) in enumerate(waiting):
            waiting_ids += run_ids
            plan_numbers += [number] * len(run_ids)
            people += [{"plan": number, "user_id": user_id} for user_id in people_by_plan[text] & able]
        parameters = {"runs": array(waiting_ids), "plans": array(plan_numbers), "people": records(people)}
        cursor.execute(statement("escalation", "runs_without_reader"), parameters)
        return [run_id for (run_id,) in cursor.fetchall()]


def _go_on(run_ids: Sequence[int], *, now: datetime) -> int:
    with transaction.atomic():
        locked = _waiting(now=now).select_for_update(no_key=True, skip_locked=True, of=("self",))
        runs = list(locked.select_related("alert").filter(pk__in=run_ids).order_by("pk"))
        # Checked again under the lock: another worker may have notified somebody meanwhile.
        unreached = runs_that_reach_nobody(run.pk for run in runs)
        runs = [run for run in runs if run.pk in unreached and not _is_at_its_end(run)]
        lines = [(run.alert_id, f"{_WHY} Going on at once.") for run in runs if run.next_step_at is not None]
        if lines:
            write_timeline(TimelineEntry.Kind.SKIPPED, lines, now=now)
        go_on({run: Reason(_WHY) for run in runs}, now=now)
    return len(runs)


def _is_at_its_end(run: EscalationRun) -> bool:
    """Return whether no step is left: the last resort was notified, and only retries of earlier steps can come."""
    return (
        run.last_resort_at is not None
        and walk.coming(plan.Plan.load(run.plan), walk.Position.load(run.position)) is None
    )


def _waiting(*, now: datetime) -> QuerySet[EscalationRun]:
    """Return the runs of open alerts that wait for an answer, without runs that are due and go on by themselves."""
    return EscalationRun.objects.filter(
        Q(next_step_at__gt=now) | Q(next_step_at=None, last_resort_at=None),
        Q(acknowledge_stops=False) | Q(alert__acknowledged_at=None),
        alert__status=Alert.Status.OPEN,
        # A step has notified people since the run began, or began anew.
        step__gt=F("begun_at_step"),
    ).exclude(position__has_key="stopped")
