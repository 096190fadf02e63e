"""Calendars of shifts: read when they are due, the last good copy kept; and the secret addresses of our own feeds."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Q, Value
from django.db.models.functions import Coalesce

from accounts.models import Group, GroupRole, User
from accounts.selectors import nested_groups
from escalation.calendars import Duty, Occurrence, Unreadable, read, write
from escalation.on_call import turns
from escalation.rosters import rosters
from escalation.rota.answers import OnCall, Span
from escalation.services.fetching import NotFetched, fetch
from escalation.services.notices import Letter, write_letters
from escalation.services.people import managers_of, stewards
from escalation.shift_models import CalendarFeed, Shift, ShiftEntry
from escalation.wording import moment, zone
from heartbeat_project.kernel.ids import new_token

log = logging.getLogger(__name__)

READ_EVERY: Final = timedelta(minutes=15)
TRY_AGAIN_AFTER: Final = timedelta(minutes=5)
BEHIND: Final = timedelta(days=1)
AHEAD: Final = timedelta(days=120)
MOST_BYTES: Final = 2 * 1024 * 1024
SECONDS: Final = 15.0
REPORT_AFTER: Final = timedelta(minutes=30)
FEED_BEHIND: Final = timedelta(days=14)
FEED_AHEAD: Final = timedelta(days=365)
MOST_DUTIES: Final = 5_000  # in one feed; the earliest


def read_due_calendars(*, now: datetime, limit: int = 20) -> int:
    """Read the calendars that are due, longest first; return how many were read well.

    A calendar is claimed by moving its due time, so that two workers read it once; reading is outside transactions.
    """
    well = 0
    for _ in range(limit):
        with transaction.atomic():
            due = Shift.objects.select_for_update(skip_locked=True, no_key=True).filter(
                kind=Shift.Kind.CALENDAR, calendar_due_at__lte=now
            )
            shift = due.order_by("calendar_due_at").first()
            if shift is None:
                return well
            shift.calendar_due_at = now + TRY_AGAIN_AFTER
            shift.save(update_fields=["calendar_due_at"])
        well += read_calendar(shift, now=now)
    return well


def read_calendar(shift: Shift, *, now: datetime) -> bool:
    """Read the shift's calendar now; on a failure keep the copy that there is, and say on the shift what failed."""
    try:
        text = fetch(shift.calendar_url, most_bytes=MOST_BYTES, seconds=SECONDS)
        found = read(text, zone=ZoneInfo(shift.time_zone), starts_at=now - BEHIND, ends_at=now + AHEAD)
    except (NotFetched, Unreadable) as error:
        log.warning("the calendar of shift %s was not read: %s", shift.pk, error)
        said = str(error).replace("\x00", "")
        Shift.objects.filter(pk=shift.pk, calendar_url=shift.calendar_url).update(
            calendar_error=said, calendar_failing_since=Coalesce("calendar_failing_since", Value(now))
        )
        return False
    entries, unknown = _entries(shift, found)
    with transaction.atomic():
        # Only if the address is still that one: somebody may have changed it while it was read.
        fresh = Shift.objects.select_for_update(no_key=True).filter(pk=shift.pk, calendar_url=shift.calendar_url)
        if fresh.first() is None:
            return False
        ShiftEntry.objects.filter(shift=shift).delete()
        ShiftEntry.objects.bulk_create(entries, batch_size=2_000)
        fresh.update(
            calendar_read_at=now,
            calendar_due_at=now + READ_EVERY,
            calendar_error=_unknown(unknown),
            calendar_failing_since=None,
            calendar_reported_at=None,
        )
    return True


def report_unreadable_calendars(*, now: datetime) -> int:
    """Write to the Managers of each group whose calendar could not be read for a while; return how many letters.

    Once for each incident: the row says that it was reported until the calendar was read again. Where a group has no
    Manager, the Owners and App Admins are written to.
    """
    written = 0
    failing = Shift.objects.filter(calendar_failing_since__lte=now - REPORT_AFTER, calendar_reported_at=None)
    with transaction.atomic():
        locked = failing.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("group")
        shifts = list(locked.order_by("id"))
        Shift.objects.filter(pk__in=[shift.pk for shift in shifts]).update(calendar_reported_at=now)
        managers = managers_of({shift.group_id for shift in shifts})
        others = stewards({shift.group.organization_id for shift in shifts if not managers[shift.group_id]})
        for shift in shifts:
            readers = managers[shift.group_id] or others[shift.group.organization_id]
            written += write_letters([_report(shift, reader) for reader in readers], now=now)
    return written


def _report(shift: Shift, reader: User) -> Letter:
    assert shift.calendar_failing_since  # noqa: S101 - that is why it is reported
    here = zone(reader.time_zone)
    copy = (
        f"Who is on call comes from the copy of {moment(shift.calendar_read_at, zone=here)} until it can be read again."
        if shift.calendar_read_at
        else "It was never read, so this shift has nobody on call."
    )
    return Letter(
        reader,
        f"The calendar of the shift “{shift}” of {shift.group} cannot be read",
        f"The calendar of the shift “{shift}” of {shift.group} cannot be read since "
        f"{moment(shift.calendar_failing_since, zone=here)}.\n"
        f"The last error: {shift.calendar_error}\n"
        f"{copy}\n"
        "Check the address of the calendar at the shift, or put people on the shift by hand.",
    )


