"""`api-keys/`: one's own keys; the key itself is shown once."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import InOrganization
from accounts.models import ApiKey
from accounts.services import create_api_key, revoke_api_key
from heartbeat_project.kernel.api import CleanCharField, Strict


class ApiKeySerializer(Strict):
    """A key by its visible beginning."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=100, help_text="What it is for.")
    prefix = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)


class NewApiKeySerializer(ApiKeySerializer):
    """A key that was just made, with the key itself."""

    key = serializers.CharField(read_only=True, help_text="Shown now and never again.")


class ApiKeyViewSet(
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    InOrganization,
):
    """API keys of the user who asks; a key can do what its user can."""

    queryset = ApiKey.objects.all()
    serializer_class = ApiKeySerializer
    permission_classes = [entitled()]
    organization_path = "user__organization"

    def get_queryset(self) -> QuerySet[ApiKey]:
        """Return the user's own keys."""
        keys = super().get_queryset()
        return keys if self.nobody_asks else keys.filter(user=self.user).select_related("user")

    @extend_schema(request=ApiKeySerializer, responses={201: NewApiKeySerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Make a key and show it this once."""
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        row, secret = create_api_key(self.user, now=self.now, **given.validated_data)
        shown = {**self.get_serializer(row).data, "key": secret}
        return Response(shown, status=status.HTTP_201_CREATED)

    def perform_destroy(self, instance: ApiKey) -> None:
        """Revoke the key; the row stays."""
        revoke_api_key(instance, actor=self.user, now=self.now)
