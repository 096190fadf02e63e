"""Rows for tests: call a factory with the fields that matter and get the row."""

from collections.abc import Callable
from typing import Any, cast

from accounts.models.groups import Group
from accounts.models.organizations import Organization
from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.models.bridges import Bridge
from escalation.models.policies import EscalationPolicy, ResponsePlay
from integrations.models.integrations import InboundIntegration
from tests.factories import models

# factory-boy makes the row in its metaclass, which type checkers do not follow.
OrganizationFactory: Callable[..., Organization] = cast("Any", models.OrganizationFactory)
UserFactory: Callable[..., User] = cast("Any", models.UserFactory)
GroupFactory: Callable[..., Group] = cast("Any", models.GroupFactory)
BridgeFactory: Callable[..., Bridge] = cast("Any", models.BridgeFactory)
PolicyFactory: Callable[..., EscalationPolicy] = cast("Any", models.PolicyFactory)
PlayFactory: Callable[..., ResponsePlay] = cast("Any", models.PlayFactory)
HeartbeatFactory: Callable[..., InboundIntegration] = cast("Any", models.HeartbeatFactory)
ApiIntegrationFactory: Callable[..., InboundIntegration] = cast("Any", models.ApiIntegrationFactory)
ChatIntegrationFactory: Callable[..., InboundIntegration] = cast("Any", models.ChatIntegrationFactory)
AlertFactory: Callable[..., Alert] = cast("Any", models.AlertFactory)
WHEN = models.WHEN
