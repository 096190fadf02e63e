"""Serializers of previews: who would be notified, when, and over which contact method."""

from typing import Any

from rest_framework import serializers

MAX_TIMES = 100


class PreviewNotificationSerializer(serializers.Serializer[Any]):
    """One person who would be notified over one contact method, or without a user one contact that a group shares.

    `at` includes the delay of the contact method.
    """

    user = serializers.IntegerField(source="user_id", read_only=True, allow_null=True)
    group = serializers.IntegerField(source="group_id", read_only=True, allow_null=True)
    name = serializers.CharField(read_only=True)
    stage = serializers.CharField(read_only=True)
    round = serializers.IntegerField(source="retry", read_only=True, help_text="0: first; 1 and above: retries.")
    label = serializers.CharField(read_only=True)  # type: ignore[assignment] # DRF takes declared fields off the class
    channel = serializers.CharField(read_only=True)
    at = serializers.DateTimeField(read_only=True)
    counts = serializers.BooleanField(
        read_only=True,
        help_text="They may respond, and get it before the escalation goes on: they count as reached.",
    )


class PreviewStepSerializer(serializers.Serializer[Any]):
    """One step; `gaps` are the stages that reach nobody, `waits_until` is the morning until which people may sleep."""

    at = serializers.DateTimeField(read_only=True)
    notifications = PreviewNotificationSerializer(many=True, read_only=True)
    gaps = serializers.ListField(source="skipped_stages", child=serializers.CharField(), read_only=True)
    waits_until = serializers.DateTimeField(read_only=True, allow_null=True)


class ProblemSerializer(serializers.Serializer[Any]):
    """A problem that the escalation would have."""

    code = serializers.CharField(read_only=True)
    detail = serializers.CharField(source="text", read_only=True)
    user = serializers.IntegerField(source="user_id", read_only=True, allow_null=True)


class InsteadSerializer(serializers.Serializer[Any]):
    """An Owner or App Admin who would be notified as the last resort."""

    user = serializers.IntegerField(source="pk", read_only=True)
    name = serializers.CharField(source="__str__", read_only=True)


class EscalationPreviewSerializer(serializers.Serializer[Any]):
    """Who would be notified if nobody responded.

    `complete` is false if the escalation has more steps than are listed.
    """

    at = serializers.DateTimeField(read_only=True)
    name = serializers.CharField(read_only=True, help_text="Of the policy or play.")
    steps = PreviewStepSerializer(many=True, read_only=True)
    complete = serializers.BooleanField(read_only=True)
    problems = ProblemSerializer(many=True, read_only=True)
    instead = InsteadSerializer(many=True, read_only=True, help_text="Notified because the escalation reaches nobody.")
    first_notified_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When the first person who counts is notified; null: nobody is."
    )
