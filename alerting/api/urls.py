"""Where the management API's bridges answer.

Alerts are registered by `escalation.api`, which adds to them what needs an escalation.
"""

from rest_framework.routers import BaseRouter

from alerting.api.views import BridgeViewSet


def register(router: BaseRouter) -> None:
    """Add this app's resources."""
    router.register("bridges", BridgeViewSet, basename="bridge")
