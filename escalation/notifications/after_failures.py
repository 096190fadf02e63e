"""Escalations go on without messages that fail, are held back, or wait for too long."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from alerting.models.alerts import Alert, TimelineEntry
from alerting.services.alerts import write_timeline
from escalation.engine import plan, walk
from escalation.engine.advance import expedite_locked
from escalation.engine.last_resort import Reason, notify_fallback_recipients
from escalation.engine.reached import last_steps_reached, runs_that_reach_nobody
from escalation.engine.review_times import REOPEN_AT_MOST_EVERY, Review
from escalation.models.notifications import TO_OWNER, Notification
from escalation.models.runs import EscalationRun
from escalation.notifications.claim import due_channels
from escalation.notifications.next_method import PERSONAL, use_next_methods
from escalation.notifications.timeline_names import message_to
from heartbeat_project.kernel.sql import statement

log = logging.getLogger(__name__)
_Kind, _Status, _TimelineKind = Notification.Kind, Notification.Status, TimelineEntry.Kind
# A message that is held back for longer counts as a failed try, and a person whose messages fail for longer does not
# count as reached. Not at once: a mail server that asks to come back in a moment must not lead to the next step.
TOO_LONG: Final = timedelta(seconds=60)
# Number of pages in one transaction; there may be a backlog of thousands.
HELD_AT_ONCE: Final = 500
# The error text of a message that is held back; statements recognize by it that this was handled already.
HELD: Final = "Held back for more than a minute."


def lock_runs(message_ids: Sequence[UUID]) -> dict[int, EscalationRun]:
    """Return the runs behind these messages, locked in id order."""
    return _lock_runs(Q(message_id__in=message_ids)) if message_ids else {}


def _lock_runs(condition: Q) -> dict[int, EscalationRun]:
    run_ids = Notification.objects.filter(condition, run__isnull=False).values("run")
    runs = EscalationRun.objects.select_for_update(no_key=True, of=("self",)).select_related("alert")
    return {run.pk: run for run in runs.filter(pk__in=run_ids).order_by("pk")}


def go_on_after_failures(notification_ids: Sequence[UUID], runs: dict[int, EscalationRun], *, now: datetime) -> None:
    """Use each person's next method at once; without one, take the next step; without one, the last resort.

    A contact that a group shares has no next method, and its failure changes nothing for the walk.
    """
    log_lost_last_resorts(notification_ids)
    go_on_without(notification_ids, runs, why=all_failed, now=now)
    open_early(notification_ids, now=now)


def log_lost_last_resorts(notification_ids: Sequence[UUID]) -> None:
    """Log each last resort among these messages as an error."""
    last_resorts = Notification.objects.filter(pk__in=notification_ids, kind=_Kind.LAST_RESORT)
    for alert_id, error in last_resorts.values_list("alert_id", "last_error"):
        log.error("the last resort of alert %s failed: %s", alert_id, error)


def go_on_beside(notification_ids: Sequence[UUID], runs: dict[int, EscalationRun], *, now: datetime) -> None:
    """Log that these messages are held back for too long, and notify people in other ways; they still go out."""
    held = Notification.objects.filter(pk__in=notification_ids, alert__isnull=False).select_related("user", "group")
    reason = f"{HELD[:1].lower()}{HELD[1:-1]}"
    lines = [(row.alert_id or 0, f"{message_to(row)}: {reason}") for row in held]
    write_timeline(_TimelineKind.NOTIFICATION_FAILED, list(dict.fromkeys(lines)), now=now)
    go_on_without(notification_ids, runs, why=_all_held, now=now)


def go_on_beside_what_is_held(*, now: datetime) -> int:
    """Use other methods for pages that wait too long for their first try; return the number of pages.

    They wait because their organization or destination has its share of slow sends, or because no slot is free.
    """
    channels: list[str] = []
    urgencies: list[int] = []
    for channel, levels in due_channels(due_by=now - TOO_LONG).items():
        channels += [channel] * len(levels)
        urgencies += levels
    if not channels:
        return 0
    parameters: dict[str, Any] = {
        "channels": channels,
        "urgencies": urgencies,
        "kinds": list(PERSONAL),
        "held": HELD,
        "too_long": TOO_LONG,
        "limit": HELD_AT_ONCE,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "hold_too_long"), parameters)
        held_ids = [pk for (pk,) in cursor.fetchall()]
    if not held_ids:
        return 0
    with transaction.atomic():
        # Runs are locked before their messages, as everywhere. Messages that a claim has locked just now are skipped.
        runs = _lock_runs(Q(pk__in=held_ids))
        untried = Notification.objects.filter(pk__in=held_ids, status=_Status.PENDING, attempts=0).exclude(
            last_error=HELD
        )
        locked = untried.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
        locked_ids = list(locked.values_list("pk", flat=True))
        Notification.objects.filter(pk__in=locked_ids).update(last_error=HELD, in_time=False)
        go_on_beside(locked_ids, runs, now=now)
    return len(locked_ids)


def go_on_without_what_fails(*, now: datetime) -> int:
    """Let walks go on without pages that fail for too long; return the number of pages.

    The person's next method was used when the first try failed.
    """
    failing = Notification.objects.filter(
        failing_since__lte=now - TOO_LONG,
        next_attempt_at__isnull=False,
        kind=_Kind.PAGE,
        in_time=True,
        run__isnull=False,
    )
    failing_ids = list(failing.order_by("failing_since").values_list("pk", flat=True)[:HELD_AT_ONCE])
    if not failing_ids:
        return 0
    with transaction.atomic():
        runs = _lock_runs(Q(pk__in=failing_ids))
        # Read again under the lock: another worker may have been first.
        failing_ids = list(failing.filter(pk__in=failing_ids).values_list("pk", flat=True))
        Notification.objects.filter(pk__in=failing_ids).update(in_time=False)
        go_on_without(failing_ids, runs, why=all_failed, now=now)
    return len(failing_ids)


def go_on_without(
    notification_ids: Sequence[UUID],
    runs: dict[int, EscalationRun],
    *,
    why: Callable[[EscalationRun], Reason],
    now: datetime,
) -> None:
    """Go on as if these messages were not there: over the person's next method, else with the next step.

    `runs` are locked by the caller; `why` returns the reason of a last resort, if it comes to that.
    """
    lost = Notification.objects.filter(pk__in=notification_ids)
    to_people = lost.filter(kind=_Kind.PAGE, run__isnull=False, user__isnull=False)
    # A page that has failed only for a moment still counts, so its walk keeps its times.
    to_people = to_people.exclude(status=_Status.PENDING, in_time=True)
    with_next_method = {(row.run_id, row.user_id, row.step) for row in use_next_methods(notification_ids, now=now)}
    without = set(to_people.values_list("run_id", "user_id", "step")) - with_next_method
    if without:
        go_on_where_stuck({(run_id or 0, step) for run_id, _, step in without}, runs, why=why, now=now)


def go_on_where_stuck(
    lost: Collection[tuple[int, int]],
    runs: Mapping[int, EscalationRun],
    *,
    why: Callable[[EscalationRun], Reason],
    now: datetime,
) -> set[int]:
    """Let walks go on that reach nobody any more; return the ids of their runs.

    `lost` are the steps that lost a message, as (run id, step).
    """
    last_steps = last_steps_reached({run_id for run_id, _ in lost})
    # While somebody was notified in this step or a later one, or still may be, the walk keeps its times.
    stuck = {run_id for run_id, step in lost if last_steps.get(run_id, -1) < step} & runs.keys()
    go_on({runs[run_id]: why(runs[run_id]) for run_id in sorted(stuck)}, now=now)
    return stuck


def open_early(notification_ids: Sequence[UUID], *, now: datetime) -> None:
    """Review an alert now if every message that asked its owner for an answer failed for good."""
    to_owner = Notification.objects.filter(pk__in=notification_ids, kind__in=TO_OWNER, run__isnull=False)
    failed = set(to_owner.values_list("run_id", "step"))
    if not failed:
        return
    messages = Notification.objects.filter(alert__run__in={run_id for run_id, _ in failed}, kind__in=TO_OWNER)
    unreached = failed - set(messages.exclude(status=_Status.FAILED).values_list("run_id", "step"))
    may_reopen = Q(reopened_at__isnull=True) | Q(reopened_at__lte=now - REOPEN_AT_MOST_EVERY)
    waiting = EscalationRun.objects.filter(may_reopen, review__in=[Review.REOPEN, Review.HANDED], review_at__gt=now)
    for run_id, step in unreached:
        waiting.filter(pk=run_id, step=step).update(review_at=now)


def go_on(reasons: Mapping[EscalationRun, Reason], *, now: datetime) -> None:
    """Expedite walks that reach nobody any more; those with no further stage notify the fallback recipients.

    The caller holds the runs' rows. Retries that are still to come keep their times.
    """
    continuing: list[EscalationRun] = []
    ended: list[EscalationRun] = []
    for run in reasons:
        position = walk.Position.load(run.position)
        if run.next_step_at is not None and walk.coming(plan.Plan.load(run.plan), position):
            continuing.append(run)
        # If a person stopped the walk, nobody is notified instead.
        elif run.alert.status in {Alert.Status.OPEN, Alert.Status.ON_HOLD} and not position.stopped:
            ended.append(run)
    if continuing:
        expedite_locked(continuing, now=now)
    unreached = runs_that_reach_nobody(run.pk for run in ended)
    notify_fallback_recipients({run: reasons[run] for run in ended if run.pk in unreached}, wakes_nobody=True, now=now)


def _all_held(run: EscalationRun) -> Reason:
    return Reason(
        f"The limits hold back every notification of “{run.name}”.", remedy="give people a further contact method"
    )


def all_failed(run: EscalationRun) -> Reason:
    """Return the reason of the last resort for a run whose notifications all failed."""
    return Reason(f"Every notification of “{run.name}” failed.", remedy="look at the contact methods that failed")
