"""Claims: due notifications are leased to one worker as messages, each with all notifications that travel in it.

A message id names one outgoing message: that of a single notification, or that of a bundle. Notifications to one person
over one contact method wait while the bundle window is closed, and go out together when it opens. A message keeps its
message id, which is also the idempotency key, however often it is tried.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from accounts.contact_kinds import PHONES
from alerting.models.alerts import Alert
from escalation.models.notifications import RETRIED, Notification
from escalation.notifications.bundles import alerts_in_message, reason_for_all
from escalation.responses.selectors import LISTED
from heartbeat_project.kernel.sql import statement

# How long until a page whose alert is on hold is checked again: short, so that it goes out soon after it is resumed.
LOOK_AGAIN: Final = timedelta(seconds=5)
# A send that takes longer than this is slow: most servers have answered by then.
SLOW: Final = timedelta(seconds=1)
# Number of sends of a channel, in all workers, that the organizations with slow sends share. Each may have as many of
# them as it leaves for all others.
SHARED: Final = 96
# Number of sends to one destination, once one of them is slow: a mailbox, a number, or the host of an endpoint.
TO_ONE: Final = 2
# The host in the address of an endpoint (a browser's endpoint stands within JSON); other addresses have none.
HOST: Final = r'://(?:[^/?#"@]*@)?([^/?#"]+)'
# Number of due notifications that a claim reads to find their bundle windows.
LOOK_THROUGH: Final = 1_000


# The levels of first tries, then those of retries.
_FIRST_TRIES: Final = tuple(int(level) for level in Notification.Urgency)
LEVELS: Final = _FIRST_TRIES + tuple(level + RETRIED for level in _FIRST_TRIES)


@dataclass(frozen=True, slots=True)
class Claim:
    """One message to be sent, leased to the caller.

    `notification` is one of the notifications that travel in it, with its alert, run and recipient. `alerts` counts the
    alerts that it is about; if there are several, `listed` are the first of them and `reason` is why the reader is
    notified, if the reason is the same for all. `lost` says that an earlier worker leased it and never recorded an
    outcome, so that it may have arrived. `since` is when its oldest notification was written, `limited_since` when a
    limit first held one of them back.
    """

    message_id: UUID
    notification: Notification
    alerts: int
    attempts: int
    lease_ends: datetime
    since: datetime | None = None
    limited_since: datetime | None = None
    lost: bool = False
    listed: Sequence[Alert] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Shares:
    """How many more messages those may have under way that have a slow send: organizations by id, and destinations."""

    organizations: Mapping[int, int]
    destinations: Mapping[str, int]

    def __bool__(self) -> bool:
        """Return whether anything is slow."""
        return bool(self.organizations or self.destinations)

    def used_up(self) -> "Shares":
        """Return the same without any room, so that a claim looks at everybody else."""
        return Shares(dict.fromkeys(self.organizations, 0), dict.fromkeys(self.destinations, 0))

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the claim statements."""
        organizations = {pk: room for pk, room in self.organizations.items() if room}
        destinations = {name: room for name, room in self.destinations.items() if room}
        return {
            "full_organizations": [pk for pk in self.organizations if pk not in organizations],
            "full_destinations": [name for name in self.destinations if name not in destinations],
            "organizations": list(organizations),
            "organization_rooms": list(organizations.values()),
            "destinations": list(destinations),
            "destination_rooms": list(destinations.values()),
        }


NOTHING_SLOW: Final = Shares({}, {})
# The statements that lease messages, of one level of urgency.
CLAIMS: Final = ("claim_messages", "claim_bundles")


@dataclass(frozen=True, slots=True)
class Claimed:
    """The messages of one claim on a channel; `looked_at` also counts notifications that were postponed or dropped."""

    messages: Sequence[Claim]
    looked_at: int


def due_channels(*, due_by: datetime) -> Mapping[str, Sequence[int]]:
    """Return the channels on which notifications are due, each with the urgency levels of these."""
    levels_by_channel: defaultdict[str, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "due_levels"), {"due_by": due_by})
        for channel, urgency in cursor.fetchall():
            levels_by_channel[channel].append(urgency)
    return levels_by_channel


