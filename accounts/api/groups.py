"""`groups/`: teams and their members."""

from typing import Any, Final

from django.db.models import Prefetch, QuerySet
from rest_framework import serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import Entitlement
from accounts.models.groups import Group, GroupRole
from accounts.selectors import nameable_groups, visible_groups
from accounts.services.groups import MAX_MEMBERS, Member, create_group, delete_group, update_group
from heartbeat_project.kernel.api import (
    CleanCharField,
    OwnedRelatedField,
    Rows,
    Strict,
    WholeNumberField,
    in_saved_order,
)
from heartbeat_project.kernel.hidden_fields import HidesFields
from heartbeat_project.kernel.ids import MAX_ID

VIEW = (
    Entitlement.GROUPS_VIEW_ALL,
    Entitlement.GROUPS_VIEW_OWN,
    Entitlement.GROUPS_UPDATE_ALL,
    Entitlement.GROUPS_UPDATE_OWN,
)
# Actions that show users who may send alerts the names of all groups.
_NAMING: Final = frozenset({"list", "retrieve"})
WRITE = (Entitlement.GROUPS_ADD, Entitlement.GROUPS_UPDATE_ALL, Entitlement.GROUPS_UPDATE_OWN)


_GROUPS = Prefetch("groups", queryset=in_saved_order(Group.objects.all(), Group.groups.through))


class MemberSerializer(Strict):
    """One user in one group role."""

    user = WholeNumberField(source="user_id", min_value=1, max_value=MAX_ID)
    role = serializers.ChoiceField(choices=GroupRole.choices, default=GroupRole.PRIMARY)
    position = WholeNumberField(
        min_value=0,
        max_value=32767,
        required=False,
        help_text="Order within the role, lowest first. Without it, the order of the list is used.",
    )


class GroupSerializer(HidesFields, Strict):
    """A group. A change with `members` replaces all members, one with `groups` all groups within it.

    Everything but the name is null for users who see it only because they may send alerts to it.
    """

    for_everybody = frozenset({"id", "name"})

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    description = CleanCharField(max_length=10_000, required=False, allow_blank=True)
    members = Rows(child=MemberSerializer(), required=False, max_length=MAX_MEMBERS)
    groups = OwnedRelatedField(
        queryset=Group.objects.all(),
        many=True,
        required=False,
        help_text="Groups whose members belong to this group, too, in the same roles. Circles are refused.",
    )
    created_at = serializers.DateTimeField(read_only=True)

    def shows_all(self, instance: Group) -> bool:
        """Answer whether the user may see the group, and not only its name."""
        return bool(getattr(instance, "is_open", True))

    def validate_members(self, members: list[dict[str, Any]]) -> list[Member]:
        """Return the members as values for the service."""
        return [
            Member(user=member["user_id"], role=member["role"], position=member.get("position")) for member in members
        ]


class GroupViewSet(WarningViewSet):
    """All groups of the organization or the user's own, by entitlement. The Manager of a group may change it."""

    queryset = Group.objects.all()
    serializer_class = GroupSerializer
    permission_classes = [entitled(read=VIEW, write=WRITE)]

    def get_permissions(self) -> list[Any]:
        """Return the permissions; Managers change their own group, but do not create groups.

        Users who may send alerts read the names.
        """
        if self.action == "create":
            return [entitled(write=Entitlement.GROUPS_ADD)()]
        if self.action in _NAMING:
            return [entitled(read=(*VIEW, Entitlement.ALERTS_SEND))()]
        return list(super().get_permissions())

    def get_queryset(self) -> QuerySet[Group]:
        """Return the groups that the user may see, with their members."""
        if self.is_schema_generation:
            return super().get_queryset()
        groups = nameable_groups(self.user) if self.action in _NAMING else visible_groups(self.user)
        return groups.prefetch_related("members", _GROUPS)

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
        """Delete a group that is not used anywhere."""
        delete_group(instance, actor=self.user)
