"""Steps of the database's clock: they neither open nor hide an alert.

A step ahead looks like any time in which no web process listened: the next pulse makes it an outage. Only leases are
moved, so that nothing under way is sent twice. After a step back, everything that waits for a time would wait longer by
the step. One process claims the step, in the row that keeps the newest time seen; ticks then move everything back, in
batches.
"""

import logging
import socket
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Max, Q

from accounts.models.chat_members import ChatLinkCode
from accounts.models.contact_methods import ContactMethod
from alerting.models.alerts import Alert, TimelineEntry
from alerting.selectors import live_test
from alerting.states import Status
from escalation.engine import walk
from escalation.models.notifications import BundleWindow, Notification
from escalation.models.on_call import Shift, ShiftNotice
from escalation.models.runs import EscalationRun
from escalation.models.sending import CircuitBreaker, RateLimitState
from escalation.notifications.notices.operator import notify_operator
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.sql import records, statement
from integrations.heartbeats.clock_reading import Reading, clock_parameters, set_clock
from integrations.models.chat import ChatMessage
from integrations.models.coverage import CoverageReport
from integrations.models.events import EventKey, EventState
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import FormerToken
from integrations.models.mails import CoverageWatch
from integrations.models.outages import ClockStep, DatabaseClock, IngestProcess, IngestState, Outage

log = logging.getLogger(__name__)

# Work that began by the old time is over by then: one batch of deliveries takes five seconds.
SETTLED_AFTER: Final = timedelta(seconds=7)
# Messages that were being sent at the step are recorded by then.
LATECOMERS_AFTER: Final = timedelta(seconds=60)
RUNS_AT_ONCE: Final = 1_000
NIL: Final = "00000000-0000-0000-0000-000000000000"  # lies before every id of a notification
# Other columns that are waited for, or counted from: after a step back, those that lie ahead of the clock are moved.
REST: Final[tuple[tuple[Any, tuple[str, ...]], ...]] = (
    (BundleWindow, ("closed_until",)),
    (RateLimitState, ("used_until",)),
    (CircuitBreaker, ("open_until", "failed_at")),
    (
        ContactMethod,
        (
            *("code_expires_at", "tested_at", "failing_since", "failed_at"),
            *("stopped_at", "owner_notified_at", "managers_notified_at"),
        ),
    ),
    (Shift, ("calendar_due_at", "calendar_read_at", "calendar_failing_since", "calendar_reported_at")),
    (ShiftNotice, ("due_at",)),
    (CoverageWatch, ("due_at", "gaps_since", "mailed_at")),
    (CoverageReport, ("checked_at",)),
    (FormerToken, ("ends_at",)),
    (Alert, ("closes_at",)),
    (EventKey, ("due_at",)),
    (EventState, ("group_ends_at",)),
    (ChatLinkCode, ("expires_at",)),
    (ChatMessage, ("next_attempt_at",)),
)
REPORT_EVERY: Final = 60.0  # seconds
REPORT_COUNTS: Final = timedelta(minutes=3)  # three times the interval of reports
_reported_at = float("-inf")


# -- at the edge -----------------------------------------------------------------------------------------------------
def keep_time() -> None:
    """Set this process's clock by the database's, and claim a step of it that nobody has claimed; called before a tick.

    Raises OperationalError while the database is away; then this process goes on by its monotonic clock.
    """
    asked = time.monotonic()
    reading = watch_clock()
    if reading.is_before_a_step_that_nobody_claimed:
        claim_step(expected=_expected(reading, asked=asked))
        asked = time.monotonic()
        reading = watch_clock()
        if reading.is_before_a_step_that_nobody_claimed:
            return
    ahead = set_clock(reading, asked=asked)
    if ahead > clock.TOLERANCE:
        keep_leases(by=ahead, now=clock.now())
    report_skew()


def watch_clock(*, now: datetime | None = None) -> Reading:
    """Read the database's clock and note it as the newest time seen; stories pass `now` instead of a clock."""
    reading = _read_clock(now=now)
    if reading.latest_at is None:
        DatabaseClock.objects.bulk_create([DatabaseClock(latest_at=reading.at)], ignore_conflicts=True)
    return reading


