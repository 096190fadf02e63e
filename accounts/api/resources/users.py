"""`users/`: who there is, for all of the organization; who may do what, for who administers security."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import BuiltinRole, Entitlement
from accounts.models import Role, User
from accounts.permissions import entitlements_of, may
from accounts.services import create_user, deactivate_user, transfer_ownership, update_profile, update_user
from heartbeat_project.kernel.api import CleanCharField, OwnedRelatedField, Strict

_PRIVATE = ("email", "time_zone", "slack_id", "roles")
_SLACK_ID = "Such as U012AB3CD: whose buttons in Slack act for this user; empty: nobody's. Once in an organization."
_SHIFT_NOTICES = "Notified by e-mail, once, when somebody puts them on a shift or makes them a cover."
_IDS: dict[str, Any] = {"queryset": Role.objects.all(), "many": True}


class UserSerializer(serializers.Serializer[User]):
    """A user; what is private is null but for themselves and for who administers security."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(read_only=True)
    email = serializers.EmailField(read_only=True, allow_null=True)
    kind = serializers.ChoiceField(choices=User.Kind.choices, read_only=True)
    time_zone = serializers.CharField(read_only=True, allow_null=True)
    slack_id = serializers.CharField(read_only=True, allow_null=True, help_text=_SLACK_ID)
    roles = serializers.SerializerMethodField()
    is_owner = serializers.BooleanField(read_only=True)
    is_active = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)

    def get_roles(self, user: User) -> list[int] | None:
        """Ids of the user's roles; the Owner's rights come on top of them."""
        return [role.pk for role in user.roles.all()]

    def to_representation(self, instance: User) -> dict[str, Any]:
        """Return what the user who asks may see."""
        shown = super().to_representation(instance)
        asking = self.context["request"].user
        if asking.pk != instance.pk and not may(asking, Entitlement.SECURITY):
            shown.update(dict.fromkeys(_PRIVATE))
        return shown


class MeSerializer(UserSerializer):
    """The user who asks, with all that they are entitled to."""

    shift_notices = serializers.BooleanField(read_only=True, help_text=_SHIFT_NOTICES)
    entitlements = serializers.SerializerMethodField()

    def get_entitlements(self, user: User) -> list[str]:
        """Codes of all that the user may do."""
        return sorted(entitlements_of(user))


class UserInput(Strict):
    """What who administers security can set; a user without roles given becomes Basic."""

    name = CleanCharField(max_length=200)
    email = CleanCharField(max_length=254, help_text="The user signs in with it; unique in the whole installation.")
    kind = serializers.ChoiceField(choices=User.Kind.choices, required=False)
    time_zone = CleanCharField(max_length=64, required=False, help_text="For example Europe/Berlin.")
    slack_id = CleanCharField(max_length=24, required=False, allow_blank=True, help_text=_SLACK_ID)
    roles = OwnedRelatedField(**_IDS, required=False)
    password = CleanCharField(
        max_length=200,
        required=False,
        write_only=True,
        trim_whitespace=False,
        help_text="Without one nobody can sign in as this user until one is set.",
    )
    is_active = serializers.BooleanField(required=False)

    def to_representation(self, instance: User) -> Any:
        """Answer as a read would."""
        return UserSerializer(instance, context=self.context).data


class ProfileInput(Strict):
    """What users can set for themselves."""

    shift_notices = serializers.BooleanField(help_text=_SHIFT_NOTICES)
    name = CleanCharField(max_length=200)
    time_zone = CleanCharField(max_length=64)
    slack_id = CleanCharField(max_length=24, allow_blank=True, help_text=_SLACK_ID)
    password = CleanCharField(max_length=200, write_only=True, trim_whitespace=False)
    current_password = CleanCharField(
        max_length=200,
        write_only=True,
        required=False,
        trim_whitespace=False,
        help_text="Needed for a new password.",
    )


@extend_schema_view(
    create=extend_schema(request=UserInput, responses={201: UserSerializer}),
    update=extend_schema(request=UserInput, responses=UserSerializer),
    partial_update=extend_schema(request=UserInput, responses=UserSerializer),
)
class UserViewSet(WarningViewSet):
    """Users: everybody of the organization can be named; who administers security makes and changes them."""

    queryset = User.objects.prefetch_related("roles")
    permission_classes = [entitled(write=Entitlement.SECURITY)]

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        """Return what is read or what is written."""
        return UserInput if self.action in {"create", "update", "partial_update"} else UserSerializer

    def perform_create(self, serializer: Any) -> None:
        """Create the user with their Email-Official."""
        fields = dict(serializer.validated_data)
        active = fields.pop("is_active", True)
        fields.setdefault("roles", self.user.organization.roles.filter(builtin=BuiltinRole.BASIC))
        serializer.instance = create_user(self.user.organization, now=self.now, is_active=active, **fields)

    def perform_update(self, serializer: Any) -> None:
        """Change the user."""
        serializer.instance = update_user(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )

    def perform_destroy(self, instance: User) -> None:
        """Deactivate the user: sign-in, keys and paging stop, their history stays."""
        deactivate_user(instance, actor=self.user, now=self.now)

    @extend_schema(methods=["get"], responses=MeSerializer)
    @extend_schema(methods=["patch"], request=ProfileInput, responses=MeSerializer)
    @action(detail=False, methods=["get", "patch"], permission_classes=[entitled()], pagination_class=None)
    def me(self, request: Request) -> Response:
        """Show or change the user who asks."""
        user = self.user
        if request.method == "PATCH":
            given = ProfileInput(data=request.data, partial=True, context=self.get_serializer_context())
            given.is_valid(raise_exception=True)
            user = update_profile(user, **given.validated_data)
        return Response(MeSerializer(user, context=self.get_serializer_context()).data)

    @extend_schema(request=None, responses=UserSerializer)
    @action(detail=True, methods=["post"], url_path="transfer-ownership", permission_classes=[entitled()])
    def transfer_ownership(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Make this user the Owner; only the Owner can, and becomes App Admin."""
        heir = transfer_ownership(self.user.organization, to=self.get_object(), actor=self.user, now=self.now)
        return Response(self.get_serializer(heir).data)
