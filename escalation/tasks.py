"""The ticks of escalation and what it is rung for: thin, safe to run twice or late, and thrown away when stale."""

from celery import shared_task

from escalation.services import calendars, contact_messages, delivery, engine, leavers, reminders
from heartbeat_project.kernel import clock


@shared_task(name="escalation.advance_escalations", queue="engine", expires=5)
def advance_escalations(**_: object) -> None:
    """Do the next step of every escalation that is due."""
    engine.advance_escalations(now=clock.now())


@shared_task(name="escalation.go_on_without_leavers", queue="engine", expires=60)
def go_on_without_leavers(**_: object) -> None:
    """Let escalations go on whose notified people have all left."""
    leavers.go_on_without_leavers(now=clock.now())


@shared_task(name="escalation.deliver_due", queue="delivery", expires=5)
def deliver_due(**_: object) -> None:
    """Send what is due."""
    delivery.deliver_due(now=clock.now())


@shared_task(name="escalation.read_calendars", queue="delivery", expires=60)
def read_calendars(**_: object) -> None:
    """Read the calendars of shifts that are due."""
    calendars.read_due_calendars(now=clock.now())


@shared_task(name="escalation.remind_of_duty", queue="engine", expires=60)
def remind_of_duty(**_: object) -> None:
    """Tell people that their duty begins soon."""
    reminders.remind_of_duty(now=clock.now())


@shared_task(name="escalation.send_verification_code", queue="delivery", expires=600)
def send_verification_code(*, contact_method_id: int, **_: object) -> None:
    """Send a code to a contact method; twice within a minute sends one."""
    contact_messages.send_code(contact_method_id, now=clock.now())


@shared_task(name="escalation.send_test_message", queue="delivery", expires=600)
def send_test_message(*, contact_method_id: int, **_: object) -> None:
    """Send a test message over a contact method."""
    contact_messages.send_test(contact_method_id, now=clock.now())
