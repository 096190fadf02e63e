"""Read the calendars of shifts when they are due; keep the last good copy if one cannot be read."""

import heapq
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Min, Value
from django.db.models.functions import Coalesce

from accounts.models.groups import GroupRole
from accounts.models.organizations import Organization
from accounts.models.users import User
from escalation.models.on_call import Shift, ShiftEntry
from escalation.oncall.calendars.fetch import NotFetched, fetch
from escalation.oncall.calendars.names import Members, Person
from escalation.oncall.calendars.text import Occurrence, TooCostly, Unreadable, read
from heartbeat_project.kernel.database import release_connection

log = logging.getLogger(__name__)

READ_EVERY: Final = timedelta(minutes=15)
# The interval of each calendar is up to this much longer, so that calendars that were due together spread over time.
SPREAD_SECONDS: Final = 120
TRY_AGAIN_AFTER: Final = timedelta(minutes=5)
# The pause after a failure grows with the time since the first one, up to these; costly calendars wait for longer.
LONGEST_PAUSE: Final = READ_EVERY
LONGEST_PAUSE_OF_COSTLY: Final = timedelta(hours=1)
BEHIND: Final = timedelta(days=1)  # events that ended up to a day ago are kept, for pages that show the past
AHEAD: Final = timedelta(days=120)
MAX_BYTES: Final = 2 * 1024 * 1024
SECONDS: Final = 15.0  # for the whole download
# Entries stored for one calendar, for all of a group and for all of an organization; later ones are left out. The
# second number is the room that each calendar always has: without any entry nobody would be on call.
MAX_ENTRIES: Final = 5_000
MAX_OF_GROUP, ALWAYS_IN_GROUP = 20_000, 200
MAX_ORGANIZATION_PERIODS, ALWAYS_IN_ORGANIZATION = 50_000, 20
MAX_AT_ONCE: Final = 100  # people on call together by one calendar, as for any shift
MAX_LETTERS: Final = 300_000  # characters of event summaries that are searched for names, each text once
MAX_COLLECTED: Final = 20_000  # entries of one calendar that are built before the earliest are chosen
MAX_LISTED: Final = 20  # events without a member that a remark names; the others are counted


def read_due_calendars(*, now: datetime, limit: int = 20) -> int:
    """Read due calendars, at most `limit`, organizations in turn; return the number that was read successfully."""
    served: dict[int, int] = {}
    successful = 0
    for turn in range(limit):
        shift = claim_calendar(now=now, served=served)
        if shift is None:
            break
        served[shift.group.organization_id] = turn + 1
        successful += read_calendar(shift, now=now)
    return successful


def claim_calendar(*, now: datetime, served: Mapping[int, float], busy: Collection[int] = ()) -> Shift | None:
    """Claim the longest due calendar of the organization whose turn it is; return its shift, or None if none is due.

    Organizations in `busy` wait. Of the others the one with the lowest value in `served` has the turn; absent means 0.
    The claim postpones the due time within the row lock, so that only one of two workers reads the calendar, and a
    worker that dies does not keep it.
    """
    due = Shift.objects.filter(kind=Shift.Kind.CALENDAR, calendar_due_at__lte=now).order_by()
    waiting = (
        due.exclude(group__organization__in=busy).values_list("group__organization").annotate(Min("calendar_due_at"))
    )
    for organization, _ in sorted(waiting, key=lambda row: (served.get(row[0], 0), row[1])):
        with transaction.atomic():
            locked = due.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("group")
            shift = locked.filter(group__organization=organization).order_by("calendar_due_at").first()
            if shift is not None:
                shift.calendar_due_at = now + TRY_AGAIN_AFTER
                shift.save(update_fields=["calendar_due_at"])
                return shift
    return None


