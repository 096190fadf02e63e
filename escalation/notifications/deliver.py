"""Delivery: sends the notifications in the outbox and records their outcomes.

A message goes through `claim`, `send` and `record`, each on its own: the claim commits a lease, the sending is
outside any transaction, and the record is guarded by the lease. A worker that dies in between leaves a lease that
ends; the message is then sent again under the same id. Claims and records are made for many messages at once, while
each channel sends several at a time. Neither waits for a send, so a slow send delays no other.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections

from accounts.contact_kinds import PHONES
from accounts.services.restores import unless_held
from escalation.channels.base import DeliveryError
from escalation.channels.send_deadline import SEND_SECONDS, send_deadline
from escalation.models.notifications import RETRIED, Notification
from escalation.notifications.after_failures import (
    HELD_AT_ONCE,
    TOO_LONG,
    go_on_beside_what_is_held,
    go_on_without_what_fails,
)
from escalation.notifications.claim import Claim, Claimed, claim, due_channels
from escalation.notifications.judge_again import judge_again
from escalation.notifications.message import claimed_message
from escalation.notifications.outcomes import DeliveryOutcome, record
from escalation.notifications.providers.channel_pool import ChannelPool
from escalation.notifications.providers.circuit_breakers import send_probes
from escalation.notifications.providers.rate_limits import PER_PHONE, acquire, give_back
from escalation.notifications.providers.sender_pool import SENDER_POOL, PoolClosedError

log = logging.getLogger(__name__)

# Seconds since the last tick after which nothing more is claimed: a process that ends gets no more ticks.
BUDGET_SECONDS: Final = 5.0
# Seconds that a claimed message may wait for a slot. After that the alert may have changed: the message goes back
# unsent and is claimed and checked again.
STALE_SECONDS: Final = 2.0
# How long until the next try of a message that was not sent because the database failed.
DATABASE_FAILED: Final = timedelta(seconds=1)
# Seconds that an outcome waits for others, so that one statement records them together.
GATHER_SECONDS: Final = 0.02
# Seconds between two claims while sends are under way.
LOOK_SECONDS: Final = 0.2
# How often probes are sent, and messages that were held back for too long are looked for.
LOOK_AFTER: Final = timedelta(seconds=5)
# Ticks come every second. After a gap of this length the worker counts its ticks from the beginning again.
TICKS_STOPPED: Final = timedelta(seconds=10)


class Dispatcher:
    """Claims due messages for the free slots of this process, and records their outcomes.

    One thread at a time runs it. It waits for no send: while some are under way it goes on to claim and to record.
    """

    def __init__(self) -> None:
        self.claimed = 0
        self._channel_pool = ChannelPool()
        self._under_way: dict[Future[DeliveryOutcome], Claim] = {}
        self._finished: list[tuple[Claim, DeliveryOutcome]] = []
        # Set by a tick and by each send that ends: the loop goes on at once.
        self._wakeup = threading.Event()
        self._due_by = datetime.min.replace(tzinfo=UTC)
        self._ticked_at = 0.0

    def tick(self, *, now: datetime) -> None:
        """Claim what is due by `now` from here on; any thread may call this."""
        self._due_by, self._ticked_at = now, time.monotonic()
        self._wakeup.set()

    @property
    def is_idle(self) -> bool:
        """Whether no send is under way, and no outcome of one is still to be recorded."""
        return not self._under_way and not self._finished

    def run(self, *, limit: float = inf, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Claim, send and record until nothing is due and nothing is under way.

        `meanwhile` is called in each turn of the loop, because this does not return while a send hangs.
        """
        while True:
            self._wakeup.clear()
            # Before the claims: a send that ended while the database was away must not look as if its worker was lost.
            self._record_finished()
            meanwhile()
            looked_at = self._claim_due(limit=limit)
            if self.is_idle:
                if not looked_at and not self._wakeup.is_set():
                    self._channel_pool.close_idle()
                    return
                continue
            self._wakeup.wait(LOOK_SECONDS)
            SENDER_POOL.leave_slow()

    def _now(self) -> datetime:
        # In whole seconds, so that all rows that are written within one tick carry the tick's own time.
        return self._due_by + timedelta(seconds=int(time.monotonic() - self._ticked_at))

    def _claim_due(self, *, limit: float) -> int:
        """Claim for the free slots of each channel and start the sends; return the number of notifications read."""
        looked_at = 0
        if time.monotonic() - self._ticked_at > BUDGET_SECONDS or self.claimed >= limit:
            return looked_at
        due_by, now = self._due_by, self._now()
        for channel, levels in due_channels(due_by=due_by).items():
            batch = _claim(channel, levels, due_by=due_by, now=now)
            # Read after the claim: a slow claim must not make its messages stale before they can find a free slot.
            claimed_at = time.monotonic()
            looked_at += batch.looked_at
            self.claimed += len(batch.messages)
            for message in batch.messages:
                call = partial(send, message, self._channel_pool, claimed_at=claimed_at, now=now)
                future = SENDER_POOL.start(channel, call)
                self._under_way[future] = message
                future.add_done_callback(lambda _: self._wakeup.set())
        return looked_at

    def _record_finished(self) -> None:
        """Record the sends that have ended; if the database is away, they are kept for the next run."""
        if any(future.done() for future in self._under_way):
            wait(self._under_way, timeout=GATHER_SECONDS)
        failure: BaseException | None = None
        for future in [future for future in self._under_way if future.done()]:
            message = self._under_way.pop(future)
            error = future.exception()
            if error is None:
                self._finished.append((message, future.result()))
            elif isinstance(error, PoolClosedError):
                self._finished.append((message, DeliveryOutcome(later=timedelta())))
            else:
                failure = error
        if self._finished:
            _record(self._finished, now=self._now())
            self._finished = []
        if failure is not None:
            # The message has no outcome. Its lease ends, and the next worker that claims it treats it as lost.
            raise failure


