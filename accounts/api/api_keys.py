"""`api-keys/`: the API keys of the user; the key itself is returned once, when it is created."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization
from accounts.models.access import ApiKey
from accounts.services.api_keys import create_api_key, revoke_api_key
from heartbeat_project.kernel.api import CleanCharField, Strict


class ApiKeySerializer(Strict):
    """An API key, identified by its name and its first characters."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=100, help_text="What the key is for.")
    prefix = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)


class NewApiKeySerializer(ApiKeySerializer):
    """A new API key, with the key itself."""

    key = serializers.CharField(read_only=True, help_text="Returned only now. It is not stored.")


class ApiKeyViewSet(
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    InOrganization,
):
    """The API keys of the user who sends the request. A key has all rights of its user."""

    queryset = ApiKey.objects.all()
    serializer_class = ApiKeySerializer
    permission_classes = [entitled()]
    organization_path = "user__organization"
    etag_columns = ("name", "revoked_at")

    def get_queryset(self) -> QuerySet[ApiKey]:
        """Return the user's own keys."""
        keys = super().get_queryset()
        return keys if self.is_schema_generation else keys.filter(user=self.user).select_related("user")

    @extend_schema(request=ApiKeySerializer, responses={201: NewApiKeySerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Create an API key. The response is the only one that contains it."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        row, secret = create_api_key(self.user, now=self.now, **serializer.validated_data)
        return Response({**self.get_serializer(row).data, "key": secret}, status=status.HTTP_201_CREATED)

    def perform_destroy(self, instance: ApiKey) -> None:
        """Revoke the key; the row stays."""
        revoke_api_key(instance, actor=self.user, now=self.now)
