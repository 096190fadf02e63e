"""Outcomes: what became of messages is written down for all that travelled in them, and what follows a failure."""

import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q

from accounts.models import ContactMethod
from accounts.services.failing import Refusal, record_working
from alerting.models import Alert, TimelineEntry
from escalation import walk
from escalation.channels import NEVER_AGAIN
from escalation.models import EscalationRun, Notification
from escalation.reviews import REOPEN_AT_MOST_EVERY, Review
from escalation.selectors import TO_OWNER
from escalation.services.claims import Claim
from escalation.services.engine import hurry_locked
from escalation.services.failing import note_refusals
from escalation.services.last_resort import Reason, tell_stewards
from escalation.services.reached import last_steps_reached, runs_that_reach_nobody
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.mail import STORED, mail_is_stored
from heartbeat_project.kernel.sql import statement

log = logging.getLogger(__name__)

USUAL: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 45, 120, 300))
# How long to wait after each failure, where not as usual: behind these channels the person's next method waits.
BACK_OFF: Final = dict.fromkeys(("sms", "voice", "push"), USUAL[:3])
_Kind, _Status, _Line = Notification.Kind, Notification.Status, TimelineEntry.Kind
CHANNEL_NAMES: Final[dict[str, str]] = {str(kind): str(name) for kind, name in ContactMethod.Kind.choices}
_CALLED: Final = {
    _Kind.RECOVERY: "recovery notice ",
    _Kind.LAST_RESORT: "last resort ",
    _Kind.ASSIGNMENT: "assignment ",
    _Kind.REMINDER: "reminder ",
}
# What is tried over a person's next contact method where one fails.
_PERSONAL: Final = (_Kind.PAGE, *TO_OWNER)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of sending: the provider's id, or its words and whether trying again is of no use.

    `later` is how long to wait before the next try, where somebody named a time; without an error there was no try.
    `elsewhere` says that the person's next contact method is better used now than after the last try, `bad_address`
    that the address itself was refused.
    """

    provider_id: str = ""
    error: str = ""
    permanent: bool = False
    later: timedelta | None = None
    elsewhere: bool = False
    bad_address: bool = False


@dataclass(frozen=True, slots=True)
class _Record:
    """What is written for each notification that travelled in one message."""

    status: str
    next_attempt_at: datetime | None = None
    provider_id: str = ""
    error: str = ""
    tried: bool = True
    line_kind: str = ""
    line: str = ""


def record(results: Sequence[tuple[Claim, Outcome]], *, now: datetime) -> set[UUID]:
    """Write down what came of claimed messages; return those whose lease had not gone to somebody else."""
    if not results:
        return set()
    records = [(claimed, _record(claimed, outcome, now=now)) for claimed, outcome in results]
    failed = [claimed.envelope for claimed, record in records if record.status == _Status.FAILED]
    with transaction.atomic():
        # Held first: when the last two messages of a walk fail together, one of the two must see the other's end.
        runs = lock_runs(failed)
        written = _write(records, now=now)
        lost = [notification_id for envelope in failed for notification_id in written.get(envelope, ())]
        if lost:
            go_on_after_failures(lost, runs, now=now)
        elsewhere = [
            claimed.envelope
            for claimed, outcome in results
            if outcome.elsewhere and claimed.notification.kind in _PERSONAL
        ]
        waiting = [pk for envelope in set(elsewhere) - set(failed) for pk in written.get(envelope, ())]
        if waiting:
            _use_next_methods(waiting, now=now)
        _judge_addresses([result for result in results if result[0].envelope in written], now=now)
    return set(written)


def _judge_addresses(results: Sequence[tuple[Claim, Outcome]], *, now: datetime) -> None:
    """Write down which contact methods were refused by their address, and which work again.

    A message that was taken says so on all channels but those to phones, where only a receipt does.
    """
    refused, working = [], []
    for claimed, outcome in results:
        notification = claimed.notification
        method = notification.contact_method
        if method is None or notification.about_failing:
            continue
        if outcome.bad_address:
            refused.append(Refusal(method.pk, method.address, outcome.error))
        elif method.failed_at is not None and outcome.provider_id and notification.channel not in NEVER_AGAIN:
            working.append(method.pk)
    note_refusals(refused, now=now)
    record_working(working)


def max_attempts(channel: str) -> int:
    """Return how often a message is tried on this channel before it is given up."""
    return len(BACK_OFF.get(channel, USUAL)) + 1


def back_off(channel: str, envelope: UUID, attempts: int) -> timedelta:
    """Return how long to wait after this attempt, as BACK_OFF says for the channel, and up to a fifth more.

    The part on top differs from message to message, so that those which failed together do not come back together.
    """
    waits = BACK_OFF.get(channel, USUAL)
    spread = (envelope.int + attempts) % 100 / 500
    return waits[min(attempts, len(waits)) - 1] * (1 + spread)


def _record(claimed: Claim, outcome: Outcome, *, now: datetime) -> _Record:
    if not outcome.error and outcome.later is not None:
        return _Record(_Status.PENDING, now + outcome.later, tried=False)
    if not outcome.error:
        provider_id = outcome.provider_id.replace("\x00", "")[:200]
        stored = STORED if claimed.notification.channel == ContactMethod.Kind.EMAIL and mail_is_stored() else ""
        said = _line(claimed, f"{stored[:1].lower()}{stored[1:]}" if stored else "accepted")
        return _Record(_Status.ACCEPTED, provider_id=provider_id, error=stored, line_kind=_Line.TOLD, line=said)
    error = outcome.error.replace("\x00", "")[:1_000]
    channel = claimed.notification.channel
    if outcome.permanent or claimed.attempts >= max_attempts(channel):
        return _Record(
            _Status.FAILED, error=error, line_kind=_Line.TOLD_FAILED, line=_line(claimed, f"failed: {error}")
        )
    wait = max(back_off(channel, claimed.envelope, claimed.attempts), outcome.later or timedelta())
    return _Record(_Status.PENDING, now + wait, error=error)


def _line(claimed: Claim, what: str) -> str:
    """Return the line of the timeline: to whom, over what, with what end, and in whose company."""
    notification = claimed.notification
    called = _CALLED.get(_Kind(notification.kind), "")
    channel = CHANNEL_NAMES.get(notification.channel, notification.channel)
    said = f"{channel} {called}to {notification.addressee}: {what}"
    others = claimed.alerts - 1
    if others < 1:
        return said
    return f"{said}, in one message with {others} other alert{'' if others == 1 else 's'} (message {claimed.envelope})"


def lock_runs(envelopes: Sequence[UUID]) -> dict[int, EscalationRun]:
    """Return the runs behind these messages, locked in id order."""
    if not envelopes:
        return {}
    theirs = Notification.objects.filter(envelope__in=envelopes, run__isnull=False).values("run")
    runs = EscalationRun.objects.select_for_update(no_key=True, of=("self",)).select_related("alert")
    return {run.pk: run for run in runs.filter(pk__in=theirs).order_by("pk")}


def _write(records: Sequence[tuple[Claim, _Record]], *, now: datetime) -> dict[UUID, list[UUID]]:
    """Write the records; return the notifications of each message whose lease was still the caller's."""
    with connection.cursor() as cursor:
        cursor.execute(
            statement("escalation", "record_outcomes"),
            {
                "now": now,
                "envelopes": [claimed.envelope for claimed, _ in records],
                "leases": [claimed.lease_ends for claimed, _ in records],
                "statuses": [str(record.status) for _, record in records],
                "next": [record.next_attempt_at for _, record in records],
                "provider_ids": [record.provider_id for _, record in records],
                "errors": [record.error for _, record in records],
                "tried": [record.tried for _, record in records],
                "line_kinds": [str(record.line_kind) for _, record in records],
                "lines": [record.line for _, record in records],
            },
        )
        return dict(cursor.fetchall())


