"""`contact-methods/`: the contact methods of users."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.addresses import MAX_LENGTH
from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.api.windows import WindowSerializer
from accounts.models.contact_methods import ContactMethod, Priority
from accounts.models.users import User
from accounts.selectors import visible_contact_methods
from accounts.services.contact_methods import (
    MAX_REPEATS,
    create_contact_method,
    delete_contact_method,
    request_code,
    request_test,
    update_contact_method,
    verify_contact_method,
)
from accounts.signing import signing_secret
from accounts.windows import MAX_WINDOWS
from heartbeat_project.kernel.api import (
    CleanCharField,
    Filters,
    IdFilter,
    MinutesField,
    OwnedRelatedField,
    Rows,
    Strict,
    WholeNumberField,
)


class ContactMethodSerializer(Strict):
    """One way to reach one person. It is used once its address is verified."""

    changing = frozenset({"tested_at", "send_error", "failing_since", "failing_reason"})

    id = serializers.IntegerField(read_only=True)
    user = OwnedRelatedField(
        queryset=User.objects.all(),
        required=False,
        help_text="The owner. By default the user who sends the request; users who administer security can choose "
        "another. It cannot be changed later.",
    )
    kind = serializers.ChoiceField(choices=ContactMethod.Kind.choices, required=False)
    # The type checker takes it for DRF's own `label`, which declared fields never replace.
    label = CleanCharField(  # type: ignore[assignment]
        max_length=40,
        help_text="For example Email-Personal. A person has each label once.",
    )
    address = CleanCharField(
        max_length=MAX_LENGTH,
        help_text="An e-mail address, a phone number (`+` and country code), a URL, or a browser's push subscription. "
        "A changed address has to be verified again. Only its owner sees an address with a secret in it in full.",
    )
    position = WholeNumberField(min_value=0, max_value=32767, required=False, help_text="Lowest first.")
    enabled = serializers.BooleanField(required=False)
    delay_minutes = MinutesField(
        required=False,
        help_text="Minutes after a step reaches the person until this method is used.",
    )
    repeat_count = WholeNumberField(
        min_value=0, max_value=MAX_REPEATS, required=False, help_text="How many more times it is used in one step."
    )
    repeat_gap_minutes = MinutesField(required=False, help_text="Minutes between those times.")
    windows = Rows(
        child=WindowSerializer(),
        max_length=MAX_WINDOWS,
        required=False,
        help_text="When it is used, in the time zone of its owner; empty: at any time.",
    )
    from_priority = serializers.ChoiceField(
        choices=Priority.choices,
        required=False,
        allow_null=True,
        help_text="It is used for alerts of this priority and above; `none`, or null, for every alert. Email-Official "
        "is always used for every alert, and a centralized policy asks nobody.",
    )
    critical_outside_windows = serializers.BooleanField(
        required=False, help_text="Whether Critical alerts are sent over it outside its windows, too."
    )
    verified_at = serializers.DateTimeField(read_only=True, allow_null=True)
    tested_at = serializers.DateTimeField(read_only=True, allow_null=True)
    send_error = serializers.CharField(
        read_only=True, help_text="Why the last code or test message could not be sent; empty when it was."
    )
    failing_since = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="Since when its address has been refused, for the reason in `failing_reason`. Until it works again, "
        "nobody counts as reached by it.",
    )
    failing_reason = serializers.CharField(read_only=True)
    signing_secret = serializers.SerializerMethodField(
        help_text="The secret that signs the messages to a verified webhook, for its owner alone. Check the header "
        "Webhook-Signature by Standard Webhooks 1.0 (https://www.standardwebhooks.com/)."
    )

    def get_signing_secret(self, method: ContactMethod) -> str | None:
        """Return the secret if the user owns the method and has proved that the address is theirs; otherwise None."""
        verified = method.kind == ContactMethod.Kind.WEBHOOK and method.verified_at is not None
        return signing_secret(method.address) if verified and self._is_mine(method) else None

    def to_representation(self, instance: Any) -> Any:
        """Return the fields; everybody but the owner gets the masked address."""
        fields = super().to_representation(instance)
        return fields if self._is_mine(instance) else {**fields, "address": instance.masked_address}

    def _is_mine(self, method: ContactMethod) -> bool:
        return bool(method.user_id == self.context["request"].user.pk)

    def validate_from_priority(self, priority: str | None) -> str:
        """Return the priority; null means every alert."""
        return priority or Priority.NONE

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Return the values without owner and kind, which stay. Raises ValidationError if one of them would change."""
        if self.instance is None:
            return attrs
        for field in ("user", "kind"):
            stored = getattr(self.instance, field)
            if attrs.pop(field, stored) != stored:
                raise serializers.ValidationError({field: ["This cannot be changed."]}, code="fixed")
        return attrs


class CodeSerializer(Strict):
    """The six digits that were sent."""

    code = CleanCharField(max_length=20)


class ContactMethodFilters(Filters):
    """The filters of the list."""

    user = IdFilter(source="user_id", required=False, help_text="Only contact methods of this user.")


class ContactMethodViewSet(WarningViewSet):
    """The user's own contact methods, or all of the organization for users who administer security."""

    queryset = ContactMethod.objects.all()
    serializer_class = ContactMethodSerializer
    permission_classes = [entitled()]
    organization_path = "user__organization"
    filters = ContactMethodFilters
    locked_first = ("user",)
    without_body = frozenset({"send_code", "test"})

    def get_queryset(self) -> QuerySet[ContactMethod]:
        """Return the contact methods that the user may see."""
        return super().get_queryset() if self.is_schema_generation else visible_contact_methods(self.user)

    def perform_create(self, serializer: Any) -> None:
        """Add the contact method and send a code to it."""
        fields = dict(serializer.validated_data)
        serializer.instance = create_contact_method(fields.pop("user", self.user), actor=self.user, **fields)

    def perform_update(self, serializer: Any) -> None:
        """Change the contact method."""
        serializer.instance = update_contact_method(serializer.instance, actor=self.user, **serializer.validated_data)

    def perform_destroy(self, instance: ContactMethod) -> None:
        """Remove the contact method. Email-Official cannot be removed."""
        delete_contact_method(instance, actor=self.user)

    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"], url_path="send-code")
    def send_code(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Send a new code to an address that is not verified or is failing; at most one per minute.

        If the code could not be sent, `send_error` says why some seconds later.
        """
        request_code(self.get_object(), actor=self.user)
        return Response(status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Send a test message; at most one per minute. If it fails, `send_error` says why some seconds later."""
        request_test(self.get_object(), actor=self.user, now=self.now)
        return Response(status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=CodeSerializer, responses=ContactMethodSerializer)
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Verify the address with the code that was sent to it. A code allows five tries within thirty minutes."""
        method = self.get_object()
        serializer = CodeSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        method = verify_contact_method(method, actor=self.user, now=self.now, **serializer.validated_data)
        return Response(self.get_serializer(method).data)
