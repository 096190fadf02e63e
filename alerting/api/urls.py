"""The paths of this app's resources below /api/v1/.

`heartbeat_project.api` registers `alerts/`, because it adds the actions that need an escalation.
"""

from rest_framework.routers import BaseRouter

from alerting.api.bridges import BridgeViewSet


def register(router: BaseRouter) -> None:
    """Register `bridges/`."""
    router.register("bridges", BridgeViewSet, basename="bridge")
