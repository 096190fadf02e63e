"""The management API's policies and plays, and what escalation adds to alerts."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import Entitlement
from alerting.api.serializers import (
    AlertSerializer,
    AssignSerializer,
    HoldSerializer,
    NothingSerializer,
    ReasonSerializer,
    ReplySerializer,
)
from alerting.api.views import PAGE_PARAMETERS, AlertViewSet
from alerting.models import Alert
from alerting.selectors import may_respond
from alerting.states import Action
from escalation.api.serializers import (
    MOST_USES_SHOWN,
    AssignedSerializer,
    CloneSerializer,
    ForecastSerializer,
    ManualAlertSerializer,
    NotificationSerializer,
    PlaySerializer,
    PolicySerializer,
    ReassignSerializer,
    RespondersSerializer,
    UsageSerializer,
)
from escalation.models import EscalationPolicy, ResponsePlay
from escalation.services import plays, policies
from escalation.services.actions import act
from escalation.services.manual import ManualAlert, preview_alert, send_alert
from escalation.services.reachable import why_not_reached
from escalation.services.reassignment import reassign
from escalation.services.responders import add_responders
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
    def acknowledge(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Record that you have seen it; escalation goes on, unless its policy says otherwise."""
        return self.respond(Action.ACKNOWLEDGE, takes=NothingSerializer)

    @extend_schema(request=NothingSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def unacknowledge(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Take the acknowledgement back; an escalation that it had stopped goes on."""
        return self.respond(Action.UNACKNOWLEDGE, takes=NothingSerializer)

    @extend_schema(request=AssignSerializer, responses=AssignedSerializer)
    @action(detail=True, methods=["post"])
    def assign(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Make a user its owner (you, when none is given), which stops the escalation; others are notified.

        `warnings` say what keeps the new owner from learning of it.
        """
        return self.respond(Action.ASSIGN, takes=AssignSerializer)

    @extend_schema(request=NothingSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"], url_path="give-back")
    def give_back(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Let go of it: nobody owns it any more, and the escalation goes on where it stood."""
        return self.respond(Action.GIVE_BACK, takes=NothingSerializer)

    @extend_schema(request=NothingSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def escalate(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Hand it on: the next person is told at once."""
        return self.respond(Action.ESCALATE, takes=NothingSerializer)

    @extend_schema(request=HoldSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Pause its escalation until a time, or until somebody resumes it."""
        return self.respond(Action.HOLD, takes=HoldSerializer)

    @extend_schema(request=NothingSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """End the pause."""
        return self.respond(Action.RESUME, takes=NothingSerializer)

    @extend_schema(request=ReasonSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """End it as done; a heartbeat that stays silent opens no further alert before its next ping."""
        return self.respond(Action.CLOSE, takes=ReasonSerializer)

    @extend_schema(request=ReasonSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """End it as not needed; a heartbeat that stays silent opens no further alert before its next ping."""
        return self.respond(Action.CANCEL, takes=ReasonSerializer)

    @extend_schema(request=ReplySerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def reply(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Add a note to its timeline."""
        return self.respond(Action.REPLY, takes=ReplySerializer)

    @extend_schema(request=ReassignSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def reassign(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Begin its escalation anew, in other groups or by another policy; nobody has the alert any more."""
        return self.respond(reassign, takes=ReassignSerializer)

    @extend_schema(request=RespondersSerializer, responses=AlertSerializer)
    @action(detail=True, methods=["post"])
    def responders(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Ask more people for help: they are notified now, whoever has the alert, beside its escalation."""
        return self.respond(add_responders, takes=RespondersSerializer)

    @extend_schema(responses=NotificationSerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=InOrderOfWriting)
    def notifications(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List who was told, over what, and what became of it, oldest first."""
        notifications = self.get_object().notifications.select_related("run", "user").prefetch_related("user__roles")
        page = self.paginate_queryset(notifications)
        return self.get_paginated_response(NotificationSerializer(page, many=True).data)

    def respond(self, wanted: Action | Callable[..., Alert], *, takes: type[Any]) -> Response:
        """Do to the alert what the user asks, if they may respond to it, and show it."""
        alert = self.get_object()
        if not may_respond(self.user, alert):
            raise PermissionDenied
        given = takes(data=self.request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        fields = dict(given.validated_data)
        if not isinstance(wanted, Action):
            return Response(AlertSerializer(wanted(alert, actor=self.user, now=self.now, **fields)).data)
        to = fields.pop("user", None)
        alert = act(alert, wanted, actor=self.user, now=self.now, to=to, **fields)
        if wanted is not Action.ASSIGN:
            return Response(AlertSerializer(alert).data)
        why = why_not_reached([to], integration_id=alert.integration_id, now=self.now).get(to.pk, []) if to else []
        return Response(AssignedSerializer(alert, context={"warnings": why}).data)


class RuleViewSet(WarningViewSet):
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


def given(serializer: Any) -> dict[str, Any]:
    """Return the values of a policy or play that is created: no escalation runs by it that could be stopped."""
    return {name: value for name, value in serializer.validated_data.items() if name != "stop_running"}


class PolicyViewSet(RuleViewSet):
    """Escalation policies: timed walks through the roles of the recipient groups."""

    queryset = EscalationPolicy.objects.prefetch_related("roles")
    serializer_class = PolicySerializer

    def perform_create(self, serializer: Any) -> None:
        """Create through the service."""
        serializer.instance = policies.create_policy(self.user.organization, **given(serializer))

    def perform_update(self, serializer: Any) -> None:
        """Change through the service."""
        serializer.instance = policies.update_policy(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )

    def perform_destroy(self, instance: EscalationPolicy) -> None:
        """Delete through the service; 409 names the integrations that use it."""
        policies.delete_policy(instance, actor=self.user, now=self.now)

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
        serializer.instance = plays.create_play(self.user.organization, **given(serializer))

    def perform_update(self, serializer: Any) -> None:
        """Change through the service."""
        serializer.instance = plays.update_play(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )

    def perform_destroy(self, instance: ResponsePlay) -> None:
        """Delete through the service; 409 names the integrations that use it."""
        plays.delete_play(instance, actor=self.user, now=self.now)
