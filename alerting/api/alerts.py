"""`alerts/`: alerts and their timelines, and the input of the actions on them."""

from typing import Any, Final

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization
from accounts.entitlements import Entitlement
from accounts.models.contact_methods import Priority
from accounts.models.users import User
from alerting.models.alerts import Alert, AlertMember, TimelineEntry
from alerting.models.bridges import Bridge
from alerting.selectors import (
    addressed_to_group,
    containing,
    may_join,
    visible_alerts,
    with_details,
    with_may_join,
)
from alerting.services.alerts import REASON_LENGTH
from heartbeat_project.kernel.api import (
    PAGED_BY,
    CleanCharField,
    Filters,
    IdFilter,
    InstantField,
    NewestFirst,
    OwnedRelatedField,
    Strict,
)


class AlertBridgeSerializer(serializers.Serializer[Bridge]):
    """The bridge of an alert. It stays when the bridge is deleted, and when it is changed after the alert has ended.

    Everything but the name is null, except for users who maintain bridges or take part in the alert.
    """

    name = serializers.CharField()
    phone_number = serializers.CharField(allow_null=True)
    access_code = serializers.CharField(allow_null=True)
    meeting_url = serializers.CharField(allow_null=True)


class RecipientsSerializer(serializers.Serializer[Any]):
    """The groups and users whom an alert is addressed to, or who were notified of it."""

    groups = serializers.ListField(child=serializers.IntegerField())
    users = serializers.ListField(child=serializers.IntegerField())


class AlertSerializer(serializers.ModelSerializer[Alert]):
    """One alert, as `with_details` returns it. It is changed only by the actions below it."""

    integration = serializers.IntegerField(source="integration_id", read_only=True, allow_null=True)
    bridge = serializers.SerializerMethodField(help_text="The id of the bridge, also of one that was deleted.")
    bridge_details = serializers.SerializerMethodField()
    recipients = serializers.SerializerMethodField()
    created_by = serializers.IntegerField(
        source="created_by_id", read_only=True, allow_null=True, help_text="The user who opened it by hand."
    )
    minutes_to_assign = serializers.FloatField(
        read_only=True, allow_null=True, help_text="From its opening until it was first assigned, to a tenth."
    )
    minutes_to_resolve = serializers.FloatField(
        read_only=True, allow_null=True, help_text="From its opening until it was closed or cancelled, to a tenth."
    )

    def get_bridge(self, alert: Alert) -> int | None:
        """Return the id of the bridge."""
        copy = alert.bridge_copy or {}
        return alert.bridge_id or copy.get("id")

    @extend_schema_field(AlertBridgeSerializer(allow_null=True))
    def get_bridge_details(self, alert: Alert) -> dict[str, Any] | None:
        """Return the fields of the bridge that the reader may see."""
        bridge = alert.bridge_or_copy
        if bridge is None:
            return None
        if hasattr(alert, "user_may_join"):
            shows_all = bool(alert.user_may_join)
        else:
            shows_all = may_join(self.context["request"].user, alert)
        fields = AlertBridgeSerializer(bridge).data
        return fields if shows_all else {**dict.fromkeys(fields), "name": bridge.name}

    class Meta:
        model = Alert
        fields = [
            "id",
            "status",
            "subject",
            "long_text",
            "short_text",
            "priority",
            "source",
            "source_name",
            "source_id",
            "integration",
            "owner",
            "bridge",
            "bridge_details",
            "opened_at",
            "assigned_at",
            "closed_at",
            "close_reason",
            "hold_until",
            "recipients",
            "created_by",
            "acknowledged_at",
            "acknowledged_by",
            "minutes_to_assign",
            "minutes_to_resolve",
            "url",
            "event_count",
            "last_event_at",
        ]
        read_only_fields = fields

    @extend_schema_field(RecipientsSerializer)
    def get_recipients(self, alert: Alert) -> dict[str, list[int]]:
        """Return the ids of the groups and users, in the order in which they came to the alert."""
        recipients = list(alert.recipients.all())
        return {
            "groups": [recipient.group_id for recipient in recipients if recipient.group_id is not None],
            "users": [recipient.user_id for recipient in recipients if recipient.user_id is not None],
        }


# Filters that are not called as the column that they compare.
_LOOKUPS: Final = {
    "integration": "integration_id",
    "opened_after": "opened_at__gte",
    "opened_before": "opened_at__lt",
    "owner": "owner_id",
}


