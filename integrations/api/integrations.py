"""`integrations/`: inbound integrations, their pings, and who would be notified."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import answer_of, warnings_of
from accounts.entitlements import Entitlement
from accounts.models.groups import Group
from accounts.models.users import User
from accounts.selectors import failing_methods
from accounts.services.opt_outs import opt_in, opt_out
from alerting.api.alerts import NothingSerializer
from alerting.models.alerts import Alert
from escalation.api.previews import EscalationPreviewSerializer
from heartbeat_project.kernel.api import (
    PAGED_BY,
    CleanCharField,
    InstantField,
    MinutesField,
    NameFilter,
    NewestFirst,
    Strict,
    in_saved_order,
)
from heartbeat_project.kernel.consequences import Consequence, consequences
from heartbeat_project.kernel.durations import minutes
from heartbeat_project.kernel.openapi import WARNINGS
from integrations.api.coverage_gaps import (
    CoverageGapSerializer,
    CoverageGapsSerializer,
    FailingMethodSerializer,
    GroupGapSerializer,
    UpcomingCoverageGapSerializer,
    UpcomingCoverageGapsSerializer,
)
from integrations.api.inbound_events import InboundEventActions
from integrations.api.integration_types import ANY_INTEGRATION, IntegrationSerializer, fields_of
from integrations.configuration.edits import delete_integration, live_alert_ids, locked_first, rotate_token
from integrations.coverage.gaps import coverage_of
from integrations.coverage.reports import among, latest_coverage, stored_coverage
from integrations.coverage.who_is_notified import current_coverage_gaps, who_would_be_notified
from integrations.heartbeats.edits import create_heartbeat, update_heartbeat
from integrations.heartbeats.paging_tests import start_test
from integrations.heartbeats.selectors import PREVIEW_ENTITLEMENTS, VIEWERS, integrations_of, may_configure, pings_of
from integrations.inbound.edits import create_event_integration, update_event_integration
from integrations.inbound.selectors import STATES, in_state, with_event_state
from integrations.models.history import Ping
from integrations.models.integrations import InboundIntegration
from integrations.models.labels import MAX_TAG, as_tag

FARTHEST = timedelta(days=3_650)  # from now, of an instant in a query
MAX_CLOSED = 10  # alerts, in one warning
MAX_FAILING = 100  # contact methods that fail, in one answer
# Groups are notified in the order in which they are named.
_GROUPS = Prefetch(
    "recipient_groups", queryset=in_saved_order(Group.objects.all(), InboundIntegration.recipient_groups.through)
)
_USERS = Prefetch(
    "recipient_users", queryset=in_saved_order(User.objects.all(), InboundIntegration.recipient_users.through)
)


class IntegrationFilters(NameFilter):
    """The filters of the list."""

    type = serializers.ChoiceField(choices=InboundIntegration.Type.choices, required=False)
    state = serializers.ChoiceField(choices=STATES, required=False)
    enabled = serializers.BooleanField(required=False)
    tag = CleanCharField(required=False, max_length=MAX_TAG, help_text="A whole tag, such as shop or env:prod.")
    search = CleanCharField(
        source="name__icontains", required=False, max_length=200, help_text="A part of the name, in any case."
    )

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the integrations that pass the filters."""
        state, tag = self.validated_data.pop("state", None), self.validated_data.pop("tag", None)
        rows = super().narrow(rows)
        if tag is not None:
            if not may_configure(self.context["request"].user):
                raise serializers.ValidationError({"tag": "Only users who manage integrations see tags."})
            rows = rows.filter(tags__contains=[as_tag(tag)])
        return rows if state is None else in_state(rows, state, now=self.context["now"])


class InstantSerializer(serializers.Serializer[None]):
    """The instant `at` of a query string; at most ten years away."""

    at = InstantField(required=False, help_text="Now, if it is left out.")

    def validate_at(self, value: datetime) -> datetime:
        """Return the instant. Raises ValidationError if it is over ten years away: no rota is planned that far."""
        if abs(value - self.context["now"]) > FARTHEST:
            raise serializers.ValidationError("Choose an instant within ten years.", code="out_of_range")
        return value


class RotationSerializer(Strict):
    """How long the old API URL still works; at most 31 days."""

    overlap_minutes = MinutesField(default=Decimal(0))


class PagingTestSerializer(serializers.ModelSerializer[Alert]):
    """The alert that a paging test opened; its `notifications/` show who was notified."""

    url = serializers.SerializerMethodField()

    class Meta:
        model = Alert
        fields = ["id", "url"]
        read_only_fields = fields

    def get_url(self, alert: Alert) -> str:
        """Return the address of its page in the console."""
        return f"{settings.BASE_URL}/alerts/{alert.pk}/"


class PingSerializer(serializers.ModelSerializer[Ping]):
    """One accepted request to the API URL."""

    class Meta:
        model = Ping
        fields = ["id", "received_at", "method", "source_ip", "user_agent"]


class NewestPings(NewestFirst):
    """Pages of pings, by when they were received."""

    ordering = ("-received_at", "-id")


