"""`groups/{id}/on-call/` and `users/me/on-call/`: who is on call, until when, and the gaps."""

from datetime import datetime, timedelta
from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.groups import GroupViewSet
from accounts.api.permissions import entitled
from accounts.api.users import UserViewSet
from accounts.models.groups import GroupRole
from accounts.models.users import User
from escalation.api.calendar_feeds import feed_url
from escalation.api.shifts import NamedSerializer
from escalation.models.on_call import CalendarFeed
from escalation.notifications.notices.on_call_reminders import set_reminder, wished_hours
from escalation.oncall.calendars.feeds import feed_of, rotate_feed
from escalation.oncall.rotas import MEMBER_LIST
from escalation.oncall.selectors import OnCallPeriod, OnCallStatus, on_call_periods_of, on_call_status_of
from escalation.oncall.shifts import EARLIEST, LATEST
from heartbeat_project.kernel.api import InstantField, Strict
from heartbeat_project.kernel.errors import FieldError

PERIODS_AHEAD: Final = timedelta(days=62)


class OnCallPersonSerializer(serializers.Serializer[Any]):
    """One person on call."""

    user = serializers.IntegerField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=GroupRole.choices)
    group = NamedSerializer(help_text="This group, or the nested group to which the person belongs.")
    notified_instead = NamedSerializer(allow_null=True, help_text="The cover of a person who is out of office.")


