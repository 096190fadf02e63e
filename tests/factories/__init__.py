"""Rows for tests: call a factory with the fields that matter and get the row."""

from collections.abc import Callable
from typing import Any, cast

from accounts.models import Group, Organization, User
from alerting.models import Alert, Bridge
from escalation.models import EscalationPolicy, ResponsePlay
from integrations.models import InboundIntegration
from tests.factories import models

# factory-boy makes the row in its metaclass, which type checkers do not follow.
OrganizationFactory: Callable[..., Organization] = cast("Any", models.OrganizationFactory)
UserFactory: Callable[..., User] = cast("Any", models.UserFactory)
GroupFactory: Callable[..., Group] = cast("Any", models.GroupFactory)
BridgeFactory: Callable[..., Bridge] = cast("Any", models.BridgeFactory)
PolicyFactory: Callable[..., EscalationPolicy] = cast("Any", models.PolicyFactory)
PlayFactory: Callable[..., ResponsePlay] = cast("Any", models.PlayFactory)
HeartbeatFactory: Callable[..., InboundIntegration] = cast("Any", models.HeartbeatFactory)
AlertFactory: Callable[..., Alert] = cast("Any", models.AlertFactory)
WHEN = models.WHEN
