"""Whoever is put on a shift, or made a cover, hears of it once, when the editing is over."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import transaction

from accounts.models import GroupRole, User
from escalation.on_call import Turn, turns_of
from escalation.services.notices import Letter, write_letters
from escalation.shift_models import OutOfOffice, Shift, ShiftNotice
from escalation.wording import moment, zone

AFTER_EDIT: Final = timedelta(minutes=5)
AHEAD: Final = timedelta(days=62)
MAX_TURNS_NAMED: Final = 3
MAX_AT_ONCE: Final = 200


def places_in(shift: Shift) -> dict[int, dict[str, Any]]:
    """Return for each person of a shift what they have to know about it; nothing for a shift read from a calendar."""
    if shift.kind == Shift.Kind.CALENDAR:
        return {}
    times: dict[str, Any] = {
        "starts_at": _text(shift.starts_at),
        "ends_at": _text(shift.ends_at),
        "time_zone": shift.time_zone,
        "windows": [str(window) for window in shift.windows.all()],
        "is_override": shift.is_override,
    }
    if shift.kind == Shift.Kind.ROTATING:
        times["rotation"] = [
            shift.rotates_every,
            shift.rotates_count,
            str(shift.first_handoff_on),
            str(shift.handoff_time)[:5],
            shift.people_at_once,
        ]
    places: dict[int, dict[str, Any]] = {}
    for person in shift.people.all():
        places.setdefault(person.user_id, {**times, "roles": []})["roles"].append(person.role)
    return places


def cover_of(entry: OutOfOffice) -> dict[str, Any]:
    """Return what the cover of an entry has to know about it."""
    return {
        "cover": entry.cover_id,
        "group": entry.group_id,
        "starts_at": _text(entry.starts_at),
        "ends_at": _text(entry.ends_at),
    }


def note_shift(shift: Shift, *, before: Mapping[int, dict[str, Any]], actor: User, now: datetime) -> None:
    """Take down, within the edit's transaction, who may have to hear of it; `before` is what `places_in` gave."""
    after = places_in(Shift.objects.get(pk=shift.pk))
    changed = [user for user in before.keys() | after.keys() if before.get(user) != after.get(user)]
    ShiftNotice.objects.filter(shift=shift, user=actor).delete()  # whoever edits it has seen it
    rows = [
        ShiftNotice(user_id=user, shift=shift, actor=actor, before=before.get(user), due_at=now + AFTER_EDIT)
        for user in sorted(changed)
        if user != actor.pk
    ]
    _write(rows, unique="shift")
    # An edit that changes nothing for somebody goes on all the same: they hear of all of it together.
    ShiftNotice.objects.filter(shift=shift).update(due_at=now + AFTER_EDIT)


def note_cover(entry: OutOfOffice, *, before: dict[str, Any] | None, actor: User, now: datetime) -> None:
    """Take down, within the edit's transaction, that the cover may have to hear of it."""
    ShiftNotice.objects.filter(out_of_office=entry, user=actor).delete()
    known = before if before and before["cover"] == entry.cover_id else None
    if entry.cover_id != actor.pk and known != cover_of(entry):
        row = ShiftNotice(
            user_id=entry.cover_id, out_of_office=entry, actor=actor, before=known, due_at=now + AFTER_EDIT
        )
        _write([row], unique="out_of_office")
    ShiftNotice.objects.filter(out_of_office=entry).update(due_at=now + AFTER_EDIT)


def _write(rows: Iterable[ShiftNotice], *, unique: str) -> None:
    """Write the rows; one that is there keeps what stood before the first edit."""
    ShiftNotice.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["user", unique], update_fields=["actor", "due_at"]
    )


def send_shift_notices(*, now: datetime) -> int:
    """Write the messages that are due; return how many.

    The rows are locked and deleted in the transaction that writes the messages, so that two workers write one each. An
    edit under way holds its shift; whoever comes first decides, and the other sees what it did.
    """
    with transaction.atomic():
        due = ShiftNotice.objects.select_for_update(skip_locked=True, of=("self",)).filter(due_at__lte=now)
        rows = list(
            due.select_related("user", "actor", "shift__group", "out_of_office__user", "out_of_office__group").order_by(
                "due_at", "id"
            )[:MAX_AT_ONCE]
        )
        letters = [letter for row in rows if (letter := _letter(row, now=now)) is not None]
        ShiftNotice.objects.filter(pk__in=[row.pk for row in rows]).delete()
        return write_letters(letters, now=now)


def _letter(row: ShiftNotice, *, now: datetime) -> Letter | None:
    """Return the message as things stand now; None where nothing is left to say, or nobody wants to hear it."""
    if not row.user.is_active or not row.user.shift_notices:
        return None
    if row.shift is not None:
        return _of_shift(row, row.shift, now=now)
    assert row.out_of_office is not None  # noqa: S101 - a constraint of the table
    return _of_cover(row, row.out_of_office, now=now)


def _of_shift(row: ShiftNotice, shift: Shift, *, now: datetime) -> Letter | None:
    place = places_in(shift).get(row.user_id)
    if place is None or place == row.before or (shift.ends_at is not None and shift.ends_at <= now):
        return None
    roles = " and ".join(GroupRole(role).label for role in place["roles"])
    if row.before is None:
        subject = f"You were put on the shift “{shift}” of {shift.group}"
        what = f"{row.actor} put you on the shift “{shift}” of {shift.group} as {roles}."
    else:
        subject = f"Your shift “{shift}” of {shift.group} was changed"
        what = f"{row.actor} changed the shift “{shift}” of {shift.group}, on which you are as {roles}."
    mine = [
        turn
        for turn in turns_of(row.user, starts_at=now, ends_at=now + AHEAD)
        if turn.shift.id == shift.pk and turn.covering is None
    ]
    return Letter(row.user, subject, f"{what}\n{_turns(mine, row.user, now=now)}\n{_ask(row.actor)}")


def _turns(turns: list[Turn], user: User, *, now: datetime) -> str:
    if not turns:
        return "You are not on call by it in the next two months."
    here = zone(user.time_zone)
    lines = []
    for turn in turns[:MAX_TURNS_NAMED]:
        since = "now" if turn.starts_at <= now else f"from {moment(turn.starts_at, zone=here)}"
        until = f"until {moment(turn.ends_at, zone=here)}" if turn.ends_at else "with no end"
        lines.append(f"- {since} {until}")
    more = "\nThe page “On call” has all of them." if len(turns) > MAX_TURNS_NAMED else ""
    return "You are on call by it:\n" + "\n".join(lines) + more


def _of_cover(row: ShiftNotice, entry: OutOfOffice, *, now: datetime) -> Letter | None:
    if entry.cover_id != row.user_id or cover_of(entry) == row.before or entry.ends_at <= now:
        return None
    here = zone(row.user.time_zone)
    since, until = moment(entry.starts_at, zone=here), moment(entry.ends_at, zone=here)
    where = f"in {entry.group}" if entry.group else "in all groups"
    who = "" if row.actor.pk == entry.user_id else f" {row.actor} entered it."
    return Letter(
        row.user,
        f"You cover for {entry.user} from {since}",
        f"{entry.user} is out of office from {since} until {until}. In this time you are notified instead of "
        f"{entry.user}, {where}.{who}\n{_ask(row.actor)}",
    )


def _ask(actor: User) -> str:
    return f"If you cannot, ask {actor} to choose somebody else."


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None
