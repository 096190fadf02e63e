"""`groups/{id}/on-call/` and `users/me/on-call/`: who is on call, until when, and when nobody is."""

from datetime import datetime, timedelta
from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.permissions import entitled
from accounts.api.resources.groups import GroupViewSet
from accounts.api.resources.users import UserViewSet
from accounts.models import GroupRole, User
from accounts.selectors import may_update_group
from escalation.api.feeds import feed_url
from escalation.on_call import Standing, Turn, standing_of, turns_of
from escalation.rosters import MEMBER_LIST
from escalation.services.calendars import feed_of, rotate_feed
from escalation.services.reminders import set_reminder, wished_hours
from escalation.services.shifts import EARLIEST, LATEST
from escalation.shift_models import CalendarFeed
from heartbeat_project.kernel.api import Strict
from heartbeat_project.kernel.errors import FieldError, Forbidden

TURNS_AHEAD: Final = timedelta(days=62)


class NamedSerializer(serializers.Serializer[Any]):
    """An object by id and name."""

    id = serializers.IntegerField()
    name = serializers.CharField()


class OnCallPersonSerializer(serializers.Serializer[Any]):
    """One person on call."""

    user = serializers.IntegerField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=GroupRole.choices)
    group = NamedSerializer(help_text="This group, or the one within it to which the person belongs.")
    told_instead = NamedSerializer(allow_null=True, help_text="The cover of a person who is out of office.")


class GapSerializer(serializers.Serializer[Any]):
    """A time in which nobody is on call, Managers apart."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class OnCallSerializer(serializers.Serializer[Any]):
    """Who is on call in a group at an instant."""

    at = serializers.DateTimeField()
    shift = NamedSerializer(allow_null=True, help_text="The shift that won; null: the member list, or no shift is on.")
    by = serializers.ChoiceField(choices=["shift", "member_list", "nobody"])
    people = OnCallPersonSerializer(many=True)
    reason = serializers.CharField(
        help_text="Why it is these people, where the shifts alone would not say it; else empty."
    )
    skipped_shifts = NamedSerializer(
        many=True, help_text="Shifts that would have won, but in which nobody can be reached: the next one counts."
    )
    rota_ends_at = serializers.DateTimeField(
        allow_null=True,
        help_text="When the last shift ended, or will within 14 days of `at`: from then on the member list counts.",
    )
    until = serializers.DateTimeField(allow_null=True, help_text="Null: no change is planned.")
    gaps = GapSerializer(many=True, help_text="In the 14 days from `at` on.")


class TurnSerializer(serializers.Serializer[Any]):
    """A time in which a person is on call, and told: while out of office, a turn is the cover's."""

    group = NamedSerializer()
    role = serializers.ChoiceField(choices=GroupRole.choices)
    shift = NamedSerializer(allow_null=True, help_text="Null: by the member list.")
    starts_at = serializers.DateTimeField(allow_null=True, help_text="Null: it has begun already.")
    ends_at = serializers.DateTimeField(allow_null=True, help_text="Null: no end is planned.")
    covering = NamedSerializer(
        allow_null=True, help_text="The person out of office for whom the user is told; null: the turn is their own."
    )


class MyOnCallSerializer(serializers.Serializer[Any]):
    """Whether the user is on call, and when next."""

    on_call = serializers.BooleanField()
    now = TurnSerializer(many=True)
    next = TurnSerializer(allow_null=True, help_text="Null: none begins in the next 62 days.")
    remind_hours = serializers.FloatField(
        allow_null=True,
        help_text="How long before a duty begins the user is reminded; null: not at all. 12 at first.",
    )


class DutyInput(Strict):
    """What users can set about their own duty."""

    remind_hours = serializers.DecimalField(
        max_digits=4,
        decimal_places=1,
        allow_null=True,
        help_text="Null: no reminder.",
        min_value=0,
        coerce_to_string=False,
    )


class CalendarSerializer(serializers.Serializer[Any]):
    """The secret address of a calendar: whoever knows it can read it."""

    url = serializers.URLField()


