"""Questions about inbound integrations."""

from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet

from accounts.entitlements import Entitlement
from accounts.models import User
from accounts.permissions import may
from integrations.models import Heartbeat, HeartbeatEvent, InboundIntegration, Ping

# Who may view alerts or groups may see an integration's name and state, never its URL.
VIEWERS = (
    Entitlement.INBOUND_INTEGRATIONS,
    Entitlement.ALERTS_VIEW_ALL,
    Entitlement.ALERTS_VIEW_GROUPS,
    Entitlement.ALERTS_VIEW_OWN,
    Entitlement.GROUPS_VIEW_ALL,
    Entitlement.GROUPS_VIEW_OWN,
)
# Whom a silence would reach is for those who manage integrations, or who see all alerts anyway.
FORESEEING = (Entitlement.INBOUND_INTEGRATIONS, Entitlement.ALERTS_VIEW_ALL)


def may_see_integrations(user: User) -> bool:
    """Answer whether the user may see names and states."""
    return any(may(user, entitlement) for entitlement in VIEWERS)


def may_foresee(user: User) -> bool:
    """Answer whether the user may see whom a silence would reach."""
    return any(may(user, entitlement) for entitlement in FORESEEING)


def integrations_of(user: User) -> QuerySet[InboundIntegration]:
    """Return the integrations that the user may see, with what every page shows of them."""
    if not may_see_integrations(user):
        return InboundIntegration.objects.none()
    return InboundIntegration.objects.filter(organization_id=user.organization_id).select_related(
        "heartbeat",
        "escalation_policy",
        "response_play",
        "bridge",
    )


def opted_out_by(user: User) -> QuerySet[InboundIntegration]:
    """Return the integrations about which the user does not want to be told, by name; only those they may see."""
    return integrations_of(user).filter(pk__in=user.opt_outs.values("integration_id")).order_by("name", "pk")


def state_of(heartbeat: Heartbeat, *, now: datetime) -> str:
    """Return "healthy", "missed", "waiting", "disabled" or "maintenance"."""
    in_maintenance = heartbeat.suspended_until is not None and heartbeat.suspended_until > now
    if in_maintenance and heartbeat.state in {Heartbeat.State.WAITING, Heartbeat.State.HEALTHY}:
        return "maintenance"
    return heartbeat.state


def api_url(integration: InboundIntegration) -> str:
    """Return the secret URL that the job pings."""
    return f"{settings.BASE_URL}/Heartbeat/{integration.token}"


def pings_of(integration: InboundIntegration) -> QuerySet[Ping]:
    """Return the pings of one integration, newest first; slice or page it."""
    return Ping.objects.filter(integration_id=integration.pk)


def recent_pings(integration: InboundIntegration, *, limit: int = 20) -> list[Ping]:
    """Return the newest pings."""
    return list(pings_of(integration)[:limit])


def recent_events(integration: InboundIntegration, *, limit: int = 20) -> list[HeartbeatEvent]:
    """Return the newest entries of the heartbeat's log, with who did them."""
    return list(HeartbeatEvent.objects.filter(integration=integration).select_related("actor")[:limit])