def _read_clock(*, now: datetime | None) -> Reading:
    return Reading._make(_execute("read_clock", clock_parameters(now=now)))


def _expected(reading: Reading, *, asked: float) -> datetime | None:
    """Return the time that this process expected at `asked`; None if its clock was set before the last step."""
    setting = clock.setting()
    return setting.time_at(asked) if setting is not None and setting.set_back == reading.set_back else None


# -- steps -----------------------------------------------------------------------------------------------------------
def claim_step(*, expected: datetime | None = None, now: datetime | None = None) -> bool:
    """Claim a step back of the database's clock and return whether this process did: of all that saw it, one does.

    `expected` is what the clock would show without the step, if this process knows; else the newest time that any
    process saw is used. The rows that pulses write are moved at once, else the next pulse would be older than they are.
    The clock is read again under the lock, because a process that was paused saw an old time.
    """
    with transaction.atomic():
        DatabaseClock.objects.select_for_update().filter(pk=1).first()
        reading = _read_clock(now=now)
        latest = reading.latest_at
        if latest is None or not reading.is_before_a_step_that_nobody_claimed:
            return False
        by = max(latest, expected or latest) - reading.at
        total = reading.set_back + by
        DatabaseClock.objects.filter(pk=1).update(latest_at=reading.at, set_back=total)
        step = ClockStep.objects.create(
            at=reading.at,
            set_back=by,
            total=total,
            last_heartbeat=Heartbeat.objects.aggregate(last=Max("pk"))["last"] or 0,
        )
        IngestState.objects.filter(stored_until__gt=reading.at).update(
            stored_until=F("stored_until") - by, outage_until=F("outage_until") - by
        )
        IngestProcess.objects.update(stored_until=F("stored_until") - by, pulsed_at=F("pulsed_at") - by)
        Outage.objects.filter(done_at=None).update(started_at=F("started_at") - by, ended_at=F("ended_at") - by)
    log.warning("the database's clock was set back by %s; everything that waits is moved back by it", in_words(by))
    _notify(step)
    return True


def keep_leases(*, by: timedelta, now: datetime) -> bool:
    """After a step ahead, add it to the leases of messages that are being sent; return whether this process did so.

    One process does.
    """
    with transaction.atomic():
        # A worker that ticked since the step has noted a newer time.
        before = DatabaseClock.objects.select_for_update().filter(pk=1, latest_at__gte=now - clock.TOLERANCE).first()
        if before is None or ClockStep.objects.filter(set_back__lt=timedelta(), at__gt=now - by).exists():
            return False
        step = ClockStep.objects.create(
            at=now, set_back=-by, total=before.set_back, stage=ClockStep.Stage.LATECOMERS, done_at=now
        )
        leased = Notification.objects.filter(status=Notification.Status.SENDING, next_attempt_at__gt=now - by)
        leased.update(next_attempt_at=F("next_attempt_at") + by)
    log.warning("the database's clock was set ahead by %s, or all processes were paused for that long", in_words(by))
    _notify(step)
    return True


def move_back(*, now: datetime, limit: int = 5_000) -> bool:
    """Move back everything that waits, by the steps that were claimed; return whether deadlines can be judged.

    Each batch is one transaction, with the mark of how far it came: after a crash the next tick goes on there, and of
    two ticks one moves a batch. Deadlines are moved at once, and nothing is judged before all of them are.
    """
    undone = ClockStep.objects.filter(done_at=None)
    while undone.exists():
        with transaction.atomic():
            step = undone.select_for_update(skip_locked=True).order_by("stage", "id").first()
            if step is None or now < step.at + _delay_of_stage(step):
                break
            _move(step, now=now, limit=limit)
            step.save(update_fields=["stage", "moved_through", "done_at"])
    else:
        return True
    return not undone.filter(stage=ClockStep.Stage.HEARTBEATS).exists()


