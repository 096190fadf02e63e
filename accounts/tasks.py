"""What the services ring for."""

from celery import shared_task

from accounts.services.contact_methods import send_code
from heartbeat_project.kernel import clock


@shared_task(name="accounts.send_verification_code", queue="delivery", expires=600)
def send_verification_code(*, contact_method_id: int, **_: object) -> None:
    """Send a code to a contact method; twice within a minute sends one."""
    send_code(contact_method_id, now=clock.now())
