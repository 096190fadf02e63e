"""What every resource of the management API shares: tenancy, ids, and one reading of the clock."""

from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import mixins
from rest_framework.viewsets import GenericViewSet

from accounts.models import User
from heartbeat_project.kernel import clock


class InOrganization(GenericViewSet[Any]):
    """A resource whose objects belong to the organization of the user who asks; any other object is a 404.

    `organization_path` leads from the object to its organization. Put DRF's mixins before it, or use
    OrganizationViewSet for all of them. Serializers find the instant of the request as `context["now"]`.
    """

    organization_path: ClassVar[str] = "organization"
    # Longer numbers are beyond every id, and beyond what a column holds.
    lookup_value_regex = "[0-9]{1,18}"
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]

    @cached_property
    def now(self) -> datetime:
        """Return the instant of this request, the same however often it is asked for."""
        return clock.now()

    @property
    def nobody_asks(self) -> bool:
        """Whether the view is only looked at while the OpenAPI document is written."""
        return bool(getattr(self, "swagger_fake_view", False))

    @property
    def user(self) -> User:
        """Return the user who asks; permissions have refused everybody else."""
        assert isinstance(self.request.user, User)  # noqa: S101 - for the type
        return self.request.user

    def get_queryset(self) -> QuerySet[Any]:
        """Return the objects of the user's organization."""
        queryset = super().get_queryset()
        if self.nobody_asks:
            return queryset.none()
        return queryset.filter(**{f"{self.organization_path}_id": self.user.organization_id})

    def get_serializer_context(self) -> dict[str, Any]:
        """Hand the instant of the request to the serializer."""
        return {**super().get_serializer_context(), "now": self.now}


class OrganizationViewSet(
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    InOrganization,
):
    """All of create, read, change, delete and list, in the user's organization.

    Override `perform_create`, `perform_update` and `perform_destroy` to call the service; set
    `serializer.instance` to what it returned.
    """
