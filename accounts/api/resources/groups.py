"""`groups/`: teams and their members."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import Entitlement
from accounts.models import Group, GroupRole
from accounts.selectors import visible_groups
from accounts.services import Member, create_group, delete_group, update_group
from accounts.services.groups import MAX_MEMBERS
from heartbeat_project.kernel.api import CleanCharField, OwnedRelatedField, Rows, Strict

VIEW = (
    Entitlement.GROUPS_VIEW_ALL,
    Entitlement.GROUPS_VIEW_OWN,
    Entitlement.GROUPS_UPDATE_ALL,
    Entitlement.GROUPS_UPDATE_OWN,
)
WRITE = (Entitlement.GROUPS_ADD, Entitlement.GROUPS_UPDATE_ALL, Entitlement.GROUPS_UPDATE_OWN)


class MemberSerializer(Strict):
    """One user in one group role."""

    user = serializers.IntegerField(source="user_id", min_value=1, max_value=2**63 - 1)
    role = serializers.ChoiceField(choices=GroupRole.choices, default=GroupRole.PRIMARY)
    position = serializers.IntegerField(
        min_value=0,
        max_value=32767,
        required=False,
        help_text="Order within the role, lowest first; without it the order of the list counts.",
    )


class GroupSerializer(Strict):
    """A group; on a change `members` replaces all of them."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    description = CleanCharField(max_length=10_000, required=False, allow_blank=True)
    members = Rows(child=MemberSerializer(), required=False, max_length=MAX_MEMBERS)
    groups = OwnedRelatedField(
        queryset=Group.objects.all(),
        many=True,
        required=False,
        help_text="Groups whose people belong to this one, too, in their roles there; circles are refused.",
    )
    created_at = serializers.DateTimeField(read_only=True)

    def validate_members(self, members: list[dict[str, Any]]) -> list[Member]:
        """Return the members as the service takes them."""
        return [
            Member(user=member["user_id"], role=member["role"], position=member.get("position")) for member in members
        ]


class GroupViewSet(WarningViewSet):
    """Groups: all of them, or one's own; a group's Manager may change it."""

    queryset = Group.objects.all()
    serializer_class = GroupSerializer
    permission_classes = [entitled(read=VIEW, write=WRITE)]

    def get_permissions(self) -> list[Any]:
        """A Manager changes the own group, and makes none."""
        if self.action == "create":
            return [entitled(write=Entitlement.GROUPS_ADD)()]
        return list(super().get_permissions())

    def get_queryset(self) -> QuerySet[Group]:
        """Return the groups that the user may see, with their members."""
        return (
            super().get_queryset()
            if self.nobody_asks
            else visible_groups(self.user).prefetch_related("members", "groups")
        )

    def perform_create(self, serializer: Any) -> None:
        """Create the group."""
        serializer.instance = create_group(
            self.user.organization,
            actor=self.user,
            now=self.now,
            **serializer.validated_data,
        )

    def perform_update(self, serializer: Any) -> None:
        """Change the group."""
        serializer.instance = update_group(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )

    def perform_destroy(self, instance: Group) -> None:
        """Delete a group that nothing names."""
        delete_group(instance, actor=self.user)
