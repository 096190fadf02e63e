"""Alerts, their timeline and bridges as JSON, and what the actions take."""

from rest_framework import serializers

from accounts.models import User
from alerting.models import Alert, TimelineEntry
from alerting.services import REASON_LENGTH
from heartbeat_project.kernel.api import CleanCharField, OwnedRelatedField, Strict

MAX_ID = 2**63 - 1


class AlertSerializer(serializers.ModelSerializer[Alert]):
    """One alert; what changes it are its actions."""

    integration = serializers.IntegerField(source="integration_id", read_only=True, allow_null=True)

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
            "opened_at",
            "assigned_at",
            "closed_at",
            "close_reason",
            "hold_until",
        ]
        read_only_fields = fields


class AlertFilters(serializers.Serializer[None]):
    """The filters of the list, from the query string."""

    status = serializers.ChoiceField(choices=Alert.Status.choices, required=False)
    integration = serializers.IntegerField(min_value=1, max_value=MAX_ID, required=False)
    opened_after = serializers.DateTimeField(required=False, help_text="From this moment on.")
    opened_before = serializers.DateTimeField(required=False, help_text="Before this moment.")


class TimelineEntrySerializer(serializers.ModelSerializer[TimelineEntry]):
    """One thing that happened to an alert."""

    class Meta:
        model = TimelineEntry
        fields = ["id", "at", "kind", "actor", "text"]
        read_only_fields = fields


class NothingSerializer(Strict):
    """An action that takes nothing."""


class AssignSerializer(Strict):
    """Who is to own the alert; left out, whoever asks."""

    user = OwnedRelatedField(queryset=User.objects.all(), required=False)


class HoldSerializer(Strict):
    """When the hold ends by itself; left out, it lasts until somebody resumes the alert."""

    until = serializers.DateTimeField(required=False, allow_null=True)


class ReasonSerializer(Strict):
    """Why, for the alert and its timeline."""

    reason = CleanCharField(max_length=REASON_LENGTH, required=False, allow_blank=True)


class ReplySerializer(Strict):
    """A note for the timeline."""

    text = CleanCharField(max_length=4_000)


class BridgeSerializer(Strict):
    """A conference line; a phone number or a meeting URL is needed."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    phone_number = CleanCharField(max_length=40, required=False, allow_blank=True)
    access_code = CleanCharField(max_length=40, required=False, allow_blank=True)
    meeting_url = serializers.URLField(max_length=500, required=False, allow_blank=True)
