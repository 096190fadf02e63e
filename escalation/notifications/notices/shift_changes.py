"""Notices about changed shifts: people who are put on a shift, or made a cover, get one when the editing is over."""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from accounts.models.groups import GroupRole
from accounts.models.users import User
from accounts.services.restores import unless_held
from escalation.engine.notices import Letter, write_letters
from escalation.models.on_call import OutOfOffice, Shift, ShiftNotice
from escalation.oncall.selectors import OnCallPeriod, on_call_periods_of
from escalation.oncall.shift_changes import MAX_CHANGES_OF_MESSAGE, cover_of, places_in
from heartbeat_project.kernel.wording import moment, zone

# How far ahead a notice looks for on-call periods: two months, as its text says.
AHEAD: Final = timedelta(days=62)
# Number of periods that a notice lists.
MAX_PERIODS_NAMED: Final = 3
# Number of notices in one transaction.
MAX_AT_ONCE: Final = 200


@unless_held(0)
def send_shift_notices(*, now: datetime) -> int:
    """Write the notices that are due; return their number.

    The rows are locked and deleted in the transaction that writes the notices, so that no worker writes one twice.
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
    """Return the notice by the present state; None if nothing changed for its reader, or they want no such notices."""
    if not row.user.is_active or not row.user.shift_notices:
        return None
    if row.shift is not None:
        return _of_shift(row, row.shift, now=now)
    assert row.out_of_office is not None  # noqa: S101 - a constraint of the table
    return _of_cover(row, row.out_of_office, now=now)


def _of_shift(row: ShiftNotice, shift: Shift, *, now: datetime) -> Letter | None:
    # A change that was undone meanwhile, or a shift that is over, needs no notice.
    membership = places_in(shift).get(row.user_id)
    if membership is None or membership == row.before or (shift.ends_at is not None and shift.ends_at <= now):
        return None
    roles = " and ".join(GroupRole(role).label for role in membership["roles"])
    if row.before is None:
        subject = f"You were put on the shift “{shift}” of {shift.group}"
        opening = f"{row.actor} put you on the shift “{shift}” of {shift.group} as {roles}."
    else:
        subject = f"Your shift “{shift}” of {shift.group} was changed"
        opening = f"{row.actor} changed the shift “{shift}” of {shift.group}, on which you are {roles}."
    periods = [
        period
        for period in on_call_periods_of(row.user, starts_at=now, ends_at=now + AHEAD, most=MAX_CHANGES_OF_MESSAGE)
        if period.shift.id == shift.pk and period.covering is None
    ]
    return Letter(row.user, subject, f"{opening}\n{_periods_text(periods, row.user, now=now)}\n{_ask(row.actor)}")


def _periods_text(periods: list[OnCallPeriod], user: User, *, now: datetime) -> str:
    """Return the lines with the first of the reader's on-call periods, in their time zone."""
    if not periods:
        return "It does not put you on call in the next two months."
    time_zone = zone(user.time_zone)
    lines = []
    for period in periods[:MAX_PERIODS_NAMED]:
        since = "from now" if period.starts_at <= now else f"from {moment(period.starts_at, zone=time_zone)}"
        until = f"until {moment(period.until, zone=time_zone)}" if period.until else "(no end planned)"
        lines.append(f"- {since} {until}")
    more = "\nThe page “On call” has all of them." if len(periods) > MAX_PERIODS_NAMED else ""
    return "You are on call:\n" + "\n".join(lines) + more


def _of_cover(row: ShiftNotice, entry: OutOfOffice, *, now: datetime) -> Letter | None:
    if entry.cover_id != row.user_id or cover_of(entry) == row.before or entry.ends_at <= now:
        return None
    time_zone = zone(row.user.time_zone)
    since, until = moment(entry.starts_at, zone=time_zone), moment(entry.ends_at, zone=time_zone)
    scope = f"in {entry.group}" if entry.group else "in all groups"
    entered_by = "" if row.actor.pk == entry.user_id else f" {row.actor} entered it."
    return Letter(
        row.user,
        f"You cover for {entry.user} from {since}",
        f"{entry.user} is out of office from {since} until {until}. In this time you are notified instead of "
        f"{entry.user}, {scope}.{entered_by}\n{_ask(row.actor)}",
    )


def _ask(actor: User) -> str:
    return f"If you cannot, ask {actor} to choose somebody else."
