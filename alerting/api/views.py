"""The management API's alerts and bridges."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization, OrganizationViewSet
from accounts.entitlements import Entitlement
from alerting import bridges, services
from alerting.api.serializers import (
    AlertFilters,
    AlertSerializer,
    AssignSerializer,
    BridgeSerializer,
    NothingSerializer,
    ReasonSerializer,
    ReplySerializer,
    TimelineEntrySerializer,
)
from alerting.models import Alert, Bridge
from alerting.selectors import may_respond, visible_alerts
from heartbeat_project.kernel.api import NewestFirst

VIEWERS = (Entitlement.ALERTS_VIEW_ALL, Entitlement.ALERTS_VIEW_GROUPS, Entitlement.ALERTS_VIEW_OWN)
PAGE_PARAMETERS = [OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)]


class InTime(NewestFirst):
    """Pages of a timeline, oldest first."""

    ordering = ("at", "id")


@extend_schema_view(list=extend_schema(parameters=[AlertFilters]))
class AlertViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, InOrganization):
    """Alerts that the user may see, and what people do to them."""

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

    @extend_schema(request=NothingSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Record that you have seen it; escalation goes on, unless its policy says otherwise."""
        return self.respond(services.acknowledge, takes=NothingSerializer)

    @extend_schema(request=AssignSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def assign(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Make a user its owner (you, when none is given), which stops the escalation."""

        def assign(alert: Alert, *, user: Any = None, **who_and_when: Any) -> Alert:
            return services.assign(alert, to=user or self.user, **who_and_when)

        return self.respond(assign, takes=AssignSerializer)

    @extend_schema(request=NothingSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Pause its escalation until somebody resumes it."""
        return self.respond(services.hold, takes=NothingSerializer)

    @extend_schema(request=NothingSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """End the pause."""
        return self.respond(services.resume, takes=NothingSerializer)

    @extend_schema(request=ReasonSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """End it as done."""
        return self.respond(services.close, takes=ReasonSerializer)

    @extend_schema(request=ReasonSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """End it as not needed."""
        return self.respond(services.cancel, takes=ReasonSerializer)

    @extend_schema(request=ReplySerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def reply(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Add a note to its timeline."""
        return self.respond(services.reply, takes=ReplySerializer)

    @extend_schema(responses=TimelineEntrySerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=InTime)
    def timeline(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List what happened to it, oldest first."""
        page = self.paginate_queryset(self.get_object().timeline.all())
        return self.get_paginated_response(TimelineEntrySerializer(page, many=True).data)

    def respond(self, act: Callable[..., Alert], *, takes: type[Any]) -> Response:
        """Do to the alert what the user asks, if they may respond to it, and show it."""
        alert = self.get_object()
        if not may_respond(self.user, alert):
            raise PermissionDenied
        given = takes(data=self.request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        alert = act(alert, actor=self.user, now=self.now, **given.validated_data)
        return Response(AlertSerializer(alert).data)


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
