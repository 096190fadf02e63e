"""Questions about inbound integrations: who may see them, and their state, pings and log."""

from datetime import datetime

from django.conf import settings
from django.db.models import Q, QuerySet

from accounts.entitlements import Entitlement
from accounts.models.users import User
from accounts.permissions import may
from heartbeat_project.kernel.durations import in_words
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.history import Ping
from integrations.models.integrations import InboundIntegration
from integrations.models.outages import Outage

# Users who may view alerts or groups may see an integration's name and state, and nothing else of it.
VIEWERS = (
    Entitlement.INBOUND_INTEGRATIONS,
    Entitlement.ALERTS_VIEW_ALL,
    Entitlement.ALERTS_VIEW_GROUPS,
    Entitlement.ALERTS_VIEW_OWN,
    Entitlement.GROUPS_VIEW_ALL,
    Entitlement.GROUPS_VIEW_OWN,
)
# The state of a heartbeat whose timer waits for the end of a maintenance window.
MAINTENANCE = "maintenance"
_IN_MAINTENANCE = (Heartbeat.State.WAITING, Heartbeat.State.HEALTHY)
# Users who manage integrations, or see all alerts anyway, may see whom a silence would reach.
PREVIEW_ENTITLEMENTS = (Entitlement.INBOUND_INTEGRATIONS, Entitlement.ALERTS_VIEW_ALL)


def may_see_integrations(user: User) -> bool:
    """Return whether the user may see names and states of integrations."""
    return any(may(user, entitlement) for entitlement in VIEWERS)


def may_configure(user: User) -> bool:
    """Return whether the user may see all of an integration, its secret URL and its pings, and change it."""
    return may(user, Entitlement.INBOUND_INTEGRATIONS)


def may_preview(user: User) -> bool:
    """Return whether the user may see whom a silence would reach."""
    return any(may(user, entitlement) for entitlement in PREVIEW_ENTITLEMENTS)


def integrations_of(user: User) -> QuerySet[InboundIntegration]:
    """Return the integrations that the user may see, with the related rows that every page shows."""
    if not may_see_integrations(user):
        return InboundIntegration.objects.none()
    return InboundIntegration.objects.filter(organization_id=user.organization_id).select_related(
        "heartbeat",
        "event_settings",
        "event_state",
        "chat_settings",
        "escalation_policy",
        "response_play",
        "bridge",
    )


def opted_out_by(user: User) -> QuerySet[InboundIntegration]:
    """Return the integrations of which the user has opted out and which they may see, by name."""
    return integrations_of(user).filter(pk__in=user.opt_outs.values("integration_id")).order_by("name", "pk")


def state_of(heartbeat: Heartbeat, *, now: datetime) -> str:
    """Return "healthy", "missed", "waiting", "disabled" or "maintenance"."""
    in_maintenance = heartbeat.suspended_until is not None and heartbeat.suspended_until > now
    return MAINTENANCE if in_maintenance and heartbeat.state in _IN_MAINTENANCE else heartbeat.state


def is_in_state(state: str, *, now: datetime) -> Q:
    """Return the condition for integrations whose heartbeat has this state, as `state_of` names it."""
    is_suspended = Q(heartbeat__suspended_until__isnull=False, heartbeat__suspended_until__gt=now)
    if state == MAINTENANCE:
        return is_suspended & Q(heartbeat__state__in=_IN_MAINTENANCE)
    has_state = Q(heartbeat__state=state)
    return has_state & ~is_suspended if state in _IN_MAINTENANCE else has_state


def api_url(integration: InboundIntegration) -> str:
    """Return the secret URL that the job pings."""
    return f"{settings.BASE_URL}/Heartbeat/{integration.token}"


def pings_of(integration: InboundIntegration) -> QuerySet[Ping]:
    """Return the pings of one integration, newest first; they are many, so slice or page them."""
    return Ping.objects.filter(integration_id=integration.pk)


def recent_pings(integration: InboundIntegration, *, limit: int = 20) -> list[Ping]:
    """Return the newest pings."""
    return list(pings_of(integration)[:limit])


def recent_events(integration: InboundIntegration, *, limit: int = 20) -> list[HeartbeatEvent]:
    """Return the newest entries of the heartbeat's log with their actors, and outages since it was created.

    An outage is one row for all heartbeats: its entry in this log is made here, and not stored.
    """
    logged = HeartbeatEvent.objects.filter(integration=integration).exclude(kind=HeartbeatEvent.Kind.OUTAGE)
    outages = Outage.objects.filter(ended_at__gt=integration.created_at).order_by("-id")[:limit]
    events = [*logged.select_related("actor")[:limit], *(_as_event(outage, integration) for outage in outages)]
    return sorted(events, key=lambda event: event.at, reverse=True)[:limit]


def _as_event(outage: Outage, integration: InboundIntegration) -> HeartbeatEvent:
    length = in_words(outage.ended_at - outage.started_at)
    return HeartbeatEvent(
        integration=integration,
        at=outage.ended_at,
        kind=HeartbeatEvent.Kind.OUTAGE,
        text=f"Pings could not be received for {length}; that time does not count as silence.",
    )