def read_calendar(shift: Shift, *, now: datetime) -> bool:
    """Read the calendar of a shift now and return whether that worked; if not, keep the old entries and note why."""
    if shift.ends_at is not None and shift.ends_at <= now:
        # Nobody is on call by an ended shift, so nobody needs to know whether its calendar works.
        _postpone_ended(shift, now=now)
        return False
    release_connection()  # a slow server must not keep a database connection
    try:
        text = fetch(shift.calendar_url, max_bytes=MAX_BYTES, seconds=SECONDS)
        calendar = read(text, zone=ZoneInfo(shift.time_zone), starts_at=now - BEHIND, ends_at=now + AHEAD)
    except (NotFetched, Unreadable) as error:
        note_failure(shift, error, now=now)
        return False
    entries, remarks = _entries(shift, calendar.occurrences)
    remarks = [*calendar.remarks, *remarks]
    kept = _few_at_once(entries)
    if len(kept) < len(entries):
        remarks.append(f"More than {MAX_AT_ONCE} events at the same time: {len(entries) - len(kept)} are left out.")
    with transaction.atomic():
        # The calendars of an organization share the room for entries, so two of them must not count at the same time.
        Organization.objects.select_for_update(no_key=True).get(pk=shift.group.organization_id)
        room = _room(shift)
        kept, first_left_out = _earliest(kept, room, now=now)
        if first_left_out is not None:
            remarks.append(_too_many(first_left_out, room))
        # Only if the address is unchanged: somebody may have edited the shift during the download.
        fresh = Shift.objects.select_for_update(no_key=True).filter(pk=shift.pk, calendar_url=shift.calendar_url)
        stored = fresh.first()
        if stored is None:
            return False
        # A calendar that was read but names no member leaves nobody on call: Managers are notified as if it had failed.
        names_nobody = bool(calendar.occurrences) and not entries
        goes_on = names_nobody and stored.names_nobody
        failing_since = None
        if names_nobody:
            failing_since = stored.calendar_failing_since if goes_on else now
        reported_at = stored.calendar_reported_at if goes_on else None
        ShiftEntry.objects.filter(shift=shift).delete()
        ShiftEntry.objects.bulk_create(kept, batch_size=2_000)
        fresh.update(
            calendar_read_at=now,
            calendar_due_at=now + READ_EVERY + timedelta(seconds=shift.pk * 37 % SPREAD_SECONDS),
            calendar_error=" ".join(remarks).replace("\x00", ""),
            calendar_failing_since=failing_since,
            calendar_reported_at=reported_at,
        )
    return True


def _postpone_ended(shift: Shift, *, now: datetime) -> None:
    """Clear the failure of an ended shift, and look at it again later, in case that its end is changed."""
    Shift.objects.filter(pk=shift.pk, ends_at__lte=now).update(
        calendar_due_at=now + READ_EVERY, calendar_error="", calendar_failing_since=None, calendar_reported_at=None
    )


def _few_at_once(entries: Iterable[ShiftEntry]) -> list[ShiftEntry]:
    """Return the entries ordered by start, without those that begin while `MAX_AT_ONCE` others are running."""
    kept: list[ShiftEntry] = []
    ends: list[datetime] = []  # a heap of the ends of running entries
    for entry in sorted(entries, key=lambda entry: entry.starts_at):
        while ends and ends[0] <= entry.starts_at:
            heapq.heappop(ends)
        if len(ends) < MAX_AT_ONCE:
            heapq.heappush(ends, entry.ends_at)
            kept.append(entry)
    return kept


def _earliest(entries: Sequence[ShiftEntry], room: int, *, now: datetime) -> tuple[list[ShiftEntry], ShiftEntry | None]:
    """Return the earliest entries for which there is room, and the first one left out, if any.

    Entries that have ended are dropped first: those of the past day could fill the room, and nobody would be on call.
    """
    needed = [entry for entry in entries if entry.ends_at > now]
    left_out = needed[room] if len(needed) > room else None
    needed = needed[:room]
    ended = [entry for entry in entries if entry.ends_at <= now]
    # Of those that have ended the latest are kept, as pages show the recent past.
    return [*ended[max(0, len(ended) + len(needed) - room) :], *needed], left_out


