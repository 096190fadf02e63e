"""Delivery: what stands in the outbox is sent, and what became of it is written down.

A message goes through `claim`, `send` and `record`, each on its own: the claim commits a lease, the sending is
outside any transaction, and the record is guarded by the lease. A worker that dies in between leaves a lease that
ends; the message is then sent again under the same id. Claims and records are made for many messages at once, while
each channel sends several at a time: a slow one holds up no other.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from django.db import InterfaceError, OperationalError

from escalation import walk
from escalation.channels import NEVER_AGAIN, Switchboard
from escalation.channels.base import DeliveryError, Message
from escalation.channels.lines import LINES
from escalation.models import Notification
from escalation.services.bundles import told_together
from escalation.services.claims import Claim, Claimed, claim, due_channels
from escalation.services.limits import PER_CONTACT_METHOD, take
from escalation.services.outcomes import Outcome, max_attempts, record

log = logging.getLogger(__name__)

# A round claims no more after this; the next tick starts another, and sees what has become due meanwhile.
BUDGET_SECONDS: Final = 5.0
# What no other contact method carries instead: it waits for a provider that is left alone, and is not given up for it.
CAN_WAIT: Final = (Notification.Kind.RECOVERY, Notification.Kind.NOTICE)
# What was true at the claim may not be any more: what waited longer for a line goes back unsent, to be judged anew.
STALE_SECONDS: Final = 2.0
# So long an outcome waits for others, to be written down together with them.
GATHER_SECONDS: Final = 0.02


def deliver_due(*, now: datetime, limit: int = 5_000) -> int:
    """Send what is due until nothing is left or the time is used up; return how many messages were claimed for it.

    Any number of workers may do this at once. What is due is judged at `now`; the times that are written move on with
    the work. A message that waited too long for its line is put back, and counts again when it is claimed again.
    """
    started = time.monotonic()
    sent = 0
    under_way: dict[Future[Outcome], Claim] = {}
    with Switchboard() as switchboard:
        while True:
            elapsed = time.monotonic() - started
            # In whole seconds, so that what is written within one tick carries the tick's own time.
            moment = now + timedelta(seconds=int(elapsed))
            looked_at = 0
            if elapsed <= BUDGET_SECONDS and sent < limit:
                for channel, levels in due_channels(due_by=now).items():
                    claimed = _claim(channel, levels, due_by=now, now=moment)
                    # Noted after the claim: however long that took, what finds a free line goes out.
                    claimed_at = time.monotonic()
                    looked_at += claimed.looked_at
                    sent += len(claimed.messages)
                    for message in claimed.messages:
                        line = LINES.start(channel, send, message, switchboard, claimed_at=claimed_at, now=moment)
                        under_way[line] = message
            if under_way:
                wait(under_way, return_when=FIRST_COMPLETED)
                done, _ = wait(under_way, timeout=GATHER_SECONDS)
                record([(under_way.pop(future), future.result()) for future in done], now=moment)
            elif not looked_at:
                return sent


def _claim(channel: str, levels: Sequence[int], *, due_by: datetime, now: datetime) -> Claimed:
    """Claim what the channel's free lines can take; places that are not needed are given back."""
    places = LINES.reserve(channel)
    used = 0
    try:
        if not places:
            return Claimed((), 0)
        claimed = claim(channel, levels=levels, due_by=due_by, now=now, limit=places)
        used = len(claimed.messages)
        return claimed
    finally:
        LINES.release(channel, places - used)


def send(claimed: Claim, switchboard: Switchboard, *, claimed_at: float, now: datetime) -> Outcome:
    """Send a claimed message and return what came of it; no message stops another, only a lost database does.

    `claimed_at` is when it was claimed, in seconds of time.monotonic(). Where that is too long ago nothing is sent: its
    alert may have been taken meanwhile, or its lease be somebody else's.
    """
    if why := _why_never(claimed):
        return Outcome(error=why, permanent=True)
    # Only now: what a lost worker may have sent must not look untouched afterwards.
    if (wait := _not_now(claimed, claimed_at=claimed_at, now=now)) is not None:
        return Outcome(later=wait)
    try:
        return Outcome(provider_id=switchboard.send(claimed.notification.channel, _message(claimed, now=now)))
    except DeliveryError as error:
        return _refused(claimed, error)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("message %s could not be written", claimed.envelope)
        return Outcome(error=f"{type(error).__name__}: {error}", permanent=True)


def _why_never(claimed: Claim) -> str:
    """Say why the message is not to be sent any more, by nobody; nothing where it is."""
    notification = claimed.notification
    if claimed.attempts > max_attempts(notification.channel):
        return "The worker was lost at each attempt to send it."
    if claimed.lost and notification.channel in NEVER_AGAIN:
        return "A worker was lost while it sent this; it may have arrived."
    if notification.kind in (Notification.Kind.LAST_RESORT, Notification.Kind.NOTICE):
        return ""
    method, user = notification.contact_method, notification.user
    if user is not None and not user.is_active:
        return "This account is no longer active."
    if method is None or method.verified_at is None:
        return "This contact method was removed or changed meanwhile."
    return ""


def _refused(claimed: Claim, error: DeliveryError) -> Outcome:
    if error.untried and error.retry_after and (not error.left_alone or claimed.notification.kind in CAN_WAIT):
        return Outcome(later=error.retry_after)
    log.warning("message %s was not taken: %s", claimed.envelope, error)
    # A pause may be long: who has no other method is given up, and the next one told, as soon as for any failure.
    later = None if error.left_alone else error.retry_after
    return Outcome(error=str(error), permanent=error.permanent, later=later, elsewhere=error.left_alone)


def _not_now(claimed: Claim, *, claimed_at: float, now: datetime) -> timedelta | None:
    """Return how long to wait: no time for a stale claim, some where a phone rang as often as one person can bear."""
    if time.monotonic() - claimed_at > STALE_SECONDS:
        return timedelta()
    if claimed.notification.channel not in NEVER_AGAIN or claimed.notification.contact_method_id is None:
        return None
    return take(f"contact method {claimed.notification.contact_method_id}", PER_CONTACT_METHOD, now=now)


def _message(claimed: Claim, *, now: datetime) -> Message:
    """Return what the recipient is told: about one alert, in a notice, or about many alerts at once."""
    notification, run = claimed.notification, claimed.notification.run
    message = Message(
        id=claimed.envelope,
        kind=notification.kind,
        address=notification.contact_method.address if notification.contact_method else notification.address,
        reader=str(notification.recipient),
        time_zone=notification.recipient.time_zone,
        at=now,
    )
    if claimed.alerts > 1:
        return told_together(message, claimed.listed, count=claimed.alerts, reason=claimed.reason)
    return replace(
        message,
        alert=notification.alert,
        coming=walk.coming(walk.Plan.load(run.plan), walk.Position.load(run.position)) if run else None,
        subject=notification.subject,
        text=notification.text,
    )
