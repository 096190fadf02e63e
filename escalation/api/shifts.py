"""`shifts/`: who of a group is on call; for users who may see the group, changed by its Managers and group admins."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.api.permissions import holds
from accounts.api.viewsets import WarningViewSet
from accounts.api.windows import WindowSerializer
from accounts.entitlements import Entitlement
from accounts.models.groups import Group, GroupMember, GroupRole
from accounts.models.users import User
from accounts.permissions import may
from accounts.selectors import may_update_group, visible_groups
from escalation.models.on_call import SHIFT_ROLES, Shift, ShiftWindow, Weekday
from escalation.oncall.selectors import OnCallStatus, on_call_status_of
from escalation.oncall.shifts import (
    MAX_PEOPLE,
    MAX_TURNS,
    MAX_WINDOWS,
    PersonRule,
    WindowRule,
    create_shift,
    delete_shift,
    update_shift,
)
from heartbeat_project.kernel.api import (
    CleanCharField,
    IdFilter,
    InstantField,
    NameFilter,
    OwnedRelatedField,
    Rows,
    Strict,
    WholeNumberField,
)
from heartbeat_project.kernel.ids import MAX_ID


class NamedSerializer(serializers.Serializer[Any]):
    """An object by id and name."""

    id = serializers.IntegerField()
    name = serializers.CharField()


GROUP_VIEWERS = (
    Entitlement.GROUPS_VIEW_ALL,
    Entitlement.GROUPS_VIEW_OWN,
    Entitlement.GROUPS_UPDATE_ALL,
    Entitlement.GROUPS_UPDATE_OWN,
)


@extend_schema_field({"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}(:[0-9]{2})?$", "example": "09:00"})
class ClockField(serializers.TimeField):
    """A time of day without a time zone, which JSON Schema's own format for times requires."""


def managed_groups(user: User) -> QuerySet[Group]:
    """Return the groups whose shifts the user may change."""
    groups = Group.objects.filter(organization_id=user.organization_id)
    if may(user, Entitlement.GROUPS_UPDATE_ALL):
        return groups
    if may(user, Entitlement.GROUPS_UPDATE_OWN):
        return groups.filter(pk__in=GroupMember.objects.filter(user=user, role=GroupRole.MANAGER).values("group"))
    return groups.none()


class ManagesGroup(BasePermission):
    """Allow reading with the right to see groups, changes to Managers of the group and users who update all groups."""

    message = "Only Managers of the group and users who may update all groups can change its shifts."
    code = "forbidden"

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002 - DRF's protocol
        """Refuse users who can neither read nor change any shift."""
        if request.method in SAFE_METHODS:
            return holds(request.user, GROUP_VIEWERS)
        return isinstance(request.user, User) and managed_groups(request.user).exists()

    def has_object_permission(self, request: Request, view: Any, obj: Shift) -> bool:  # noqa: ARG002 - DRF's protocol
        """Refuse changes to the shifts of other people's groups."""
        if request.method in SAFE_METHODS:
            return True
        return isinstance(request.user, User) and may_update_group(request.user, obj.group)


class ShiftWindowSerializer(WindowSerializer):
    """The same time on some weekdays, in the shift's time zone."""

    def to_representation(self, instance: ShiftWindow) -> dict[str, Any]:
        """Return the window as a request has it."""
        return instance.weekly.dump()


class PersonSerializer(Strict):
    """One person in a group role; the order of the list is the order of the turns."""

    user = WholeNumberField(source="user_id", min_value=1, max_value=MAX_ID)
    role = serializers.ChoiceField(choices=SHIFT_ROLES, default=GroupRole.PRIMARY)


class OnCallChangeSerializer(serializers.Serializer[Any]):
    """Who is on call in the group before and after a change: covers instead of people who are out, no Managers."""

    before = NamedSerializer(many=True)
    after = NamedSerializer(many=True, help_text="From this moment on.")
    until = serializers.DateTimeField(allow_null=True, help_text="Null: no change is planned.")
    next = NamedSerializer(many=True, help_text="The people who are on call from then on.")


