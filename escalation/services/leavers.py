"""People who leave after they were notified do not count any more: where nobody else does, the walk goes on at once."""

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Final

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet

from alerting.models import Alert, TimelineEntry
from alerting.selectors import people_who_may_answer, who_may_answer
from alerting.services import write_timeline
from escalation import walk
from escalation.models import EscalationRun
from escalation.services.engine import hurry_locked
from escalation.services.last_resort import Reason
from escalation.services.outcomes import go_on
from escalation.services.reached import people_behind, runs_that_reach_nobody
from escalation.services.taken import open_again
from heartbeat_project.kernel.sql import array, records, statement

# So many runs are locked together.
BATCH: Final = 2_000
_WHY: Final = "Nobody who was notified can answer any more."


def go_on_without_leavers(*, now: datetime) -> int:
    """Let escalations of open alerts go on whose notified people have all left; return how many there were.

    Somebody has left who was deactivated, taken out of the group, or lost the right to answer. Without a further step
    the Owners and App Admins are notified. An alert whose owner has left is open again. Any number of workers may do
    this at once.
    """
    taken_back = _take_back(now=now)
    left = _left_alone(now=now)
    return taken_back + sum(_go_on(left[first : first + BATCH], now=now) for first in range(0, len(left), BATCH))


def _take_back(*, now: datetime) -> int:
    """Open alerts again that are assigned to somebody who cannot act on them any more."""
    with transaction.atomic():
        held = EscalationRun.objects.select_for_update(no_key=True, skip_locked=True, of=("alert", "self"))
        lost = held.select_related("alert__owner").filter(alert__status=Alert.Status.ASSIGNED)
        runs = list(lost.exclude(alert__owner__in=people_who_may_answer()).order_by("pk")[:BATCH])
        if not runs:
            return 0
        open_again([(run, f"{run.alert.owner}, who had it, cannot answer any more.") for run in runs], now=now)
        # Nobody knows of it now: what comes next does not wait for its time.
        hurry_locked(EscalationRun.objects.filter(pk__in=[run.pk for run in runs]), now=now)
    return len(runs)


def _left_alone(*, now: datetime) -> list[int]:
    """Return the runs that wait for people of whom none counts any more; in statements whose number is fixed."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "waiting_plans"), {"now": now})
        waiting = cursor.fetchall()
        if not waiting:
            return []
        behind = people_behind({text: walk.Plan.load(json.loads(text)) for text, _ in waiting})
        able = who_may_answer(chain.from_iterable(behind.values()))
        parameters = {
            "runs": array(run_id for _, run_ids in waiting for run_id in run_ids),
            "plans": array(number for number, (_, run_ids) in enumerate(waiting) for _ in run_ids),
            "people": records(
                {"plan": number, "user_id": user_id}
                for number, (text, _) in enumerate(waiting)
                for user_id in behind[text] & able
            ),
        }
        cursor.execute(statement("escalation", "left_alone"), parameters)
        return [run_id for (run_id,) in cursor.fetchall()]


def _go_on(run_ids: Sequence[int], *, now: datetime) -> int:
    with transaction.atomic():
        held = _waiting(now=now).select_for_update(no_key=True, skip_locked=True, of=("self",))
        runs = list(held.select_related("alert").filter(pk__in=run_ids).order_by("pk"))
        # Asked exactly, and under the lock: another worker may have notified somebody meanwhile.
        left = runs_that_reach_nobody(run.pk for run in runs)
        runs = [run for run in runs if run.pk in left]
        going = [(run.alert_id, f"{_WHY} Going on at once.") for run in runs if run.next_step_at is not None]
        if going:
            write_timeline(TimelineEntry.Kind.SKIPPED, going, now=now)
        go_on({run: Reason(_WHY) for run in runs}, now=now)
    return len(runs)


def _waiting(*, now: datetime) -> QuerySet[EscalationRun]:
    """Return the runs of open alerts that wait for an answer; what is due at once goes on by itself."""
    return EscalationRun.objects.filter(
        Q(next_step_at__gt=now) | Q(next_step_at=None, last_resort_at=None),
        Q(acknowledge_stops=False) | Q(alert__acknowledged_at=None),
        alert__status=Alert.Status.OPEN,
        # Since it began, or began anew, somebody was to be notified.
        step__gt=F("begun_at_step"),
    ).exclude(position__has_key="stopped")
