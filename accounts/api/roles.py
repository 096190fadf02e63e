"""`roles/`: the roles of the organization, each a set of entitlements."""

from typing import Any

from rest_framework import serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import Entitlement
from accounts.models.users import Role
from accounts.services.roles import create_role, delete_role, update_role
from heartbeat_project.kernel.api import BoundedList, CleanCharField, Strict


class PlatformRoleSerializer(Strict):
    """A role. Built-in ones cannot be changed."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=100)
    is_builtin = serializers.BooleanField(source="builtin", read_only=True)
    entitlements = BoundedList(
        child=serializers.ChoiceField(choices=[(code.value, code.value) for code in Entitlement]),
        max_length=len(Entitlement),
    )


class RoleViewSet(WarningViewSet):
    """The roles of the organization. Everybody may read them; users who administer security change custom ones."""

    queryset = Role.objects.all()
    serializer_class = PlatformRoleSerializer
    permission_classes = [entitled(write=Entitlement.SECURITY)]

    def perform_create(self, serializer: Any) -> None:
        """Create a custom role."""
        serializer.instance = create_role(self.user.organization, actor=self.user, **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change a custom role."""
        serializer.instance = update_role(serializer.instance, actor=self.user, **serializer.validated_data)

    def perform_destroy(self, instance: Role) -> None:
        """Delete a custom role that nobody holds."""
        delete_role(instance, actor=self.user)
