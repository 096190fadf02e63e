"""Delivery: what stands in the outbox is sent, and what became of it is written down.

A notification goes through `claim`, `send` and `record`, each on its own: the claim commits a lease, the sending is
outside any transaction, and the record is guarded by the attempt. A worker that dies in between leaves a lease that
ends; the message is then sent again under the same id.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from alerting.models import Alert, TimelineEntry
from escalation import walk
from escalation.channels import Switchboard
from escalation.channels.base import DeliveryError, Message
from escalation.models import EscalationRun, Notification
from escalation.services.engine import hurry_locked
from escalation.services.last_resort import tell_stewards
from escalation.services.steps import HOPEFUL, without_hope
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.sql import statement

log = logging.getLogger(__name__)

BUDGET_SECONDS: Final = 25.0
BACK_OFF: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 45, 120, 300))
MAX_ATTEMPTS: Final = len(BACK_OFF) + 1
# A page whose alert is on hold is looked at again so often, until it is resumed or ends.
LOOK_AGAIN: Final = timedelta(seconds=5)
_Kind, _Status = Notification.Kind, Notification.Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of sending: the provider's id, or its words and whether trying again is of no use."""

    provider_id: str = ""
    error: str = ""
    permanent: bool = False


def deliver_due(*, now: datetime, limit: int = 1_000) -> int:
    """Send what is due, one message at a time, until nothing is left or 25 seconds are used; return how many.

    Any number of workers may do this at once. What is due is judged at `now`; the times that are written move on with
    the work.
    """
    started = time.monotonic()
    sent = 0
    with Switchboard() as switchboard:
        while sent < limit:
            elapsed = time.monotonic() - started
            if elapsed > BUDGET_SECONDS:
                break
            # In whole seconds, so that what is written within one tick carries the tick's own time.
            moment = now + timedelta(seconds=int(elapsed))
            claimed = claim(due_by=now, now=moment)
            if claimed is None:
                break
            if claimed.status == _Status.SENDING:
                record(claimed, send(claimed, switchboard, now=moment), now=moment)
                sent += 1
    return sent


def claim(*, due_by: datetime, now: datetime) -> Notification | None:
    """Take the notification that is due longest and lease it to the caller; None when nothing is due.

    Its status is then `sending`; or `superseded` when its alert does not want it any more; or still `pending` when its
    alert is on hold.
    """
    parameters = {
        "now": due_by,
        "lease_ends": now + timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS),
        "look_again": now + LOOK_AGAIN,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "claim_notification"), parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    related = ("alert__bridge", "alert__acknowledged_by", "run", "user")
    return Notification.objects.select_related(*related).filter(pk=row[0]).first()


def send(notification: Notification, switchboard: Switchboard, *, now: datetime) -> Outcome:
    """Send a claimed notification and return what came of it; no message stops another, only a lost database does."""
    if notification.attempts > MAX_ATTEMPTS:
        return Outcome(error="The worker was lost at each attempt to send it.", permanent=True)
    try:
        return Outcome(provider_id=switchboard.send(notification.channel, _message(notification, now=now)))
    except DeliveryError as error:
        log.warning("notification %s was not taken: %s", notification.pk, error)
        return Outcome(error=str(error), permanent=error.permanent)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("notification %s could not be written", notification.pk)
        return Outcome(error=f"{type(error).__name__}: {error}", permanent=True)


def record(notification: Notification, outcome: Outcome, *, now: datetime) -> bool:
    """Write down what came of a claimed notification; return False when the lease had gone to somebody else."""
    if not outcome.error:
        return _accepted(notification, outcome, now=now)
    error = outcome.error.replace("\x00", "")[:1_000]
    if outcome.permanent or notification.attempts >= MAX_ATTEMPTS:
        return _failed(notification, error, now=now)
    return _write(
        notification,
        status=_Status.PENDING,
        next_attempt_at=now + back_off(notification),
        last_error=error,
    )