def _entries(shift: Shift, found: Iterable[Occurrence]) -> tuple[list[ShiftEntry], list[str]]:
    """Return who of the group is meant by each event, and the words of the events that mean nobody."""
    members = list(User.objects.filter(memberships__group=shift.group_id, is_active=True).distinct())
    entries, unknown = [], []
    for occurrence in found:
        meant = who_is_meant(occurrence, members)
        role = GroupRole.SECONDARY if "secondary" in occurrence.summary.lower() else GroupRole.PRIMARY
        entries += [
            ShiftEntry(shift=shift, user=user, role=role, starts_at=occurrence.starts_at, ends_at=occurrence.ends_at)
            for user in meant
        ]
        if not meant:
            unknown.append(occurrence.summary or ", ".join(occurrence.emails) or "without a name")
    return entries, list(dict.fromkeys(unknown))


def who_is_meant(occurrence: Occurrence, members: Iterable[User]) -> list[User]:
    """Return the members who attend by e-mail; without such, those whose e-mail or name stands in the event's words."""
    people = list(members)
    attending = [user for user in people if user.email in occurrence.emails]
    if attending:
        return attending
    words = (
        f" {' '.join(''.join(c if c.isalnum() or c in '@.-_+' else ' ' for c in occurrence.summary.lower()).split())} "
    )
    return [
        user
        for user in people
        if f" {user.email} " in words or (user.name and f" {' '.join(user.name.lower().split())} " in words)
    ]


def _unknown(words: list[str]) -> str:
    if not words:
        return ""
    shown = ", ".join(f"“{word[:60]}”" for word in words[:5])
    return f"No active member of the group was found in: {shown}{' and others' if len(words) > 5 else ''}."


def feed_of(*, user: User | None = None, group: Group | None = None) -> CalendarFeed:
    """Return the feed of a person or a group, made when it is first asked for."""
    feed, _ = CalendarFeed.objects.get_or_create(user=user, group=group, defaults={"token": new_token()})
    return feed


def rotate_feed(feed: CalendarFeed) -> CalendarFeed:
    """Give the feed a new secret address; the old one answers 404 from now on."""
    feed.token = new_token()
    feed.save(update_fields=["token"])
    return feed


def feed_text(token: str, *, now: datetime) -> bytes | None:
    """Return the calendar at a secret address; None when there is none, or its person was deactivated."""
    feed = (
        CalendarFeed.objects.select_related("user", "group")
        .filter(Q(user__is_active=True) | Q(user=None), token=token)
        .first()
    )
    if feed is None:
        return None
    span = {"starts_at": now - FEED_BEHIND, "ends_at": now + FEED_AHEAD}
    if feed.user is not None:
        return write(f"On call: {feed.user}", _duties_of_person(feed.user, **span), now=now)
    assert feed.group is not None  # noqa: S101 - a constraint of the table
    return write(f"On call: {feed.group}", _duties_of_group(feed.group, **span), now=now)


def _duties_of_person(user: User, *, starts_at: datetime, ends_at: datetime) -> list[Duty]:
    return [
        Duty(
            key=f"{turn.group.pk}-{turn.role}-{turn.starts_at:%Y%m%dT%H%M%S}"
            f"{f'-for-{turn.covering.pk}' if turn.covering else ''}@{user.pk}.heartbeat",
            summary=f"On call: {turn.group} ({GroupRole(turn.role).label})"
            f"{f' for {turn.covering}' if turn.covering else ''}",
            starts_at=turn.starts_at,
            ends_at=turn.ends_at,
        )
        for turn in turns([user.pk], starts_at=starts_at, ends_at=ends_at)[user.pk][:MOST_DUTIES]
    ]


def _duties_of_group(group: Group, *, starts_at: datetime, ends_at: datetime) -> list[Duty]:
    """Return who is on call in a group and in those within it, each group's as lines of their own."""
    group_ids = nested_groups([group.pk])[group.pk]
    read = rosters(group_ids, starts_at=starts_at, ends_at=ends_at)
    found = [
        (period, group_id)
        for group_id in group_ids
        for period in _people_over(read[group_id].spans(starts_at, ends_at))
    ]
    found.sort(key=lambda one: one[0].starts_at)
    del found[MOST_DUTIES:]
    people = {person for span, _ in found for on in span.on for person in (on.person, on.duty.user)}
    users, groups = User.objects.in_bulk(people), Group.objects.in_bulk(group_ids)

    def place(within: int) -> str:
        return str(group.pk) if within == group.pk else f"{group.pk}-{within}"

    def said(on: OnCall, within: int) -> str:
        cover = f" for {users[on.covering]}" if on.covering else ""
        inner = "" if within == group.pk else f" of {groups[within]}"
        return f"{users[on.person]}{cover} ({GroupRole(on.duty.role).label}{inner})"

    return [
        Duty(
            key=f"{place(within)}-{span.starts_at:%Y%m%dT%H%M%S}@group.heartbeat",
            summary=", ".join(said(on, within) for on in span.on),
            starts_at=span.starts_at,
            ends_at=span.ends_at,
        )
        for span, within in found
    ]


def _people_over(spans: Iterable[Span]) -> list[Span]:
    """Join spans in which the same people are on call by the same shift; leave out those in which nobody is."""
    found: list[Span] = []
    for span in spans:
        if found and found[-1].ends_at == span.starts_at and found[-1].same_people(span):
            found[-1] = replace(found[-1], ends_at=span.ends_at)
        elif span.on:
            found.append(span)
    return found
