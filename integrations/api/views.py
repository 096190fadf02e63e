"""The management API's integrations and maintenance windows."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import OrganizationViewSet, answer_of
from accounts.entitlements import Entitlement
from accounts.selectors import failing_methods
from accounts.services import opt_in, opt_out
from alerting.api.serializers import NothingSerializer
from escalation.api.serializers import ForecastSerializer
from heartbeat_project.kernel.api import NewestFirst
from heartbeat_project.kernel.consequences import consequences
from heartbeat_project.kernel.openapi import WARNINGS
from integrations.api.serializers import (
    CoverageGapSerializer,
    CoverageGapsSerializer,
    FailingMethodSerializer,
    GroupGapSerializer,
    InstantSerializer,
    IntegrationSerializer,
    PagingTestSerializer,
    PingSerializer,
    UnreadySerializer,
)
from integrations.coverage import coverage_of
from integrations.models import InboundIntegration
from integrations.readiness import unready, who_would_be_told
from integrations.selectors import FORESEEING, VIEWERS, integrations_of, pings_of
from integrations.services import heartbeats
from integrations.services.paging_tests import start_test

# So many contact methods that fail are listed.
MAX_FAILING = 100


class NewestPings(NewestFirst):
    """Pings by when they were received."""

    ordering = ("-received_at", "-id")


class IntegrationViewSet(OrganizationViewSet):
    """Inbound integrations: heartbeats and their API URLs."""

    queryset = InboundIntegration.objects.all()
    serializer_class = IntegrationSerializer
    permission_classes = [entitled(read=VIEWERS, write=Entitlement.INBOUND_INTEGRATIONS)]

    def get_queryset(self) -> QuerySet[InboundIntegration]:
        """Return those of the user's organization, with what a list shows of them."""
        return integrations_of(self.user).prefetch_related("recipient_groups", "recipient_users")

    def perform_create(self, serializer: Any) -> None:
        """Create through the service."""
        serializer.instance = heartbeats.create_heartbeat(
            self.user.organization,
            actor=self.user,
            now=self.now,
            **serializer.validated_data,
        )

    def perform_update(self, serializer: Any) -> None:
        """Change through the service."""
        serializer.instance = heartbeats.update_heartbeat(
            serializer.instance,
            actor=self.user,
            now=self.now,
            **serializer.validated_data,
        )

    def perform_destroy(self, instance: InboundIntegration) -> None:
        """Delete through the service; an open alert is closed and kept."""
        heartbeats.delete_integration(instance, actor=self.user, now=self.now)

    def get_permissions(self) -> Any:
        """Who is told is for those who manage integrations or see every alert."""
        if self.action in {"who_would_be_told", "readiness", "coverage_gaps"}:
            return [entitled(read=FORESEEING, write=FORESEEING)()]
        if self.action == "opt_out":
            return [entitled(read=VIEWERS, write=VIEWERS)()]
        return super().get_permissions()

    @extend_schema(responses=ForecastSerializer, parameters=[InstantSerializer])
    @action(detail=True, methods=["get"], url_path="who-would-be-told")
    def who_would_be_told(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Show who would be told of a silence, when and over what, and what would fail; nothing is sent."""
        asked = InstantSerializer(data=request.query_params, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        at = asked.validated_data.get("at", self.now)
        return Response(ForecastSerializer(who_would_be_told(self.get_object(), at=at)).data)

    @extend_schema(
        responses=UnreadySerializer(many=True),
        parameters=[OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)],
    )
    @action(detail=False, methods=["get"])
    def readiness(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """List every enabled integration whose silence would reach nobody in its first step, newest first."""
        reasons = unready(self.user.organization, at=self.now)
        page = self.paginate_queryset(InboundIntegration.objects.filter(pk__in=reasons))
        context = {**self.get_serializer_context(), "reasons": reasons}
        return self.get_paginated_response(UnreadySerializer(page, many=True, context=context).data)

    @extend_schema(
        responses=CoverageGapsSerializer,
        parameters=[InstantSerializer, OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)],
    )
    @action(detail=False, methods=["get"], url_path="coverage-gaps")
    def coverage_gaps(self, request: Request) -> Response:
        """List every enabled integration whose silence would reach nobody at some time, newest first.

        That is at `at` (now if left out) or in the 14 days after, with what is wrong with the rotas behind them.
        """
        asked = InstantSerializer(data=request.query_params, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        coverage = coverage_of(self.user.organization, at=asked.validated_data.get("at", self.now))
        gaps = coverage.gaps
        page = self.paginate_queryset(InboundIntegration.objects.filter(pk__in=gaps))
        context = {**self.get_serializer_context(), "gaps": gaps}
        answer = self.get_paginated_response(CoverageGapSerializer(page, many=True, context=context).data)
        answer.data["groups"] = GroupGapSerializer(coverage.groups, many=True).data
        failing = failing_methods(self.user.organization)[:MAX_FAILING]
        answer.data["failing_methods"] = FailingMethodSerializer(failing, many=True).data
        answer.data["looked_until"] = serializers.DateTimeField().to_representation(coverage.looked_until)
        return answer

    @extend_schema(methods=["POST"], request=None, responses={200: WARNINGS, 204: None})
    @extend_schema(methods=["DELETE"], request=None, responses={204: None})
    @action(detail=True, methods=["post", "delete"], url_path="opt-out")
    def opt_out(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Tell me nothing more about this integration (POST), or tell me again (DELETE); others are told as before."""
        integration = self.get_object()
        with consequences([integration], actor=self.user, now=self.now) as found:
            if request.method == "POST":
                opt_out(self.user, integration_id=integration.pk, now=self.now)
            else:
                opt_in(self.user, integration_id=integration.pk)
        return answer_of(found)

    @extend_schema(request=None, responses=IntegrationSerializer)
    @action(detail=True, methods=["post"], url_path="rotate-token")
    def rotate_token(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Give it a new API URL; the old one answers 404 from now on."""
        integration = heartbeats.rotate_token(self.get_object(), actor=self.user, now=self.now)
        return Response(self.get_serializer(integration).data, status=status.HTTP_200_OK)

    @extend_schema(request=NothingSerializer, responses={201: PagingTestSerializer})
    @action(detail=True, methods=["post"], url_path="test-paging")
    def test_paging(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Notify now, by an alert marked as a test, everybody whom a silence would notify; 409 while a test is open.

        It closes by itself after an hour. A disabled integration can be tested, too.
        """
        integration = self.get_object()
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        alert = start_test(integration, actor=self.user, now=self.now)
        return Response(PagingTestSerializer(alert).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        responses=PingSerializer(many=True),
        parameters=[OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)],
    )
    @action(detail=True, methods=["get"], pagination_class=NewestPings, filter_backends=[])
    def pings(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List its pings, newest first."""
        page = self.paginate_queryset(pings_of(self.get_object()))
        return self.get_paginated_response(PingSerializer(page, many=True).data)
