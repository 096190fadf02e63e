"""Remind people of their duty some hours before it begins, once for each beginning."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final

from django.db import transaction
from django.db.models import Q

from accounts.models import GroupMember, GroupRole, User
from escalation.models import Notification
from escalation.on_call import Turn, turns
from escalation.services.last_resort import email_to, official_addresses
from escalation.shift_models import DutyReminder, DutySettings, OutOfOffice, Shift
from escalation.wording import moment, zone
from heartbeat_project.kernel.doorbell import ring
from heartbeat_project.kernel.errors import FieldError

MOST_HOURS: Final = Decimal(24 * 14)
DEFAULT_HOURS: Final = Decimal(12)
ROUTINE: Final = timedelta(days=1)


def set_reminder(user: User, *, hours: Decimal | None) -> DutySettings:
    """Set how many hours before their duty the person is reminded; None: not at all. Raises FieldError."""
    if hours is not None and not 0 < hours <= MOST_HOURS:
        raise FieldError("remind_hours", f"Enter hours from 0.1 to {MOST_HOURS}, or nothing.")
    settings, _ = DutySettings.objects.update_or_create(user=user, defaults={"remind_hours": hours})
    return settings


def remind_of_duty(*, now: datetime) -> int:
    """Write a notice for each duty that begins within the hours its person has set; return how many were written.

    A duty begins where the person begins to be told: also in the middle of a turn, when they begin to cover somebody,
    and when they are back themselves. Who has chosen nothing is not reminded each morning: only of a duty that begins
    a day or more after the one before in the same group.
    """
    wishes: dict[timedelta, dict[int, User]] = defaultdict(dict)
    for wish in DutySettings.objects.filter(remind_hours__isnull=False, user__is_active=True).select_related("user"):
        wishes[timedelta(hours=float(wish.remind_hours or 0))][wish.user_id] = wish.user
    written = sum(_remind_all(people, ahead=ahead, quiet=timedelta(0), now=now) for ahead, people in wishes.items())
    return written + _remind_all(_undecided(now=now), ahead=hours(DEFAULT_HOURS), quiet=ROUTINE, now=now)


def hours(number: Decimal) -> timedelta:
    """Return so many hours."""
    return timedelta(hours=float(number))


def wished_hours(user: User) -> Decimal | None:
    """Return how many hours before their duty the person is reminded; None: not at all."""
    settings = DutySettings.objects.filter(user=user).first()
    return settings.remind_hours if settings else DEFAULT_HOURS


def _undecided(*, now: datetime) -> dict[int, User]:
    """Return the active people who have chosen nothing and may have turns: members where shifts are, and covers."""
    members = GroupMember.objects.filter(group__in=Shift.objects.values("group"))
    covers = OutOfOffice.objects.filter(ends_at__gt=now)
    users = User.objects.filter(
        Q(pk__in=members.values("user")) | Q(pk__in=covers.values("cover")), is_active=True, duty_settings=None
    )
    return users.in_bulk()


def _remind_all(people: Mapping[int, User], *, ahead: timedelta, quiet: timedelta, now: datetime) -> int:
    """Remind these people of what begins within a time ahead; not where the duty before ended less than `quiet` ago."""
    if not people:
        return 0
    found = turns(people, starts_at=now - quiet, ends_at=now + ahead + timedelta(microseconds=1))
    return sum(
        _remind(people[user_id], list(beginning), now=now)
        for user_id, mine in found.items()
        for (group_id, role, starts_at), beginning in groupby(mine, key=_beginning)
        if now < starts_at <= now + ahead
        and not any(
            (turn.group.pk, turn.role) == (group_id, role)
            and turn.ends_at is not None
            and starts_at - quiet < turn.ends_at <= starts_at
            for turn in mine
        )
    )


def _beginning(turn: Turn) -> tuple[int, str, datetime]:
    """Return what a person is reminded of once; turns in order that share it stand together."""
    return turn.group.pk, turn.role, turn.starts_at


def _for_whom(beginning: Sequence[Turn]) -> str:
    """Say for whom the person stands in; nothing where the duty is their own alone."""
    names = [str(turn.covering) for turn in beginning if turn.covering]
    also = "also " if len(names) < len(beginning) else ""
    return f", {also}for {' and '.join(names)}" if names else ""


def _remind(user: User, beginning: Sequence[Turn], *, now: datetime) -> bool:
    """Write the notice unless it was written before: the unique row and the notice are one transaction.

    `beginning` are the turns that begin together in a group and a role: one's own, and those of people one covers.
    """
    turn, whom = beginning[0], _for_whom(beginning)
    with transaction.atomic():
        _, fresh = DutyReminder.objects.get_or_create(
            user=user, group=turn.group, role=turn.role, starts_at=turn.starts_at, defaults={"created_at": now}
        )
        method = official_addresses([user]).get(user.pk) if fresh else None
        if method is None:
            return False
        begins = moment(turn.starts_at, zone=zone(user.time_zone))
        notice = email_to(method, kind=Notification.Kind.NOTICE, organization_id=user.organization_id, now=now)
        notice.subject = f"You are on call for {turn.group} from {begins}{whom}"[:300]
        notice.text = (
            f"You are on call for {turn.group} as {GroupRole(turn.role).label} from {begins} ({turn.shift.name})"
            f"{whom}.\n"
            "If you cannot be, enter a cover under “Out of office”, or ask a Manager of the group for an override."
        )
        notice.save()
        ring("escalation.deliver_due", queue="delivery")
    return True
