"""Maintenance windows over the management API."""

from typing import Any

from rest_framework import serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import OrganizationViewSet
from accounts.entitlements import Entitlement
from heartbeat_project.kernel.api import CleanCharField, OwnedRelatedField, Strict
from integrations.models import InboundIntegration, MaintenanceWindow
from integrations.selectors import VIEWERS
from integrations.services import windows


class MaintenanceWindowSerializer(Strict):
    """A time in which nothing opens, for some integrations or for all."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(help_text="Not included.")
    all_integrations = serializers.BooleanField(required=False)
    integrations = OwnedRelatedField(queryset=InboundIntegration.objects.all(), many=True, required=False)


class MaintenanceWindowViewSet(OrganizationViewSet):
    """Maintenance windows: pings are recorded, nothing opens, a fresh interval starts at the end."""

    queryset = MaintenanceWindow.objects.prefetch_related("integrations")
    serializer_class = MaintenanceWindowSerializer
    permission_classes = [entitled(read=VIEWERS, write=Entitlement.INBOUND_INTEGRATIONS)]

    def perform_create(self, serializer: Any) -> None:
        """Plan it through the service."""
        serializer.instance = windows.create_window(
            self.user.organization,
            now=self.now,
            **serializer.validated_data,
        )

    def perform_update(self, serializer: Any) -> None:
        """Change it through the service."""
        serializer.instance = windows.update_window(serializer.instance, now=self.now, **serializer.validated_data)

    def perform_destroy(self, instance: MaintenanceWindow) -> None:
        """Delete it; what it covered gets a fresh interval."""
        windows.delete_window(instance, now=self.now)
