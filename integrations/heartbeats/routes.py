"""The routes of heartbeats: by which rule a silence notifies which recipients."""

from collections import defaultdict
from typing import NamedTuple

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet

from accounts.selectors import opted_out
from escalation.engine.start import Route
from escalation.models.policies import EscalationPolicy, ResponsePlay
from integrations.models.integrations import InboundIntegration


class _Key(NamedTuple):
    """What integrations with one route have in common: the rule, the recipients, who opted out, and the priority."""

    policy_id: int | None
    play_id: int | None
    group_ids: tuple[int, ...]
    user_ids: tuple[int, ...]
    opted_out: frozenset[int]
    priority: str


def route_of(integration: InboundIntegration) -> Route:
    """Return the route of an alert of this integration."""
    own = InboundIntegration.objects.filter(pk=integration.pk)
    ((route, _),) = routes_of(own, organization_id=integration.organization_id)
    return route


def routes_of(integrations: QuerySet[InboundIntegration], *, organization_id: int) -> list[tuple[Route, list[int]]]:
    """Return the distinct routes of these integrations, each with the ids of those that share it.

    Thousands of integrations often share a few routes, so plans and previews are computed once for each route.
    """
    groups = InboundIntegration.recipient_groups.through.objects.filter(inboundintegration=OuterRef("pk"))
    users = InboundIntegration.recipient_users.through.objects.filter(inboundintegration=OuterRef("pk"))
    rows = integrations.order_by("pk").values_list(
        "pk",
        "escalation_policy_id",
        "response_play_id",
        ArraySubquery(groups.order_by("pk").values("group_id")),
        ArraySubquery(users.order_by("pk").values("user_id")),
        "priority",
    )
    # Not from the queryset once more: it may be a hundred thousand rows.
    opt_outs = opted_out(pk for pk, *_ in rows)
    ids_by_key: dict[_Key, list[int]] = defaultdict(list)
    for pk, policy_id, play_id, group_ids, user_ids, priority in rows:
        opted = opt_outs.get(pk, frozenset())
        key = _Key(policy_id, play_id, tuple(group_ids), tuple(user_ids), opted, priority or "")
        ids_by_key[key].append(pk)
    policies = EscalationPolicy.objects.in_bulk({key.policy_id for key in ids_by_key if key.policy_id})
    plays = ResponsePlay.objects.in_bulk({key.play_id for key in ids_by_key if key.play_id})
    routes = []
    for key, ids in ids_by_key.items():
        policy, play = policies.get(key.policy_id or 0), plays.get(key.play_id or 0)
        route = Route(organization_id, policy, play, key.group_ids, key.user_ids, key.opted_out, key.priority)
        routes.append((route, ids))
    return routes
