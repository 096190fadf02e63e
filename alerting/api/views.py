"""The management API's alerts and bridges."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization, OrganizationViewSet
from accounts.entitlements import Entitlement
from alerting import bridges
from alerting.api.serializers import (
    AlertFilters,
    AlertSerializer,
    BridgeSerializer,
    TimelineEntrySerializer,
)
from alerting.models import Alert, Bridge
from alerting.selectors import visible_alerts
from heartbeat_project.kernel.api import NewestFirst

VIEWERS = (Entitlement.ALERTS_VIEW_ALL, Entitlement.ALERTS_VIEW_GROUPS, Entitlement.ALERTS_VIEW_OWN)
PAGE_PARAMETERS = [OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)]


class InTime(NewestFirst):
    """Pages of a timeline, oldest first."""

    ordering = ("at", "id")


@extend_schema_view(list=extend_schema(parameters=[AlertFilters]))
class AlertViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, InOrganization):
    """Alerts that the user may see."""

    queryset = Alert.objects.all()
    serializer_class = AlertSerializer
    permission_classes = [entitled(read=(*VIEWERS, Entitlement.INBOUND_INTEGRATIONS), write=VIEWERS)]

    def get_queryset(self) -> QuerySet[Alert]:
        """Return what the user may see; a list also through its filters."""
        if getattr(self, "swagger_fake_view", False):  # while the schema is written
            return Alert.objects.none()
        alerts = visible_alerts(self.user)
        if self.action != "list":
            return alerts
        filters = AlertFilters(data=self.request.query_params)
        filters.is_valid(raise_exception=True)
        columns = {"integration": "integration_id", "opened_after": "opened_at__gte", "opened_before": "opened_at__lt"}
        chosen = {columns.get(name, name): value for name, value in filters.validated_data.items()}
        return alerts.filter(**chosen)

    @extend_schema(responses=TimelineEntrySerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=InTime)
    def timeline(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List what happened to it, oldest first."""
        page = self.paginate_queryset(self.get_object().timeline.all())
        return self.get_paginated_response(TimelineEntrySerializer(page, many=True).data)


class BridgeViewSet(OrganizationViewSet):
    """Conference lines that travel with alerts."""

    queryset = Bridge.objects.all()
    serializer_class = BridgeSerializer
    permission_classes = [
        entitled(
            read=(*VIEWERS, Entitlement.INBOUND_INTEGRATIONS, Entitlement.BRIDGES),
            write=Entitlement.BRIDGES,
        ),
    ]

    def perform_create(self, serializer: Any) -> None:
        """Create through the service."""
        serializer.instance = bridges.create_bridge(self.user.organization, **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change through the service."""
        serializer.instance = bridges.update_bridge(serializer.instance, **serializer.validated_data)
