"""`shifts/`: who of a group is on call when, for who may see the group; changed by its Managers and group admins."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.api.permissions import holds
from accounts.api.viewsets import WarningViewSet
from accounts.entitlements import Entitlement
from accounts.models import Group, GroupMember, GroupRole, User
from accounts.permissions import may
from accounts.selectors import may_update_group, visible_groups
from escalation.api.on_call import NamedSerializer
from escalation.on_call import Standing, standing_of
from escalation.services.shifts import (
    MOST_PEOPLE,
    MOST_TURNS,
    MOST_WINDOWS,
    PersonRule,
    WindowRule,
    create_shift,
    delete_shift,
    update_shift,
)
from escalation.shift_models import SHIFT_ROLES, Shift, Weekday
from heartbeat_project.kernel.api import CleanCharField, OwnedRelatedField, Rows, Strict
from heartbeat_project.kernel.errors import FieldError

GROUP_VIEWERS = (
    Entitlement.GROUPS_VIEW_ALL,
    Entitlement.GROUPS_VIEW_OWN,
    Entitlement.GROUPS_UPDATE_ALL,
    Entitlement.GROUPS_UPDATE_OWN,
)


@extend_schema_field({"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}(:[0-9]{2})?$", "example": "09:00"})
class ClockField(serializers.TimeField):
    """A time as clocks on the wall show it; JSON Schema's own format for times wants a zone with it."""


def managed_groups(user: User) -> QuerySet[Group]:
    """Return the groups whose shifts the user may change."""
    groups = Group.objects.filter(organization_id=user.organization_id)
    if may(user, Entitlement.GROUPS_UPDATE_ALL):
        return groups
    if may(user, Entitlement.GROUPS_UPDATE_OWN):
        return groups.filter(pk__in=GroupMember.objects.filter(user=user, role=GroupRole.MANAGER).values("group"))
    return groups.none()


class ManagesGroup(BasePermission):
    """Looking takes the right to see groups; changing takes being a Manager of the group, or updating all groups."""

    message = "Only a Manager of the group, or who may update all groups, can change its shifts."
    code = "forbidden"

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002 - DRF's protocol
        """Refuse who can neither look nor change anything."""
        if request.method in SAFE_METHODS:
            return holds(request.user, GROUP_VIEWERS)
        return isinstance(request.user, User) and managed_groups(request.user).exists()

    def has_object_permission(self, request: Request, view: Any, obj: Shift) -> bool:  # noqa: ARG002 - DRF's protocol
        """Refuse changes to the shift of a group that is somebody else's."""
        if request.method in SAFE_METHODS:
            return True
        return isinstance(request.user, User) and may_update_group(request.user, obj.group)


class WindowSerializer(Strict):
    """The same time on some weekdays."""

    days = serializers.ListField(
        child=serializers.ChoiceField(choices=Weekday.choices),
        min_length=1,
        max_length=7,
        help_text="On which the window begins.",
    )
    starts = ClockField()
    ends = ClockField(help_text="Not included; not after the start means on the next day.")
    days_later = serializers.IntegerField(
        min_value=0, max_value=7, required=False, help_text="On which day it ends; 3: from a Friday to the Monday."
    )


class PersonSerializer(Strict):
    """One person in a group role; the order of the list is the order of the turns."""

    user = serializers.IntegerField(source="user_id", min_value=1, max_value=2**63 - 1)
    role = serializers.ChoiceField(choices=SHIFT_ROLES, default=GroupRole.PRIMARY)


class OnCallChangeSerializer(serializers.Serializer[Any]):
    """Who is on call in the group, Managers apart and covers instead of who is out, before and after a change."""

    before = NamedSerializer(many=True)
    after = NamedSerializer(many=True, help_text="From this moment on.")
    until = serializers.DateTimeField(allow_null=True, help_text="Null: no change is planned.")
    next = NamedSerializer(many=True, help_text="Who is on call from then on.")