def go_on_after_failures(notification_ids: Sequence[UUID], runs: dict[int, EscalationRun], *, now: datetime) -> None:
    """Use each person's next method at once; without one, the next step; without one, the last resort.

    What a group shares has no next method, and nobody waits for it: people are told as if it were not there.
    """
    lost = Notification.objects.filter(pk__in=notification_ids)
    for alert_id, error in lost.filter(kind=_Kind.LAST_RESORT).values_list("alert_id", "last_error"):
        log.error("the last resort of alert %s failed: %s", alert_id, error)
    to_people = lost.filter(kind__in=_PERSONAL, run__isnull=False, user__isnull=False)
    failed = set(to_people.values_list("run_id", "user_id", "step", "kind"))
    if not failed:
        return
    used = _use_next_methods(notification_ids, now=now)
    unheard = {(run_id, step) for run_id, _, step, kind in failed if kind != _Kind.PAGE}
    _open_early(unheard - {(run_id, step) for run_id, _, step in used}, now=now)
    stopped = {(run_id, user_id, step) for run_id, user_id, step, kind in failed if kind == _Kind.PAGE} - used
    reached = last_steps_reached({run_id for run_id, _, _ in stopped})
    # While somebody of this step, or of a later one, was told or still may be, the walk keeps its times.
    stuck = {run_id for run_id, _, step in stopped if reached.get(run_id, -1) < step}
    go_on({runs[run_id]: _all_failed(runs[run_id]) for run_id in sorted(stuck) if run_id in runs}, now=now)