def claim(
    channel: str,
    *,
    levels: Iterable[int] = LEVELS,
    due_by: datetime,
    now: datetime,
    limit: int,
) -> Claimed:
    """Lease up to about `limit` messages that are due on a channel: by urgency, priority, then those due longest.

    Notifications that their alert does not need any more are superseded. Those of alerts on hold are postponed, and so
    are those whose bundle window is closed, until it opens. Organizations and destinations with slow sends get only
    what `shares` leaves them.
    """
    lease_ends = now + timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS)
    is_phone = channel in PHONES
    parameters: dict[str, Any] = {
        "channel": channel,
        "due_by": due_by,
        "now": now,
        "lease_ends": lease_ends,
        "look_again": now + LOOK_AGAIN,
        "look": LOOK_THROUGH,
        "is_phone": is_phone,
        "host": HOST,
    }
    claims: list[Claim] = []
    looked_at = 0
    # Most of the time nothing is slow: then there is nothing to share, and no lock is needed.
    is_slow = bool(shares(channel, now=now, lease_ends=lease_ends))
    # The second turn is for those without slow sends: they may stand behind thousands of which only one may go.
    turns = (False, True) if is_slow else (False,)
    for urgency in levels:
        if len(claims) >= limit:
            break
        with connection.cursor() as cursor:
            cursor.execute(statement("escalation", "make_bundle_windows"), parameters | {"urgency": urgency})
        for name, without_slow in product(CLAIMS, turns):
            wanted = limit - len(claims)
            if wanted <= 0:
                break
            # A transaction for each statement: while it waits for rows it holds no others, and cannot deadlock.
            # The second turn shares nothing out, so it leaves the lock to others: they would else claim a turn later.
            is_sharing = is_slow and not without_slow
            with _try_lock_shares(channel) if is_sharing else nullcontext(enter_result=True) as is_locked:
                room = shares(channel, now=now, lease_ends=lease_ends) if is_slow else NOTHING_SLOW
                if without_slow or not is_locked:
                    room = room.used_up()
                # Limits hold SMS and calls back: a claim has to read more of them to find those that were held back
                # longest. It also reads more if some have room for a few only.
                look_alone = LOOK_THROUGH if is_phone or room else wanted
                more = {"urgency": urgency, "limit": wanted, "look_alone": look_alone}
                leased, number = _lease(name, parameters | room.parameters() | more)
            claims += leased
            looked_at += number
    return Claimed(sorted(messages_in(claims), key=most_urgent_first), looked_at)


def _lease(name: str, parameters: Mapping[str, Any]) -> tuple[list[Claim], int]:
    """Run a claim statement; return the messages that it leased and the number of notifications that it looked at."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", name), parameters)
        rows = cursor.fetchall()
    claims = [
        Claim(
            message_id=message_id,
            notification=Notification(pk=notification_id),
            alerts=alerts,
            attempts=attempts,
            lease_ends=parameters["lease_ends"],
            lost=lost,
            since=since,
            limited_since=limited_since,
        )
        for message_id, notification_id, alerts, attempts, lost, since, limited_since, _ in rows
        # What does not go out is counted in a row without a message id.
        if message_id is not None
    ]
    return claims, sum(row[-1] for row in rows)


@contextmanager
def _try_lock_shares(channel: str) -> Iterator[bool]:
    """Let one worker at a time share out a channel: its leases count for the next one. Yield whether it is this worker.

    Nobody waits: a worker that stands still while it has the lock must not hold up the others.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_try_advisory_xact_lock(hashtextextended('escalation.shares ' || %s, 0))", [channel]
            )
            is_locked: bool = cursor.fetchone()[0]
        yield is_locked


def shares(channel: str, *, now: datetime, lease_ends: datetime) -> Shares:
    """Return what those may still have under way on a channel that have a slow send there, in any worker.

    A send is slow if its lease is older than SLOW: who is answered in time is never limited. For the others all leases
    count. `lease_ends` is when a lease that begins now will end.
    """
    parameters: dict[str, Any] = {
        "channel": channel,
        "now": now,
        "slow_leases": lease_ends - SLOW,
        "shared": SHARED,
        "to_one": TO_ONE,
        "host": HOST,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "shares"), parameters)
        rows = cursor.fetchall()
    return Shares(
        organizations={int(key): room for kind, key, room in rows if kind == "organization"},
        destinations={key: room for kind, key, room in rows if kind == "destination"},
    )


def messages_in(claims: Iterable[Claim]) -> list[Claim]:
    """Return the claims with their notifications, listed alerts and reasons read; so far only ids are known."""
    messages = list(claims)
    if not messages:
        return []
    related = ("alert__bridge", "alert__acknowledged_by", "run", "user", "group__organization", "contact_method")
    ids = [message.notification.pk for message in messages]
    rows = Notification.objects.select_related(*related).in_bulk(ids)
    complete = []
    for message in messages:
        # Deleted since the claim, with its alert or its user.
        if message.notification.pk not in rows:
            continue
        notification = rows[message.notification.pk]
        listed: list[Alert] = []
        reason = ""
        if message.alerts > 1:
            listed = list(alerts_in_message(message.message_id)[:LISTED])
            if notification.text:
                reason = reason_for_all(message.message_id)
        complete.append(replace(message, notification=notification, listed=listed, reason=reason))
    return complete


def most_urgent_first(message: Claim) -> tuple[int, int, datetime, int, int]:
    """Return the sort key of a claim: the claim statements return their rows in no order."""
    notification = message.notification
    since = message.since or notification.created_at
    # The ids only make the order the same each time.
    return (
        notification.urgency,
        notification.priority_rank,
        since,
        notification.alert_id or 0,
        notification.user_id or 0,
    )
