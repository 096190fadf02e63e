"""`groups/{group}/contacts/`: the contacts that a group shares, notified whenever the group is notified."""

from functools import cached_property
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.addresses import MAX_LENGTH
from accounts.api.contact_methods import CodeSerializer
from accounts.api.groups import VIEW, WRITE
from accounts.api.permissions import entitled
from accounts.api.viewsets import OrganizationViewSet
from accounts.models.contact_methods import ContactMethod
from accounts.models.groups import Group
from accounts.selectors import may_update_group, visible_groups
from accounts.services.contact_methods import (
    create_contact_method,
    delete_contact_method,
    request_code,
    request_test,
    update_contact_method,
    verify_contact_method,
)
from accounts.signing import signing_secret
from heartbeat_project.kernel.api import CleanCharField, Filters, Strict

PREFIX = "groups/(?P<group>[0-9]{1,18})/contacts"
_IN_GROUP = extend_schema(parameters=[OpenApiParameter("group", OpenApiTypes.INT, OpenApiParameter.PATH)])


class GroupContactSerializer(Strict):
    """A mailbox, chat channel or webhook that a group shares. It is used once its address is verified.

    It only receives: nobody can respond over it, and it never counts as reached.
    """

    changing = frozenset({"tested_at", "send_error", "failing_since", "failing_reason"})

    id = serializers.IntegerField(read_only=True)
    kind = serializers.ChoiceField(
        choices=[(kind.value, kind.label) for kind in ContactMethod.SHARED],
        required=False,
        help_text="The default is an e-mail address. It cannot be changed later.",
    )
    # The type checker takes it for DRF's own `label`, which declared fields never replace.
    label = CleanCharField(max_length=40, help_text="For example Mailbox. A group has each label once.")  # type: ignore[assignment]
    address = CleanCharField(
        max_length=MAX_LENGTH,
        help_text="An e-mail address or a URL. A changed address has to be verified again. A URL is a secret, so it "
        "is returned masked; sending the masked form back changes nothing.",
    )
    enabled = serializers.BooleanField(required=False)
    verified_at = serializers.DateTimeField(read_only=True, allow_null=True)
    tested_at = serializers.DateTimeField(read_only=True, allow_null=True)
    send_error = serializers.CharField(
        read_only=True, help_text="Why the last code or test message could not be sent; empty when it was."
    )
    failing_since = serializers.DateTimeField(
        read_only=True,
        allow_null=True,
        help_text="Since when its address has been refused, for the reason in `failing_reason`.",
    )
    failing_reason = serializers.CharField(read_only=True)
    signing_secret = serializers.SerializerMethodField(
        help_text="The secret that signs the messages to a verified webhook, for users who may change the group."
    )

    def get_signing_secret(self, method: ContactMethod) -> str | None:
        """Return the secret if the address is verified and the user may change the group; otherwise None."""
        verified = method.kind == ContactMethod.Kind.WEBHOOK and method.verified_at is not None
        return signing_secret(method.address) if verified and self.context["may_change"] else None

    def to_representation(self, instance: Any) -> Any:
        """Return the fields with the masked address: a contact belongs to several people, so to no single owner."""
        return {**super().to_representation(instance), "address": instance.masked_address}

    def validate_kind(self, kind: str) -> str:
        """Return the kind. Raises ValidationError if it would change."""
        if self.instance is not None and kind != self.instance.kind:
            raise serializers.ValidationError("This cannot be changed.", code="fixed")
        return kind


@extend_schema_view(
    list=_IN_GROUP,
    create=_IN_GROUP,
    retrieve=_IN_GROUP,
    update=_IN_GROUP,
    partial_update=_IN_GROUP,
    destroy=_IN_GROUP,
)
class GroupContactViewSet(OrganizationViewSet):
    """The contacts of a group. Users who see the group see them; its Managers and users who may update all groups
    change them.
    """

    queryset = ContactMethod.objects.all()
    serializer_class = GroupContactSerializer
    permission_classes = [entitled(read=VIEW, write=WRITE)]
    organization_path = "group__organization"
    filters = Filters
    locked_first = ("group",)
    without_body = frozenset({"send_code", "test"})

    @cached_property
    def group(self) -> Group:
        """Return the group in the URL; one that the user may not see is a 404."""
        return get_object_or_404(visible_groups(self.user), pk=self.kwargs["group"])

    def get_queryset(self) -> QuerySet[ContactMethod]:
        """Return the group's contacts."""
        if self.is_schema_generation:
            return super().get_queryset()
        return self.group.contact_methods.select_related("group")

    def get_serializer_context(self) -> dict[str, Any]:
        """Add `may_change`: whether the user may change the group."""
        may_change = not self.is_schema_generation and may_update_group(self.user, self.group)
        return {**super().get_serializer_context(), "may_change": may_change}

    def perform_create(self, serializer: Any) -> None:
        """Add the contact and send a code to it."""
        serializer.instance = create_contact_method(self.group, actor=self.user, **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change the contact; its kind stays."""
        fields = {name: value for name, value in serializer.validated_data.items() if name != "kind"}
        serializer.instance = update_contact_method(serializer.instance, actor=self.user, **fields)

    def perform_destroy(self, instance: ContactMethod) -> None:
        """Remove the contact."""
        delete_contact_method(instance, actor=self.user)

    @_IN_GROUP
    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"], url_path="send-code")
    def send_code(self, request: Request, **_: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Send a new code to an address that is not verified or is failing; at most one per minute.

        If the code could not be sent, `send_error` says why some seconds later.
        """
        request_code(self.get_object(), actor=self.user)
        return Response(status=status.HTTP_202_ACCEPTED)

    @_IN_GROUP
    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, **_: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Send a test message; at most one per minute. If it fails, `send_error` says why some seconds later."""
        request_test(self.get_object(), actor=self.user, now=self.now)
        return Response(status=status.HTTP_202_ACCEPTED)

    @_IN_GROUP
    @extend_schema(request=CodeSerializer, responses=GroupContactSerializer)
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, **_: Any) -> Response:
        """Verify the address with the code that was sent to it. A code allows five tries within thirty minutes."""
        method = self.get_object()
        serializer = CodeSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        method = verify_contact_method(method, actor=self.user, now=self.now, **serializer.validated_data)
        return Response(self.get_serializer(method).data)
