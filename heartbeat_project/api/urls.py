"""Resources below /api/v1/ that draw on several apps."""

from rest_framework.routers import BaseRouter

from heartbeat_project.api.alerts import EscalatingAlertViewSet
from heartbeat_project.api.on_call import OnCallGroupViewSet, OnCallUserViewSet


def register(router: BaseRouter) -> None:
    """Register alerts with their escalation, and groups and users with their on-call status."""
    router.register("alerts", EscalatingAlertViewSet, basename="alert")
    router.register("groups", OnCallGroupViewSet, basename="group")
    router.register("users", OnCallUserViewSet, basename="user")
