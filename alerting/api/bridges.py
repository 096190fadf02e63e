"""`bridges/`: the conference lines that messages about an alert name."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import OrganizationViewSet
from accounts.entitlements import Entitlement
from accounts.permissions import may
from alerting.api.alerts import VIEWERS
from alerting.models.bridges import Bridge
from alerting.selectors import bridges_of
from alerting.services import bridges
from heartbeat_project.kernel.api import CleanCharField, CleanURLField, Strict
from heartbeat_project.kernel.hidden_fields import HidesFields


class BridgeSerializer(HidesFields, Strict):
    """A conference line, with a phone number, a meeting URL, or both.

    Everything but the name is null, except for users who maintain bridges or take part in a live alert with the bridge.
    """

    for_everybody = frozenset({"id", "name"})

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    phone_number = CleanCharField(max_length=40, required=False, allow_blank=True)
    access_code = CleanCharField(max_length=40, required=False, allow_blank=True)
    meeting_url = CleanURLField(max_length=500, required=False, allow_blank=True)

    def shows_all(self, instance: Bridge) -> bool:
        """Return whether the user may see how to join the bridge."""
        return getattr(instance, "is_open", False) or may(self.context["request"].user, Entitlement.BRIDGES)


class BridgeViewSet(OrganizationViewSet):
    """The conference lines of the organization, which messages about an alert name."""

    queryset = Bridge.objects.all()
    serializer_class = BridgeSerializer
    permission_classes = [
        entitled(
            read=(*VIEWERS, Entitlement.INBOUND_INTEGRATIONS, Entitlement.BRIDGES, Entitlement.ALERTS_SEND),
            write=Entitlement.BRIDGES,
        ),
    ]

    def get_queryset(self) -> QuerySet[Bridge]:
        """Return the bridges of the user's organization, each with `is_open` for `shows_all`."""
        return Bridge.objects.none() if self.is_schema_generation else bridges_of(self.user)

    def perform_create(self, serializer: Any) -> None:
        """Create the bridge."""
        serializer.instance = bridges.create_bridge(self.user.organization, **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change the bridge."""
        serializer.instance = bridges.update_bridge(serializer.instance, **serializer.validated_data)

    def perform_destroy(self, instance: Bridge) -> None:
        """Delete the bridge; 409 with the integrations that use it. Alerts keep a copy."""
        bridges.delete_bridge(instance)