def back_off(notification: Notification) -> timedelta:
    """Return how long to wait after this attempt: 5 s, 15 s, 45 s, 2 min, 5 min, and up to a fifth more.

    The part on top differs from message to message, so that those which failed together do not come back together.
    """
    spread = (notification.pk.int + notification.attempts) % 100 / 500
    return BACK_OFF[min(notification.attempts, len(BACK_OFF)) - 1] * (1 + spread)


def _message(notification: Notification, *, now: datetime) -> Message:
    run = notification.run
    return Message(
        id=notification.pk,
        kind=notification.kind,
        address=notification.address,
        reader=str(notification.user),
        time_zone=notification.user.time_zone,
        at=now,
        alert=notification.alert,
        coming=walk.coming(walk.Plan.load(run.plan), walk.Position.load(run.position)) if run else None,
        subject=notification.subject,
        text=notification.text,
    )


def _write(notification: Notification, **fields: object) -> bool:
    """Change the row if it still is at the caller's attempt."""
    mine = Notification.objects.filter(pk=notification.pk, status=_Status.SENDING, attempts=notification.attempts)
    return mine.update(**fields) == 1


def _accepted(notification: Notification, outcome: Outcome, *, now: datetime) -> bool:
    with transaction.atomic():
        written = _write(
            notification,
            status=_Status.ACCEPTED,
            accepted_at=now,
            next_attempt_at=None,
            provider_id=outcome.provider_id[:200],
            last_error="",
        )
        if written:
            _tell_timeline(notification, TimelineEntry.Kind.TOLD, "accepted", now=now)
    return written


def _failed(notification: Notification, error: str, *, now: datetime) -> bool:
    """Give up on this message, and go on at once with what comes after it."""
    with transaction.atomic():
        # Held first: when the last two messages of a walk fail together, one of the two must see the other's end.
        runs = EscalationRun.objects.select_for_update(no_key=True, of=("self",)).select_related("alert")
        run = runs.filter(notifications=notification.pk).first()
        if not _write(notification, status=_Status.FAILED, next_attempt_at=None, last_error=error):
            return False
        _tell_timeline(notification, TimelineEntry.Kind.TOLD_FAILED, f"failed: {error}", now=now)
        if notification.kind == _Kind.PAGE and run is not None:
            _go_on_after_failure(notification, run, now=now)
        elif notification.kind == _Kind.LAST_RESORT:
            log.error("the last resort of alert %s failed: %s", notification.alert_id, error)
    return True


def _go_on_after_failure(notification: Notification, run: EscalationRun, *, now: datetime) -> None:
    """Use the person's next method at once; without one, the next step; without one, the last resort."""
    pages = Notification.objects.filter(run=run, kind=_Kind.PAGE)
    theirs = pages.filter(user_id=notification.user_id, step=notification.step, status=_Status.PENDING, attempts=0)
    if theirs.filter(next_attempt_at__gt=now).update(next_attempt_at=now):
        ring("escalation.deliver_due", queue="delivery")
        return
    # Somebody of this step, or of a later one, was told or still may be: the walk keeps its times.
    if pages.filter(step__gte=notification.step, status__in=HOPEFUL).exists():
        return
    if run.next_step_at is not None:
        hurry_locked([run], now=now)
    elif run.alert.status in {Alert.Status.OPEN, Alert.Status.ON_HOLD} and without_hope([run.pk]):
        tell_stewards({run: f"Every notification of “{run.name}” failed."}, now=now)


def _tell_timeline(notification: Notification, kind: TimelineEntry.Kind, what: str, *, now: datetime) -> None:
    if notification.alert_id is None:
        return
    words = {_Kind.RECOVERY: "recovery notice ", _Kind.LAST_RESORT: "last resort "}.get(_Kind(notification.kind), "")
    text = f"E-mail {words}to {notification.user} ({notification.label}): {what}"
    TimelineEntry.objects.create(alert_id=notification.alert_id, at=now, kind=kind, text=text)
