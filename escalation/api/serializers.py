"""Policies, plays and notifications as JSON."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Group, GroupRole, User
from alerting.models import Bridge, Priority
from alerting.selectors import may_answer
from escalation.models import EscalationPolicy, Notification, ResponsePlay
from escalation.offers import ACTIONS, CHANNELS, offered
from escalation.services.manual import SUBJECT_LENGTH, TEXT_LENGTH
from escalation.services.plays import TierRule
from escalation.services.policies import RoleRule
from heartbeat_project.kernel.api import CleanCharField, MinutesField, OwnedRelatedField, Rows, Strict

MOST_USES_SHOWN = 100
MOST_TIMES = 100
MOST_TIERS = 50
MOST_LABELS = 20


class UsageSerializer(Strict):
    """An integration that uses the policy or play."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)


class RoleSerializer(Strict):
    """How one group role is told."""

    role = serializers.ChoiceField(choices=GroupRole.choices)
    wait_minutes = MinutesField(required=False, help_text="After the role before, or after the alert opened.")
    between_members_minutes = MinutesField(required=False, help_text="0: all at once; above 0: in turn.")
    retries = serializers.IntegerField(min_value=0, max_value=MOST_TIMES, required=False)
    retry_interval_minutes = MinutesField(required=False)
    contact_labels = serializers.ListField(
        child=CleanCharField(max_length=40),
        max_length=MOST_LABELS,
        required=False,
        help_text="Centralized only, such as Email-Official; empty: every contact method.",
    )


class RuleSerializer(Strict):
    """What policies and plays share."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    description = CleanCharField(max_length=4_000, required=False, allow_blank=True)
    priority = serializers.ChoiceField(choices=Priority.choices, required=False)
    enabled = serializers.BooleanField(required=False)
    recovery_notice = serializers.BooleanField(required=False)
    version = serializers.IntegerField(read_only=True)
    usage = serializers.SerializerMethodField(help_text="The integrations that use it, at most a hundred of them.")

    @extend_schema_field(UsageSerializer(many=True))
    def get_usage(self, rule: Any) -> list[dict[str, Any]]:
        """Return id and name of the integrations that use it."""
        # A rule that was just written comes without the view's prefetch.
        used_by = rule.used_by if hasattr(rule, "used_by") else rule.integrations.order_by("name")[:MOST_USES_SHOWN]
        return [{"id": integration.pk, "name": integration.name} for integration in used_by]


class OffersSerializer(Strict):
    """The actions that a message offers, for each channel; a channel that is left out stays as it is."""

    def get_fields(self) -> dict[str, Any]:
        """Return one list of actions for each channel."""
        actions = [action.value for action in ACTIONS]
        return {
            channel: serializers.ListField(
                child=serializers.ChoiceField(choices=actions), max_length=len(actions), required=False
            )
            for channel in CHANNELS
        }


class PolicySerializer(RuleSerializer):
    """An escalation policy with its roles; given roles replace those that were there."""

    quick_launch = serializers.BooleanField(required=False)
    notify_using = serializers.ChoiceField(choices=EscalationPolicy.NotifyUsing.choices, required=False)
    next_group_wait_minutes = MinutesField(required=False)
    acknowledge_stops = serializers.BooleanField(required=False)
    repeats = serializers.IntegerField(min_value=0, max_value=MOST_TIMES, required=False)
    offers = OffersSerializer(required=False)
    roles = Rows(child=RoleSerializer(), allow_empty=False, max_length=len(GroupRole))

    def validate_roles(self, roles: list[dict[str, Any]]) -> list[RoleRule]:
        """Return the service's rules."""
        return [RoleRule(**role) for role in roles]


class CloneSerializer(Strict):
    """The name of the copy; left out, “Copy of …”."""

    name = CleanCharField(max_length=200, required=False)


class TierSerializer(Strict):
    """Who is told so many minutes after the alert opened."""

    offset_minutes = MinutesField()
    users = OwnedRelatedField(queryset=User.objects.all(), many=True, required=False)
    groups = OwnedRelatedField(queryset=Group.objects.all(), many=True, required=False)


class PlaySerializer(RuleSerializer):
    """A response play with its tiers; given tiers replace those that were there."""

    tiers = Rows(child=TierSerializer(), allow_empty=False, max_length=MOST_TIERS)

    def validate_tiers(self, tiers: list[dict[str, Any]]) -> list[TierRule]:
        """Return the service's rules."""
        return [TierRule(**tier) for tier in tiers]


