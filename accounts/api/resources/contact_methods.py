"""`contact-methods/`: how people can be reached."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.addresses import MAX_LENGTH
from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.models import ContactMethod, User
from accounts.selectors import visible_contact_methods
from accounts.services import (
    create_contact_method,
    delete_contact_method,
    request_code,
    request_test,
    update_contact_method,
    verify_contact_method,
)
from accounts.services.contact_methods import MAX_REPEATS
from accounts.signing import signing_secret
from accounts.windows import DAYS, MAX_WINDOWS, Window
from heartbeat_project.kernel.api import CleanCharField, MinutesField, OwnedRelatedField, Strict
from heartbeat_project.kernel.errors import FieldError


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            "days": {"type": "array", "items": {"type": "string", "enum": list(DAYS)}, "minItems": 1},
            "from": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
            "to": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        },
        "required": ["days", "from", "to"],
        "additionalProperties": False,
    }
)
class WindowField(serializers.DictField):
    """A span of time that begins on some weekdays; `to` not after `from` is on the next day."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the window as it is stored, or fail with what is wrong."""
        given = super().to_internal_value(data)
        unknown = sorted(str(name) for name in given if name not in {"days", "from", "to"})
        if unknown:
            raise serializers.ValidationError({unknown[0]: ["There is no such field."]}, code="unknown_field")
        try:
            return Window.load(given).dump()
        except (ValueError, TypeError) as error:
            raise serializers.ValidationError(str(error)) from error


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
    address = CleanCharField(
        max_length=MAX_LENGTH,
        help_text="An e-mail address, a phone number (`+` and country code), a URL, or a browser's push subscription. "
        "A changed address has to be verified again. What holds a secret is shown in full to its owner alone.",
    )
    position = serializers.IntegerField(min_value=0, max_value=32767, required=False, help_text="Lowest first.")
    enabled = serializers.BooleanField(required=False)
    delay_minutes = MinutesField(
        required=False,
        help_text="Minutes after a step reaches the person until this method is used.",
    )
    repeat_count = serializers.IntegerField(
        min_value=0, max_value=MAX_REPEATS, required=False, help_text="How many more times it is used in one step."
    )
    repeat_gap_minutes = MinutesField(required=False, help_text="Minutes between those times.")
    windows = serializers.ListField(
        child=WindowField(),
        max_length=MAX_WINDOWS,
        required=False,
        help_text="When it is used, in the time zone of its owner; empty: at any time.",
    )
    verified_at = serializers.DateTimeField(read_only=True, allow_null=True)
    tested_at = serializers.DateTimeField(read_only=True, allow_null=True)
    send_error = serializers.CharField(
        read_only=True, help_text="Why the last code or test message could not be sent; empty when it was."
    )
    failing_since = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="Since when its address is refused, as `failing_reason` says; then nobody counts as reached by it.",
    )
    failing_reason = serializers.CharField(read_only=True)
    signing_secret = serializers.SerializerMethodField(
        help_text="Of a verified webhook, for its owner alone: what its messages are signed with (docs/webhooks.md)."
    )

    def get_signing_secret(self, method: ContactMethod) -> str | None:
        """Return the secret to who has proved that the address is theirs."""
        verified = method.kind == ContactMethod.Kind.WEBHOOK and method.verified_at is not None
        return signing_secret(method.address) if verified and self._is_mine(method) else None

    def to_representation(self, instance: Any) -> Any:
        """Show the whole address to its owner, and to others what they may see of it."""
        shown = super().to_representation(instance)
        return shown if self._is_mine(instance) else {**shown, "address": instance.shown}

    def _is_mine(self, method: ContactMethod) -> bool:
        return bool(method.user_id == self.context["request"].user.pk)

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
class ContactMethodViewSet(WarningViewSet):
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
        """Have a new code sent to an address that is not confirmed or fails; at most one a minute is.

        `send_error` says if it could not be.
        """
        request_code(self.get_object(), actor=self.user)
        return Response(status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Have a test message sent; one a minute. What came of it stands in `send_error` some seconds later."""
        request_test(self.get_object(), actor=self.user, now=self.now)
        return Response(status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=CodeSerializer, responses=ContactMethodSerializer)
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Confirm the address with the code that was sent to it; five tries, thirty minutes."""
        given = CodeSerializer(data=request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        method = verify_contact_method(self.get_object(), actor=self.user, now=self.now, **given.validated_data)
        return Response(self.get_serializer(method).data)
