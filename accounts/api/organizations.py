"""`organizations/`: the settings of the user's organization, the only one in the list."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import mixins, serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization
from accounts.entitlements import Entitlement
from accounts.models.organizations import MAX_BUNDLE_SECONDS, Organization
from accounts.services.organizations import update_organization
from heartbeat_project.kernel.api import CleanCharField, Strict, WholeNumberField


class OrganizationSerializer(Strict):
    """An organization with its settings."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    time_zone = CleanCharField(max_length=64)
    bundle_seconds = WholeNumberField(
        min_value=0,
        max_value=MAX_BUNDLE_SECONDS,
        required=False,
        help_text=str(Organization._meta.get_field("bundle_seconds").help_text),  # noqa: SLF001 - documented Meta API
    )


class OrganizationSettingsViewSet(
    mixins.RetrieveModelMixin, mixins.UpdateModelMixin, mixins.ListModelMixin, InOrganization
):
    """The settings of the user's organization. Everybody may read them; users who administer security change them."""

    queryset = Organization.objects.all()
    serializer_class = OrganizationSerializer
    permission_classes = [entitled(write=Entitlement.SECURITY)]

    def get_queryset(self) -> QuerySet[Any]:
        """Return the user's organization."""
        organizations = Organization.objects.all()
        return organizations.none() if self.is_schema_generation else organizations.filter(pk=self.user.organization_id)

    def perform_update(self, serializer: Any) -> None:
        """Change the settings."""
        serializer.instance = update_organization(serializer.instance, **serializer.validated_data)
