"""Where the management API's alerts, policies and plays answer."""

from rest_framework.routers import BaseRouter

from escalation.api.views import EscalatingAlertViewSet, PlayViewSet, PolicyViewSet


def register(router: BaseRouter) -> None:
    """Add this app's resources, and the alerts of the app below with what escalation adds to them."""
    router.register("alerts", EscalatingAlertViewSet, basename="alert")
    router.register("escalation-policies", PolicyViewSet, basename="escalation-policy")
    router.register("response-plays", PlayViewSet, basename="response-play")
