"""People who leave after they were notified do not count any more: where nobody else does, the walk goes on at once."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet

from alerting.models import Alert, TimelineEntry
from alerting.services import write_timeline
from escalation.models import EscalationRun
from escalation.services.last_resort import Reason
from escalation.services.outcomes import go_on
from escalation.services.reached import runs_that_reach_nobody

BATCH: Final = 2_000
_WHY: Final = "Nobody who was notified can answer any more."


def go_on_without_leavers(*, now: datetime) -> int:
    """Let escalations of open alerts go on whose notified people have all left; return how many there were.

    Somebody has left who was deactivated, taken out of the group, or lost the right to answer. Without a further step
    the Owners and App Admins are notified. Any number of workers may do this at once.
    """
    return sum(_go_on(run_ids, now=now) for run_ids in _batches(now=now))


def _go_on(run_ids: Sequence[int], *, now: datetime) -> int:
    left = runs_that_reach_nobody(run_ids)
    if not left:
        return 0
    with transaction.atomic():
        held = _waiting(now=now).select_for_update(no_key=True, skip_locked=True, of=("self",))
        runs = list(held.select_related("alert").filter(pk__in=left).order_by("pk"))
        # Asked again under the lock: another worker may have notified somebody meanwhile.
        left = runs_that_reach_nobody(run.pk for run in runs)
        runs = [run for run in runs if run.pk in left]
        going = [(run.alert_id, f"{_WHY} Going on at once.") for run in runs if run.next_step_at is not None]
        if going:
            write_timeline(TimelineEntry.Kind.SKIPPED, going, now=now)
        go_on({run: Reason(_WHY) for run in runs}, now=now)
    return len(runs)


def _batches(*, now: datetime) -> Iterator[list[int]]:
    """Yield the runs that have notified somebody and wait, some at a time."""
    last = 0
    while run_ids := list(_waiting(now=now).filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        yield run_ids
        last = run_ids[-1]


def _waiting(*, now: datetime) -> QuerySet[EscalationRun]:
    """Return the runs of open alerts that wait for an answer; what is due at once goes on by itself."""
    return EscalationRun.objects.filter(
        Q(next_step_at__gt=now) | Q(next_step_at=None, last_resort_at=None),
        Q(acknowledge_stops=False) | Q(alert__acknowledged_at=None),
        alert__status=Alert.Status.OPEN,
        step__gt=0,
    )
