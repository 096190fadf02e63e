"""Mails to Managers about calendars that could not be read for a while, or that name no member of their group."""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from accounts.models.users import User
from accounts.selectors import fallback_recipients, managers_of
from accounts.services.restores import unless_held
from escalation.engine.notices import Letter, write_letters
from escalation.models.on_call import Shift
from heartbeat_project.kernel.wording import moment, zone

# How long a calendar fails before it is reported: many servers are away for a few minutes.
REPORT_AFTER: Final = timedelta(minutes=30)


@unless_held(0)
def report_unreadable_calendars(*, now: datetime) -> int:
    """Write mails to the Managers of groups with a failing calendar; return the number of mails.

    Each incident is reported once: `calendar_reported_at` stays set until the calendar works again. If a group has no
    Manager, the Owners and App Admins get the mail.
    """
    written = 0
    failing = Shift.objects.filter(calendar_failing_since__lte=now - REPORT_AFTER, calendar_reported_at=None)
    with transaction.atomic():
        locked = failing.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("group")
        shifts = list(locked.order_by("id"))
        Shift.objects.filter(pk__in=[shift.pk for shift in shifts]).update(calendar_reported_at=now)
        managers = managers_of({shift.group_id for shift in shifts})
        fallback = fallback_recipients(
            {shift.group.organization_id for shift in shifts if not managers[shift.group_id]}
        )
        for shift in shifts:
            readers = managers[shift.group_id] or fallback[shift.group.organization_id]
            written += write_letters([_report(shift, reader) for reader in readers], now=now)
    return written


def _report(shift: Shift, reader: User) -> Letter:
    assert shift.calendar_failing_since  # noqa: S101 - a condition of the query above
    time_zone = zone(reader.time_zone)
    since = moment(shift.calendar_failing_since, zone=time_zone)
    if shift.names_nobody:
        trouble, consequence = f"names no member of the group since {since}.", "This shift has nobody on call."
        error_label = "What was found"
        remedy = (
            "Write people in the calendar by their e-mail address or whole name, make them members of the group, or"
        )
    else:
        trouble = f"could not be read since {since}."
        consequence = "It was never read, so this shift has nobody on call."
        error_label = "The last error"
        if shift.calendar_read_at:
            read_at = moment(shift.calendar_read_at, zone=time_zone)
            consequence = f"Who is on call comes from the copy of {read_at} until it can be read again."
        remedy = "Check the address of the calendar at the shift, or"
    return Letter(
        reader,
        f"The calendar of the shift “{shift}” of {shift.group} {shift.calendar_trouble}",
        f"The calendar of the shift “{shift}” of {shift.group} {trouble}\n"
        f"{error_label}: {shift.calendar_error}\n"
        f"{consequence}\n"
        f"{remedy} put people on the shift by hand.",
    )