class AlertFilters(Filters):
    """The filters of the list and of the export, from the query string. An alert must match all of them."""

    status = serializers.ChoiceField(choices=Alert.Status.choices, required=False)
    integration = IdFilter(required=False)
    opened_after = InstantField(required=False, help_text="At this time or later.")
    opened_before = InstantField(required=False, help_text="Before this time.")
    # The type checker takes it for DRF's own `source`, which declared fields never replace.
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=100, required=False, help_text="Heartbeat, Manual, Test, API, or the sender's system."
    )
    source_name = serializers.CharField(max_length=200, required=False)
    source_id = serializers.CharField(max_length=200, required=False)
    priority = serializers.ChoiceField(choices=Priority.choices, required=False)
    owner = IdFilter(required=False, help_text="The id of a user.")
    group = IdFilter(required=False, help_text="The id of a group that it is addressed to.")
    search = serializers.CharField(
        max_length=200,
        required=False,
        allow_blank=True,
        help_text="A part of the subject, the source name or the owner's name, or the id.",
    )

    def condition(self) -> Q:
        """Return the condition for alerts that match; call it after `is_valid`."""
        # Not the further fields of a serializer that inherits from this one.
        filters = {name: value for name, value in self.validated_data.items() if name in AlertFilters().fields}
        condition = Q()
        if text := filters.pop("search", ""):
            condition &= containing(text)
        if group_id := filters.pop("group", None):
            condition &= addressed_to_group(group_id)
        return condition & Q(**{_LOOKUPS.get(name, name): value for name, value in filters.items()})

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the alerts that match."""
        return rows.filter(self.condition())


class TimelineEntrySerializer(serializers.ModelSerializer[TimelineEntry]):
    """One event of an alert. `via` and `how` say over which channel a person acted."""

    class Meta:
        model = TimelineEntry
        fields = ["id", "at", "kind", "actor", "text", "via", "how"]
        read_only_fields = fields


class AlertMemberSerializer(serializers.ModelSerializer[AlertMember]):
    """One of several problems that stand in the alert."""

    class Meta:
        model = AlertMember
        fields = ["id", "source_id", "subject", "is_open", "opened_at", "closed_at", "event_count", "last_event_at"]
        read_only_fields = fields


class NothingSerializer(Strict):
    """The input of an action without parameters."""


class AssignSerializer(Strict):
    """The new owner of the alert; by default the user who sends the request."""

    user = OwnedRelatedField(queryset=User.objects.all(), required=False)


class HoldSerializer(Strict):
    """The time at which the hold ends; without one it lasts until somebody resumes the alert."""

    until = InstantField(required=False, allow_null=True)


class ReasonSerializer(Strict):
    """The reason, for the alert and its timeline."""

    reason = CleanCharField(max_length=REASON_LENGTH, required=False, allow_blank=True)


class ReplySerializer(Strict):
    """A note for the timeline."""

    text = CleanCharField(max_length=4_000)


VIEWERS = (Entitlement.ALERTS_VIEW_ALL, Entitlement.ALERTS_VIEW_GROUPS, Entitlement.ALERTS_VIEW_OWN)
PAGE_PARAMETERS = [OpenApiParameter("cursor", str), OpenApiParameter("page_size", int)]


class InTime(NewestFirst):
    """Pages of a timeline, oldest first."""

    ordering = ("at", "id")


class InTurn(NewestFirst):
    """Pages of members, oldest first."""

    ordering = ("id",)


class AlertViewSet(mixins.RetrieveModelMixin, mixins.ListModelMixin, InOrganization):
    """The alerts that the user may see."""

    queryset = Alert.objects.all()
    serializer_class = AlertSerializer
    permission_classes = [entitled(read=(*VIEWERS, Entitlement.INBOUND_INTEGRATIONS), write=VIEWERS)]
    filters = AlertFilters
    parameters = {"timeline": PAGED_BY, "notifications": PAGED_BY, "members": PAGED_BY}
    # What people decide by their actions; what happens by itself, such as further events, changes no ETag.
    etag_columns = (
        "status",
        "owner_id",
        "acknowledged_at",
        "acknowledged_by_id",
        "hold_until",
        "closed_at",
        "close_reason",
    )

    def get_queryset(self) -> QuerySet[Alert]:
        """Return the alerts that the user may see."""
        if self.is_schema_generation:
            return Alert.objects.none()
        alerts = visible_alerts(self.user).select_related("bridge")
        if self.action == "list":
            return with_details(with_may_join(alerts, self.user))
        return with_details(alerts) if self.action == "retrieve" else alerts

    @extend_schema(responses=TimelineEntrySerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=InTime)
    def timeline(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List the events of the alert, oldest first."""
        page = self.paginate_queryset(self.get_object().timeline.all())
        return self.get_paginated_response(TimelineEntrySerializer(page, many=True).data)

    @extend_schema(responses=AlertMemberSerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=InTurn)
    def members(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List the problems that stand in the alert, each with its own state, in the order in which they came."""
        page = self.paginate_queryset(self.get_object().members.all())
        return self.get_paginated_response(AlertMemberSerializer(page, many=True).data)
