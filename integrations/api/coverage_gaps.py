"""Serializers of coverage gaps: alerts that would reach nobody, trouble with rotas, contact methods that fail."""

from datetime import UTC, datetime
from typing import Any, Final

from rest_framework import serializers

from accounts.models.contact_methods import ContactMethod
from integrations.coverage.gaps import CoverageGap
from integrations.coverage.reports import COMPUTED_AT_ONCE
from integrations.models.integrations import InboundIntegration

CHECKED_AT: Final = (
    "`at`, if it was given. Otherwise now; but in an organization with more than "
    f"{COMPUTED_AT_ONCE} enabled integrations, when the gaps were looked for last, some minutes ago."
)


class CoverageGapSerializer(serializers.ModelSerializer[InboundIntegration]):
    """An integration whose alerts would now reach nobody in their first step, and why."""

    reason = serializers.SerializerMethodField()

    class Meta:
        model = InboundIntegration
        fields = ["id", "name", "reason"]
        read_only_fields = fields

    def get_reason(self, integration: InboundIntegration) -> str:
        """Return the sentence that says why."""
        reasons: dict[int, str] = self.context["reasons"]
        return reasons[integration.pk]


class UpcomingCoverageGapSerializer(serializers.ModelSerializer[InboundIntegration]):
    """An integration whose alerts would reach nobody in their first step at some time, with the first such gap."""

    reason = serializers.SerializerMethodField()
    starts_at = serializers.SerializerMethodField(help_text="Not before `checked_at`.")
    ends_at = serializers.SerializerMethodField(help_text="Null if it lasts beyond `looked_until`.")

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
    """Trouble with the rota of a group on which an enabled integration depends."""

    group = serializers.IntegerField(source="group.pk")
    name = serializers.CharField(source="group.name")
    code = serializers.ChoiceField(choices=["rota_hole", "rota_ended", "calendar_unreadable"])
    reason = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True, help_text="Null if it lasts beyond `looked_until`.")


class FailingMethodSerializer(serializers.ModelSerializer[ContactMethod]):
    """A contact method of a person or a group at which the last messages could not be delivered."""

    class Meta:
        model = ContactMethod
        fields = ["id", "user", "group", "label", "failing_since", "failing_reason"]
        read_only_fields = fields


class CoverageGapsSerializer(serializers.Serializer[Any]):
    """A page of integrations whose alerts would reach nobody at one instant."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = CoverageGapSerializer(many=True)
    checked_at = serializers.DateTimeField(help_text=CHECKED_AT)


class UpcomingCoverageGapsSerializer(serializers.Serializer[Any]):
    """A page of integrations with coverage gaps, and all trouble with rotas."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = UpcomingCoverageGapSerializer(many=True)
    groups = GroupGapSerializer(many=True)
    failing_methods = FailingMethodSerializer(
        many=True, help_text="Nobody counts as reached over these. They are used after the others."
    )
    looked_until = serializers.DateTimeField(
        help_text="14 days after `checked_at`; earlier if the organization has too many changes to look that far."
    )
    checked_at = serializers.DateTimeField(help_text=CHECKED_AT)
