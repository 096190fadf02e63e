"""Inbound integrations as JSON."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy
from rest_framework import serializers

from accounts.entitlements import Entitlement
from accounts.models import ContactMethod, Group, User
from accounts.permissions import may
from alerting.models import Alert, Bridge
from escalation.models import EscalationPolicy, ResponsePlay
from heartbeat_project.kernel.api import CleanCharField, MinutesField, OwnedRelatedField, Strict
from integrations.coverage import CoverageGap
from integrations.models import Heartbeat, InboundIntegration, Ping
from integrations.selectors import api_url, state_of

FARTHEST = timedelta(days=3_650)
_ADDABLE = InboundIntegration.Type.HEARTBEAT
_BOOLEANS = {"required": False}


class IntegrationSerializer(Strict):
    """One heartbeat integration; `api_url` is null for those who may not manage integrations."""

    id = serializers.IntegerField(read_only=True)
    type = serializers.ChoiceField(
        choices=InboundIntegration.Type.choices,
        default=_ADDABLE,
        help_text="Only heartbeat can be added now.",
    )
    name = CleanCharField(max_length=200)
    interval_minutes = MinutesField(source="heartbeat.interval_minutes", min_value=Decimal("0.1"))
    grace_minutes = MinutesField(source="heartbeat.grace_minutes", required=False)
    start_timer = serializers.ChoiceField(
        source="heartbeat.start_timer",
        choices=Heartbeat.StartTimer.choices,
        required=False,
    )
    allow_get = serializers.BooleanField(source="heartbeat.allow_get", required=False)
    escalation_policy = OwnedRelatedField(queryset=EscalationPolicy.objects.all(), allow_null=True, required=False)
    response_play = OwnedRelatedField(queryset=ResponsePlay.objects.all(), allow_null=True, required=False)
    recipient_groups = OwnedRelatedField(queryset=Group.objects.all(), many=True, required=False)
    recipient_users = OwnedRelatedField(queryset=User.objects.all(), many=True, required=False)
    bridge = OwnedRelatedField(queryset=Bridge.objects.all(), allow_null=True, required=False)
    enabled = serializers.BooleanField(required=False)
    api_url = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField()
    last_ping_at = serializers.DateTimeField(source="heartbeat.last_ping_at", read_only=True, allow_null=True)
    deadline_at = serializers.DateTimeField(source="heartbeat.deadline_at", read_only=True, allow_null=True)
    ping_count = serializers.IntegerField(source="heartbeat.ping_count", read_only=True)

    def get_api_url(self, integration: InboundIntegration) -> str | None:
        """Return the secret URL, or None for who may see the integration but not manage it."""
        allowed = may(self.context["request"].user, Entitlement.INBOUND_INTEGRATIONS)
        return api_url(integration) if allowed else None

    def get_state(self, integration: InboundIntegration) -> str:
        """Return healthy, missed, waiting, disabled or maintenance."""
        return state_of(integration.heartbeat, now=self.context["now"])

    def validate_type(self, value: str) -> str:
        """Only heartbeats can be added now, and a type never changes."""
        if value != _ADDABLE:
            raise serializers.ValidationError(
                gettext_lazy("Only integrations of type heartbeat can be added now."),
                code="unsupported_type",
            )
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the flat keywords of the service, with exactly one of policy and play."""
        fields = {**attrs, **attrs.pop("heartbeat", {})}
        fields.pop("heartbeat", None)
        fields.pop("type", None)
        chosen = {
            field: fields.get(field, getattr(self.instance, field, None))
            for field in ("escalation_policy", "response_play")
        }
        # Naming the other one replaces the one before, so that a change needs one field, not two.
        if self.instance is not None and all(chosen.values()) and len(chosen.keys() & fields.keys()) == 1:
            other = next(field for field in chosen if field not in fields)
            fields[other] = chosen[other] = None
        if sum(value is not None for value in chosen.values()) != 1:
            both = chosen["escalation_policy"] is not None
            message = f"Choose an escalation policy or a response play{', not both' if both else ''}."
            raise serializers.ValidationError(
                {"escalation_policy": serializers.ErrorDetail(message, code="invalid" if both else "required")},
            )
        return fields


