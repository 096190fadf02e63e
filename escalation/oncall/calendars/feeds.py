"""Create the secret addresses of calendar feeds, and write the calendars that are read there."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from accounts.models.groups import Group, GroupRole
from accounts.models.users import User
from accounts.selectors import nested_groups, visible_groups
from escalation.models.on_call import CalendarFeed
from escalation.oncall.calendars.feed_cache import cached
from escalation.oncall.calendars.text import FeedEvent, write
from escalation.oncall.rota.who_is_on_call import OnCall, RotaPeriod
from escalation.oncall.rotas import group_rotas
from escalation.oncall.selectors import OnCallPeriod, on_call_periods
from heartbeat_project.kernel.ids import new_token

FEED_BEHIND: Final = timedelta(days=14)
FEED_AHEAD: Final = timedelta(days=365)
MAX_FEED_EVENTS: Final = 5_000  # of one feed; later ones are left out


def feed_of(*, user: User, group: Group | None = None) -> CalendarFeed:
    """Return a user's feed of their own on-call periods or of a group's; create it if there is none."""
    feed, _ = CalendarFeed.objects.get_or_create(user=user, group=group, defaults={"token": new_token()})
    return feed


def rotate_feed(feed: CalendarFeed) -> CalendarFeed:
    """Give the feed a new secret address; the old one answers 404 from then on."""
    feed.token = new_token()
    feed.save(update_fields=["token"])
    return feed


def feed_text(token: str, *, now: datetime) -> bytes | None:
    """Return the calendar at a secret address as iCalendar text.

    None if there is no such feed, or if its user was deactivated or may no longer see the group.
    """
    feed = CalendarFeed.objects.select_related("user", "group").filter(user__is_active=True, token=token).first()
    if feed is None or feed.user is None:
        return None
    user, group = feed.user, feed.group
    if group is not None and not visible_groups(user).filter(pk=group.pk).exists():
        return None

    def compute() -> bytes:
        starts_at, ends_at = now - FEED_BEHIND, now + FEED_AHEAD
        if group is None:
            events = _events_of_person(user, starts_at=starts_at, ends_at=ends_at, now=now)
        else:
            events = _events_of_group(group, starts_at=starts_at, ends_at=ends_at, now=now)
        return write(f"On call: {group or user}", events, now=now)

    return cached(token, compute, now=now)


def _events_of_person(user: User, *, starts_at: datetime, ends_at: datetime, now: datetime) -> list[FeedEvent]:
    periods = on_call_periods([user.pk], starts_at=starts_at, ends_at=ends_at, near=now)[user.pk]
    return [_event_of_person(user, period) for period in periods[:MAX_FEED_EVENTS]]


def _event_of_person(user: User, period: OnCallPeriod) -> FeedEvent:
    covered_key, covered_name = "", ""
    if period.covering is not None:
        covered_key, covered_name = f"-for-{period.covering.pk}", f" for {period.covering}"
    begins = f"{period.starts_at:%Y%m%dT%H%M%S}"
    return FeedEvent(
        key=f"{period.group.pk}-{period.role}-{begins}{covered_key}@{user.pk}.heartbeat",
        summary=f"On call: {period.group} ({GroupRole(period.role).label}){covered_name}",
        starts_at=period.starts_at,
        ends_at=period.ends_at,
    )


def _events_of_group(group: Group, *, starts_at: datetime, ends_at: datetime, now: datetime) -> list[FeedEvent]:
    """Return who is on call in a group and in the groups nested in it, each group in events of its own."""
    group_ids = nested_groups([group.pk])[group.pk]
    read = group_rotas(group_ids, starts_at=starts_at, ends_at=ends_at)
    starts_at, ends_at = read.affordable(starts_at, ends_at, now=now)
    entries: list[tuple[RotaPeriod, int]] = []
    for group_id in group_ids:
        entries += [(period, group_id) for period in _merge_periods(read[group_id].rota_periods(starts_at, ends_at))]
    entries.sort(key=lambda entry: entry[0].starts_at)
    del entries[MAX_FEED_EVENTS:]
    user_ids: set[int] = set()
    for rota_period, _ in entries:
        user_ids.update(on.person for on in rota_period.on)
        user_ids.update(on.role_holder.user for on in rota_period.on)
    users, groups = User.objects.in_bulk(user_ids), Group.objects.in_bulk(group_ids)

    def key_of(group_id: int) -> str:
        return str(group.pk) if group_id == group.pk else f"{group.pk}-{group_id}"

    def describe(on: OnCall, group_id: int) -> str:
        cover = f" for {users[on.covering]}" if on.covering else ""
        nested = "" if group_id == group.pk else f" of {groups[group_id]}"
        return f"{users[on.person]}{cover} ({GroupRole(on.role_holder.role).label}{nested})"

    return [
        FeedEvent(
            key=f"{key_of(group_id)}-{rota_period.starts_at:%Y%m%dT%H%M%S}@group.heartbeat",
            summary=", ".join(describe(on, group_id) for on in rota_period.on),
            starts_at=rota_period.starts_at,
            ends_at=rota_period.ends_at,
        )
        for rota_period, group_id in entries
    ]


def _merge_periods(rota_periods: Iterable[RotaPeriod]) -> list[RotaPeriod]:
    """Merge periods in which the same people are on call by the same shift; leave out those in which nobody is."""
    merged: list[RotaPeriod] = []
    for rota_period in rota_periods:
        if merged and merged[-1].ends_at == rota_period.starts_at and merged[-1].same_people(rota_period):
            merged[-1] = replace(merged[-1], ends_at=rota_period.ends_at)
        elif rota_period.on:
            merged.append(rota_period)
    return merged
