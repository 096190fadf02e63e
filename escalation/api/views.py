"""The management API's policies and plays, and what escalation adds to alerts."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import OrganizationViewSet
from accounts.entitlements import Entitlement
from accounts.models import User
from alerting import services as alerts
from alerting.api.serializers import AlertSerializer, NothingSerializer
from alerting.api.views import PAGE_PARAMETERS, AlertViewSet
from alerting.models import Alert
from escalation.api.serializers import (
    MOST_USES_SHOWN,
    CloneSerializer,
    ForecastSerializer,
    ManualAlertSerializer,
    NotificationSerializer,
    PlaySerializer,
    PolicySerializer,
    UsageSerializer,
)
from escalation.models import EscalationPolicy, ResponsePlay
from escalation.services import plays, policies
from escalation.services.engine import hurry
from escalation.services.manual import ManualAlert, preview_alert, send_alert
from heartbeat_project.kernel.api import NewestFirst


class InOrderOfWriting(NewestFirst):
    """Pages of notifications, oldest first."""

    ordering = ("created_at", "id")


class EscalatingAlertViewSet(AlertViewSet):
    """Alerts that the user may see, what people do to them, who was told, and alerts made by hand."""

    def get_permissions(self) -> Any:
        """Ask for another entitlement where an alert is made by hand."""
        if self.action in {"create", "preview"}:
            return [entitled(read=Entitlement.ALERTS_SEND, write=Entitlement.ALERTS_SEND)()]
        return super().get_permissions()

    @extend_schema(request=ManualAlertSerializer, responses={201: AlertSerializer})
    def create(self, request: Request) -> Response:
        """Open an alert by hand; its escalation starts at once."""
        alert = send_alert(self._draft(request), sender=self.user, now=self.now)
        return Response(AlertSerializer(alert).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=ManualAlertSerializer, responses=ForecastSerializer)
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Show who would be told of an alert made by hand, when and over what; nothing is sent."""
        forecast = preview_alert(self._draft(request), sender=self.user, now=self.now)
        return Response(ForecastSerializer(forecast).data)

    def _draft(self, request: Request) -> ManualAlert:
        given = ManualAlertSerializer(data=request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        return ManualAlert(**given.validated_data)

    @extend_schema(request=NothingSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def escalate(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Hand it on: the next person is told at once."""

        def escalate(alert: Alert, *, actor: User, now: datetime) -> Alert:
            with transaction.atomic():
                alert = alerts.escalate(alert, actor=actor, now=now)
                hurry([alert.pk], now=now)
            return alert

        return self.respond(escalate, takes=NothingSerializer)

    @extend_schema(responses=NotificationSerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=InOrderOfWriting)
    def notifications(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List who was told, over what, and what became of it, oldest first."""
        notifications = self.get_object().notifications.select_related("run", "user").prefetch_related("user__roles")
        page = self.paginate_queryset(notifications)
        return self.get_paginated_response(NotificationSerializer(page, many=True).data)


class RuleViewSet(OrganizationViewSet):
    """What policies and plays share."""

    permission_classes = [entitled(read=Entitlement.RULES_VIEW, write=Entitlement.RULES_UPDATE)]

    def get_queryset(self) -> QuerySet[Any]:
        """Return the organization's, with the integrations that use each."""
        rules = super().get_queryset()
        # The app above is reached through the relation that it declares.
        integrations = rules.model._meta.get_field("integrations").related_model  # noqa: SLF001 - documented Meta API
        used_by = integrations.objects.order_by("name")[:MOST_USES_SHOWN]
        return rules.prefetch_related(Prefetch("integrations", queryset=used_by, to_attr="used_by"))

    @extend_schema(responses=UsageSerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=NewestFirst)
    def usage(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List all integrations that use it, newest first."""
        page = self.paginate_queryset(self.get_object().integrations.all())
        return self.get_paginated_response(UsageSerializer(page, many=True).data)


class PolicyViewSet(RuleViewSet):
    """Escalation policies: timed walks through the roles of the recipient groups."""

    queryset = EscalationPolicy.objects.prefetch_related("roles")
    serializer_class = PolicySerializer

    def perform_create(self, serializer: Any) -> None:
        """Create through the service."""
        serializer.instance = policies.create_policy(self.user.organization, **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change through the service."""
        serializer.instance = policies.update_policy(serializer.instance, **serializer.validated_data)

    def perform_destroy(self, instance: EscalationPolicy) -> None:
        """Delete through the service; 409 names the integrations that use it."""
        policies.delete_policy(instance)

    @extend_schema(request=CloneSerializer, responses={201: PolicySerializer})
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Create a copy."""
        policy = self.get_object()
        given = CloneSerializer(data=request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        copy = policies.clone_policy(policy, **given.validated_data)
        return Response(self.get_serializer(copy).data, status=status.HTTP_201_CREATED)


class PlayViewSet(RuleViewSet):
    """Response plays: timed tiers of named users and groups."""

    queryset = ResponsePlay.objects.prefetch_related("tiers__users", "tiers__groups")
    serializer_class = PlaySerializer

    def perform_create(self, serializer: Any) -> None:
        """Create through the service."""
        serializer.instance = plays.create_play(self.user.organization, **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change through the service."""
        serializer.instance = plays.update_play(serializer.instance, **serializer.validated_data)

    def perform_destroy(self, instance: ResponsePlay) -> None:
        """Delete through the service; 409 names the integrations that use it."""
        plays.delete_play(instance)
