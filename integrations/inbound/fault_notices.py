"""Mails to those who manage an integration that its events cannot be read as configured; at most one a day."""

from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from accounts.entitlements import Entitlement
from accounts.models.users import Role, User
from escalation.engine.notices import Letter, write_letters
from integrations.inbound.event import Fault
from integrations.models.events import EventState
from integrations.models.integrations import InboundIntegration

AGAIN_AFTER: Final = timedelta(days=1)


def notice_fault(
    integration: InboundIntegration, state: EventState, fault: Fault, event_id: int, *, now: datetime
) -> None:
    """Mail the integration's managers, unless they were mailed within a day; the caller saves `state`."""
    if state.fault_noticed_at is not None and now - state.fault_noticed_at < AGAIN_AFTER:
        return
    state.fault_noticed_at = now
    rights = Role.objects.filter(users=OuterRef("pk"), entitlements__contains=[str(Entitlement.INBOUND_INTEGRATIONS)])
    managers = User.objects.filter(
        Q(is_owner=True) | Q(Exists(rights)), organization_id=integration.organization_id, is_active=True
    )
    address = f"{settings.BASE_URL}/admin/integrations/inboundintegration/{integration.pk}/change/"
    text = (
        f"Event {event_id} of “{integration.name}” could not be read as configured: {fault.field}: {fault.text}\n"
        "The event was stored and carried out with what could be read, so nothing is lost. Look whether the alert says "
        f"what it should, and mend the mapping or the sender: {address}\n"
        "If this goes on, the next mail comes in a day."
    )
    subject = f"Events of {integration.name} cannot be read as configured"
    write_letters([Letter(user, subject, text) for user in managers], now=now)
