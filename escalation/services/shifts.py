"""Create, change and delete the shifts of a group."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import Group, GroupRole, User, check_time_zone
from accounts.selectors import may_update_group
from accounts.services.saving import clean_name, unique
from escalation.services import shift_notices
from escalation.services.turns import go_on_with, running_turn
from escalation.shift_models import Shift, ShiftPerson, ShiftWindow, Weekday
from heartbeat_project.kernel.errors import FieldError, Forbidden

MOST_PEOPLE: Final = 100
MOST_WINDOWS: Final = 50
MOST_TURNS: Final = 366
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_WEEK = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowRule:
    """The fields of ShiftWindow; a window that does not end after its start ends on the next day."""

    days: Sequence[str]
    starts: time
    ends: time
    days_later: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonRule:
    """A user, by id, in a group role; the order of the list is the order of the turns."""

    user: int
    role: str = GroupRole.PRIMARY


def create_shift(
    group: Group,
    *,
    actor: User,
    now: datetime,
    people: Iterable[PersonRule] = (),
    windows: Iterable[WindowRule] = (),
    **fields: Any,
) -> Shift:
    """Create a shift; without a time zone it has the organization's.

    Raises Forbidden, and FieldError at the field that is wrong; then nothing is saved.
    """
    fields.setdefault("time_zone", group.organization.time_zone)
    shift = Shift(group=group)
    _permit(group, actor)
    with transaction.atomic():
        _write(shift, fields, people=list(people), windows=list(windows), now=now)
        shift_notices.note_shift(shift, before={}, actor=actor, now=now)
    return shift


def update_shift(
    shift: Shift,
    *,
    actor: User,
    now: datetime,
    people: Iterable[PersonRule] | None = None,
    windows: Iterable[WindowRule] | None = None,
    **fields: Any,
) -> Shift:
    """Change a shift; `people` and `windows` replace all of them. Who has the turn of a rotation keeps it.

    Raises Forbidden, and FieldError at the field that is wrong; then nothing is saved.
    """
    _permit(shift.group, actor)
    with transaction.atomic():
        shift = Shift.objects.select_for_update(of=("self",)).select_related("group").get(pk=shift.pk)
        before = shift_notices.places_in(shift)
        running = running_turn(shift, now=now)
        _write(
            shift,
            fields,
            people=None if people is None else list(people),
            windows=None if windows is None else list(windows),
            now=now,
        )
        shift_notices.note_shift(shift, before=before, actor=actor, now=now)
        go_on_with(running, shift, now=now)
    return shift


def delete_shift(shift: Shift, *, actor: User) -> None:
    """Delete a shift; what it lay upon resumes at once. Raises Forbidden."""
    _permit(shift.group, actor)
    shift.delete()


def _permit(group: Group, actor: User) -> None:
    if not may_update_group(actor, group):
        raise Forbidden("Only a Manager of this group, or who may update all groups, can change its shifts.")


def _write(
    shift: Shift,
    fields: dict[str, Any],
    *,
    people: list[PersonRule] | None,
    windows: list[WindowRule] | None,
    now: datetime,
) -> None:
    address = shift.calendar_url
    for field, value in fields.items():
        setattr(shift, field, value)
    shift.name = clean_name(shift.name)
    if shift.kind != Shift.Kind.CALENDAR:
        shift.calendar_url, shift.calendar_due_at, shift.calendar_error = "", None, ""
        shift.calendar_failing_since = shift.calendar_reported_at = None
    elif shift.calendar_url != address or shift.calendar_due_at is None:
        shift.calendar_due_at = now
        shift.calendar_failing_since = shift.calendar_reported_at = None
    _check_times(shift)
    _check_kind(shift)
    people = people if people is not None else _people_of(shift)
    if shift.kind == Shift.Kind.CALENDAR:
        people, windows = [], []
    _check_people(shift, people)
    if windows is not None:
        windows = [_clean_window(window, index) for index, window in enumerate(windows)]
    with unique("shift_name_unique", field="name", message=f"This group has a shift named “{shift.name}” already."):
        shift.save()
    if shift.calendar_url != address:
        shift.entries.all().delete()
    shift.people.all().delete()
    ShiftPerson.objects.bulk_create(
        ShiftPerson(shift=shift, user_id=person.user, role=person.role, position=index)
        for index, person in enumerate(people)
    )
    if windows is not None:
        shift.windows.all().delete()
        ShiftWindow.objects.bulk_create(
            ShiftWindow(
                shift=shift,
                days=list(window.days),
                starts=window.starts,
                ends=window.ends,
                days_later=window.days_later,
            )
            for window in windows
        )


def _people_of(shift: Shift) -> list[PersonRule]:
    return [PersonRule(user=person.user_id, role=person.role) for person in shift.people.all()] if shift.pk else []


def _check_times(shift: Shift) -> None:
    try:
        check_time_zone(shift.time_zone)
    except ValidationError as error:
        raise FieldError("time_zone", error.messages[0], code="time_zone") from error
    for field in ("starts_at", "ends_at"):
        at = getattr(shift, field)
        if at is not None and not EARLIEST <= at < LATEST:
            raise FieldError(field, "Enter a date between 2000 and 2099.")
    if shift.starts_at and shift.ends_at and shift.ends_at <= shift.starts_at:
        raise FieldError("ends_at", "The end must be after the start.")


def _check_kind(shift: Shift) -> None:
    if shift.kind == Shift.Kind.ROTATING:
        if shift.first_handoff_on is None:
            raise FieldError("first_handoff_on", "Say when the first person's turn begins.", code="required")
        if not date(2000, 1, 1) <= shift.first_handoff_on < date(2100, 1, 1):
            raise FieldError("first_handoff_on", "Enter a date between 2000 and 2099.")
    if not 1 <= shift.rotates_count <= MOST_TURNS:
        raise FieldError("rotates_count", f"Enter a number from 1 to {MOST_TURNS}.")
    if not 1 <= shift.people_at_once <= MOST_PEOPLE:
        raise FieldError("people_at_once", f"Enter a number from 1 to {MOST_PEOPLE}.")
    if shift.kind == Shift.Kind.CALENDAR:
        shift.calendar_url = shift.calendar_url.strip().replace("webcal://", "https://", 1)
        if not shift.calendar_url:
            raise FieldError("calendar_url", "Enter the address of the calendar.", code="required")
        try:
            parts = urlsplit(shift.calendar_url)
            valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
        except ValueError:
            valid = False
        if not valid:
            raise FieldError("calendar_url", "Enter an address that begins with https:// or http://.")


def _check_people(shift: Shift, people: Sequence[PersonRule]) -> None:
    if len(people) > MOST_PEOPLE:
        raise FieldError("people", f"A shift has at most {MOST_PEOPLE} people.", code="max_length")
    if not people and shift.kind != Shift.Kind.CALENDAR:
        raise FieldError("people", "Say who is on this shift.", code="required")
    members = set(shift.group.members.values_list("user_id", flat=True))
    places = set()
    for index, person in enumerate(people):
        if person.user not in members:
            raise FieldError(
                f"people/{index}/user",
                "There is no such member of this group. Add them to it first.",
                code="does_not_exist",
            )
        if person.role not in {GroupRole.PRIMARY, GroupRole.SECONDARY}:
            raise FieldError(
                f"people/{index}/role", "The role is primary or secondary; Managers come from the member list."
            )
        if (person.user, person.role) in places:
            raise FieldError(f"people/{index}", "This person has this role in the shift already.", code="unique")
        places.add((person.user, person.role))


def _clean_window(window: WindowRule, index: int) -> WindowRule:
    if index >= MOST_WINDOWS:
        raise FieldError("windows", f"A shift has at most {MOST_WINDOWS} windows.", code="max_length")
    days = [day for day in Weekday.values if day in window.days]
    if not days or set(window.days) - set(days):
        raise FieldError(f"windows/{index}/days", f"Name weekdays: {', '.join(Weekday.values)}.", code="required")
    later = window.days_later or (0 if window.ends > window.starts else 1)
    if not 0 <= later <= _WEEK or (later == _WEEK and window.ends > window.starts):
        raise FieldError(f"windows/{index}/days_later", "A window lasts a week at most.")
    return WindowRule(days=days, starts=window.starts, ends=window.ends, days_later=later)