class ManualAlertSerializer(Strict):
    """An alert made by hand: a quick-launch policy with recipients, or a play."""

    subject = CleanCharField(max_length=SUBJECT_LENGTH)
    text = CleanCharField(max_length=TEXT_LENGTH, required=False, allow_blank=True)
    priority = serializers.ChoiceField(
        choices=Priority.choices, required=False, help_text="Left out, that of the policy or play."
    )
    escalation_policy = OwnedRelatedField(
        queryset=EscalationPolicy.objects.all(),
        required=False,
        allow_null=True,
        help_text="One that is offered for quick launch.",
    )
    response_play = OwnedRelatedField(queryset=ResponsePlay.objects.all(), required=False, allow_null=True)
    recipient_groups = OwnedRelatedField(queryset=Group.objects.all(), many=True, required=False)
    recipient_users = OwnedRelatedField(queryset=User.objects.all(), many=True, required=False)
    bridge = OwnedRelatedField(queryset=Bridge.objects.all(), required=False, allow_null=True)
    source_id = CleanCharField(
        max_length=200,
        required=False,
        allow_blank=True,
        help_text="Your own name for it: sent again with the same, it gives the alert that is there already.",
    )


class ToldSerializer(serializers.Serializer[Any]):
    """One person who would be told over one contact method; `at` is after the method's own delay.

    Or, without a user, one contact that a group shares.
    """

    user = serializers.IntegerField(source="user_id", read_only=True, allow_null=True)
    group = serializers.IntegerField(source="group_id", read_only=True, allow_null=True)
    name = serializers.CharField(read_only=True)
    stage = serializers.CharField(read_only=True)
    round = serializers.IntegerField(read_only=True, help_text="0: first; 1 and above: retries.")
    label = serializers.CharField(read_only=True)  # type: ignore[assignment] # DRF takes declared fields off the class
    channel = serializers.CharField(read_only=True)
    at = serializers.DateTimeField(read_only=True)
    counts = serializers.BooleanField(
        read_only=True, help_text="They may answer, and get it before the walk goes on: they count as reached."
    )


class MomentSerializer(serializers.Serializer[Any]):
    """One step; `gaps` says which stages led nowhere."""

    at = serializers.DateTimeField(read_only=True)
    told = ToldSerializer(many=True, read_only=True)
    gaps = serializers.ListField(child=serializers.CharField(), read_only=True)


class ProblemSerializer(serializers.Serializer[Any]):
    """What would fail."""

    code = serializers.CharField(read_only=True)
    detail = serializers.CharField(source="text", read_only=True)
    user = serializers.IntegerField(source="user_id", read_only=True, allow_null=True)


class InsteadSerializer(serializers.Serializer[Any]):
    """An Owner or App Admin whom the last resort would tell."""

    user = serializers.IntegerField(source="pk", read_only=True)
    name = serializers.CharField(source="__str__", read_only=True)


class ForecastSerializer(serializers.Serializer[Any]):
    """Who would be told if nobody did anything; `complete` is false where the walk is longer than what is listed."""

    at = serializers.DateTimeField(read_only=True)
    name = serializers.CharField(read_only=True, help_text="Of the policy or play.")
    steps = MomentSerializer(source="moments", many=True, read_only=True)
    complete = serializers.BooleanField(read_only=True)
    problems = ProblemSerializer(many=True, read_only=True)
    instead = InsteadSerializer(many=True, read_only=True, help_text="Notified, because the walk reaches nobody.")
    first_notified_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When the first person who counts is notified; null: nobody is."
    )


class NotificationSerializer(serializers.ModelSerializer[Notification]):
    """One message about an alert, what it offers, and what became of it; addresses stay with their owners.

    It is to a user, or to a contact that a group shares.
    """

    offers = serializers.SerializerMethodField()

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
            "offers",
            "status",
            "envelope",
            "attempts",
            "created_at",
            "next_attempt_at",
            "accepted_at",
            "last_error",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_offers(self, notification: Notification) -> list[str]:
        """Return the actions that it offers, as the alert's policy allows for its channel.

        Only a page offers any, and only to a person who may do more than read: a stakeholder is offered nothing.
        """
        user = notification.user
        if notification.kind != Notification.Kind.PAGE or notification.run is None or user is None:
            return []
        if not may_answer(user):
            return []
        return list(offered(notification.run.withheld, notification.channel))