class _Background:
    """The dispatcher of this process, run by a thread of its own while there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dispatcher = Dispatcher()
        self._is_running = False
        self._ticked = False
        self._ticks_since: datetime | None = None
        self._ticked_last: datetime | None = None
        self._looked_at: datetime | None = None

    def tick(self, *, now: datetime) -> None:
        """Run the dispatcher in the background, if there is something to do; return at once."""
        # Here and not in the thread, which needs a connection of its own: in most seconds nothing is due.
        is_due = self._is_running or bool(due_channels(due_by=now))
        with self._lock:
            if self._ticked_last is None or not timedelta() <= now - self._ticked_last <= TICKS_STOPPED:
                self._ticks_since = now
            self._ticked_last = now
            self._ticked = True
            self._dispatcher.tick(now=now)
            if not self._is_running and (is_due or self._is_time_to_look(now) or not self._dispatcher.is_idle):
                # Not a daemon: sends that are under way when the process ends are still finished and recorded.
                threading.Thread(target=self._run, name="dispatcher").start()
                # Only now: if no thread can be started, the next tick tries again.
                self._is_running = True

    def _is_time_to_look(self, now: datetime) -> bool:
        return self._looked_at is None or not timedelta() <= now - self._looked_at < LOOK_AFTER

    def _run(self) -> None:
        while True:
            with self._lock:
                self._ticked = False
            try:
                self._dispatcher.run(meanwhile=self._look_after_waiting)
            except (OperationalError, InterfaceError) as error:
                log.warning("delivery stopped until the next tick: the database failed: %s", error)
            except BaseException:  # whatever it is, the next tick must be able to start a new thread
                log.exception("delivery stopped until the next tick")
            with suppress(Exception):
                connections.close_all()
            with self._lock:
                if not self._ticked:
                    self._is_running = False
                    return

    def _look_after_waiting(self) -> None:
        """Send probes to providers that failed, and use other methods for messages that are held back for too long."""
        now, since = self._ticked_last, self._ticks_since
        if now is None or since is None or not self._is_time_to_look(now):
            return
        self._looked_at = now
        send_probes(now=now)
        # Only after ticks without a gap: messages that waited because no worker ran are simply sent now.
        if now - since >= TOO_LONG:
            counts = [go_on_beside_what_is_held(now=now), go_on_without_what_fails(now=now)]
            if max(counts) >= HELD_AT_ONCE:
                # There is more: look again in the next turn of the loop, after its claims.
                self._looked_at = None


_BACKGROUND: Final = _Background()


@unless_held(None)
def dispatch_due(*, now: datetime) -> None:
    """Start sending what is due in this process, and return at once: for ticks, which must never wait for a send."""
    _BACKGROUND.tick(now=now)


@unless_held(0)
def deliver_due(*, now: datetime, limit: int = 5_000) -> int:
    """Send due messages until none is left or the time is used up; return the number of messages claimed.

    Any number of workers may do this at once. A message is due if it was due at `now`; the times that are written move
    on with the work. A message that waited too long for its slot is put back, and counts again at its next claim.
    """
    dispatcher = Dispatcher()
    dispatcher.tick(now=now)
    dispatcher.run(limit=limit)
    return dispatcher.claimed


def _record(finished: Sequence[tuple[Claim, DeliveryOutcome]], *, now: datetime) -> None:
    """Record outcomes together; if that fails, each by itself, so that one bad row loses only its own outcome."""
    try:
        record(finished, now=now)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(finished) == 1:
            log.exception("the outcome of message %s could not be recorded", finished[0][0].message_id)
            return
        for entry in finished:
            _record([entry], now=now)


def _claim(channel: str, levels: Sequence[int], *, due_by: datetime, now: datetime) -> Claimed:
    """Claim what the channel's free slots can take; release the places that were not needed."""
    if not SENDER_POOL.has_room_for_retries(channel):
        # Retries often hang again: they must not take the room that first tries need.
        levels = [level for level in levels if level < RETRIED]
    room = SENDER_POOL.reserve(channel)
    used = 0
    try:
        if not room or not levels:
            return Claimed((), 0)
        batch = claim(channel, levels=levels, due_by=due_by, now=now, limit=room)
        batch = _drop_unwanted(batch, now=now)
        used = len(batch.messages)
        return batch
    finally:
        SENDER_POOL.release(channel, room - used)


