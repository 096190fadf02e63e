"""Who would be told if a heartbeat fell silent, and which silences would reach nobody."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q, QuerySet

from accounts.models import Organization, User
from accounts.selectors import opted_out
from escalation.models import EscalationPolicy, ResponsePlay
from escalation.services.preview import Forecast, Problem, foresee, why_nobody_is_first
from escalation.services.runs import Way
from integrations.models import InboundIntegration, MaintenanceWindow

_Columns = tuple[int | None, int | None, tuple[int, ...], tuple[int, ...], frozenset[int]]


def who_would_be_told(integration: InboundIntegration, *, at: datetime) -> Forecast:
    """Return what a silence that is noticed at that instant would bring, and what would keep an alert from opening."""
    forecast = foresee(way_of(integration), at=at)
    problems = list(forecast.problems)
    covering = MaintenanceWindow.objects.filter(
        Q(all_integrations=True) | Q(integrations=integration),
        organization_id=integration.organization_id,
        starts_at__lte=at,
        ends_at__gt=at,
    ).first()
    if covering is not None:
        text = f"No alert opens at that time: it lies in the maintenance window “{covering.name}”."
        problems.insert(0, Problem("maintenance", text))
    if not integration.enabled:
        problems.insert(0, Problem("disabled", "The integration is disabled: no alert opens."))
    return replace(forecast, problems=problems)


def way_of(integration: InboundIntegration) -> Way:
    """Return the way that an alert of this integration goes."""
    found = InboundIntegration.objects.filter(pk=integration.pk)
    ((way, _),) = ways_of(found, organization_id=integration.organization_id)
    return way


def unready(organization: Organization, *, at: datetime) -> dict[int, str]:
    """Return each enabled integration whose silence would reach nobody in its first step, with the reason.

    The walk is computed once for each way, and the number of queries does not depend on how many there are.
    """
    enabled = InboundIntegration.objects.filter(organization=organization, enabled=True)
    ways = ways_of(enabled, organization_id=organization.pk)
    reasons = why_nobody_is_first([way for way, _ in ways], at=at)
    return {pk: reason for (_, ids), reason in zip(ways, reasons, strict=True) if reason for pk in ids}


def why_nobody(integration: InboundIntegration, *, without: User | None = None, at: datetime) -> str:
    """Return why its silence would reach nobody in the first step, were `without` not told; empty where somebody is."""
    way = way_of(integration)
    if without is not None:
        way = replace(way, opted_out=way.opted_out | {without.pk})
    (reason,) = why_nobody_is_first([way], at=at)
    return reason


def ways_of(integrations: QuerySet[InboundIntegration], *, organization_id: int) -> list[tuple[Way, list[int]]]:
    """Return the distinct ways that these integrations are told by, with the ids of those that share each."""
    groups = InboundIntegration.recipient_groups.through.objects.filter(inboundintegration=OuterRef("pk"))
    users = InboundIntegration.recipient_users.through.objects.filter(inboundintegration=OuterRef("pk"))
    rows = integrations.order_by("pk").values_list(
        "pk",
        "escalation_policy_id",
        "response_play_id",
        ArraySubquery(groups.order_by("pk").values("group_id")),
        ArraySubquery(users.order_by("pk").values("user_id")),
    )
    silent_for = opted_out(integrations.values_list("pk", flat=True))
    together: dict[_Columns, list[int]] = defaultdict(list)
    for pk, policy_id, play_id, group_ids, user_ids in rows:
        unwilling = silent_for.get(pk, frozenset())
        together[policy_id, play_id, tuple(group_ids), tuple(user_ids), unwilling].append(pk)
    policies = EscalationPolicy.objects.in_bulk({key[0] for key in together if key[0]})
    plays = ResponsePlay.objects.in_bulk({key[1] for key in together if key[1]})
    return [
        (
            Way(organization_id, policies.get(policy_id or 0), plays.get(play_id or 0), group_ids, user_ids, unwilling),
            ids,
        )
        for (policy_id, play_id, group_ids, user_ids, unwilling), ids in together.items()
    ]
