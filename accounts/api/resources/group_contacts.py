"""`groups/{group}/contacts/`: what a group shares, and is told over when the group is told."""

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
from accounts.api.permissions import entitled
from accounts.api.resources.contact_methods import CodeSerializer
from accounts.api.resources.groups import VIEW, WRITE
from accounts.api.viewsets import OrganizationViewSet
from accounts.models import ContactMethod, Group
from accounts.selectors import may_update_group, visible_groups
from accounts.services import (
    create_contact_method,
    delete_contact_method,
    request_code,
    request_test,
    update_contact_method,
    verify_contact_method,
)
from accounts.signing import signing_secret
from heartbeat_project.kernel.api import CleanCharField, Strict

PREFIX = "groups/(?P<group>[0-9]{1,18})/contacts"
_IN_GROUP = extend_schema(parameters=[OpenApiParameter("group", OpenApiTypes.INT, OpenApiParameter.PATH)])


class GroupContactSerializer(Strict):
    """A mailbox, chat channel or webhook that a group shares; used once its address is verified.

    It receives and cannot respond, and it does not count as somebody who was reached.
    """

    id = serializers.IntegerField(read_only=True)
    kind = serializers.ChoiceField(
        choices=[(kind.value, kind.label) for kind in ContactMethod.SHARED],
        required=False,
        help_text="An e-mail address if left out. It never changes.",
    )
    # The type checker takes it for DRF's own `label`, which declared fields never replace.
    label = CleanCharField(max_length=40, help_text="For example Mailbox; once for each group.")  # type: ignore[assignment]
    address = CleanCharField(
        max_length=MAX_LENGTH,
        help_text="An e-mail address or a URL. A changed address has to be verified again. A URL is a secret: only "
        "where it leads is shown, and what is shown may be sent back as it is.",
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
        help_text="Since when its address is refused, as `failing_reason` says; then nobody counts as reached by it.",
    )
    failing_reason = serializers.CharField(read_only=True)
    signing_secret = serializers.SerializerMethodField(
        help_text="Of a verified webhook, for who may change the group: what its messages are signed with."
    )

    def get_signing_secret(self, method: ContactMethod) -> str | None:
        """Return the secret to who may change the group, once the address is verified."""
        verified = method.kind == ContactMethod.Kind.WEBHOOK and method.verified_at is not None
        return signing_secret(method.address) if verified and self.context["may_change"] else None

    def to_representation(self, instance: Any) -> Any:
        """Show the address as it may be seen: several people share what it leads to."""
        return {**super().to_representation(instance), "address": instance.shown}

    def validate_kind(self, kind: str) -> str:
        """Refuse to make a contact another kind."""
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
    """What a group shares: seen by who sees the group, changed by its Managers and who may update all groups."""

    queryset = ContactMethod.objects.all()
    serializer_class = GroupContactSerializer
    permission_classes = [entitled(read=VIEW, write=WRITE)]
    organization_path = "group__organization"

    @cached_property
    def group(self) -> Group:
        """Return the group of the address; one that the user may not see is a 404."""
        return get_object_or_404(visible_groups(self.user), pk=self.kwargs["group"])

    def get_queryset(self) -> QuerySet[ContactMethod]:
        """Return the group's contacts."""
        if self.nobody_asks:
            return super().get_queryset()
        return self.group.contact_methods.select_related("group")

    def get_serializer_context(self) -> dict[str, Any]:
        """Say whether the user may change the group."""
        may_change = not self.nobody_asks and may_update_group(self.user, self.group)
        return {**super().get_serializer_context(), "may_change": may_change}

    def perform_create(self, serializer: Any) -> None:
        """Add it and send it a code."""
        serializer.instance = create_contact_method(self.group, actor=self.user, **serializer.validated_data)

    def perform_update(self, serializer: Any) -> None:
        """Change it."""
        fields = {name: value for name, value in serializer.validated_data.items() if name != "kind"}
        serializer.instance = update_contact_method(serializer.instance, actor=self.user, **fields)

    def perform_destroy(self, instance: ContactMethod) -> None:
        """Remove it."""
        delete_contact_method(instance, actor=self.user)

    @_IN_GROUP
    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"], url_path="send-code")
    def send_code(self, request: Request, **_: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Have a new code sent to an address that is not confirmed or fails; at most one a minute is.

        `send_error` says if it could not be.
        """
        request_code(self.get_object(), actor=self.user)
        return Response(status=status.HTTP_202_ACCEPTED)

    @_IN_GROUP
    @extend_schema(request=None, responses={202: None})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, **_: Any) -> Response:  # noqa: ARG002 - DRF's signature
        """Have a test message sent; one a minute. What came of it stands in `send_error` some seconds later."""
        request_test(self.get_object(), actor=self.user, now=self.now)
        return Response(status=status.HTTP_202_ACCEPTED)

    @_IN_GROUP
    @extend_schema(request=CodeSerializer, responses=GroupContactSerializer)
    @action(detail=True, methods=["post"])
    def verify(self, request: Request, **_: Any) -> Response:
        """Confirm the address with the code that was sent to it; five tries, thirty minutes."""
        given = CodeSerializer(data=request.data, context=self.get_serializer_context())
        given.is_valid(raise_exception=True)
        method = verify_contact_method(self.get_object(), actor=self.user, now=self.now, **given.validated_data)
        return Response(self.get_serializer(method).data)
