"""`out-of-office/`: who is out of office and who covers.

Users see their own entries, Managers also those of their members, and users who may see all groups all entries.
"""

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import Entitlement
from accounts.models.groups import Group
from accounts.models.users import User
from accounts.permissions import may
from escalation.models.on_call import OutOfOffice
from escalation.oncall.absences import (
    create_absence,
    delete_absence,
    may_edit_absence,
    update_absence,
    visible_absences,
)
from heartbeat_project.kernel.api import Filters, IdFilter, InstantField, OwnedRelatedField, Strict


class EditsAbsence(BasePermission):
    """Allow changes to the person, to Managers of their group, and to users who update all groups."""

    message = (
        "You can change your own entries, and those of members within a group that you manage. To change those of "
        "others you need the right to update all groups."
    )
    code = "forbidden"

    def has_object_permission(self, request: Request, view: Any, obj: OutOfOffice) -> bool:  # noqa: ARG002 - DRF's protocol
        """Refuse changes to other people's entries."""
        if request.method in SAFE_METHODS:
            return True
        return isinstance(request.user, User) and may_edit_absence(request.user, obj.user, group=obj.group)


class OutOfOfficeSerializer(Strict):
    """A time in which a user is out of office and the cover is notified instead."""

    id = serializers.IntegerField(read_only=True)
    user = OwnedRelatedField(queryset=User.objects.all(), required=False, help_text="You, if left out.")
    cover = OwnedRelatedField(queryset=User.objects.all(), help_text="The user who is notified instead.")
    group = OwnedRelatedField(
        queryset=Group.objects.all(), required=False, allow_null=True, help_text="Null: in all groups."
    )
    starts_at = InstantField()
    ends_at = InstantField(help_text="Not included.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse to give the entry to another user."""
        if self.instance is not None and attrs.pop("user", self.instance.user) != self.instance.user:
            raise serializers.ValidationError({"user": ["This cannot be changed."]}, code="fixed")
        return attrs


class OutOfOfficeFilters(Filters):
    """The filters of the list."""

    user = IdFilter(source="user_id", required=False, help_text="Only those of this user.")


class OutOfOfficeViewSet(WarningViewSet):
    """Out-of-office entries. Those of one person may not overlap, and covers may not form a cycle."""

    queryset = OutOfOffice.objects.select_related("user", "cover", "group")
    serializer_class = OutOfOfficeSerializer
    permission_classes = [entitled(), EditsAbsence]
    organization_path = "user__organization"
    filters = OutOfOfficeFilters

    def get_queryset(self) -> QuerySet[OutOfOffice]:
        """Return the entries that the user may see; all of the organization if they may see all groups."""
        entries: QuerySet[OutOfOffice] = super().get_queryset()
        if self.is_schema_generation:
            return entries
        if not may(self.user, Entitlement.GROUPS_VIEW_ALL) and not may(self.user, Entitlement.GROUPS_UPDATE_ALL):
            entries = entries.filter(visible_absences(self.user))
        return entries

    def at_stake(self, serializer: Any) -> list[Any]:
        """Add the caller, whose entry it is if the request names no user."""
        return [self.user, *super().at_stake(serializer)]

    def perform_create(self, serializer: Any) -> None:
        """Create the entry."""
        fields = dict(serializer.validated_data)
        serializer.instance = create_absence(fields.pop("user", self.user), actor=self.user, now=self.now, **fields)

    def perform_update(self, serializer: Any) -> None:
        """Change the entry."""
        serializer.instance = update_absence(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )

    def perform_destroy(self, instance: OutOfOffice) -> None:
        """Delete the entry."""
        delete_absence(instance, actor=self.user)