def _move(step: ClockStep, *, now: datetime, limit: int) -> None:
    match step.stage:
        case ClockStep.Stage.HEARTBEATS:
            _move_heartbeats(step, now=now, limit=limit)
        case ClockStep.Stage.RUNS:
            _move_runs(step)
        case ClockStep.Stage.NOTIFICATIONS:
            _move_notifications(step, limit=limit)
        case ClockStep.Stage.REST:
            _move_rest(step)
        case ClockStep.Stage.LATECOMERS:
            _move_latecomers(step, now=now)


def _delay_of_stage(step: ClockStep) -> timedelta:
    """Return how long after the step its stage begins."""
    if step.stage == ClockStep.Stage.HEARTBEATS:
        return timedelta()
    return LATECOMERS_AFTER if step.stage == ClockStep.Stage.LATECOMERS else SETTLED_AFTER


def _note_progress(step: ClockStep, *, last: object | None) -> None:
    """Note the last id that was moved; None ends the stage."""
    if last is None:
        step.stage, step.moved_through = step.stage + 1, ""
    else:
        step.moved_through = str(last)


def _move_heartbeats(step: ClockStep, *, now: datetime, limit: int) -> None:
    last, _ = _execute(
        "move_heartbeats_back",
        {
            "after": int(step.moved_through or 0),
            "last": step.last_heartbeat,
            "limit": limit,
            "by": step.set_back,
            "until": step.at + step.set_back,
            "total": step.total,
        },
    )
    _note_progress(step, last=last)
    if last is None:
        # A pulse that was under way at the step may have left times of the old clock, and an outage that lies ahead.
        Outage.objects.filter(done_at=None, ended_at__gt=now + clock.TOLERANCE).delete()
        IngestState.objects.filter(stored_until__gt=now + clock.TOLERANCE).update(stored_until=now)
        IngestState.objects.filter(outage_until__gt=now + clock.TOLERANCE).update(outage_until=now)
        # A process that is killed now would seem to listen until the clock has caught up with its row.
        IngestProcess.objects.filter(stored_until__gt=now + clock.TOLERANCE).update(stored_until=now, pulsed_at=now)


def _move_runs(step: ClockStep) -> None:
    waiting = EscalationRun.objects.select_for_update(no_key=True).filter(
        Q(next_step_at__isnull=False) | Q(review_at__isnull=False), pk__gt=int(step.moved_through or 0)
    )
    runs = list(waiting.order_by("pk").values_list("pk", "position", "next_step_at")[:RUNS_AT_ONCE])
    _write_runs(runs, by=step.set_back)
    _note_progress(step, last=runs[-1][0] if runs else None)


def _write_runs(runs: Sequence[tuple[int, Any, datetime | None]], *, by: timedelta) -> None:
    rows = []
    for pk, stored, next_step_at in runs:
        position = walk.Position.load(stored)
        moved = walk.moved_back(position, by)
        moved_at = moved.next_at
        # The row of a run that failed has another time than its position: when it is tried again.
        if position.next_at != next_step_at:
            moved_at = next_step_at and next_step_at - by
        rows.append({"id": pk, "position": moved.dump(), "next_step_at": moved_at})
    _execute("move_runs_back", {"runs": records(rows), "by": by})


def _move_notifications(step: ClockStep, *, limit: int) -> None:
    parameters = {"after": step.moved_through or NIL, "limit": limit, "by": step.set_back}
    moved = _execute("move_notifications_back", parameters)
    _note_progress(step, last=moved and moved[0])


def _move_rest(step: ClockStep) -> None:
    for model, fields in REST:
        for field in fields:
            ahead = model.objects.filter(**{f"{field}__gt": step.at})
            ahead.update(**{field: F(field) - step.set_back})
    # A reply by SMS is about the last message that was sent to its number.
    sent = Notification.objects.filter(channel=ContactMethod.Kind.SMS)
    for field in ("accepted_at", "possibly_sent_at"):
        sent.filter(**{f"{field}__gt": step.at}).update(**{field: F(field) - step.set_back})
    # A person is not notified again of what they acknowledged, and a paging test lasts for its time.
    acknowledged = Alert.objects.filter(status=Status.OPEN, acknowledged_at__isnull=False)
    entries = TimelineEntry.objects.filter(kind=TimelineEntry.Kind.ACKNOWLEDGED, alert__in=acknowledged.values("pk"))
    entries.filter(at__gt=step.at).update(at=F("at") - step.set_back)
    Alert.objects.filter(live_test(), opened_at__gt=step.at).update(opened_at=F("opened_at") - step.set_back)
    _note_progress(step, last=None)


