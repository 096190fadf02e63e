"""`out-of-office/`: who is away when and who is told instead; everybody's own, all of them for group admins."""

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import Entitlement
from accounts.models import Group, User
from accounts.permissions import may
from escalation.api.shifts import number_parameter
from escalation.services.absences import create_absence, delete_absence, may_edit_absences, update_absence
from escalation.shift_models import OutOfOffice
from heartbeat_project.kernel.api import OwnedRelatedField, Strict


class EditsAbsence(BasePermission):
    """Changing an entry is for the person, and for who updates all groups."""

    message = "You can change when you are out of office yourself; for others it takes the right to update all groups."
    code = "forbidden"

    def has_object_permission(self, request: Request, view: Any, obj: OutOfOffice) -> bool:  # noqa: ARG002 - DRF's protocol
        """Refuse changes to the entry of somebody else."""
        if request.method in SAFE_METHODS:
            return True
        return isinstance(request.user, User) and may_edit_absences(request.user, obj.user)


class OutOfOfficeSerializer(Strict):
    """A time in which the cover is told instead of the user."""

    id = serializers.IntegerField(read_only=True)
    user = OwnedRelatedField(queryset=User.objects.all(), required=False, help_text="You, if left out.")
    cover = OwnedRelatedField(queryset=User.objects.all(), help_text="Who is told instead.")
    group = OwnedRelatedField(
        queryset=Group.objects.all(), required=False, allow_null=True, help_text="Null: in all groups."
    )
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(help_text="Not included.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse to make it somebody else's."""
        if self.instance is not None and attrs.pop("user", self.instance.user) != self.instance.user:
            raise serializers.ValidationError({"user": ["This cannot be changed."]}, code="fixed")
        return attrs


@extend_schema_view(
    list=extend_schema(parameters=[OpenApiParameter("user", int, description="Only those of this user.")]),
)
class OutOfOfficeViewSet(WarningViewSet):
    """Out of office: entries of one person may not overlap, and covers may not lead back."""

    queryset = OutOfOffice.objects.select_related("user", "cover")
    serializer_class = OutOfOfficeSerializer
    permission_classes = [entitled(), EditsAbsence]
    organization_path = "user__organization"

    def get_queryset(self) -> QuerySet[OutOfOffice]:
        """Return one's own entries and those one covers; all of them for who sees all groups."""
        entries: QuerySet[OutOfOffice] = super().get_queryset()
        if self.nobody_asks:
            return entries
        if not may(self.user, Entitlement.GROUPS_VIEW_ALL) and not may(self.user, Entitlement.GROUPS_UPDATE_ALL):
            entries = entries.filter(Q(user=self.user) | Q(cover=self.user))
        wanted = number_parameter(self.request, "user") if self.action == "list" else None
        return entries if wanted is None else entries.filter(user_id=wanted)

    def at_stake(self, serializer: Any) -> list[Any]:
        """Whoever names nobody is away themselves."""
        return [self.user, *super().at_stake(serializer)]

    def perform_create(self, serializer: Any) -> None:
        """Write the entry."""
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