class OnCallGroupViewSet(GroupViewSet):
    """Groups: all of them, or one's own; a group's Manager may change it."""

    @extend_schema(methods=["get"], responses=CalendarSerializer)
    @extend_schema(methods=["post"], request=None, responses=CalendarSerializer)
    @action(detail=True, methods=["get", "post"], pagination_class=None)
    def calendar(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Show the address of the group's calendar; POST replaces it by a new one, which a Manager may."""
        group = self.get_object()
        if request.method == "POST" and not may_update_group(self.user, group):
            raise Forbidden("Only a Manager of this group, or who may update all groups, can replace its address.")
        return _feed(feed_of(group=group), rotate=request.method == "POST")

    @extend_schema(
        responses=OnCallSerializer,
        parameters=[OpenApiParameter("at", datetime, description="The instant; now if left out.")],
    )
    @action(detail=True, methods=["get"], url_path="on-call", pagination_class=None)
    def on_call(self, request: Request, pk: str | None = None) -> Response:  # noqa: ARG002 - DRF's signature
        """Show who is on call, by which shift, until when, and the gaps of the 14 days after."""
        group = self.get_object()
        return Response(OnCallSerializer(_shown(standing_of(group, at=instant_parameter(request, now=self.now)))).data)


class OnCallUserViewSet(UserViewSet):
    """Users: everybody of the organization can be named; who administers security makes and changes them."""

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
        """Show the address of the calendar with the user's own duty; POST replaces it by a new one."""
        return _feed(feed_of(user=self.user), rotate=request.method == "POST")

    @extend_schema(methods=["get"], responses=MyOnCallSerializer)
    @extend_schema(methods=["patch"], request=DutyInput, responses=MyOnCallSerializer)
    @action(
        detail=False,
        methods=["get", "patch"],
        url_path="me/on-call",
        permission_classes=[entitled()],
        pagination_class=None,
    )
    def my_on_call(self, request: Request) -> Response:
        """Show whether the user who asks is on call, until when, and when next; set when to be reminded.

        While somebody is out of office, their turns are those of the cover.
        """
        if request.method == "PATCH":
            given = DutyInput(data=request.data, context=self.get_serializer_context())
            given.is_valid(raise_exception=True)
            set_reminder(self.user, hours=given.validated_data["remind_hours"])
        turns = turns_of(self.user, starts_at=self.now, ends_at=self.now + TURNS_AHEAD)
        present = [turn for turn in turns if turn.starts_at <= self.now]
        following = next((turn for turn in turns if turn.starts_at > self.now), None)
        body = {
            "on_call": bool(present),
            "now": [_turn(turn) | {"starts_at": None} for turn in present],
            "next": _turn(following) if following else None,
            "remind_hours": wished_hours(self.user),
        }
        return Response(MyOnCallSerializer(body).data)


def _feed(feed: CalendarFeed, *, rotate: bool) -> Response:
    return Response(CalendarSerializer({"url": feed_url(rotate_feed(feed) if rotate else feed)}).data)


def instant_parameter(request: Request, *, now: datetime) -> datetime:
    """Return the instant given as `at`, or now. Raises FieldError for what is none."""
    wanted = request.query_params.get("at")
    if wanted is None:
        return now
    field = serializers.DateTimeField()
    try:
        at: datetime = field.run_validation(wanted)
    except serializers.ValidationError as error:
        raise FieldError("at", "Give an instant such as 2026-03-02T12:00:00Z.") from error
    if not EARLIEST <= at < LATEST:
        raise FieldError("at", "Give an instant between 2000 and 2099.")
    return at


def _shown(standing: Standing) -> dict[str, Any]:
    span = standing.span
    source = "nobody" if not span.on else "member_list" if span.shift and span.shift.id == MEMBER_LIST else "shift"
    return {
        "at": standing.at,
        "shift": _named(span.shift) if span.shift and span.shift.id != MEMBER_LIST else None,
        "by": source,
        "people": [
            {
                "user": person.user.pk,
                "name": str(person.user),
                "role": person.role,
                "group": _named(person.group),
                "told_instead": _person(person.cover) if person.cover else None,
            }
            for person in standing.people
        ],
        "reason": " ".join(standing.reasons),
        "skipped_shifts": [_named(shift) for shift in span.passed_over],
        "rota_ends_at": standing.rota_ends_at,
        "until": standing.until,
        "gaps": [{"starts_at": gap.starts_at, "ends_at": gap.ends_at} for gap in standing.gaps],
    }


def _named(thing: Any) -> dict[str, Any]:
    return {"id": thing.id, "name": thing.name}


def _person(user: User) -> dict[str, Any]:
    return {"id": user.pk, "name": str(user)}


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "group": _named(turn.group),
        "role": turn.role,
        "shift": _named(turn.shift) if turn.shift.id != MEMBER_LIST else None,
        "starts_at": turn.starts_at,
        "ends_at": turn.until,
        "covering": _person(turn.covering) if turn.covering else None,
    }