class ShiftSerializer(Strict):
    """A shift; given people and windows replace those that were there."""

    id = serializers.IntegerField(read_only=True)
    group = OwnedRelatedField(queryset=Group.objects.all())
    name = CleanCharField(max_length=200)
    kind = serializers.ChoiceField(choices=Shift.Kind.choices, required=False)
    time_zone = CleanCharField(
        max_length=64, required=False, help_text="For example Europe/Berlin; the organization's if left out."
    )
    starts_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Null: it has always been.")
    ends_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Not included. Null: it goes on.")
    windows = Rows(
        child=WindowSerializer(), required=False, max_length=MOST_WINDOWS, help_text="None: around the clock."
    )
    people = Rows(child=PersonSerializer(), required=False, max_length=MOST_PEOPLE)
    rotates_every = serializers.ChoiceField(choices=Shift.Every.choices, required=False)
    rotates_count = serializers.IntegerField(min_value=1, max_value=MOST_TURNS, required=False)
    first_handoff_on = serializers.DateField(
        required=False, allow_null=True, help_text="Rotating: the first turn begins on this day."
    )
    handoff_time = ClockField(required=False, help_text="In the shift's time zone.")
    handoff_weekday = serializers.SerializerMethodField(help_text="Of weekly hand-offs: that of `first_handoff_on`.")
    people_at_once = serializers.IntegerField(min_value=1, max_value=MOST_PEOPLE, required=False)
    calendar_url = CleanCharField(
        max_length=1000,
        required=False,
        allow_blank=True,
        allow_null=True,
        help_text="Calendar: where it is read from. Null for who cannot change the shift.",
    )
    is_override = serializers.BooleanField(
        required=False, help_text="It wins over every ordinary shift while it lasts, however long."
    )
    calendar_read_at = serializers.DateTimeField(read_only=True, allow_null=True)
    calendar_error = serializers.CharField(read_only=True)
    on_call = serializers.SerializerMethodField(
        help_text="In the answer to a change: who is on call in the group before and after it; else null."
    )

    @extend_schema_field(OnCallChangeSerializer(allow_null=True))
    def get_on_call(self, shift: Shift) -> dict[str, Any] | None:
        """Return what the change that is answered did."""
        return getattr(shift, "on_call", None)

    def get_handoff_weekday(self, shift: Shift) -> str | None:
        """Return the weekday of the first hand-off."""
        first = shift.first_handoff_on
        return str(Weekday.values[first.weekday()]) if first else None

    def validate_calendar_url(self, url: str | None) -> str:
        """Return the address; null means none."""
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
        """Return the shift; a calendar's address is often a secret."""
        shown = super().to_representation(instance)
        if not holds(self.context["request"].user, Entitlement.GROUPS_UPDATE_ALL) and (
            not instance.calendar_url or not may_update_group(self.context["request"].user, instance.group)
        ):
            shown["calendar_url"] = None
        return shown


def _person(user: User) -> dict[str, Any]:
    return {"id": user.pk, "name": str(user)}


def number_parameter(request: Request, name: str) -> int | None:
    """Return the id given as a query parameter. Raises FieldError for what is none."""
    wanted = request.query_params.get(name)
    if wanted is None:
        return None
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 18):
        raise FieldError(name, "Give an id.")
    return int(wanted)


@extend_schema_view(
    list=extend_schema(parameters=[OpenApiParameter("group", int, description="Only those of this group.")]),
)
class ShiftViewSet(WarningViewSet):
    """Shifts: fixed, rotating, or read from a calendar; where they overlap, the shorter one wins."""

    queryset = Shift.objects.select_related("group").prefetch_related("windows", "people")
    serializer_class = ShiftSerializer
    permission_classes = [ManagesGroup]
    organization_path = "group__organization"

    def get_queryset(self) -> QuerySet[Shift]:
        """Return the shifts of the groups that the user may see."""
        shifts: QuerySet[Shift] = super().get_queryset()
        if self.nobody_asks:
            return shifts
        shifts = shifts.filter(group__in=visible_groups(self.user))
        wanted = number_parameter(self.request, "group") if self.action == "list" else None
        return shifts if wanted is None else shifts.filter(group_id=wanted)

    def perform_create(self, serializer: Any) -> None:
        """Create the shift."""
        fields = dict(serializer.validated_data)
        group = fields.pop("group")
        before = standing_of(group, at=self.now)
        serializer.instance = create_shift(group, actor=self.user, now=self.now, **fields)
        self._show_change(serializer.instance, before)

    def perform_update(self, serializer: Any) -> None:
        """Change the shift."""
        before = standing_of(serializer.instance.group, at=self.now)
        serializer.instance = update_shift(
            serializer.instance, actor=self.user, now=self.now, **serializer.validated_data
        )
        self._show_change(serializer.instance, before)

    def _show_change(self, shift: Any, before: Standing) -> None:
        after = standing_of(shift.group, at=self.now)
        shift.on_call = {
            "before": [_person(user) for user in before.notified],
            "after": [_person(user) for user in after.notified],
            "until": after.until,
            "next": [_person(user) for user in after.notified_next],
        }

    def perform_destroy(self, instance: Shift) -> None:
        """Delete the shift; what it lay upon resumes."""
        delete_shift(instance, actor=self.user)