class ShiftSerializer(Strict):
    """A shift; people and windows in a request replace all earlier ones."""

    changing = frozenset({"calendar_read_at", "calendar_error", "on_call"})

    id = serializers.IntegerField(read_only=True)
    group = OwnedRelatedField(queryset=Group.objects.all())
    name = CleanCharField(max_length=200)
    kind = serializers.ChoiceField(choices=Shift.Kind.choices, required=False)
    time_zone = CleanCharField(
        max_length=64, required=False, help_text="For example Europe/Berlin; the organization's if left out."
    )
    starts_at = InstantField(required=False, allow_null=True, help_text="Null: it has no beginning.")
    ends_at = InstantField(required=False, allow_null=True, help_text="Not included. Null: it has no end.")
    windows = Rows(
        child=ShiftWindowSerializer(), required=False, max_length=MAX_WINDOWS, help_text="None: around the clock."
    )
    people = Rows(child=PersonSerializer(), required=False, max_length=MAX_PEOPLE)
    rotates_every = serializers.ChoiceField(choices=Shift.Every.choices, required=False)
    rotates_count = WholeNumberField(min_value=1, max_value=MAX_TURNS, required=False)
    first_handoff_on = serializers.DateField(
        required=False, allow_null=True, help_text="Rotating: the first turn begins on this day."
    )
    handoff_time = ClockField(required=False, help_text="In the shift's time zone.")
    handoff_weekday = serializers.SerializerMethodField(help_text="Of weekly hand-offs: that of `first_handoff_on`.")
    people_at_once = WholeNumberField(min_value=1, max_value=MAX_PEOPLE, required=False)
    calendar_url = CleanCharField(
        max_length=1000,
        required=False,
        allow_blank=True,
        allow_null=True,
        help_text="Calendar shifts: the address that is read. Null for users who cannot change the shift.",
    )
    is_override = serializers.BooleanField(
        required=False, help_text="It wins over every ordinary shift, whatever their lengths."
    )
    calendar_read_at = serializers.DateTimeField(read_only=True, allow_null=True)
    calendar_error = serializers.CharField(
        read_only=True, help_text="Why the last try failed, or what of the calendar could not be read or matched."
    )
    on_call = serializers.SerializerMethodField(
        help_text="In the answer to a change: who is on call in the group before and after it. Otherwise null."
    )

    @extend_schema_field(OnCallChangeSerializer(allow_null=True))
    def get_on_call(self, shift: Shift) -> dict[str, Any] | None:
        """Return who is on call before and after the change of this request."""
        return getattr(shift, "on_call", None)

    def get_handoff_weekday(self, shift: Shift) -> str | None:
        """Return the weekday of the first hand-off."""
        first = shift.first_handoff_on
        return str(Weekday.values[first.weekday()]) if first else None

    def validate_calendar_url(self, url: str | None) -> str:
        """Return the address; "" for null."""
        return url or ""

    def validate_windows(self, windows: list[dict[str, Any]]) -> list[WindowRule]:
        """Return the windows as the service takes them."""
        return [WindowRule(**window) for window in windows]

    def validate_people(self, people: list[dict[str, Any]]) -> list[PersonRule]:
        """Return the people as the service takes them."""
        return [PersonRule(user=person["user_id"], role=person["role"]) for person in people]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse to give a shift to another group."""
        if self.instance is not None and attrs.pop("group", self.instance.group) != self.instance.group:
            raise serializers.ValidationError({"group": ["This cannot be changed."]}, code="fixed")
        return attrs

    def to_representation(self, instance: Shift) -> dict[str, Any]:
        """Return the shift; without its calendar's address, often a secret, for users who cannot change it."""
        fields = super().to_representation(instance)
        if not holds(self.context["request"].user, Entitlement.GROUPS_UPDATE_ALL) and (
            not instance.calendar_url or not may_update_group(self.context["request"].user, instance.group)
        ):
            fields["calendar_url"] = None
        return fields


def _person(user: User) -> dict[str, Any]:
    return {"id": user.pk, "name": str(user)}


class ShiftFilters(NameFilter):
    """The filters of the list."""

    group = IdFilter(source="group_id", required=False, help_text="Only those of this group.")


class ShiftViewSet(WarningViewSet):
    """Shifts: fixed, rotating, or read from a calendar. If they overlap, the shorter one wins."""

    queryset = Shift.objects.select_related("group").prefetch_related("windows", "people")
    serializer_class = ShiftSerializer
    permission_classes = [ManagesGroup]
    organization_path = "group__organization"
    filters = ShiftFilters

    def get_queryset(self) -> QuerySet[Shift]:
        """Return the shifts of the groups that the user may see."""
        shifts: QuerySet[Shift] = super().get_queryset()
        if self.is_schema_generation:
            return shifts
        return shifts.filter(group__in=visible_groups(self.user))

    def perform_create(self, serializer: Any) -> None:
        """Create the shift."""
        fields = dict(serializer.validated_data)
        group = fields.pop("group")
        before = on_call_status_of(group, at=self.now)
        serializer.instance = create_shift(group, actor=self.user, now=self.now, **fields)
        self._show_change(serializer.instance, before)

    def perform_update(self, serializer: Any) -> None:
        """Change the shift."""
        before = on_call_status_of(serializer.instance.group, at=self.now)
        serializer.instance = update_shift(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )
        self._show_change(serializer.instance, before)

    def _show_change(self, shift: Any, before: OnCallStatus) -> None:
        after = on_call_status_of(shift.group, at=self.now)
        shift.on_call = {
            "before": [_person(user) for user in before.notified],
            "after": [_person(user) for user in after.notified],
            "until": after.until,
            "next": [_person(user) for user in after.notified_next],
        }

    def perform_destroy(self, instance: Shift) -> None:
        """Delete the shift; the shift below it resumes."""
        delete_shift(instance, actor=self.user)
