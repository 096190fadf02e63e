"""Questions about integrations of all types: their states and addresses, and the events that they received."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db.models import Case, CharField, Exists, F, OuterRef, Q, QuerySet, Value, When

from integrations.heartbeats import selectors as heartbeats
from integrations.heartbeats.selectors import MAINTENANCE
from integrations.maintenance.windows import covering
from integrations.models.events import InboundEvent
from integrations.models.heartbeats import Heartbeat
from integrations.models.integrations import InboundIntegration
from integrations.models.windows import MaintenanceWindow

# The states of integrations of other types than heartbeat.
EVENT_STATES: Final = ("waiting", "healthy", "faulty", "storm", "disabled", MAINTENANCE)
STATES: Final = tuple(dict.fromkeys([*Heartbeat.State.values, *EVENT_STATES]))
# Of our own mail server, in the data folder; `integrations.smtp` writes it.
FAULT_FILE: Final = "mail-server.fault"
MAX_FAULT: Final = 500  # characters
LOOKED_AT: Final = 100  # mails to a heartbeat among which those that are no ping are looked for
_MINUTE: Final = timedelta(minutes=1)
_HEARTBEAT: Final = InboundIntegration.Type.HEARTBEAT


def with_event_state(integrations: QuerySet[InboundIntegration], *, now: datetime) -> QuerySet[InboundIntegration]:
    """Annotate integrations with `event_state_now`, the state of those of other types than heartbeat."""
    return integrations.annotate(event_state_now=_event_state(now))


def in_state(integrations: QuerySet[InboundIntegration], state: str, *, now: datetime) -> QuerySet[InboundIntegration]:
    """Return those that have this state, as `state_of` names it."""
    by_heartbeat = Q(type=_HEARTBEAT) & heartbeats.is_in_state(state, now=now)
    return integrations.alias(_event_state=_event_state(now)).filter(
        by_heartbeat | ~Q(type=_HEARTBEAT) & Q(_event_state=state)
    )


def state_of(integration: InboundIntegration, *, now: datetime) -> str:
    """Return one of STATES; with a query for other types than heartbeat that `with_event_state` did not annotate."""
    if integration.is_heartbeat:
        return heartbeats.state_of(integration.heartbeat, now=now)
    state: str | None = getattr(integration, "event_state_now", None)
    if state is None:
        own = with_event_state(InboundIntegration.objects.filter(pk=integration.pk), now=now).first()
        state = getattr(own, "event_state_now", "disabled")
    return state


def api_url(integration: InboundIntegration) -> str | None:
    """Return the secret URL to which jobs and other products send; None for types that have none."""
    if integration.type == InboundIntegration.Type.API:
        return f"{settings.BASE_URL}/POSTAlert/{integration.token}"
    return heartbeats.api_url(integration) if integration.is_heartbeat else None


def request_url(integration: InboundIntegration) -> str | None:
    """Return the secret URL for the requests of a chat platform; None for other types."""
    if integration.type != InboundIntegration.Type.CHAT:
        return None
    return f"{settings.BASE_URL}/chat/{integration.token}"


def email_address(integration: InboundIntegration) -> str | None:
    """Return the secret address to which mails are sent; None for types that have none.

    A heartbeat has one if mails can come in.
    """
    has_one = integration.type == InboundIntegration.Type.EMAIL or (integration.is_heartbeat and receives_mail())
    return f"{integration.mail_token}@{settings.MAIL_DOMAIN}" if has_one else None


def receives_mail() -> bool:
    """Return whether mails can come in: over our own SMTP server, or from a mail server that has the secret."""
    return bool(settings.SMTP_PORT or settings.INBOUND_MAIL_SECRET)


def mail_server_fault() -> str:
    """Return why our own mail server does not listen, as it says itself; "" if it does, or does not say it."""
    if not (settings.SMTP_PORT and settings.DATA_DIR):
        return ""
    try:
        return (Path(settings.DATA_DIR) / FAULT_FILE).read_text("utf-8")[:MAX_FAULT]
    except (OSError, ValueError):
        return ""


def events_of(integration: InboundIntegration) -> QuerySet[InboundEvent]:
    """Return the events that an integration received, newest first; they are many and large, so slice or page them."""
    return InboundEvent.objects.filter(integration_id=integration.pk).order_by("-id")


def mails_without_ping(heartbeat: InboundIntegration, *, limit: int) -> QuerySet[InboundEvent]:
    """Return those of the newest LOOKED_AT mails to a heartbeat that were read and are no ping, newest first."""
    newest = events_of(heartbeat).exclude(state=InboundEvent.State.WAITING).values("pk")[:LOOKED_AT]
    no_ping = Q(state=InboundEvent.State.UNREADABLE) | ~Q(result__0__action="pinged")
    return events_of(heartbeat).filter(no_ping, pk__in=newest).defer("raw", "content")[:limit]


def _event_state(now: datetime) -> Case:
    windows = MaintenanceWindow.objects.filter(
        covering(OuterRef("pk"), tags=OuterRef("tags")),
        organization_id=OuterRef("organization_id"),
        starts_at__lte=now,
        ends_at__gt=now,
    )
    minute = now.replace(second=0, microsecond=0)
    # A storm lasts until a minute has passed with fewer alerts, see EventAlerts.
    is_busy = Q(event_state__minute=minute) | Q(
        event_state__minute=minute - _MINUTE,
        event_state__opened_in_minute__gt=F("event_settings__storm_per_minute"),
    )
    is_storm = Q(event_state__storm_alert_id__isnull=False, event_settings__storm_per_minute__gt=0) & is_busy
    return Case(
        When(enabled=False, then=Value("disabled")),
        When(Exists(windows), then=Value(MAINTENANCE)),
        When(is_storm, then=Value("storm")),
        When(event_state__fault__isnull=False, then=Value("faulty")),
        When(event_state__last_event_at__isnull=False, then=Value("healthy")),
        default=Value("waiting"),
        output_field=CharField(),
    )