def _use_next_methods(notification_ids: Sequence[UUID], *, now: datetime) -> set[tuple[int, int, int]]:
    """Let what waits for its turn behind these pages go out now; return the run, person and step where something does.

    The pages need not have failed for good: one whose provider is left alone is tried on beside what takes its place.
    """
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "hurry_methods"), {"ids": list(notification_ids), "now": now})
        found = set(cursor.fetchall())
    if found:
        ring("escalation.deliver_due", queue="delivery")
    return found


def _open_early(unheard: AbstractSet[tuple[int, int]], *, now: datetime) -> None:
    """Wait no longer for an answer where every message that asked whoever has the alert failed: (run, step)."""
    if not unheard:
        return
    asked = Notification.objects.filter(alert__run__in={run_id for run_id, _ in unheard}, kind__in=TO_OWNER)
    left = unheard - set(asked.exclude(status=_Status.FAILED).values_list("run_id", "step"))
    long_ago = Q(reopened_at__isnull=True) | Q(reopened_at__lte=now - REOPEN_AT_MOST_EVERY)
    waiting = EscalationRun.objects.filter(long_ago, review__in=[Review.REOPEN, Review.HANDED], review_at__gt=now)
    for run_id, step in left:
        waiting.filter(pk=run_id, step=step).update(review_at=now)


def go_on(reasons: Mapping[EscalationRun, Reason], *, now: datetime) -> None:
    """Let walks go on at once that reach nobody any more; where no stage follows, notify the stewards, and say why.

    The caller holds the runs' rows. Retries that are still to come keep their times.
    """
    going: list[EscalationRun] = []
    ended: list[EscalationRun] = []
    for run in reasons:
        coming = walk.coming(walk.Plan.load(run.plan), walk.Position.load(run.position))
        (going if coming and run.next_step_at is not None else ended).append(run)
    if going:
        hurry_locked(going, now=now)
    ended = [
        run
        for run in ended
        # Where a person stopped the walk, nobody is to be notified instead.
        if run.alert.status in {Alert.Status.OPEN, Alert.Status.ON_HOLD}
        and not walk.Position.load(run.position).stopped
    ]
    lost = runs_that_reach_nobody(run.pk for run in ended)
    tell_stewards({run: reasons[run] for run in ended if run.pk in lost}, now=now)


def _all_failed(run: EscalationRun) -> Reason:
    return Reason(f"Every notification of “{run.name}” failed.", remedy="look at the contact methods that failed")
