"""`contact-methods/`: how people can be reached."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import OrganizationViewSet
from accounts.models import ContactMethod, User
from accounts.selectors import visible_contact_methods
from accounts.services import (
    create_contact_method,
    delete_contact_method,
    request_code,
    update_contact_method,
    verify_contact_method,
)
from heartbeat_project.kernel.api import CleanCharField, MinutesField, OwnedRelatedField, Strict
from heartbeat_project.kernel.errors import FieldError


class ContactMethodSerializer(Strict):
    """One way to reach one person; used once its address is verified."""

    id = serializers.IntegerField(read_only=True)
    user = OwnedRelatedField(
        queryset=User.objects.all(),
        required=False,
        help_text="Whose it is; the user who asks, unless who administers security names another. It never changes.",
    )
    kind = serializers.ChoiceField(choices=ContactMethod.Kind.choices, required=False)
    # The type checker takes it for DRF's own `label`, which declared fields never replace.
    label = CleanCharField(  # type: ignore[assignment]
        max_length=40,
        help_text="For example Email-Personal; once for each person.",
    )
    address = CleanCharField(max_length=320, help_text="A changed address has to be verified again.")
    position = serializers.IntegerField(min_value=0, max_value=32767, required=False, help_text="Lowest first.")
    enabled = serializers.BooleanField(required=False)
    delay_minutes = MinutesField(
        required=False,
        help_text="Minutes after a step reaches the person until this method is used.",
    )
    verified_at = serializers.DateTimeField(read_only=True, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse to give a contact method to somebody else, or to make it another kind."""
        for field in ("user", "kind"):
            if self.instance is not None and attrs.pop(field, value := getattr(self.instance, field)) != value:
                raise serializers.ValidationError({field: ["This cannot be changed."]}, code="fixed")
        return attrs


class CodeSerializer(Strict):
    """The six digits that were sent."""

    code = CleanCharField(max_length=20)


@extend_schema_view(
    list=extend_schema(parameters=[OpenApiParameter("user", int, description="Only those of this user.")]),
)
class ContactMethodViewSet(OrganizationViewSet):
    """Contact methods: one's own, or all of the organization for who administers security."""

    queryset = ContactMethod.objects.all()
    serializer_class = ContactMethodSerializer
    permission_classes = [entitled()]
    organization_path = "user__organization"

    def get_queryset(self) -> QuerySet[ContactMethod]:
        """Return those the user may see, narrowed by `?user=` in the list."""
        if self.nobody_asks:
            return super().get_queryset()
        methods = visible_contact_methods(self.user)
        wanted = self.request.query_params.get("user") if self.action == "list" else None
        if wanted is None:
            return methods
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 18):
            raise FieldError("user", "Give the id of a user.")
        return methods.filter(user_id=int(wanted))

    def perform_create(self, serializer: Any) -> None:
        """Add it and send it a code."""
        fields = dict(serializer.validated_data)
        serializer.instance = create_contact_method(fields.pop("user", self.user), actor=self.user, **fields)

    def perform_update(self, serializer: Any) -> None:
        """Change it."""
        serializer.instance = update_contact_method(serializer.instance, actor=self.user, **serializer.validated_data)

    def perform_destroy(self, instance: ContactMethod) -> None:
        """Remove it; Email-Official stays."""
        delete_contact_method(instance, actor=self.user)

    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"], url_path="send-code")
    def send_code(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Have a new code sent to the address; at most one a minute is."""
        request_code(self.get_object(), actor=self.user)
        return Response(status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=CodeSerializer, responses=ContactMethodSerializer)
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Confirm the address with the code that was sent to it; five tries, thirty minutes."""
        given = CodeSerializer(data=request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        method = verify_contact_method(self.get_object(), actor=self.user, now=self.now, **given.validated_data)
        return Response(self.get_serializer(method).data)
