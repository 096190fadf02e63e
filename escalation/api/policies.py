"""`escalation-policies/`: how and when the roles of the recipient groups are notified."""

from typing import Any, ClassVar

from django.db.models import Prefetch, Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import Entitlement
from accounts.models.contact_methods import Priority
from accounts.models.groups import GroupRole
from accounts.permissions import may
from alerting.api.alerts import PAGE_PARAMETERS
from escalation.api.previews import MAX_TIMES
from escalation.engine.manual import LAUNCHABLE_POLICY
from escalation.models.channel_actions import ACTIONS, CHANNELS
from escalation.models.policies import EscalationPolicy
from escalation.policies import policies
from escalation.policies.clone import clone_policy
from escalation.policies.policies import RoleRule
from heartbeat_project.kernel.api import (
    PAGED_BY,
    BoundedList,
    CleanCharField,
    MinutesField,
    NewestFirst,
    Rows,
    Strict,
    WholeNumberField,
)
from heartbeat_project.kernel.hidden_fields import HidesFields

MAX_USES_SHOWN = 100
MAX_LABELS = 20


class UsageSerializer(Strict):
    """An integration that uses the policy or play."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)


class RoleSerializer(Strict):
    """How the members of one group role are notified."""

    role = serializers.ChoiceField(choices=GroupRole.choices)
    wait_minutes = MinutesField(required=False, help_text="After the role before, or after the alert opened.")
    between_members_minutes = MinutesField(required=False, help_text="0: all at once; above 0: in turn.")
    retries = WholeNumberField(min_value=0, max_value=MAX_TIMES, required=False)
    retry_interval_minutes = MinutesField(required=False)
    contact_labels = BoundedList(
        child=CleanCharField(max_length=40),
        max_length=MAX_LABELS,
        required=False,
        help_text="Centralized only, such as Email-Official; empty: every contact method.",
    )


@extend_schema_field({"type": "string", "pattern": "^([01][0-9]|2[01]):[0-5][0-9]$", "example": "07:00"})
class MorningField(serializers.TimeField):
    """A time of day until which alerts of a night may wait: before 22:00."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="%H:%M", input_formats=["%H:%M"], **options)


class RuleSerializer(HidesFields, Strict):
    """The fields that policies and plays share.

    Users who see a policy or play only because they may send alerts by it get null for most of them.
    """

    for_everybody = frozenset({"id", "name", "description", "priority", "enabled", "quick_launch"})

    changing = frozenset({"usage", "version"})

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    description = CleanCharField(max_length=4_000, required=False, allow_blank=True)
    priority = serializers.ChoiceField(choices=Priority.choices, required=False)
    enabled = serializers.BooleanField(required=False)
    recovery_notice = serializers.BooleanField(required=False)
    stop_running = serializers.BooleanField(
        required=False,
        write_only=True,
        help_text="With `enabled` false: ends the escalations that run by it now. Nobody is notified by them any more, "
        "the Owners and App Admins neither; their alerts stay open. Otherwise they go on as they began.",
    )
    reopen_after_minutes = MinutesField(
        required=False,
        help_text="After so long without an action on a taken alert its owner is reminded, and without an answer it is "
        "open again; 0: never. Left out when it is created: 60 for Critical, otherwise 0.",
    )
    low_waits_until = MorningField(
        required=False,
        allow_null=True,
        help_text="Alerts of priority Low and None wake nobody: what would come between 22:00 and this time of day, by "
        "the clock of whom it is for, waits until then. Null: nothing waits.",
    )
    version = serializers.IntegerField(read_only=True)
    usage = serializers.SerializerMethodField(help_text="The integrations that use it, at most a hundred of them.")

    def shows_all(self, instance: Any) -> bool:  # noqa: ARG002 - it is the same for all of them
        """Answer whether the user may see how the policy or play notifies."""
        user = self.context["request"].user
        return may(user, Entitlement.RULES_VIEW) or may(user, Entitlement.RULES_UPDATE)

    @extend_schema_field(UsageSerializer(many=True))
    def get_usage(self, rule: Any) -> list[dict[str, Any]]:
        """Return id and name of the integrations that use it."""
        # A rule that was just written comes without the view's prefetch.
        used_by = rule.used_by if hasattr(rule, "used_by") else rule.integrations.order_by("name")[:MAX_USES_SHOWN]
        return [{"id": integration.pk, "name": integration.name} for integration in used_by]


