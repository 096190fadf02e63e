"""Where the management API's integrations answer."""

from rest_framework.routers import BaseRouter

from integrations.api.maintenance import MaintenanceWindowViewSet
from integrations.api.views import IntegrationViewSet


def register(router: BaseRouter) -> None:
    """Add this app's resources."""
    router.register("integrations", IntegrationViewSet, basename="integration")
    router.register("maintenance-windows", MaintenanceWindowViewSet, basename="maintenance-window")
