"""`outbound-integrations/`: over which channels this installation sends, and what is not set up."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.entitlements import Entitlement
from escalation.notifications.providers.outbound import outbound_channels
from heartbeat_project.kernel.named_parameters import NamedParameters


class OutboundChannelSerializer(serializers.Serializer[Any]):
    """One channel; whoever runs the installation changes it by the environment variables that it names."""

    channel = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # never read by DRF, as in contact methods
    is_set_up = serializers.BooleanField()
    text = serializers.CharField(help_text="How it sends, or why it does not.")
    variables = serializers.ListField(child=serializers.CharField())


class OutboundChannelsSerializer(serializers.Serializer[Any]):
    """All channels."""

    channels = OutboundChannelSerializer(many=True)


class OutboundIntegrations(NamedParameters):
    """The settings for mail, SMS, voice, push, chat and webhooks, without their secrets."""

    permission_classes = [
        entitled(read=Entitlement.OUTBOUND_INTEGRATIONS, write=Entitlement.OUTBOUND_INTEGRATIONS),
    ]

    @extend_schema(responses=OutboundChannelsSerializer)
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """Show over which channels this installation sends, and what is not set up."""
        return Response(OutboundChannelsSerializer({"channels": outbound_channels()}).data)
