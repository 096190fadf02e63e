"""The ticks of escalation: thin, safe to run twice or late, and thrown away when stale."""

from celery import shared_task

from escalation.services import delivery, engine
from heartbeat_project.kernel import clock


@shared_task(name="escalation.advance_escalations", queue="engine", expires=5)
def advance_escalations(**_: object) -> None:
    """Do the next step of every escalation that is due."""
    engine.advance_escalations(now=clock.now())


@shared_task(name="escalation.deliver_due", queue="delivery", expires=5)
def deliver_due(**_: object) -> None:
    """Send what is due."""
    delivery.deliver_due(now=clock.now())