def _drop_unwanted(batch: Claimed, *, now: datetime) -> Claimed:
    """Return the messages of the batch that are still to be sent; all of them, if the check fails."""
    try:
        return judge_again(batch, now=now)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("%d messages could not be checked again, and are sent", len(batch.messages))
        return batch


def send(claimed: Claim, channel_pool: ChannelPool, *, claimed_at: float, now: datetime) -> DeliveryOutcome:
    """Send a claimed message and return its outcome; an error of one message never stops another.

    `claimed_at` is when it was claimed, in seconds of time.monotonic(). If that is too long ago, nothing is sent: its
    alert may have been taken meanwhile, or another worker may have its lease.
    """
    if reason := _why_not_sendable(claimed):
        return DeliveryOutcome(error=reason, permanent=True, uncertain=claimed.lost)
    # After the check above: a message that a lost worker may have sent must not go back as if it were untouched.
    if time.monotonic() - claimed_at > STALE_SECONDS:
        return DeliveryOutcome(later=timedelta())
    try:
        return _send_within_limit(claimed, channel_pool, now=now)
    except (OperationalError, InterfaceError) as error:
        # The database is asked before a provider is: a call is not lost because no connection was free.
        log.warning("message %s is sent later, the database failed: %s", claimed.message_id, error)
        return DeliveryOutcome(later=DATABASE_FAILED)
    except Exception as error:
        log.exception("message %s could not be written", claimed.message_id)
        return DeliveryOutcome(error=f"{type(error).__name__}: {error}", permanent=True)


def _send_within_limit(claimed: Claim, channel_pool: ChannelPool, *, now: datetime) -> DeliveryOutcome:
    """Send the message if its rate limit has room; return a DeliveryError as an outcome, raise other errors."""
    notification = claimed.notification
    key = _rate_limit_key(notification)
    try:
        if key:
            wait = acquire(key, PER_PHONE, now=now, pressing=notification.is_pressing)
            if wait is not None:
                return DeliveryOutcome(later=wait, limited=True)
        # At most half of the lease, however short that is set: the send must end long before another worker may claim.
        with send_deadline(min(SEND_SECONDS, settings.NOTIFICATION_LEASE_SECONDS / 2)):
            return DeliveryOutcome(
                provider_id=channel_pool.send(claimed.notification.channel, claimed_message(claimed, now=now))
            )
    except DeliveryError as error:
        if key and (error.untried or error.unreached):
            give_back(key, PER_PHONE)
        return _outcome_of_error(claimed, error)


def _why_not_sendable(claimed: Claim) -> str:
    """Return why the message must never be sent again; "" if it may be sent."""
    notification = claimed.notification
    if claimed.lost and notification.channel in PHONES:
        return "A worker was lost while it sent this; it may have arrived."
    if claimed.lost and notification.unknown_outcomes > 1:
        return "Nobody knows what came of it, twice; it may have arrived."
    if notification.kind in (Notification.Kind.LAST_RESORT, Notification.Kind.NOTICE):
        return ""
    method, user = notification.contact_method, notification.user
    if user is not None and not user.is_active:
        return "This account is no longer active."
    if method is None or method.verified_at is None:
        return "This contact method was removed or changed meanwhile."
    return ""


def _outcome_of_error(claimed: Claim, error: DeliveryError) -> DeliveryOutcome:
    # A limit of ours held it back before any provider was asked: that is no failure.
    if error.untried and error.retry_after and not error.circuit_open:
        return DeliveryOutcome(later=error.retry_after, limited=True)
    log.warning("message %s was not accepted: %s", claimed.message_id, error)
    return DeliveryOutcome(
        error=str(error),
        permanent=error.permanent,
        later=error.retry_after,
        elsewhere=error.circuit_open,
        unreached=error.unreached,
        bad_address=error.bad_address,
        stopped=error.stopped,
        uncertain=error.uncertain,
    )


def _rate_limit_key(notification: Notification) -> str:
    """Return the key of the limit on messages to one phone; "" for other channels."""
    if notification.channel not in PHONES or notification.contact_method_id is None:
        return ""
    return f"contact method {notification.contact_method_id}"