class InstantSerializer(serializers.Serializer[None]):
    """The instant that is asked about, from the query string; at most ten years away."""

    at = serializers.DateTimeField(required=False, help_text="Left out, now.")

    def validate_at(self, value: datetime) -> datetime:
        """Refuse what no plan reaches."""
        if abs(value - self.context["now"]) > FARTHEST:
            raise serializers.ValidationError("Choose an instant within ten years.", code="out_of_range")
        return value


class UnreadySerializer(serializers.ModelSerializer[InboundIntegration]):
    """An integration whose silence would reach nobody in its first step, and why."""

    reason = serializers.SerializerMethodField()

    class Meta:
        model = InboundIntegration
        fields = ["id", "name", "reason"]
        read_only_fields = fields

    def get_reason(self, integration: InboundIntegration) -> str:
        """Return the sentence that says why."""
        reasons: dict[int, str] = self.context["reasons"]
        return reasons[integration.pk]


class CoverageGapSerializer(serializers.ModelSerializer[InboundIntegration]):
    """An integration whose silence would reach nobody in its first step at some time, and when first."""

    reason = serializers.SerializerMethodField()
    starts_at = serializers.SerializerMethodField(help_text="At or after the instant that is asked about.")
    ends_at = serializers.SerializerMethodField(help_text="Null: not in the time that was looked at.")

    class Meta:
        model = InboundIntegration
        fields = ["id", "name", "reason", "starts_at", "ends_at"]
        read_only_fields = fields

    def _gap(self, integration: InboundIntegration) -> CoverageGap:
        gaps: dict[int, CoverageGap] = self.context["gaps"]
        return gaps[integration.pk]

    def get_reason(self, integration: InboundIntegration) -> str:
        """Return the sentence that says why."""
        return self._gap(integration).reason

    def get_starts_at(self, integration: InboundIntegration) -> datetime:
        """Return when the first gap begins."""
        return self._gap(integration).starts_at.astimezone(UTC)

    def get_ends_at(self, integration: InboundIntegration) -> datetime | None:
        """Return when the first gap ends."""
        ends_at = self._gap(integration).ends_at
        return ends_at and ends_at.astimezone(UTC)


class GroupGapSerializer(serializers.Serializer[Any]):
    """What is wrong with the rota of a group on which an enabled integration depends."""

    group = serializers.IntegerField(source="group.pk")
    name = serializers.CharField(source="group.name")
    code = serializers.ChoiceField(choices=["rota_hole", "rota_ended", "calendar_unreadable"])
    reason = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True, help_text="Null: not in the time that was looked at.")


class FailingMethodSerializer(serializers.ModelSerializer[ContactMethod]):
    """A contact method of a person or a group whose address is refused."""

    class Meta:
        model = ContactMethod
        fields = ["id", "user", "group", "label", "failing_since", "failing_reason"]
        read_only_fields = fields


class CoverageGapsSerializer(serializers.Serializer[Any]):
    """A page of the integrations with coverage gaps, and what is wrong with rotas."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = CoverageGapSerializer(many=True)
    groups = GroupGapSerializer(many=True)
    failing_methods = FailingMethodSerializer(many=True, help_text="They do not count, and are used after the others.")
    looked_until = serializers.DateTimeField(help_text="14 days after `at`; less where there is too much.")


class PagingTestSerializer(serializers.ModelSerializer[Alert]):
    """The alert that a test of the paging has opened; `notifications/` of it shows who was notified."""

    url = serializers.SerializerMethodField()

    class Meta:
        model = Alert
        fields = ["id", "url"]
        read_only_fields = fields

    def get_url(self, alert: Alert) -> str:
        """Return where people look at it."""
        return f"{settings.BASE_URL}/alerts/{alert.pk}/"


class PingSerializer(serializers.ModelSerializer[Ping]):
    """One accepted request to the API URL."""

    class Meta:
        model = Ping
        fields = ["id", "received_at", "method", "source_ip"]
