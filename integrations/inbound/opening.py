"""Whether an integration's events open alerts now, and whom these notify."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from django.db.models import BigIntegerField
from django.utils.functional import cached_property

from escalation.engine.start import Route
from escalation.models.policies import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.composed import Composed, Parameter
from heartbeat_project.kernel.prepared import fetch_prepared
from heartbeat_project.kernel.sql import statement
from integrations.inbound.event import MappedEvent
from integrations.models.integrations import InboundIntegration

_policies: Final = Composed(
    lambda: EscalationPolicy.objects.filter(
        organization_id=Parameter("organization", BigIntegerField()), pk=Parameter("policy", BigIntegerField())
    ).order_by()
)


@dataclass(frozen=True, slots=True)
class _Row:
    """What read_opening.sql returns."""

    is_enabled: bool
    is_suspended: bool
    may_have_members: bool
    policy_id: int | None
    play_id: int | None
    priority: str | None
    group_ids: list[int]
    user_ids: list[int]
    opted_out: list[int]


class Opening:
    """What is true of an integration while the caller holds the lock of its EventState; read once, when asked."""

    def __init__(self, integration: InboundIntegration, *, now: datetime) -> None:
        self._integration, self._now = integration, now
        self._policies: dict[int, EscalationPolicy | None] = {}
        self._plays: dict[int, ResponsePlay | None] = {}

    @cached_property
    def _row(self) -> _Row | None:
        parameters = {"integration": self._integration.pk, "now": self._now}
        rows = fetch_prepared(statement("integrations", "read_opening"), parameters)
        return _Row(*rows[0]) if rows else None

    @property
    def is_over(self) -> bool:
        """Whether the integration was disabled before its state was locked, and its alerts were closed by that."""
        return self._row is None or not self._row.is_enabled

    @property
    def is_suspended(self) -> bool:
        """Whether a maintenance window covers the integration."""
        return self._row is not None and self._row.is_suspended

    @property
    def may_have_members(self) -> bool:
        """Whether an alert of the integration had open members with keys when this was read."""
        return self._row is not None and self._row.may_have_members

    @cached_property
    def _own_route(self) -> Route:
        row = self._row
        organization_id = self._integration.organization_id
        if row is None:
            return Route(organization_id, None, None)
        policy, play = self._policy(row.policy_id), self._play(row.play_id)
        groups, users = tuple(row.group_ids), tuple(row.user_ids)
        return Route(organization_id, policy, play, groups, users, frozenset(row.opted_out), row.priority or "")

    def route(self, event: MappedEvent) -> Route:
        """Return whom an alert of this event notifies: as the integration says, unless a rule says otherwise."""
        then, route = event.then, self._own_route
        policy, play = route.policy, route.play
        if then.escalation_policy is not None:
            chosen = self._policy(then.escalation_policy)
            policy, play = (chosen, None) if chosen else (policy, play)
        elif then.response_play is not None:
            chosen_play = self._play(then.response_play)
            policy, play = (None, chosen_play) if chosen_play else (policy, play)
        groups, users = tuple(then.recipient_groups), tuple(then.recipient_users)
        if not (then.replace and (groups or users)):
            groups = tuple(dict.fromkeys((*route.group_ids, *groups)))
            users = tuple(dict.fromkeys((*route.user_ids, *users)))
        priority = event.priority or route.own_priority
        return replace(route, policy=policy, play=play, group_ids=groups, user_ids=users, own_priority=priority)

    def route_of_rules(self, event: MappedEvent) -> Route | None:
        """Return the route of the people whom only the event's rules name, and of a play that they name; or None.

        Such an event may join an alert, which follows the policy or play of its first event.
        """
        then = event.then
        play = self._play(then.response_play)
        if play is not None and not play.enabled:
            play = None
        if not (then.recipient_groups or then.recipient_users or play):
            return None
        groups, users = tuple(then.recipient_groups), tuple(then.recipient_users)
        return replace(self.route(event), play=play, group_ids=groups, user_ids=users, own_priority="")

    def _policy(self, pk: int | None) -> EscalationPolicy | None:
        """Return a policy of the integration's organization."""
        if pk is not None and pk not in self._policies:
            own = _policies(organization=self._integration.organization_id, policy=pk)
            self._policies[pk] = own[0] if own else None
        return None if pk is None else self._policies[pk]

    def _play(self, pk: int | None) -> ResponsePlay | None:
        """Return a response play of the integration's organization."""
        if pk is not None and pk not in self._plays:
            own = ResponsePlay.objects.filter(organization_id=self._integration.organization_id, pk=pk)
            self._plays[pk] = own.first()
        return None if pk is None else self._plays[pk]
