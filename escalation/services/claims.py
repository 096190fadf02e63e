"""Claims: what is due is leased to one worker, each message with all that travels in it.

A notification is carried by an envelope: its own, or that of a bundle. What hits one person over one contact method
while the letterbox is shut waits, and goes out together when it opens. A message keeps its envelope, and with it the
idempotency key, however often it is tried.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection

from alerting.models import Alert
from escalation.channels import NEVER_AGAIN
from escalation.models import Notification
from escalation.services.bundles import LISTED, alerts_to_tell, reason_for_all
from heartbeat_project.kernel.sql import statement

# A page whose alert is on hold is looked at again so often, until it is resumed or ends.
LOOK_AGAIN: Final = timedelta(seconds=5)
# How many due notifications are looked at to find the letterboxes they are for.
LOOK_THROUGH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Claim:
    """One message to be sent, leased to the caller.

    `notification` is one of those that travel in it, with its alert, run and recipient; `alerts` counts those that it
    tells of; where there are several, `listed` are the first of them, and `reason` is why all of them came together.
    `lost` says that a worker had leased it before and never said what came of it: it may have arrived.
    """

    envelope: UUID
    notification: Notification
    alerts: int
    attempts: int
    lease_ends: datetime
    lost: bool = False
    listed: Sequence[Alert] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one look at a channel brought; `looked_at` counts also what was put off or away."""

    messages: Sequence[Claim]
    looked_at: int


def due_channels(*, due_by: datetime) -> Mapping[str, Sequence[int]]:
    """Return the channels on which something is due, each with the levels of urgency that are."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "due_levels"), {"due_by": due_by})
        for channel, urgency in cursor.fetchall():
            found[channel].append(urgency)
    return found


def claim(
    channel: str,
    *,
    levels: Iterable[int] = tuple(Notification.Urgency),
    due_by: datetime,
    now: datetime,
    limit: int,
) -> Claimed:
    """Lease up to about `limit` messages that are due on a channel: by level of urgency, then those due longest.

    What its alert does not want any more is put away, what is on hold is put off, and what has to wait for its
    letterbox is put off until that opens.
    """
    lease_ends = now + timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS)
    parameters: dict[str, Any] = {
        "channel": channel,
        "due_by": due_by,
        "now": now,
        "lease_ends": lease_ends,
        "look_again": now + LOOK_AGAIN,
        "look": LOOK_THROUGH,
        "never_again": channel in NEVER_AGAIN,
    }
    rows: list[tuple[UUID, UUID, int, int, bool]] = []
    looked_at = 0
    with connection.cursor() as cursor:
        for urgency, name in product(levels, ("make_letterboxes", "claim_envelopes", "claim_letterboxes")):
            if len(rows) >= limit:
                break
            more = {"urgency": urgency, "limit": limit - len(rows)}
            cursor.execute(statement("escalation", name), parameters | more)
            for envelope, notification_id, alerts, attempts, lost, number in (
                cursor.fetchall() if cursor.description else ()
            ):
                looked_at += number
                if envelope is not None:
                    rows.append((envelope, notification_id, alerts, attempts, lost))
    related = ("alert__bridge", "alert__acknowledged_by", "run", "user", "group__organization", "contact_method")
    found = Notification.objects.select_related(*related).in_bulk([row[1] for row in rows]) if rows else {}
    messages = [
        Claim(
            envelope=envelope,
            notification=found[notification_id],
            alerts=alerts,
            attempts=attempts,
            lease_ends=lease_ends,
            lost=lost,
            listed=list(alerts_to_tell(envelope)[:LISTED]) if alerts > 1 else (),
            reason=reason_for_all(envelope) if alerts > 1 and found[notification_id].text else "",
        )
        for envelope, notification_id, alerts, attempts, lost in rows
        if notification_id in found
    ]
    return Claimed(sorted(messages, key=_most_urgent_first), looked_at)


def _most_urgent_first(claimed: Claim) -> tuple[int, datetime, int, int]:
    """Order what was claimed together: statements return it in no order."""
    notification = claimed.notification
    return notification.urgency, notification.created_at, notification.alert_id or 0, notification.user_id or 0
