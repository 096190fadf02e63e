"""`alerts/`: alerts with the actions of people, their notifications, and alerts made by hand."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.entitlements import Entitlement
from accounts.models.contact_methods import Priority
from accounts.models.groups import Group
from accounts.models.users import User
from accounts.services.audit import record_audit
from alerting.api.alerts import (
    PAGE_PARAMETERS,
    AlertSerializer,
    AlertViewSet,
    AssignSerializer,
    HoldSerializer,
    NothingSerializer,
    ReasonSerializer,
    ReplySerializer,
)
from alerting.models.alerts import Alert
from alerting.models.bridges import Bridge
from alerting.selectors import may_answer, may_respond, with_details
from alerting.states import Action
from alerting.via import API
from escalation.api.previews import EscalationPreviewSerializer
from escalation.engine.manual import SUBJECT_LENGTH, TEXT_LENGTH, ManualAlert, preview_alert, send_alert
from escalation.engine.reachable import why_not_reached
from escalation.models.channel_actions import allowed_over
from escalation.models.notifications import Notification
from escalation.models.policies import EscalationPolicy, ResponsePlay
from escalation.responses.act import act
from escalation.responses.add_responders import add_responders
from escalation.responses.reassign import reassign
from heartbeat_project.api.alert_export import (
    AlertExport,
    ExportedAlertSerializer,
    ExportQuery,
    FormatParameter,
    export_response,
)
from heartbeat_project.kernel.api import CleanCharField, NewestFirst, OwnedRelatedField, Strict


@extend_schema_serializer(component_name="Alert")
class EscalatedAlertSerializer(AlertSerializer):
    """One alert, as `with_rules` returns it. It is changed only by the actions below it."""

    escalation_policy = serializers.IntegerField(
        source="policy_id", read_only=True, allow_null=True, help_text="The policy that its escalation follows."
    )
    response_play = serializers.IntegerField(
        source="play_id", read_only=True, allow_null=True, help_text="The play that its escalation follows."
    )

    class Meta(AlertSerializer.Meta):
        fields = [*AlertSerializer.Meta.fields, "escalation_policy", "response_play"]
        read_only_fields = fields


@extend_schema_serializer(component_name="Assigned")
class AssignedSerializer(EscalatedAlertSerializer):
    """An assigned alert, with the reasons why its new owner would not be notified."""

    warnings = serializers.SerializerMethodField()

    class Meta(EscalatedAlertSerializer.Meta):
        fields = [*EscalatedAlertSerializer.Meta.fields, "warnings"]
        read_only_fields = fields

    def get_warnings(self, alert: Alert) -> list[str]:  # noqa: ARG002 - DRF's signature
        """Return the reasons as sentences; empty if the new owner is notified at once."""
        return list(self.context["warnings"])


class ManualAlertSerializer(Strict):
    """An alert made by hand: a quick-launch policy with recipients, or a play."""

    subject = CleanCharField(max_length=SUBJECT_LENGTH)
    text = CleanCharField(max_length=TEXT_LENGTH, required=False, allow_blank=True)
    priority = serializers.ChoiceField(
        choices=Priority.choices, required=False, help_text="If left out, the priority of the policy or play."
    )
    escalation_policy = OwnedRelatedField(
        queryset=EscalationPolicy.objects.all(),
        required=False,
        allow_null=True,
        help_text="A policy that is marked for quick launch.",
    )
    response_play = OwnedRelatedField(queryset=ResponsePlay.objects.all(), required=False, allow_null=True)
    recipient_groups = OwnedRelatedField(queryset=Group.objects.all(), many=True, required=False)
    recipient_users = OwnedRelatedField(queryset=User.objects.all(), many=True, required=False)
    bridge = OwnedRelatedField(queryset=Bridge.objects.all(), required=False, allow_null=True)
    source_id = CleanCharField(
        max_length=200,
        required=False,
        allow_blank=True,
        help_text="An idempotency key of your own: a second request with the same key returns the alert of the first.",
    )


class ReassignSerializer(Strict):
    """Restart the escalation with these groups or this policy; what is left out stays as it is."""

    groups = OwnedRelatedField(queryset=Group.objects.all(), many=True, required=False)
    escalation_policy = OwnedRelatedField(queryset=EscalationPolicy.objects.all(), required=False)


class RespondersSerializer(Strict):
    """People to ask for help; at least one of the three fields. A group means all its members on call now."""

    users = OwnedRelatedField(queryset=User.objects.all(), many=True, required=False)
    groups = OwnedRelatedField(queryset=Group.objects.all(), many=True, required=False)
    response_play = OwnedRelatedField(queryset=ResponsePlay.objects.all(), required=False)


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """One notification about an alert: its recipient, its allowed actions and its outcome; addresses are not included.

    The recipient is a user, or a shared contact of a group.
    """

    allowed_actions = serializers.SerializerMethodField()
    round = serializers.IntegerField(
        source="retry", read_only=True, help_text="0: the first time; 1 and above: retries of the step."
    )
    held_until = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="About when a rate limit lets it go; null: no limit holds it back."
    )

    class Meta:
        model = Notification
        fields = [
            "id",
            "kind",
            "user",
            "group",
            "channel",
            "label",
            "step",
            "round",
            "allowed_actions",
            "status",
            "message_id",
            "attempts",
            "created_at",
            "next_attempt_at",
            "held_until",
            "failing_since",
            "accepted_at",
            "call_state",
            "last_error",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_allowed_actions(self, notification: Notification) -> list[str]:
        """Return the actions that the alert's policy allows over the channel of this message.

        Shown for pages, and only for users who may respond; a stakeholder gets none.
        """
        user = notification.user
        if notification.kind != Notification.Kind.PAGE or notification.run is None:
            return []
        if user is None or not may_answer(user):
            return []
        return list(allowed_over(notification.run.disabled_actions, notification.channel))


class OldestFirst(NewestFirst):
    """Pages of notifications, oldest first."""

    ordering = ("created_at", "id")


def with_rules(alerts: QuerySet[Alert]) -> QuerySet[Alert]:
    """Return the alerts with `policy_id` and `play_id`, what their escalation follows; both None without one."""
    return alerts.annotate(policy_id=F("run__policy_id"), play_id=F("run__play_id"))


def as_shown(alert: Alert, *, serializer: type[AlertSerializer] = EscalatedAlertSerializer, **context: Any) -> Any:
    """Return the fields of an alert that was opened or changed just now."""
    stored = with_rules(with_details(Alert.objects.filter(pk=alert.pk))).get()
    return serializer(stored, context=context).data


class EscalatingAlertViewSet(AlertViewSet):
    """Alerts that the user may see: actions of people, notifications, and alerts made by hand."""

    serializer_class = EscalatedAlertSerializer
    parameters = {**AlertViewSet.parameters, "export": tuple(ExportQuery().fields)}

    def get_queryset(self) -> QuerySet[Alert]:
        """Return the alerts that the user may see, with their rules where they are shown."""
        alerts = super().get_queryset()
        return with_rules(alerts) if self.action in {"list", "retrieve"} else alerts

    def get_permissions(self) -> Any:
        """Require ALERTS_SEND for alerts made by hand; the other actions keep their own entitlements."""
        if self.action in {"create", "preview"}:
            return [entitled(read=Entitlement.ALERTS_SEND, write=Entitlement.ALERTS_SEND)()]
        return super().get_permissions()

    @extend_schema(request=ManualAlertSerializer, responses={201: EscalatedAlertSerializer})
    def create(self, request: Request) -> Response:
        """Open an alert by hand; its escalation starts at once."""
        alert = send_alert(self._draft(request), sender=self.user, now=self.now)
        return Response(as_shown(alert, **self.get_serializer_context()), status=status.HTTP_201_CREATED)

    @extend_schema(
        parameters=[ExportQuery],
        responses={(200, "text/csv"): OpenApiTypes.STR, (200, "application/json"): ExportedAlertSerializer(many=True)},
    )
    @action(
        detail=False,
        methods=["get"],
        pagination_class=None,
        filter_backends=[],
        content_negotiation_class=FormatParameter,
    )
    def export(self, request: Request) -> StreamingHttpResponse:
        """Export all alerts that match the filters, newest first, as one CSV file or one JSON list.

        In the CSV file, an apostrophe is put before texts that a spreadsheet would take for a formula.
        """
        query = ExportQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        export = AlertExport(self.user, query.condition(), file_format=query.validated_data["format"])
        response = export_response(export, request, now=self.now)
        record_audit(organization=self.user.organization_id, action="exported", object_type="alert", after=query.data)
        return response

    @extend_schema(request=ManualAlertSerializer, responses=EscalationPreviewSerializer)
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Show who would be notified of an alert made by hand, when and over which contact methods; send nothing."""
        escalation_preview = preview_alert(self._draft(request), sender=self.user, now=self.now)
        return Response(EscalationPreviewSerializer(escalation_preview).data)

    def _draft(self, request: Request) -> ManualAlert:
        serializer = ManualAlertSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return ManualAlert(**serializer.validated_data)

    @extend_schema(request=NothingSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Record that you have seen the alert; the escalation goes on, unless its policy says otherwise."""
        return self.respond(Action.ACKNOWLEDGE, takes=NothingSerializer)

    @extend_schema(request=NothingSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def unacknowledge(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Take the acknowledgement back; an escalation that it had stopped goes on."""
        return self.respond(Action.UNACKNOWLEDGE, takes=NothingSerializer)

    @extend_schema(request=AssignSerializer, responses=AssignedSerializer)
    @action(detail=True, methods=["post"])
    def assign(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Make a user the owner (yourself by default), which stops the escalation; another user is notified.

        `warnings` are the reasons why the new owner would not be notified.
        """
        return self.respond(Action.ASSIGN, takes=AssignSerializer)

    @extend_schema(request=NothingSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"], url_path="give-back")
    def give_back(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Give the alert back: it has no owner any more, and the escalation goes on where it stopped."""
        return self.respond(Action.GIVE_BACK, takes=NothingSerializer)

    @extend_schema(request=NothingSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def escalate(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Escalate the alert: the next people are notified at once."""
        return self.respond(Action.ESCALATE, takes=NothingSerializer)

    @extend_schema(request=HoldSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Pause the escalation until a time, or until somebody resumes it."""
        return self.respond(Action.HOLD, takes=HoldSerializer)

    @extend_schema(request=NothingSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Resume the escalation of an alert on hold."""
        return self.respond(Action.RESUME, takes=NothingSerializer)

    @extend_schema(request=ReasonSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Close the alert; a heartbeat that stays silent opens no further alert before its next ping."""
        return self.respond(Action.CLOSE, takes=ReasonSerializer)

    @extend_schema(request=ReasonSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Cancel the alert as not needed; a heartbeat that stays silent opens no further alert before its next ping."""
        return self.respond(Action.CANCEL, takes=ReasonSerializer)

    @extend_schema(request=ReplySerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def reply(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Add a note to the timeline."""
        return self.respond(Action.REPLY, takes=ReplySerializer)

    @extend_schema(request=ReassignSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def reassign(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Restart the escalation with other groups or another policy; the alert has no owner any more."""
        return self.respond(reassign, takes=ReassignSerializer)

    @extend_schema(request=RespondersSerializer, responses=EscalatedAlertSerializer)
    @action(detail=True, methods=["post"])
    def responders(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Ask more people for help: they are notified now, beside the escalation and even if the alert has an owner."""
        return self.respond(add_responders, takes=RespondersSerializer)

    @extend_schema(responses=NotificationSerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=OldestFirst)
    def notifications(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List the notifications of the alert with their outcomes, oldest first."""
        notifications = self.get_object().notifications.select_related("run", "user").prefetch_related("user__roles")
        page = self.paginate_queryset(notifications)
        return self.get_paginated_response(NotificationSerializer(page, many=True).data)

    def respond(self, action: Action | Callable[..., Alert], *, takes: type[Any]) -> Response:
        """Apply an action or a service to the alert and return it; PermissionDenied for users who may only read."""
        alert = self.get_object()
        if not may_respond(self.user, alert):
            raise PermissionDenied
        serializer = takes(data=self.request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        fields = dict(serializer.validated_data)
        context = self.get_serializer_context()
        if not isinstance(action, Action):
            alert = action(alert, actor=self.user, via=API, now=self.now, **fields)
            return Response(as_shown(alert, **context))
        to = fields.pop("user", None)
        alert = act(alert, action, actor=self.user, via=API, now=self.now, to=to, **fields)
        if action is not Action.ASSIGN:
            return Response(as_shown(alert, **context))
        warnings: list[str] = []
        if to is not None:
            reasons = why_not_reached([to], integration_id=alert.integration_id, priority=alert.priority, now=self.now)
            warnings = reasons.get(to.pk, [])
        return Response(as_shown(alert, serializer=AssignedSerializer, **context, warnings=warnings))
