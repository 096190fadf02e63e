"""Maintenance windows over the management API."""

from typing import Any

from django.db.models import Prefetch
from rest_framework import serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import OrganizationViewSet
from accounts.entitlements import Entitlement
from heartbeat_project.kernel.api import CleanCharField, InstantField, OwnedRelatedField, Strict, in_saved_order
from integrations.api.integration_types import TagsField
from integrations.heartbeats.selectors import VIEWERS
from integrations.maintenance import windows
from integrations.models.integrations import InboundIntegration
from integrations.models.windows import MaintenanceWindow


class MaintenanceWindowSerializer(Strict):
    """A time in which nothing opens, for some integrations or for all."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    starts_at = InstantField()
    ends_at = InstantField(help_text="Not included.")
    all_integrations = serializers.BooleanField(required=False)
    tags = TagsField(
        required=False, help_text="It covers each integration that has one of them, also one that gets it meanwhile."
    )
    integrations = OwnedRelatedField(queryset=InboundIntegration.objects.all(), many=True, required=False)


class MaintenanceWindowViewSet(OrganizationViewSet):
    """Maintenance windows: pings are recorded, nothing opens, a fresh interval starts at the end."""

    queryset = MaintenanceWindow.objects.prefetch_related(
        Prefetch(
            "integrations",
            queryset=in_saved_order(InboundIntegration.objects.all(), MaintenanceWindow.integrations.through),
        )
    )
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
