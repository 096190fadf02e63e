"""`users/`: the users of the organization."""

from typing import Any

from django.db.models import Prefetch
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import BuiltinRole, Entitlement
from accounts.held_entitlements import entitlements_of
from accounts.models.chat_members import ChatMember
from accounts.models.users import Role, User
from accounts.permissions import may
from accounts.services.users import create_user, deactivate_user, transfer_ownership, update_profile, update_user
from heartbeat_project.kernel.api import CleanCharField, OwnedRelatedField, Strict, in_saved_order
from heartbeat_project.kernel.hidden_fields import HidesFields

_CHAT_MEMBERS = (
    "The accounts in chats that act for the user. Each was proven: the chat gave a code, which the user entered on "
    "their profile page."
)
_SHIFT_NOTICES = "Whether the user gets an e-mail when somebody puts them on a shift or makes them a cover."
_RECOVERY_NOTICES = (
    "Whether the user is notified, never by a call, when the signal of an alert comes back that they were notified of."
)
_KEEP_API_KEYS = "Whether the user's API keys stay valid after a new password. By default it revokes them."
_ROLES = Prefetch("roles", queryset=in_saved_order(Role.objects.all(), User.roles.through))


class ChatMemberSerializer(serializers.ModelSerializer[ChatMember]):
    """An account in a chat that acts for a user."""

    class Meta:
        model = ChatMember
        fields = ["platform", "member", "name", "linked_at"]
        read_only_fields = fields


class UserSerializer(HidesFields, Strict):
    """A user. A new one without `roles` gets the role Basic.

    E-mail, time zone, chat members and roles are null, except for the user themselves and security administrators.
    """

    for_everybody = frozenset({"id", "name", "kind", "is_owner", "is_active", "created_at"})

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    email = CleanCharField(
        max_length=254, help_text="The address with which the user signs in. Unique in the whole installation."
    )
    kind = serializers.ChoiceField(choices=User.Kind.choices, required=False)
    time_zone = CleanCharField(max_length=64, required=False, help_text="For example Europe/Berlin.")
    chat_members = ChatMemberSerializer(many=True, read_only=True, help_text=_CHAT_MEMBERS)
    roles = OwnedRelatedField(
        queryset=Role.objects.all(),
        many=True,
        required=False,
        help_text="Ids of roles; the Owner has the Owner's rights in addition.",
    )
    is_owner = serializers.BooleanField(read_only=True)
    is_active = serializers.BooleanField(required=False)
    created_at = serializers.DateTimeField(read_only=True)
    password = CleanCharField(
        max_length=200,
        required=False,
        write_only=True,
        trim_whitespace=False,
        help_text="Nobody can sign in as the user until it is set. A new one revokes their API keys.",
    )
    keep_api_keys = serializers.BooleanField(required=False, write_only=True, help_text=_KEEP_API_KEYS)

    def shows_all(self, instance: User) -> bool:
        """Answer whether the reader is the user, or administers security."""
        reader = self.context["request"].user
        return bool(reader.pk == instance.pk) or may(reader, Entitlement.SECURITY)


class MeSerializer(Strict):
    """The user who sends the request, with their preferences and entitlements."""

    id = serializers.IntegerField(read_only=True)
    name = CleanCharField(max_length=200)
    email = serializers.EmailField(read_only=True)
    kind = serializers.ChoiceField(choices=User.Kind.choices, read_only=True)
    time_zone = CleanCharField(max_length=64)
    chat_members = ChatMemberSerializer(many=True, read_only=True, help_text=_CHAT_MEMBERS)
    roles = serializers.SerializerMethodField()
    is_owner = serializers.BooleanField(read_only=True)
    is_active = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    shift_notices = serializers.BooleanField(help_text=_SHIFT_NOTICES)
    recovery_notices = serializers.BooleanField(help_text=_RECOVERY_NOTICES)
    entitlements = serializers.SerializerMethodField()
    password = CleanCharField(max_length=200, write_only=True, required=False, trim_whitespace=False)
    current_password = CleanCharField(
        max_length=200,
        write_only=True,
        required=False,
        trim_whitespace=False,
        help_text="Required for a new password.",
    )
    keep_api_keys = serializers.BooleanField(required=False, write_only=True, help_text=_KEEP_API_KEYS)

    def get_roles(self, user: User) -> list[int]:
        """Return the ids of the user's roles."""
        return [role.pk for role in user.roles.all()]

    def get_entitlements(self, user: User) -> list[str]:
        """Return the codes of the user's entitlements."""
        return sorted(entitlements_of(user))


class UserViewSet(WarningViewSet):
    """The users of the organization. Everybody may list them; users who administer security add and change them."""

    queryset = User.objects.prefetch_related(_ROLES, "chat_members")
    permission_classes = [entitled(write=Entitlement.SECURITY)]
    etag_actions = frozenset({"me"})
    without_body = frozenset({"transfer_ownership"})

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        """Return the serializer of users, or that of one's own profile."""
        return MeSerializer if self.action == "me" else UserSerializer

    def perform_create(self, serializer: Any) -> None:
        """Create the user with their Email-Official."""
        fields = dict(serializer.validated_data)
        active = fields.pop("is_active", True)
        fields.pop("keep_api_keys", None)  # a new user has no keys
        fields.setdefault("roles", self.user.organization.roles.filter(builtin=BuiltinRole.BASIC))
        serializer.instance = create_user(self.user.organization, now=self.now, is_active=active, **fields)

    def perform_update(self, serializer: Any) -> None:
        """Change the user."""
        serializer.instance = update_user(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )

    def perform_destroy(self, instance: User) -> None:
        """Deactivate the user: they cannot sign in or use API keys and are not paged; their history stays."""
        deactivate_user(instance, actor=self.user, now=self.now)

    @extend_schema(methods=["get"], responses=MeSerializer)
    @extend_schema(methods=["patch"], request=MeSerializer, responses=MeSerializer)
    @action(detail=False, methods=["get", "patch"], permission_classes=[entitled()], pagination_class=None)
    def me(self, request: Request) -> Response:
        """Return or change the user who sends the request."""
        user = self.user
        if request.method == "PATCH":
            user = self.guarded(user, again=lambda: User.objects.get(pk=user.pk))
            serializer = self.get_serializer(user, data=request.data, partial=True)
            serializer.is_valid(raise_exception=True)
            user = update_profile(user, now=self.now, **serializer.validated_data)
        return Response(self.get_serializer(user).data)

    @extend_schema(request=None, responses=UserSerializer)
    @action(detail=True, methods=["post"], url_path="transfer-ownership", permission_classes=[entitled()])
    def transfer_ownership(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Make this user the Owner. Only the Owner may do this, and becomes an App Admin."""
        new_owner = transfer_ownership(self.user.organization, to=self.get_object(), actor=self.user, now=self.now)
        return Response(self.get_serializer(new_owner).data)