class AllowedActionsSerializer(Strict):
    """The allowed actions of messages over each channel; a channel that is left out stays as it is."""

    def get_fields(self) -> dict[str, Any]:
        """Return one list of actions for each channel."""
        actions = [action.value for action in ACTIONS]
        return {
            channel: BoundedList(
                child=serializers.ChoiceField(choices=actions), max_length=len(actions), required=False
            )
            for channel in CHANNELS
        }


class PolicySerializer(RuleSerializer):
    """An escalation policy with its roles; roles in a request replace all earlier ones."""

    quick_launch = serializers.BooleanField(required=False)
    notify_using = serializers.ChoiceField(choices=EscalationPolicy.NotifyUsing.choices, required=False)
    next_group_wait_minutes = MinutesField(required=False)
    acknowledge_stops = serializers.BooleanField(required=False)
    repeats = WholeNumberField(min_value=0, max_value=MAX_TIMES, required=False)
    allowed_actions = AllowedActionsSerializer(required=False)
    roles = Rows(child=RoleSerializer(), allow_empty=False, max_length=len(GroupRole))

    def validate_roles(self, roles: list[dict[str, Any]]) -> list[RoleRule]:
        """Return the roles as the service takes them."""
        return [RoleRule(**role) for role in roles]


class CloneSerializer(Strict):
    """The name of the copy; “Copy of …” if it is left out."""

    name = CleanCharField(max_length=200, required=False)


class RuleViewSet(WarningViewSet):
    """The endpoints that policies and plays share."""

    permission_classes = [entitled(read=Entitlement.RULES_VIEW, write=Entitlement.RULES_UPDATE)]
    parameters = {"usage": PAGED_BY}
    # The condition for those that alerts made by hand may follow.
    launchable: ClassVar[Q]

    def get_permissions(self) -> Any:
        """Return the permissions; users who may send alerts also read what they may choose from."""
        if self.action in {"list", "retrieve"}:
            return [entitled(read=(Entitlement.RULES_VIEW, Entitlement.ALERTS_SEND))()]
        return super().get_permissions()

    def get_queryset(self) -> QuerySet[Any]:
        """Return the organization's policies or plays with the integrations that use them.

        Users who may only send alerts get those that their alerts may follow.
        """
        rules = super().get_queryset()
        if self.action in {"list", "retrieve"} and not self.is_schema_generation:
            rules = rules if may(self.user, Entitlement.RULES_VIEW) else rules.filter(self.launchable)
        # The model belongs to an app above this one, which declares the relation.
        integrations = rules.model._meta.get_field("integrations").related_model  # noqa: SLF001 - documented Meta API
        used_by = integrations.objects.order_by("name")[:MAX_USES_SHOWN]
        return rules.prefetch_related(Prefetch("integrations", queryset=used_by, to_attr="used_by"))

    @extend_schema(responses=UsageSerializer(many=True), parameters=PAGE_PARAMETERS)
    @action(detail=True, methods=["get"], pagination_class=NewestFirst)
    def usage(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """List all integrations that use it, newest first."""
        page = self.paginate_queryset(self.get_object().integrations.all())
        return self.get_paginated_response(UsageSerializer(page, many=True).data)


def validated(serializer: Any) -> dict[str, Any]:
    """Return the values of a new policy or play, without `stop_running`: no escalation follows it yet."""
    return {name: value for name, value in serializer.validated_data.items() if name != "stop_running"}


class PolicyViewSet(RuleViewSet):
    """Escalation policies: how and when the roles of the recipient groups are notified."""

    queryset = EscalationPolicy.objects.prefetch_related("roles")
    serializer_class = PolicySerializer
    launchable = LAUNCHABLE_POLICY

    def perform_create(self, serializer: Any) -> None:
        """Create the policy."""
        serializer.instance = policies.create_policy(self.user.organization, **validated(serializer))

    def perform_update(self, serializer: Any) -> None:
        """Change the policy."""
        serializer.instance = policies.update_policy(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )

    def perform_destroy(self, instance: EscalationPolicy) -> None:
        """Delete the policy; 409 with the integrations that use it."""
        policies.delete_policy(instance, actor=self.user, now=self.now)

    @extend_schema(request=CloneSerializer, responses={201: PolicySerializer})
    @action(detail=True, methods=["post"])
    def clone(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Create a copy."""
        policy = self.get_object()
        serializer = CloneSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        copy = clone_policy(policy, **serializer.validated_data)
        return Response(self.get_serializer(copy).data, status=status.HTTP_201_CREATED)
