"""What every resource of the management API shares: tenancy, ids, and one reading of the clock."""

from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from rest_framework import mixins, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from accounts.models import User
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.consequences import Consequence, consequences


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


class WarningViewSet(OrganizationViewSet):
    """A resource whose changes can leave heartbeats without anybody to notify: its answers say so in `warnings`.

    A deletion that has warnings answers 200 with them, and 204 as ever without.
    """

    warns: ClassVar[bool] = True

    def at_stake(self, serializer: Any) -> list[Any]:
        """Return the rows that a change concerns: the one that changes, and those that are named in what is given."""
        given = serializer.validated_data.values()
        named = [value for one in given for value in (one if isinstance(one, list) else [one])]
        changed = [] if serializer.instance is None else [serializer.instance]
        return [*changed, *(value for value in named if isinstance(value, Model))]

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Create through `perform_create`."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with consequences(self.at_stake(serializer), actor=self.user, now=self.now) as found:
            self.perform_create(serializer)
        return Response({**serializer.data, **warnings_of(found)}, status=status.HTTP_201_CREATED)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Change through `perform_update`."""
        instance = self.get_object()
        serializer = self.get_serializer(instance, data=request.data, partial=kwargs.pop("partial", False))
        serializer.is_valid(raise_exception=True)
        with consequences(self.at_stake(serializer), actor=self.user, now=self.now) as found:
            self.perform_update(serializer)
        if getattr(instance, "_prefetched_objects_cache", None):
            instance._prefetched_objects_cache = {}  # noqa: SLF001 - as DRF does
        return Response({**serializer.data, **warnings_of(found)})

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Delete through `perform_destroy`."""
        instance = self.get_object()
        with consequences([instance], actor=self.user, now=self.now) as found:
            self.perform_destroy(instance)
        return answer_of(found)


def warnings_of(found: list[Consequence]) -> dict[str, Any]:
    """Return the field that tells what a change brought."""
    return {"warnings": [{"code": one.code, "detail": one.detail} for one in found]}


def answer_of(found: list[Consequence]) -> Response:
    """Return the answer to a change that has nothing else to show."""
    return Response(warnings_of(found)) if found else Response(status=status.HTTP_204_NO_CONTENT)
