"""Reminders of on-call shifts: a notice some hours before a person goes on call, once for each time they do."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.models.groups import GroupMember, GroupRole
from accounts.models.users import User
from accounts.services.restores import unless_held
from escalation.engine.notices import email_to, official_addresses
from escalation.models.notifications import Notification
from escalation.models.on_call import OnCallReminder, OnCallReminderSettings, OutOfOffice, Shift
from escalation.oncall.selectors import OnCallPeriod, on_call_periods, on_call_periods_of
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import moment, zone

# The longest time before a shift that a person can choose.
MAX_HOURS: Final = Decimal(24 * 14)
# How long before a shift people are reminded who have chosen nothing.
DEFAULT_HOURS: Final = Decimal(12)
# People who have chosen nothing are not reminded of a shift that begins sooner than this after their last one: that is
# routine for them.
ROUTINE: Final = timedelta(days=1)
# People are grouped by the next of these times: everybody may choose another one, but rotas are read once for a group.
LOOKED_AHEAD: Final = [timedelta(hours=hours) for hours in (12, 48, 24 * 14)]
# Number of on-call changes that are computed for each organization in one run.
MAX_CHANGES: Final = 5_000


@dataclass(frozen=True, slots=True)
class _Wish:
    """How long before an on-call shift begins a person is reminded."""

    user: User
    ahead: timedelta


def set_reminder(user: User, *, hours: Decimal | None) -> OnCallReminderSettings:
    """Set how many hours before their on-call shifts the person is reminded; None turns reminders off.

    Raises FieldError unless hours are from 0.1 to MAX_HOURS.
    """
    if hours is not None and not 0 < hours <= MAX_HOURS:
        raise FieldError("remind_hours", f"Enter hours from 0.1 to {MAX_HOURS}, or nothing.")
    reminder_settings, _ = OnCallReminderSettings.objects.update_or_create(user=user, defaults={"remind_hours": hours})
    return reminder_settings


@unless_held(0)
def remind_before_shifts(*, now: datetime) -> int:
    """Write a notice for each on-call shift that begins within the hours that its person has set; return the number.

    An on-call shift begins when the person begins to be notified: also in the middle of a shift, when they begin to
    cover somebody, and when they come back themselves. People who have chosen nothing are not reminded every morning,
    but only of an on-call shift that begins ROUTINE or more after their last one in the same group.
    """
    wishes: dict[timedelta, dict[int, _Wish]] = defaultdict(dict)
    enabled = OnCallReminderSettings.objects.filter(remind_hours__isnull=False, user__is_active=True)
    for reminder_settings in enabled.select_related("user"):
        ahead = hours(reminder_settings.remind_hours or Decimal(0))
        wishes[_looked_ahead(ahead)][reminder_settings.user_id] = _Wish(reminder_settings.user, ahead)
    written = sum(_remind_all(people, quiet=timedelta(0), now=now) for people in wishes.values())
    undecided = {user.pk: _Wish(user, hours(DEFAULT_HOURS)) for user in _undecided(now=now)}
    return written + _remind_all(undecided, quiet=ROUTINE, now=now)


def _looked_ahead(ahead: timedelta) -> timedelta:
    """Return the shortest of LOOKED_AHEAD that is not shorter than this time."""
    return next(time for time in LOOKED_AHEAD if time >= ahead)


def hours(number: Decimal) -> timedelta:
    """Return this number of hours."""
    return timedelta(hours=float(number))


def wished_hours(user: User) -> Decimal | None:
    """Return how many hours before their on-call shifts the person is reminded; None if they are not."""
    reminder_settings = OnCallReminderSettings.objects.filter(user=user).first()
    return reminder_settings.remind_hours if reminder_settings else DEFAULT_HOURS


def _undecided(*, now: datetime) -> list[User]:
    """Return active people who have chosen nothing and may be on call: members of groups with shifts, and covers."""
    members = GroupMember.objects.filter(group__in=Shift.objects.values("group"))
    covers = OutOfOffice.objects.filter(ends_at__gt=now)
    users = User.objects.filter(
        Q(pk__in=members.values("user")) | Q(pk__in=covers.values("cover")),
        is_active=True,
        on_call_reminder_settings=None,
    )
    return list(users)


def _remind_all(people: Mapping[int, _Wish], *, quiet: timedelta, now: datetime) -> int:
    """Remind these people of on-call shifts that begin soon; return the number of notices.

    A shift is left out if the person's last one in the same group and role ended less than `quiet` before it.
    """
    if not people:
        return 0
    ahead = max(wish.ahead for wish in people.values())
    # The end is exclusive, and a shift that begins in exactly `ahead` is due now.
    ends_at = now + ahead + timedelta(microseconds=1)
    # If an organization has more changes than MAX_CHANGES, the later ones are read by a later run.
    periods_by_user = on_call_periods(people, starts_at=now - quiet, ends_at=ends_at, near=now, most=MAX_CHANGES)
    written = 0
    for user_id, periods in periods_by_user.items():
        wish = people[user_id]
        for (group_id, role, starts_at), beginning in groupby(periods, key=_beginning):
            if not now < starts_at <= now + wish.ahead:
                continue
            follows_another = any(
                (period.group.pk, period.role) == (group_id, role) and starts_at - quiet < period.ends_at <= starts_at
                for period in periods
            )
            if not follows_another:
                written += _remind(wish.user, list(beginning), now=now)
    return written


def _beginning(period: OnCallPeriod) -> tuple[int, str, datetime]:
    """Return the group, the role and the start of a period: a person gets one reminder for all periods that share them.

    The periods of a person are in order, so that those which share it stand together.
    """
    return period.group.pk, period.role, period.starts_at


def _covering_text(beginning: Sequence[OnCallPeriod]) -> str:
    """Return the words for the people that the person covers; "" if they are on call for nobody but themselves."""
    names = [str(period.covering) for period in beginning if period.covering]
    also = "also " if len(names) < len(beginning) else ""
    return f", {also}covering for {' and '.join(names)}" if names else ""


def _until(period: OnCallPeriod, user: User) -> str:
    """Return the words for the real end of a period, which is cut at the end of the time that is looked at here."""
    begins, moment_later = period.starts_at, period.starts_at + timedelta(microseconds=1)
    for found in on_call_periods_of(user, starts_at=begins, ends_at=moment_later, most=MAX_CHANGES):
        if (found.group, found.role, found.covering) == (period.group, period.role, period.covering):
            return f"until {moment(found.until, zone=zone(user.time_zone))}" if found.until else "with no end planned"
    return "with no end known"


def _remind(user: User, beginning: Sequence[OnCallPeriod], *, now: datetime) -> bool:
    """Write the notice unless it was written before: a unique row is written in the same transaction.

    `beginning` are the periods that begin together in a group and a role: the person's own, and those of people whom
    they cover. Returns whether the notice was written.
    """
    period, covering = beginning[0], _covering_text(beginning)
    with transaction.atomic():
        _, is_new = OnCallReminder.objects.get_or_create(
            user=user, group=period.group, role=period.role, starts_at=period.starts_at, defaults={"created_at": now}
        )
        method = official_addresses([user]).get(user.pk) if is_new else None
        if method is None:
            return False
        begins = moment(period.starts_at, zone=zone(user.time_zone))
        notice = email_to(method, kind=Notification.Kind.NOTICE, organization_id=user.organization_id, now=now)
        notice.subject = f"You are on call for {period.group} from {begins}{covering}"[:300]
        notice.text = (
            f"You are on call for {period.group} as {GroupRole(period.role).label} from {begins} "
            f"{_until(period, user)}{covering}. The shift is “{period.shift.name}”.\n"
            f"If you cannot, enter who covers you under “Out of office” at {settings.BASE_URL}/on-call/, or ask a "
            "Manager of the group for an override."
        )
        notice.save()
        wake_on_commit("escalation.deliver_due", queue="delivery")
    return True
