"""Where the rules of integrations lead alerts besides the integrations' own routes."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet

from escalation.engine.start import Route
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.sql import array, statement
from integrations.heartbeats.routes import routes_of
from integrations.inbound.event import Action
from integrations.models.events import EventSettings
from integrations.models.integrations import InboundIntegration

_RECIPIENTS: Final = ("recipient_groups", "recipient_users")
_LEADS: Final = ("escalation_policy", "response_play", *_RECIPIENTS)


@dataclass(frozen=True, slots=True)
class UsedRoute:
    """A route with the ids of the integrations that use it; `rule` is the number of the rule that leads there, or 0."""

    route: Route
    ids: list[int] = field(default_factory=list)
    rule: int = 0
    rule_name: str = ""

    @property
    def condition(self) -> str:
        """Return how a sentence about the route begins; empty for the route of all that no rule leads elsewhere."""
        name = f" (“{self.rule_name}”)" if self.rule_name else ""
        return f"If rule {self.rule}{name} holds: " if self.rule else ""


def used_routes(integrations: QuerySet[InboundIntegration], *, organization_id: int) -> list[UsedRoute]:
    """Return the distinct routes of these integrations, and those to which their rules lead, each rule by itself.

    Rules that only add recipients are left out: whoever is reached without them is reached with them, too. The number
    of queries does not depend on how many there are.
    """
    used = [UsedRoute(route, ids) for route, ids in routes_of(integrations, organization_id=organization_id)]
    settings = EventSettings.objects.filter(integration__in=integrations.order_by().values("pk")).exclude(rules=[])
    rules_by_id = dict(settings.values_list("integration_id", "rules"))
    if not rules_by_id:
        return used
    own_routes = {pk: own.route for own in used for pk in own.ids if pk in rules_by_id}
    thens = [_then(rule) for rules in rules_by_id.values() for rule in rules]
    policies = EscalationPolicy.objects.filter(organization_id=organization_id).in_bulk(
        {then["escalation_policy"] for then in thens if then.get("escalation_policy")}
    )
    plays = ResponsePlay.objects.filter(organization_id=organization_id).in_bulk(
        {then["response_play"] for then in thens if then.get("response_play")}
    )
    ids_by_route: dict[tuple[Route, int, str], list[int]] = defaultdict(list)
    for pk, rules in rules_by_id.items():
        if pk not in own_routes:
            continue
        for number, rule in enumerate(rules, 1):
            route = _followed(own_routes[pk], _then(rule), policies=policies, plays=plays)
            if not _only_adds(route, own_routes[pk]):
                ids_by_route[route, number, str(rule.get("name") or "")].append(pk)
    used += (UsedRoute(route, ids, number, name) for (route, number, name), ids in ids_by_route.items())
    return used


def named_by_rules(
    *,
    organization_id: int,
    policies: Collection[int],
    plays: Collection[int],
    groups: Collection[int],
    users: Collection[int],
) -> list[int]:
    """Return the ids of the organization's integrations whose rules name one of these, by their ids."""
    if not any((policies, plays, groups, users)):
        return []
    parameters: dict[str, Any] = {
        "organization": organization_id,
        "policies": array(policies),
        "plays": array(plays),
        "groups": array(groups),
        "users": array(users),
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "named_by_rules"), parameters)
        return [pk for (pk,) in cursor.fetchall()]


def _then(rule: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a rule asks for; nothing if it opens no alert, or leads nowhere else."""
    then: Mapping[str, Any] = rule.get("then") or {}
    opens = then.get("action") in {None, "", Action.OPEN}
    return then if opens and any(then.get(name) for name in _LEADS) else {}


def _only_adds(route: Route, own: Route) -> bool:
    """Return whether a route differs from the integration's own at most by further recipients."""
    is_alike = (route.policy, route.play, route.priority) == (own.policy, own.play, own.priority)
    return is_alike and {*route.group_ids} >= {*own.group_ids} and {*route.user_ids} >= {*own.user_ids}


def _followed(
    own: Route,
    then: Mapping[str, Any],
    *,
    policies: Mapping[int, EscalationPolicy],
    plays: Mapping[int, ResponsePlay],
) -> Route:
    """Return the route of an alert that one rule leads elsewhere, as `integrations.inbound.alerts` follows it."""
    if not then:
        return own
    route = replace(own, own_priority=then.get("priority") or own.own_priority)
    policy, play = policies.get(then.get("escalation_policy") or 0), plays.get(then.get("response_play") or 0)
    if policy is not None or play is not None:
        route = replace(route, policy=policy, play=None if policy else play)
    groups, users = (tuple(then.get(name) or ()) for name in _RECIPIENTS)
    if not (then.get("replace") and (groups or users)):
        groups = tuple(dict.fromkeys((*route.group_ids, *groups)))
        users = tuple(dict.fromkeys((*route.user_ids, *users)))
    return replace(route, group_ids=groups, user_ids=users)
