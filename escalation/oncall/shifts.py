"""Create, change and delete the shifts of a group."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final, TypedDict, Unpack
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, Q

from accounts.models.groups import Group, GroupRole
from accounts.models.organizations import check_time_zone
from accounts.models.users import User
from accounts.selectors import may_update_group
from accounts.services.saving import clean_name, replace_rows, unique
from escalation.models.on_call import Shift, ShiftPerson, ShiftWindow
from escalation.oncall import shift_changes
from escalation.oncall.rotation_edits import go_on_with, running_turn
from heartbeat_project.kernel.errors import FieldError, Forbidden
from heartbeat_project.kernel.weekly import DAYS, NotAWindow, WeeklyWindow

MAX_PEOPLE: Final = 100  # of one shift
MAX_WINDOWS: Final = 50  # of one shift
# Of the shifts of one group that have not ended: who is on call is computed on each request, for up to a year.
MAX_GROUP_SHIFTS: Final = 100
MAX_GROUP_WINDOWS: Final = 200
MAX_ORGANIZATION_SHIFTS: Final = 2_000  # shifts that have not ended
MAX_TURNS: Final = 366  # days, weeks or months between two hand-offs
# Times that a shift or an absence may name: typing errors such as the year 20026 are refused.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowRule:
    """The fields of ShiftWindow; `kernel.weekly` says what they mean."""

    days: Sequence[str]
    starts: time | str
    ends: time | str
    days_later: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonRule:
    """A user, by id, in a group role; the order of the list is the order of the turns."""

    user: int
    role: str = GroupRole.PRIMARY


class ShiftFields(TypedDict, total=False):
    """The fields of a shift that can be set; the model says what they mean."""

    name: str
    kind: str
    time_zone: str
    starts_at: datetime | None
    ends_at: datetime | None
    rotates_every: str
    rotates_count: int
    first_handoff_on: date | None
    handoff_time: time | str
    people_at_once: int
    is_override: bool
    calendar_url: str


def create_shift(
    group: Group,
    *,
    actor: User,
    now: datetime,
    people: Iterable[PersonRule] = (),
    windows: Iterable[WindowRule] = (),
    **fields: Unpack[ShiftFields],
) -> Shift:
    """Create a shift; its time zone is by default the organization's.

    Raises Forbidden, or FieldError for the field that is wrong; then nothing is saved.
    """
    fields.setdefault("time_zone", group.organization.time_zone)
    shift = Shift(group=group)
    _permit(group, actor)
    with transaction.atomic():
        _write(shift, fields, people=list(people), windows=list(windows), now=now)
        shift_changes.note_shift(shift, before={}, actor=actor, now=now)
    return shift


def update_shift(
    shift: Shift,
    *,
    actor: User,
    now: datetime,
    people: Iterable[PersonRule] | None = None,
    windows: Iterable[WindowRule] | None = None,
    **fields: Unpack[ShiftFields],
) -> Shift:
    """Change a shift; `people` and `windows` replace all of them. The current turn of a rotation keeps its people.

    Raises Forbidden, or FieldError for the field that is wrong; then nothing is saved.
    """
    _permit(shift.group, actor)
    with transaction.atomic():
        shift = Shift.objects.select_for_update(of=("self",)).select_related("group").get(pk=shift.pk)
        before = shift_changes.places_in(shift)
        running = running_turn(shift, now=now)
        _write(
            shift,
            fields,
            people=None if people is None else list(people),
            windows=None if windows is None else list(windows),
            now=now,
        )
        shift_changes.note_shift(shift, before=before, actor=actor, now=now)
        go_on_with(running, shift, now=now)
    return shift


def delete_shift(shift: Shift, *, actor: User) -> None:
    """Delete a shift; the shifts that it took precedence over count again at once. Raises Forbidden."""
    _permit(shift.group, actor)
    shift.delete()


def _permit(group: Group, actor: User) -> None:
    if not may_update_group(actor, group):
        raise Forbidden("Only Managers of this group and users who may update all groups can change its shifts.")


def _write(
    shift: Shift,
    fields: ShiftFields,
    *,
    people: list[PersonRule] | None,
    windows: list[WindowRule] | None,
    now: datetime,
) -> None:
    address_before = shift.calendar_url
    for field, value in fields.items():
        setattr(shift, field, value)
    shift.name = clean_name(shift.name)
    if shift.kind != Shift.Kind.CALENDAR:
        shift.calendar_url, shift.calendar_due_at, shift.calendar_error = "", None, ""
        shift.calendar_failing_since = shift.calendar_reported_at = None
    elif shift.calendar_url != address_before or shift.calendar_due_at is None:
        shift.calendar_due_at = now
        shift.calendar_failing_since = shift.calendar_reported_at = None
    _check_times(shift)
    _check_kind(shift)
    people = people if people is not None else _people_of(shift)
    if shift.kind == Shift.Kind.CALENDAR:
        people, windows = [], []
    _check_people(shift, people)
    weekly: list[WeeklyWindow] = []
    if windows is not None:
        weekly = [_clean_window(window, index) for index, window in enumerate(windows)]
    _check_group(shift, None if windows is None else len(weekly), now=now)
    with unique("shift_name_unique", field="name", message=f"This group already has a shift named “{shift.name}”."):
        shift.save()
    if shift.calendar_url != address_before:
        shift.entries.all().delete()
    rows = [
        ShiftPerson(shift=shift, user_id=person.user, role=person.role, position=index)
        for index, person in enumerate(people)
    ]
    replace_rows(ShiftPerson.objects.filter(shift=shift), rows, by=("user_id", "role", "position"))
    ShiftPerson.objects.filter(shift=shift).exclude(turn_order=0).update(turn_order=0)
    if windows is not None:
        weekly_rows = [
            ShiftWindow(
                shift=shift,
                days=[DAYS[day] for day in sorted(window.days)],
                starts=window.starts,
                ends=window.ends,
                days_later=window.days_later,
            )
            for window in weekly
        ]
        replace_rows(ShiftWindow.objects.filter(shift=shift), weekly_rows, by=("days", "starts", "ends", "days_later"))


def _check_group(shift: Shift, windows: int | None, *, now: datetime) -> None:
    """Refuse more shifts or windows than one group may have; a group that has too many may still be made smaller."""
    goes_on = Q(ends_at=None) | Q(ends_at__gt=now)
    if shift.ends_at is not None and shift.ends_at <= now:
        return
    stored = Shift.objects.filter(goes_on, pk=shift.pk).annotate(number=Count("windows")).first()
    others = Shift.objects.filter(goes_on, group=shift.group).exclude(pk=shift.pk)
    if stored is None and others.count() >= MAX_GROUP_SHIFTS:
        raise FieldError(
            "group",
            f"A group has at most {MAX_GROUP_SHIFTS} shifts that have not ended. Delete shifts that are not needed, "
            "or combine people into one rotation.",
            code="max_length",
        )
    of_organization = Shift.objects.filter(goes_on, group__organization=shift.group.organization_id)
    if stored is None and of_organization.count() >= MAX_ORGANIZATION_SHIFTS:
        raise FieldError(
            "group",
            f"An organization has at most {MAX_ORGANIZATION_SHIFTS} shifts that have not ended. "
            "Delete shifts that are not needed.",
            code="max_length",
        )
    before = stored.number if stored else 0
    if windows is None or windows <= before:
        return
    room = MAX_GROUP_WINDOWS - ShiftWindow.objects.filter(shift__in=others).count()
    if windows > room:
        raise FieldError(
            "windows",
            f"The shifts of a group have at most {MAX_GROUP_WINDOWS} windows together; this shift can have "
            f"{max(room, 0)}. One window can name several days: merge windows that have the same times.",
            code="max_length",
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
            raise FieldError("first_handoff_on", "Enter the day when the first person's turn begins.", code="required")
        if not date(2000, 1, 1) <= shift.first_handoff_on < date(2100, 1, 1):
            raise FieldError("first_handoff_on", "Enter a date between 2000 and 2099.")
    if not 1 <= shift.rotates_count <= MAX_TURNS:
        raise FieldError("rotates_count", f"Enter a number from 1 to {MAX_TURNS}.")
    if not 1 <= shift.people_at_once <= MAX_PEOPLE:
        raise FieldError("people_at_once", f"Enter a number from 1 to {MAX_PEOPLE}.")
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
    if len(people) > MAX_PEOPLE:
        raise FieldError("people", f"A shift has at most {MAX_PEOPLE} people.", code="max_length")
    if not people and shift.kind != Shift.Kind.CALENDAR:
        raise FieldError("people", "Choose who is on this shift.", code="required")
    members = set(shift.group.members.values_list("user_id", flat=True))
    people_seen = set()
    for index, person in enumerate(people):
        if person.user not in members:
            raise FieldError(
                f"people/{index}/user",
                "This user is not a member of the group. Add them to it first.",
                code="does_not_exist",
            )
        if person.role not in {GroupRole.PRIMARY, GroupRole.SECONDARY}:
            raise FieldError(f"people/{index}/role", "Choose primary or secondary; Managers come from the member list.")
        if (person.user, person.role) in people_seen:
            raise FieldError(f"people/{index}", "This person already has this role in the shift.", code="unique")
        people_seen.add((person.user, person.role))


def _clean_window(rule: WindowRule, index: int) -> WeeklyWindow:
    if index >= MAX_WINDOWS:
        raise FieldError("windows", f"A shift has at most {MAX_WINDOWS} windows.", code="max_length")
    try:
        return WeeklyWindow.of(days=rule.days, starts=rule.starts, ends=rule.ends, days_later=rule.days_later)
    except NotAWindow as error:
        raise FieldError(f"windows/{index}/{error.field}", str(error)) from error