def _move_latecomers(step: ClockStep, *, now: datetime) -> None:
    _execute(
        "move_latecomers_back",
        {
            "by": step.set_back,
            "now": now,
            "until": step.at + step.set_back,
            "longest_lease": now + timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS),
        },
    )
    step.done_at = now


def _execute(name: str, parameters: dict[str, Any]) -> Any:
    """Run a statement and return its first row, if it returns rows and there is one."""
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", name), parameters)
        return cursor.fetchone() if cursor.description else None


def _notify(step: ClockStep) -> None:
    length = in_words(abs(step.set_back))
    if step.set_back > timedelta():
        subject = f"The database's clock was set back by {length}"
        text = (
            f"The clock of the database's machine was set back by {length}. Heartbeat moves everything that waits back "
            "by it: deadlines, escalations and messages come as if nothing had happened."
        )
    else:
        subject = f"The database's clock was set ahead by {length}"
        text = (
            f"The clock of the database's machine was set ahead by {length}, or the machine was paused for that long. "
            "Heartbeat counts that time as an outage: silence in it opens no alert."
        )
    text += "\nFind out why: the clock of a machine that runs NTP does not step."
    notify_operator("database clock", subject=subject, text=text, now=step.at)


# -- machines whose clock is wrong -----------------------------------------------------------------------------------
def report_skew() -> None:
    """Log that this machine's clock is wrong, and notify the operator; at most once a minute."""
    global _reported_at  # noqa: PLW0603 - one for each process
    by = clock.skew()
    if abs(by) <= clock.TOLERANCE or time.monotonic() - _reported_at < REPORT_EVERY:
        return
    _reported_at = time.monotonic()
    now, machine = clock.now(), machine_name()
    log.warning("%s", differs(machine, by))
    DatabaseClock.objects.filter(pk=1).update(wrong_machine=machine, wrong_by=by, wrong_at=now)
    notify_operator(
        "machine clock",
        subject="The clock of a machine that runs Heartbeat is wrong",
        text=f"{differs(machine, by)}\nHeartbeat goes by the database's clock, so deadlines and pages are right; the "
        "times in that machine's logs are not. Set the machine's clock, and let NTP keep it.",
        now=now,
    )


def report_skew_in_a_thread() -> None:
    """Do as `report_skew`, then close this thread's connection to the database."""
    try:
        report_skew()
    except DatabaseError as error:
        log.warning("this machine's clock is wrong, and that could not be stored: %s", error)
    finally:
        connection.close()


def clock_trouble(*, now: datetime) -> str:
    """Return a warning that names a machine whose clock differs from the database's; empty if none is known."""
    if abs(by := clock.skew()) > clock.TOLERANCE:
        return f"{differs(machine_name(), by)} Set it, and let NTP keep it."
    report = DatabaseClock.objects.filter(pk=1, wrong_at__gt=now - REPORT_COUNTS).first()
    if report is None or report.wrong_by is None:
        return ""
    return f"{differs(report.wrong_machine, report.wrong_by)} Set it, and let NTP keep it."


def differs(machine: str, by: timedelta) -> str:
    """Return a sentence that says by how much a machine's clock is ahead or behind."""
    side = "ahead of" if by > timedelta() else "behind"
    return f"The clock of {machine} is {in_words(abs(by))} {side} the database's."


def machine_name() -> str:
    """Return the host name of this machine, with the role of this process, as in "db1 (engine)"."""
    command = " ".join(sys.argv)
    roles = {"asgi": "web", "engine": "engine", "delivery": "delivery"}
    role = next((name for word, name in roles.items() if word in command), "")
    name = f"{socket.gethostname()} ({role})" if role else socket.gethostname()
    return name[:200]
