"""Record, in the transaction of an edit, which people must be notified that their shift or cover changed."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from accounts.models.users import User
from escalation.models.on_call import OutOfOffice, Shift, ShiftNotice

# People are notified this long after the last edit, so that several edits in a row make one message.
AFTER_EDIT: Final = timedelta(minutes=5)
# Rota changes computed for one message, so that a busy organization does not delay others.
MAX_CHANGES_OF_MESSAGE: Final = 2_000


def places_in(shift: Shift) -> dict[int, dict[str, Any]]:
    """Return by user id the times and roles that each person of a shift has; empty if a calendar says who is on it."""
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
    details: dict[int, dict[str, Any]] = {}
    for person in shift.people.all():
        details.setdefault(person.user_id, {**times, "roles": []})["roles"].append(person.role)
    return details


def cover_of(entry: OutOfOffice) -> dict[str, Any]:
    """Return the fields of an entry whose change its cover must be notified of."""
    return {
        "cover": entry.cover_id,
        "group": entry.group_id,
        "starts_at": _text(entry.starts_at),
        "ends_at": _text(entry.ends_at),
    }


def note_shift(shift: Shift, *, before: Mapping[int, dict[str, Any]], actor: User, now: datetime) -> None:
    """Record who may have to be notified of a shift's change; `before` is the result of `places_in` before the edit."""
    after = places_in(Shift.objects.get(pk=shift.pk))
    changed = [user for user in before.keys() | after.keys() if before.get(user) != after.get(user)]
    ShiftNotice.objects.filter(shift=shift, user=actor).delete()  # the editor knows the change
    rows = [
        ShiftNotice(user_id=user, shift=shift, actor=actor, before=before.get(user), due_at=now + AFTER_EDIT)
        for user in sorted(changed)
        if user != actor.pk
    ]
    _write(rows, unique="shift")
    # Every edit postpones all notices of the shift, so that each person gets one message about all edits.
    ShiftNotice.objects.filter(shift=shift).update(due_at=now + AFTER_EDIT)


def note_cover(entry: OutOfOffice, *, before: dict[str, Any] | None, actor: User, now: datetime) -> None:
    """Record that the cover may have to be notified; `before` is the result of `cover_of` before the edit, if any."""
    ShiftNotice.objects.filter(out_of_office=entry, user=actor).delete()
    known = before if before and before["cover"] == entry.cover_id else None
    if entry.cover_id != actor.pk and known != cover_of(entry):
        row = ShiftNotice(
            user_id=entry.cover_id, out_of_office=entry, actor=actor, before=known, due_at=now + AFTER_EDIT
        )
        _write([row], unique="out_of_office")
    ShiftNotice.objects.filter(out_of_office=entry).update(due_at=now + AFTER_EDIT)


def _write(rows: Iterable[ShiftNotice], *, unique: str) -> None:
    """Insert the rows; a row that exists keeps its `before`, the state before the first edit."""
    ShiftNotice.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["user", unique], update_fields=["actor", "due_at"]
    )


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat() if at else None
