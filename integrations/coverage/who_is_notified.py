"""Who would be notified of an alert of an integration, and which integrations would reach nobody."""

from dataclasses import replace
from datetime import datetime

from accounts.models.organizations import Organization
from accounts.models.users import User
from escalation.engine.preview import EscalationPreview, Problem, preview_escalation, why_nobody_is_first
from integrations.coverage.rule_routes import UsedRoute, used_routes
from integrations.heartbeats.routes import route_of
from integrations.maintenance.windows import covering
from integrations.models.integrations import InboundIntegration
from integrations.models.windows import MaintenanceWindow


def who_would_be_notified(integration: InboundIntegration, *, at: datetime) -> EscalationPreview:
    """Return the escalation of an alert that opens at that instant, with the problems that it would meet.

    A disabled integration and a maintenance window, which keep the alert from opening, come first among these. Rules
    whose alerts would reach nobody come last.
    """
    own, *by_rules = _routes_of_one(integration)
    escalation_preview = preview_escalation(own.route, at=at)
    problems = list(escalation_preview.problems)
    reasons = why_nobody_is_first([used.route for used in by_rules], at=at) if by_rules else []
    problems += [
        Problem("rule_reaches_nobody", f"{used.condition}{reason}")
        for used, reason in zip(by_rules, reasons, strict=True)
        if reason
    ]
    window = MaintenanceWindow.objects.filter(
        covering(integration, tags=integration.tags),
        organization_id=integration.organization_id,
        starts_at__lte=at,
        ends_at__gt=at,
    ).first()
    if window is not None:
        text = f"No alert opens at that time: it lies in the maintenance window “{window.name}”."
        problems.insert(0, Problem("maintenance", text))
    if not integration.enabled:
        problems.insert(0, Problem("disabled", "The integration is disabled: no alert opens."))
    return replace(escalation_preview, problems=problems)


def current_coverage_gaps(organization: Organization, *, at: datetime) -> dict[int, str]:
    """Return each enabled integration whose alerts would reach nobody in their first step, with the reason.

    The first step is computed once for each route, and the number of queries does not depend on the integrations'.
    """
    enabled = InboundIntegration.objects.filter(organization=organization, enabled=True)
    routes = used_routes(enabled, organization_id=organization.pk)
    reasons = why_nobody_is_first([used.route for used in routes], at=at)
    reason_by_id: dict[int, str] = {}
    for used, reason in zip(routes, reasons, strict=True):
        if reason:
            for pk in used.ids:
                reason_by_id.setdefault(pk, f"{used.condition}{reason}")
    return reason_by_id


def _routes_of_one(integration: InboundIntegration) -> list[UsedRoute]:
    """Return the integration's own route, and those to which its rules lead."""
    own = InboundIntegration.objects.filter(pk=integration.pk)
    return used_routes(own, organization_id=integration.organization_id)


def why_nobody(integration: InboundIntegration, *, at: datetime) -> str:
    """Return why its alerts would reach nobody in the first step; empty if they reach somebody."""
    (reason,) = why_nobody_is_first([route_of(integration)], at=at)
    return reason


def why_nobody_with_and_without(integration: InboundIntegration, user: User, *, at: datetime) -> tuple[str, str]:
    """Return what `why_nobody` returns, as things are and as if this user had opted out; both are read at once."""
    route = route_of(integration)
    without = replace(route, opted_out=route.opted_out | {user.pk})
    reason, reason_without = why_nobody_is_first([route, without], at=at)
    return reason, reason_without