@extend_schema_view(
    list=extend_schema(responses=ANY_INTEGRATION),
    create=extend_schema(request=ANY_INTEGRATION, responses={201: ANY_INTEGRATION}),
    retrieve=extend_schema(responses=ANY_INTEGRATION),
    update=extend_schema(request=ANY_INTEGRATION, responses=ANY_INTEGRATION),
    partial_update=extend_schema(request=ANY_INTEGRATION, responses=ANY_INTEGRATION),
    destroy=extend_schema(responses={200: WARNINGS, 204: None}),
)
class IntegrationViewSet(InboundEventActions):
    """Inbound integrations: heartbeats, other sources of alerts, and their secret URLs."""

    queryset = InboundIntegration.objects.all()
    serializer_class = IntegrationSerializer
    permission_classes = [entitled(read=VIEWERS, write=Entitlement.INBOUND_INTEGRATIONS)]
    filters = IntegrationFilters
    without_body = frozenset({"opt_out"})
    # Actions whose answers have `warnings` only if there are some.
    may_warn = frozenset({"update", "partial_update"})
    # The ids of the alerts that this request closed.
    closed_alerts: Sequence[int] = ()
    parameters = {
        "who_would_be_notified": ("at",),
        "coverage_gaps": ("at", *PAGED_BY),
        "upcoming_coverage_gaps": ("at", *PAGED_BY),
        "pings": PAGED_BY,
        "events": PAGED_BY,
    }

    def get_queryset(self) -> QuerySet[InboundIntegration]:
        """Return the integrations that the user may see, with the related rows that a list shows."""
        rows = integrations_of(self.user).prefetch_related(_GROUPS, _USERS)
        return with_event_state(rows, now=self.now)

    def serializer_class_of(self, instance: Any, data: Any = None) -> type[Any]:
        """Return the serializer of the integration's type; of a new one, that of the type in the request."""
        if isinstance(instance, InboundIntegration):
            return fields_of(instance.type)
        if instance is not None or self.is_schema_generation:
            return IntegrationSerializer
        kind = data.get("type") if isinstance(data, Mapping) else None
        return fields_of(kind)

    def lock(self, instance: InboundIntegration) -> None:
        """Lock first what pings and events lock, then the integration."""
        first = locked_first(instance.type)
        first._default_manager.select_for_update(no_key=True).filter(pk=instance.pk).first()  # noqa: SLF001 - Django's name
        super().lock(instance)

    def perform_create(self, serializer: Any) -> None:
        """Create through the service of its type."""
        fields = dict(serializer.validated_data)
        organization, kind = self.user.organization, fields.pop("type")
        if kind == InboundIntegration.Type.HEARTBEAT:
            created = create_heartbeat(organization, actor=self.user, now=self.now, **fields)
        else:
            created = create_event_integration(organization, type=kind, now=self.now, **fields)
        serializer.instance = created

    def perform_update(self, serializer: Any) -> None:
        """Change through the service of its type."""
        fields = dict(serializer.validated_data)
        fields.pop("type", None)
        update = update_heartbeat if serializer.instance.is_heartbeat else update_event_integration
        if serializer.instance.enabled and fields.get("enabled") is False:
            self.closed_alerts = live_alert_ids(serializer.instance)
        serializer.instance = update(serializer.instance, actor=self.user, now=self.now, **fields)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change it; the answer has `warnings` if disabling it closed alerts."""
        answer = super().update(request, *args, **kwargs)
        if self.closed_alerts:
            answer.data |= warnings_of(self._closed_by("disabling"))
        return answer

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete it; the answer is 200 with `warnings` if that closed alerts, else 204."""
        super().destroy(request, *args, **kwargs)
        return answer_of(self._closed_by("deleting") if self.closed_alerts else [])

    def perform_destroy(self, instance: InboundIntegration) -> None:
        """Delete through the service; its open alerts are closed and kept."""
        self.closed_alerts = live_alert_ids(instance, tests_too=True)
        delete_integration(instance, actor=self.user, now=self.now)

    def _closed_by(self, doing: str) -> list[Consequence]:
        """Return the warning about the alerts that this request closed."""
        numbers = ", ".join(f"#{pk}" for pk in self.closed_alerts[:MAX_CLOSED])
        more = len(self.closed_alerts) - MAX_CLOSED
        numbers += f" and {more} more" if more > 0 else ""
        were = "Alert {} was" if len(self.closed_alerts) == 1 else "Alerts {} were"
        return [Consequence("closes_alerts", f"{were.format(numbers)} open, and closed by {doing} it.")]

    def get_permissions(self) -> Any:
        """Return the action's permissions: previews are for users who manage integrations or see every alert."""
        if self.action in {"who_would_be_notified", "coverage_gaps", "upcoming_coverage_gaps"}:
            return [entitled(read=PREVIEW_ENTITLEMENTS, write=PREVIEW_ENTITLEMENTS)()]
        if self.action in {"pings", "events", "event"}:
            return [entitled(read=Entitlement.INBOUND_INTEGRATIONS)()]
        if self.action == "opt_out":
            return [entitled(read=VIEWERS, write=VIEWERS)()]
        return super().get_permissions()

    @extend_schema(responses=EscalationPreviewSerializer, parameters=[InstantSerializer])
    @action(detail=True, methods=["get"], url_path="who-would-be-notified")
    def who_would_be_notified(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Show who would be notified of a silence or an event, when and over which contact methods; nothing is sent.

        Problems that would keep people from being notified are listed, too.
        """
        at = self._instant(request)
        return Response(EscalationPreviewSerializer(who_would_be_notified(self.get_object(), at=at)).data)

    @extend_schema(
        responses=CoverageGapsSerializer,
        parameters=[InstantSerializer, OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)],
    )
    @action(detail=False, methods=["get"], url_path="coverage-gaps")
    def coverage_gaps(self, request: Request) -> Response:
        """List the enabled integrations whose alerts would reach nobody in their first step at `at`, newest first.

        `at` is now, if it is left out.
        """
        at, coverage = self._instant(request), None
        if "at" not in request.query_params:
            coverage = stored_coverage(self.user.organization, now=at)
        if coverage is None:
            checked_at, reasons = at, current_coverage_gaps(self.user.organization, at=at)
        else:
            checked_at = coverage.at
            reasons = {pk: gap.reason for pk, gap in coverage.gaps_from(at).items() if gap.starts_at <= at}
        page = self.paginate_queryset(among(reasons, organization_id=self.user.organization_id))
        context = {**self.get_serializer_context(), "reasons": reasons}
        answer = self.get_paginated_response(CoverageGapSerializer(page, many=True, context=context).data)
        answer.data["checked_at"] = serializers.DateTimeField().to_representation(checked_at)
        return answer

    @extend_schema(
        responses=UpcomingCoverageGapsSerializer,
        parameters=[InstantSerializer, OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)],
    )
    @action(detail=False, methods=["get"], url_path="upcoming-coverage-gaps")
    def upcoming_coverage_gaps(self, request: Request) -> Response:
        """List the enabled integrations whose alerts would reach nobody at `at` or in the 14 days after, newest first.

        `at` is now, if it is left out. Trouble with the rotas of their groups is listed, too.
        """
        at, organization = self._instant(request), self.user.organization
        if "at" in request.query_params:
            coverage = coverage_of(organization, at=at)
        else:
            coverage = latest_coverage(organization, now=at)
        gaps = coverage.gaps_from(at)
        page = self.paginate_queryset(among(gaps, organization_id=organization.pk))
        context = {**self.get_serializer_context(), "gaps": gaps}
        answer = self.get_paginated_response(UpcomingCoverageGapSerializer(page, many=True, context=context).data)
        answer.data["groups"] = GroupGapSerializer(coverage.group_gaps_from(at), many=True).data
        failing = failing_methods(organization)[:MAX_FAILING]
        answer.data["failing_methods"] = FailingMethodSerializer(failing, many=True).data
        answer.data["looked_until"] = serializers.DateTimeField().to_representation(coverage.looked_until)
        answer.data["checked_at"] = serializers.DateTimeField().to_representation(coverage.at)
        return answer

    def _instant(self, request: Request) -> datetime:
        """Return the instant that the query asks for, or now."""
        query = InstantSerializer(data=request.query_params, context=self.get_serializer_context())
        query.is_valid(raise_exception=True)
        at: datetime = query.validated_data.get("at", self.now)
        return at

    @extend_schema(methods=["POST"], request=None, responses={200: WARNINGS, 204: None})
    @extend_schema(methods=["DELETE"], request=None, responses={204: None})
    @action(detail=True, methods=["post", "delete"], url_path="opt-out")
    def opt_out(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Stop notifying me about this integration (POST), or notify me again (DELETE).

        Others are notified as before.
        """
        integration = self.get_object()
        with consequences([integration], actor=self.user, now=self.now) as warnings:
            if request.method == "POST":
                opt_out(self.user, integration_id=integration.pk, now=self.now)
            else:
                opt_in(self.user, integration_id=integration.pk)
        return answer_of(warnings)

    @extend_schema(request=RotationSerializer, responses=ANY_INTEGRATION)
    @action(detail=True, methods=["post"], url_path="rotate-token")
    def rotate_token(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Rotate the API URL; the old one works for another `overlap_minutes`, then it answers 404.

        Without `overlap_minutes`, all former URLs answer 404 from now on.
        """
        integration = self.get_object()
        rotation = RotationSerializer(data=request.data)
        rotation.is_valid(raise_exception=True)
        overlap = minutes(rotation.validated_data["overlap_minutes"])
        integration = rotate_token(integration, actor=self.user, now=self.now, overlap=overlap)
        return Response(self.get_serializer(integration).data, status=status.HTTP_200_OK)

    @extend_schema(request=NothingSerializer, responses={201: PagingTestSerializer})
    @action(detail=True, methods=["post"], url_path="test-paging")
    def test_paging(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Open an alert that is marked as a test and notifies everybody whom a silence or an event would notify.

        The test closes by itself after an hour. A disabled integration can be tested, too. 409 while a test is open.
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