def _room(shift: Shift) -> int:
    """Return how many entries of the shift's calendar may be stored, beside those of other calendars."""
    others = ShiftEntry.objects.exclude(shift=shift)
    of_group = others.filter(shift__group=shift.group_id).count()
    of_all = others.filter(shift__group__organization=shift.group.organization_id).count()
    in_group = max(MAX_OF_GROUP - of_group, ALWAYS_IN_GROUP)
    in_organization = max(MAX_ORGANIZATION_PERIODS - of_all, ALWAYS_IN_ORGANIZATION)
    return min(MAX_ENTRIES, in_group, in_organization)


def _too_many(first: ShiftEntry, room: int) -> str:
    day = f"{first.starts_at:%Y-%m-%d}"
    if room == MAX_ENTRIES:
        return f"The calendar has more than {MAX_ENTRIES} events: those from {day} on are left out for now."
    return (
        f"The calendars of this group or organization have too many events: there is room for {room} of this one, "
        f"and those from {day} on are left out for now."
    )


def note_failure(shift: Shift, error: Exception, *, now: datetime) -> None:
    """Store why a calendar was not read, and postpone the next try by the time it has been failing, within limits."""
    log.warning("could not read the calendar of shift %s: %s", shift.pk, error)
    longest = LONGEST_PAUSE_OF_COSTLY if isinstance(error, TooCostly) else LONGEST_PAUSE
    pause = min(longest, max(TRY_AGAIN_AFTER, now - (shift.calendar_failing_since or now)))
    Shift.objects.filter(pk=shift.pk, calendar_url=shift.calendar_url).update(
        calendar_error=str(error).replace("\x00", ""),
        calendar_failing_since=Coalesce("calendar_failing_since", Value(now)),
        calendar_due_at=now + pause,
    )


def _entries(shift: Shift, occurrences: Iterable[Occurrence]) -> tuple[list[ShiftEntry], list[str]]:
    """Return the entries of the members whom the events mean, and remarks about events that mean nobody.

    Matching names takes processor time from the other threads of this process, so each text is matched once, and at
    most `MAX_LETTERS` characters are.
    """
    rows = User.objects.filter(memberships__group=shift.group_id, is_active=True).order_by("id").distinct()
    people = [Person(user.pk, user.email, user.name) for user in rows]
    members = Members(people, common=[shift.name, shift.group.name])
    entries: dict[tuple[int, str, datetime, datetime], ShiftEntry] = {}
    known: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[int]] = {}
    unknown: list[str] = []
    letters = 0
    for occurrence in occurrences:
        words = (occurrence.summary, occurrence.emails, occurrence.declined)
        if words not in known:
            letters += len(occurrence.summary)
            user_ids = members.find(occurrence.summary, emails=occurrence.emails, declined=occurrence.declined)
            # One more than may be on call together, so that the remark about people left out appears.
            known[words] = user_ids[: MAX_AT_ONCE + 1]
        role = GroupRole.SECONDARY if "secondary" in occurrence.summary.lower() else GroupRole.PRIMARY
        for person in known[words]:
            # The key makes one entry of an event that the calendar has twice.
            entries[person, role, occurrence.starts_at, occurrence.ends_at] = ShiftEntry(
                shift=shift, user_id=person, role=role, starts_at=occurrence.starts_at, ends_at=occurrence.ends_at
            )
        if not known[words]:
            unknown.append(occurrence.summary or ", ".join(occurrence.emails) or "without a name")
        if letters > MAX_LETTERS or len(entries) > MAX_COLLECTED:
            unread = (
                f"Events after {occurrence.starts_at:%Y-%m-%d} are not read: the calendar has too many before them."
            )
            break
    else:
        unread = ""
    remarks = _remarks_about_unknown(list(dict.fromkeys(unknown)))
    if unread:
        remarks.append(unread)
    return list(entries.values()), remarks


def _remarks_about_unknown(words: Sequence[str]) -> list[str]:
    if not words:
        return []
    names = ", ".join(f"“{word[:60]}”" for word in words[:MAX_LISTED])
    count = len(words) - MAX_LISTED
    others = f" and {count} others" if count > 0 else ""
    return [f"No active member of the group was found in: {names}{others}."]