class GapSerializer(serializers.Serializer[Any]):
    """A time in which nobody is on call, not counting Managers."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class OnCallSerializer(serializers.Serializer[Any]):
    """Who is on call in a group at one instant."""

    at = serializers.DateTimeField()
    shift = NamedSerializer(
        allow_null=True, help_text="The shift that applies; null: the member list applies, or no shift is running."
    )
    by = serializers.ChoiceField(choices=["shift", "member_list", "nobody"])
    people = OnCallPersonSerializer(many=True)
    reason = serializers.CharField(
        help_text="Why these people are on call, if the shifts alone do not explain it; otherwise empty."
    )
    skipped_shifts = NamedSerializer(
        many=True, help_text="Shifts that would apply but in which nobody can be reached, so that the next one applies."
    )
    rota_ends_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When the last shift ended, or will end within 14 days of `at`; then the member list applies.",
    )
    until = serializers.DateTimeField(allow_null=True, help_text="Null: no change is planned.")
    gaps = GapSerializer(many=True, help_text="In the 14 days from `at`.")


class OnCallPeriodSerializer(serializers.Serializer[Any]):
    """A time in which a person is on call; while they are out of office, the period belongs to the cover."""

    group = NamedSerializer()
    role = serializers.ChoiceField(choices=GroupRole.choices)
    shift = NamedSerializer(allow_null=True, help_text="Null: by the member list.")
    starts_at = serializers.DateTimeField(allow_null=True, help_text="Null: it has begun already.")
    ends_at = serializers.DateTimeField(allow_null=True, help_text="Null: no end is planned.")
    covering = NamedSerializer(
        allow_null=True,
        help_text="The person out of office whom the user covers; null: it is the user's own shift.",
    )


class MyOnCallSerializer(serializers.Serializer[Any]):
    """Whether the user is on call now, and when next."""

    on_call = serializers.BooleanField()
    now = OnCallPeriodSerializer(many=True)
    next = OnCallPeriodSerializer(allow_null=True, help_text="Null: none begins in the next 62 days.")
    remind_hours = serializers.FloatField(
        allow_null=True,
        help_text="How many hours before an on-call shift the user is reminded; null: no reminder. Default: 12.",
    )


class OnCallReminderInput(Strict):
    """The settings of a user for their own on-call shifts."""

    remind_hours = serializers.DecimalField(
        max_digits=4,
        decimal_places=1,
        allow_null=True,
        help_text="Null: no reminder.",
        min_value=0,
        coerce_to_string=False,
    )


class CalendarSerializer(serializers.Serializer[Any]):
    """The secret address of a calendar: anyone who knows it can read the calendar."""

    url = serializers.URLField()


class OnCallGroupViewSet(GroupViewSet):
    """Groups: all of them, or one's own, depending on the entitlements. Managers may change their groups."""

    parameters = {"on_call": ("at",)}
    without_body = frozenset({"calendar"})

    @extend_schema(methods=["get"], responses=CalendarSerializer)
    @extend_schema(methods=["post"], request=None, responses=CalendarSerializer)
    @action(detail=True, methods=["get", "post"], pagination_class=None)
    def calendar(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Return the user's address of the group's calendar; POST replaces it with a new one.

        Each user has an address of their own. It stops working once they may not see the group any more.
        """
        return _feed(feed_of(user=self.user, group=self.get_object()), rotate=request.method == "POST")

    @extend_schema(
        responses=OnCallSerializer,
        parameters=[OpenApiParameter("at", datetime, description="The instant; the current time if left out.")],
    )
    @action(detail=True, methods=["get"], url_path="on-call", pagination_class=None)
    def on_call(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Show who is on call, by which shift and until when, and the gaps of the next 14 days."""
        at = instant_parameter(request, now=self.now)
        status = on_call_status_of(self.get_object(), at=at)
        return Response(OnCallSerializer(_status_fields(status)).data)


class OnCallUserViewSet(UserViewSet):
    """Users: everybody sees the names of the organization; only security administrators create and change users."""

    without_body = UserViewSet.without_body | {"my_calendar"}

    @extend_schema(methods=["get"], responses=CalendarSerializer)
    @extend_schema(methods=["post"], request=None, responses=CalendarSerializer)
    @action(
        detail=False,
        methods=["get", "post"],
        url_path="me/calendar",
        permission_classes=[entitled()],
        pagination_class=None,
    )
    def my_calendar(self, request: Request) -> Response:
        """Return the address of the calendar with the user's own on-call shifts; POST replaces it with a new one."""
        return _feed(feed_of(user=self.user), rotate=request.method == "POST")

    @extend_schema(methods=["get"], responses=MyOnCallSerializer)
    @extend_schema(methods=["patch"], request=OnCallReminderInput, responses=MyOnCallSerializer)
    @action(
        detail=False,
        methods=["get", "patch"],
        url_path="me/on-call",
        permission_classes=[entitled()],
        pagination_class=None,
    )
    def my_on_call(self, request: Request) -> Response:
        """Show whether the user is on call, until when, and when next; PATCH sets the reminder.

        While somebody is out of office, their on-call shifts belong to the cover.
        """
        if request.method == "PATCH":
            serializer = OnCallReminderInput(data=request.data, context=self.get_serializer_context())
            serializer.is_valid(raise_exception=True)
            set_reminder(self.user, hours=serializer.validated_data["remind_hours"])
        periods = on_call_periods_of(self.user, starts_at=self.now, ends_at=self.now + PERIODS_AHEAD)
        current = [period for period in periods if period.starts_at <= self.now]
        next_period = next((period for period in periods if period.starts_at > self.now), None)
        body = {
            "on_call": bool(current),
            "now": [_period(period) | {"starts_at": None} for period in current],
            "next": _period(next_period) if next_period else None,
            "remind_hours": wished_hours(self.user),
        }
        return Response(MyOnCallSerializer(body).data)


def _feed(feed: CalendarFeed, *, rotate: bool) -> Response:
    return Response(CalendarSerializer({"url": feed_url(rotate_feed(feed) if rotate else feed)}).data)


def instant_parameter(request: Request, *, now: datetime) -> datetime:
    """Return the query parameter `at`, or now if it is missing. Raises ValidationError, FieldError."""
    raw = request.query_params.get("at")
    if raw is None:
        return now
    try:
        at: datetime = InstantField().run_validation(raw)
    except serializers.ValidationError as error:
        raise serializers.ValidationError({"at": error.detail}) from error
    if not EARLIEST <= at < LATEST:
        raise FieldError("at", "Give an instant between 2000 and 2099.")
    return at


def _status_fields(status: OnCallStatus) -> dict[str, Any]:
    rota_period = status.rota_period
    shift = rota_period.shift
    by_member_list = shift is not None and shift.id == MEMBER_LIST
    source = "member_list" if by_member_list else "shift"
    return {
        "at": status.at,
        "shift": None if shift is None or by_member_list else _id_and_name(shift),
        "by": source if rota_period.on else "nobody",
        "people": [
            {
                "user": person.user.pk,
                "name": str(person.user),
                "role": person.role,
                "group": _id_and_name(person.group),
                "notified_instead": _person(person.cover) if person.cover else None,
            }
            for person in status.people
        ],
        "reason": " ".join(status.reasons),
        "skipped_shifts": [_id_and_name(shift) for shift in rota_period.passed_over],
        "rota_ends_at": status.rota_ends_at,
        "until": status.until,
        "gaps": [{"starts_at": gap.starts_at, "ends_at": gap.ends_at} for gap in status.gaps],
    }


def _id_and_name(row: Any) -> dict[str, Any]:
    return {"id": row.id, "name": row.name}


def _person(user: User) -> dict[str, Any]:
    return {"id": user.pk, "name": str(user)}


def _period(period: OnCallPeriod) -> dict[str, Any]:
    return {
        "group": _id_and_name(period.group),
        "role": period.role,
        "shift": _id_and_name(period.shift) if period.shift.id != MEMBER_LIST else None,
        "starts_at": period.starts_at,
        "ends_at": period.until,
        "covering": _person(period.covering) if period.covering else None,
    }
