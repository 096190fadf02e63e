"""`organizations/`: the settings of one's own organization; there is no other."""

from typing import Any

from django.db.models import QuerySet
from rest_framework import mixins, serializers

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization
from accounts.entitlements import Entitlement
from accounts.models import MOST_BUNDLE_SECONDS, Organization
from accounts.services import update_organization
from heartbeat_project.kernel.api import CleanCharField, Strict


class OrganizationSerializer(Strict):
    """An organization; `bundle_seconds` says for how long alerts that hit one person are collected (0: never)."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    time_zone = CleanCharField(max_length=64)
    bundle_seconds = serializers.IntegerField(
        min_value=0,
        max_value=MOST_BUNDLE_SECONDS,
        required=False,
        help_text=str(Organization._meta.get_field("bundle_seconds").help_text),  # noqa: SLF001 - documented Meta API
    )


class OrganizationSettingsViewSet(
    mixins.RetrieveModelMixin, mixins.UpdateModelMixin, mixins.ListModelMixin, InOrganization
):
    """The settings of one's own organization: everybody reads them, who administers security changes them."""

    queryset = Organization.objects.all()
    serializer_class = OrganizationSerializer
    permission_classes = [entitled(write=Entitlement.SECURITY)]

    def get_queryset(self) -> QuerySet[Any]:
        """Return the organization of the user who asks."""
        organizations = Organization.objects.all()
        return organizations.none() if self.nobody_asks else organizations.filter(pk=self.user.organization_id)

    def perform_update(self, serializer: Any) -> None:
        """Change through the service."""
        serializer.instance = update_organization(serializer.instance, **serializer.validated_data)
