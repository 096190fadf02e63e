"""Celery tasks of the escalation app. Each is idempotent, may run late, and expires when nobody picks it up."""

from celery import shared_task

from escalation.engine import advance, handoffs, progress
from escalation.notifications import deliver, leavers, verification
from escalation.notifications.notices import failing_methods, on_call_reminders, shift_changes, unreadable_calendars
from escalation.oncall.calendars import readers
from heartbeat_project.kernel import clock


@shared_task(name="escalation.advance_escalations", queue="engine", expires=5)
def advance_escalations(**_: object) -> None:
    """Do the next step of every escalation that is due."""
    advance.advance_escalations(now=clock.now())


@shared_task(name="escalation.go_on_without_leavers", queue="engine", expires=60)
def go_on_without_leavers(**_: object) -> None:
    """Let an escalation go on if everybody whom it notified has left."""
    leavers.go_on_without_leavers(now=clock.now())


@shared_task(name="escalation.deliver_due", queue="delivery", expires=5)
def deliver_due(**_: object) -> None:
    """Hand the notifications that are due to the sender pool."""
    now = clock.now()
    progress.note(progress.Work.DELIVERY, at=now)
    progress.write_notes()
    deliver.dispatch_due(now=now)


@shared_task(name="escalation.read_calendars", queue="delivery", expires=60)
def read_calendars(**_: object) -> None:
    """Read the shift calendars that are due, and report those that could not be read for long."""
    now = clock.now()
    readers.READERS_HERE.tick(now=now)
    unreadable_calendars.report_unreadable_calendars(now=now)


@shared_task(name="escalation.remind_before_shifts", queue="engine", expires=60)
def remind_before_shifts(**_: object) -> None:
    """Notify people who were put on a shift, and people whose on-call shift begins soon."""
    now = clock.now()
    shift_changes.send_shift_notices(now=now)
    on_call_reminders.remind_before_shifts(now=now)


@shared_task(name="escalation.notify_of_failing", queue="engine", expires=60)
def notify_of_failing(**_: object) -> None:
    """Notify people whose contact methods fail."""
    failing_methods.notify_of_failing(now=clock.now())


@shared_task(name="escalation.notify_newly_on_call", queue="engine", expires=60)
def notify_newly_on_call(**_: object) -> None:
    """Notify people who came on call about open alerts that nobody has taken."""
    handoffs.notify_newly_on_call(now=clock.now())


@shared_task(name="escalation.send_verification_code", queue="delivery", expires=600)
def send_verification_code(*, contact_method_id: int, **_: object) -> None:
    """Send a verification code to a contact method; two calls within a minute send one."""
    verification.send_from_slot(verification.send_code, contact_method_id, now=clock.now())


@shared_task(name="escalation.send_test_message", queue="delivery", expires=600)
def send_test_message(*, contact_method_id: int, **_: object) -> None:
    """Send a test message over a contact method."""
    verification.send_from_slot(verification.send_test, contact_method_id, now=clock.now())
