"""Inbound mails: stored as they arrived, then read by a worker; no web process parses them.

`mail_storing` stores those to integrations, `mail_events` carries them out. The headers of a mail say to which
organization it belongs, before it is stored. Each organization has a share of the queue, and organizations take turns,
so that many mails to one keep no reply to another out, or waiting.

A claim is a lease: if a worker is killed while it reads, the event is claimed again once the lease has ended. The
effects of an event and its result are one transaction, under the lock of its row, so they happen once.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import InterfaceError, OperationalError, connection, connections, transaction
from django.db.models import Count, F, Q, QuerySet, Sum, Window
from django.db.models.functions import RowNumber

from accounts.models.access import TryCount
from accounts.services.restores import unless_held
from accounts.services.try_limits import count_tries
from escalation.responses.replies.mail_replies import (
    Handled,
    ReadMail,
    answer_read_mail,
    message_named_in,
    organization_of_message,
    read_mails,
)
from heartbeat_project.kernel.errors import DomainError
from heartbeat_project.kernel.ids import digest
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from integrations.inbound.mail_events import carry_out_mail, carry_out_unreadable
from integrations.models.events import InboundEvent
from integrations.models.integrations import InboundIntegration

log = logging.getLogger(__name__)

_State = InboundEvent.State
# Bytes of a mail that are kept: replies stand at its beginning, attachments behind.
MAX_MAIL: Final = 1_000_000
# How much may wait to be read, in all and of one organization: as much as a worker reads in minutes. Mails beyond it
# are put off, and their senders try again.
MAX_WAITING: Final = 10_000
MAX_WAITING_BYTES: Final = 1 << 30
SHARE: Final = 2_000
SHARE_BYTES: Final = 256 * 1024 * 1024
# Each organization has this much room of its own, however much waits in all.
KEPT_FREE: Final = 100
KEPT_FREE_BYTES: Final = 32 * 1024 * 1024
# Waiting replies to one message of ours. Its reader writes a handful, and others who know its address cannot use up the
# organization's share.
MAX_OF_MESSAGE: Final = 20
# Events that are kept after they were read: the newest of each organization, and of those that belong to none.
KEPT_FOR: Final = timedelta(days=30)
KEPT: Final = 10_000
KEPT_BYTES: Final = 64 * 1024 * 1024
# The oldest are deleted whenever this many were read: a flood fills a disk sooner than the ten-minute tick comes.
DELETED_AFTER: Final = 1_000
# A child that reads mails is killed after 10 s; the rest is for acting on what it read.
LEASE: Final = timedelta(seconds=20)
AT_ONCE: Final = 20  # mails that one child reads
NOBODYS_AT_ONCE: Final = 1_000  # mails of no organization that are finished before others are read
# A first failure may be the fault of another mail in the same child, a second that of the machine.
MAX_ATTEMPTS: Final = 3
AGAIN_AFTER: Final = timedelta(seconds=2)
# Before the last attempt, so that a machine that stalled may recover. Shorter than a lease, see `_due`.
LAST_AFTER: Final = timedelta(seconds=15)
_KEPT_HEADERS: Final = ("from", "subject", "message-id")
_HEADER_LENGTH: Final = 300
# Mails that are put off are counted over this time, and logged once in it for each organization.
PUT_OFF_WITHIN: Final = timedelta(minutes=10)
_PUT_OFF: Final = "inbound mail put off"


class TooManyWaiting(DomainError):
    """Too many mails wait to be read. Send it again in a minute."""

    code = "too_many_waiting"
    title = "Too much waits to be read"
    # Not 429: some mail gateways send a mail again only after a 5xx.
    status = 503


def store_mail(raw: bytes, *, now: datetime) -> InboundEvent:
    """Store a mail to the reply address as it arrived, and wake a worker. Raises TooManyWaiting.

    It belongs to the organization whose message its headers name by a signed address. A mail with a forged address, or
    with none, belongs to no organization.
    """
    message_id = message_named_in(raw)
    event = InboundEvent(
        type=InboundIntegration.Type.EMAIL,
        received_at=now,
        raw=raw,
        size=len(raw),
        organization_id=organization_of_message(message_id),
        answers=message_id,
    )
    with transaction.atomic():
        pk = insert(event)
        if pk is not None:
            wake_on_commit("integrations.read_events", queue="engine")
    if pk is None:
        count_put_off(event.organization_id, now=now)
        raise TooManyWaiting("Too many mails like this wait to be read. Send it again in a minute.")
    event.pk = pk
    return event


@unless_held(False)
def is_any_due(*, now: datetime) -> bool:
    """Return whether an event waits that no worker reads."""
    return _due(now=now).exists()


def read_events(*, now: datetime, again_first: bool = False) -> int:
    """Read some events that wait and carry them out; return how many were finished or claimed.

    One child reads many new events. An event that was begun before is read alone, since a child may have died of it; it
    is chosen if no new event waits, or with `again_first`.
    """
    done = _finish_nobodys(now=now)
    events = _claim(now=now, again_first=again_first)
    if not events:
        return done
    try:
        places = {place for place, event in enumerate(events) if event.integration_id is not None}
        reading = read_mails([bytes(event.raw) for event in events], events=places)
    except OSError as error:
        # No child could be started: the mails are not to blame.
        log.warning("mails cannot be read now: %s", error)
        _put_back(events, until=now + AGAIN_AFTER)
        return 0
    for event, mail in zip(events, reading.mails, strict=False):
        _finish(event, mail, now=now)
    # The child read them in order, so it died of the first that it did not return; the others behind it are put back.
    unread = events[len(reading.mails) :]
    if unread and reading.died:
        _blame(unread.pop(0), reading.died, now=now)
    _put_back(unread, until=None)
    return done + len(events)


def delete_old_events(*, now: datetime, limit: int) -> int:
    """Delete at most `limit` events that are older than KEPT_FOR, or exceed KEPT or KEPT_BYTES; return how many."""
    newest_first: dict[str, Any] = {"partition_by": [F("integration"), F("organization")], "order_by": "-id"}
    ranked = InboundEvent.objects.annotate(
        rank=Window(RowNumber(), **newest_first), total=Window(Sum("size"), **newest_first)
    ).exclude(state=_State.WAITING)
    old = ranked.filter(Q(received_at__lt=now - KEPT_FOR) | Q(rank__gt=KEPT) | Q(total__gt=KEPT_BYTES))
    ids = list(old.order_by("id").values_list("pk", flat=True)[:limit])
    return InboundEvent.objects.filter(pk__in=ids).delete()[0] if ids else 0


def counts(*, now: datetime) -> dict[str, int]:
    """Return how many events wait ("waiting"), could not be read ("unreadable"), and were put off ("put_off").

    The last are those of the last PUT_OFF_WITHIN.
    """
    of_state = InboundEvent.objects.filter(state__in=[_State.WAITING, _State.UNREADABLE]).order_by()
    count_by_state = dict(of_state.values_list("state").annotate(count=Count("id")))
    put_off = TryCount.objects.filter(key=digest(_PUT_OFF), until__gt=now).values_list("tries", flat=True).first()
    return {
        **{state: count_by_state.get(state, 0) for state in (_State.WAITING, _State.UNREADABLE)},
        "put_off": put_off or 0,
    }


class Reader:
    """Reads events in a thread of its own, one in a process: a child takes seconds, and tasks have few threads."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._again = self._running = False

    def wake_up(self) -> None:
        """Let the thread read the events that wait; return at once."""
        with self._lock:
            self._again = True
            if not self._running:
                threading.Thread(target=self._run, name="event reader", daemon=True).start()
                self._running = True  # after the start, which fails if the system has no thread left

    def _run(self) -> None:
        done = 0
        # Alternating, so that in a flood neither new events nor those begun before wait until all others are done.
        again_first = False
        try:
            while self._goes_on():
                try:
                    while count := read_events(now=self._clock(), again_first=again_first):
                        again_first = not again_first
                        done += count
                        if done >= DELETED_AFTER:
                            done = 0
                            delete_old_events(now=self._clock(), limit=2 * DELETED_AFTER)
                except Exception:
                    log.exception("reading events failed; the next tick tries again")
        finally:
            connections.close_all()

    def _goes_on(self) -> bool:
        with self._lock:
            self._running, self._again = self._again, False
            return self._running


def _due(*, now: datetime) -> QuerySet[InboundEvent]:
    # A lease that ends later than a new one would was given before the clock was set back.
    free = Q(claimed_until=None) | Q(claimed_until__lte=now) | Q(claimed_until__gt=now + LEASE)
    return InboundEvent.objects.filter(free, state=_State.WAITING)


def insert(event: InboundEvent) -> int | None:
    """Insert the event with its turn and return its id; None if its share, or the queue, is full."""
    parameters: dict[str, Any] = {
        "type": event.type,
        "received_at": event.received_at,
        "raw": event.raw,
        "size": event.size,
        "answers": event.answers,
        "integration": event.integration_id,
        "query": json.dumps(event.query),
        "organization": event.organization_id,
        "attempts": MAX_ATTEMPTS,
        "share": SHARE,
        "share_bytes": SHARE_BYTES,
        "of_message": MAX_OF_MESSAGE,
        "kept_free": KEPT_FREE,
        "kept_free_bytes": KEPT_FREE_BYTES,
        "in_all": MAX_WAITING,
        "in_all_bytes": MAX_WAITING_BYTES,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "store_event"), parameters)
        row = cursor.fetchone()
    return row[0] if row else None


def count_put_off(organization_id: int | None, *, now: datetime) -> None:
    """Count a mail that was put off, over all processes; log the first of each organization in PUT_OFF_WITHIN."""
    own_key = digest(f"{_PUT_OFF}|{organization_id}")
    counters = count_tries([digest(_PUT_OFF), own_key], within=PUT_OFF_WITHIN, now=now)
    if counters[own_key].tries == 1:
        name = "that name no message of ours" if organization_id is None else f"to organization {organization_id}"
        log.warning("mails %s are put off: too many wait to be read. Others are taken.", name)


def _finish_nobodys(*, now: datetime) -> int:
    """Finish mails that answer no message of ours, without reading them in a child; return how many there were."""
    nobodys = InboundEvent.objects.filter(state=_State.WAITING, organization=None)
    ids = list(nobodys.order_by("turn").values_list("pk", flat=True)[:NOBODYS_AT_ONCE])
    nothing = [_result(answer_read_mail(ReadMail(), now=now))]
    return nobodys.filter(pk__in=ids).update(state=_State.READ, result=nothing) if ids else 0


def _claim(*, now: datetime, again_first: bool = False) -> list[InboundEvent]:
    """Claim new events, in the order of turns; or one that was tried before."""
    with transaction.atomic():
        free = _due(now=now).filter(organization__isnull=False)
        free = free.select_for_update(skip_locked=True, no_key=True)
        new = free.filter(attempts=0).order_by("turn", "id")[:AT_ONCE]
        again = free.filter(attempts__gt=0).order_by("attempts", "turn", "id")[:1]
        first, second = (again, new) if again_first else (new, again)
        events = list(first) or list(second)
        ids = [event.pk for event in events]
        InboundEvent.objects.filter(pk__in=ids).update(claimed_until=now + LEASE, attempts=F("attempts") + 1)
    return events


def _finish(event: InboundEvent, mail: ReadMail, *, now: datetime) -> None:
    """Carry out a mail and store its result, in one transaction; if another worker did so meanwhile, do nothing."""
    if mail.fault:
        _give_up(event, mail.fault, now=now)
        return
    try:
        with transaction.atomic():
            if not _is_ours(event):
                return
            if event.integration_id is not None:
                carry_out_mail(event, mail.content, now=now)
                return
            handled = answer_read_mail(mail, now=now)
            _write(
                event,
                state=_State.READ,
                headers={name: mail.first[name][:_HEADER_LENGTH] for name in _KEPT_HEADERS if name in mail.first},
                result=[_result(handled)],
                organization=handled.organization_id or event.organization_id,
            )
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("event %d could not be carried out", event.pk)
        _blame(event, f"it was read, but could not be carried out ({type(error).__name__})", now=now)


def _blame(event: InboundEvent, why: str, *, now: datetime) -> None:
    """Note that an attempt failed because of this event: it waits for the next, or is given up after the last."""
    if event.attempts + 1 >= MAX_ATTEMPTS:
        _give_up(event, why, now=now)
    else:
        pause = AGAIN_AFTER if event.attempts + 2 < MAX_ATTEMPTS else LAST_AFTER
        _put_back([event], until=now + pause, tried=True)


def _give_up(event: InboundEvent, why: str, *, now: datetime) -> None:
    with transaction.atomic():
        if _is_ours(event):
            log.warning("mail %d could not be read: %s", event.pk, why)
            if event.integration_id is None or not carry_out_unreadable(event, why, now=now):
                _write(event, state=_State.UNREADABLE, fault=why)


def _put_back(events: Sequence[InboundEvent], *, until: datetime | None, tried: bool = False) -> None:
    """Release the claims on events; unless they were `tried`, the attempt does not count."""
    waiting = InboundEvent.objects.filter(pk__in=[event.pk for event in events], state=_State.WAITING)
    if tried:
        waiting.update(claimed_until=until)
    else:
        waiting.update(claimed_until=until, attempts=F("attempts") - 1)


def _is_ours(event: InboundEvent) -> bool:
    """Lock the event's row until the transaction ends; return whether no other worker has finished it, or does now."""
    waiting = InboundEvent.objects.filter(pk=event.pk, state=_State.WAITING)
    return bool(waiting.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))


def _write(event: InboundEvent, **fields: Any) -> None:
    InboundEvent.objects.filter(pk=event.pk).update(claimed_until=None, **fields)


def _result(handled: Handled) -> dict[str, Any]:
    return {
        "action": "answered" if handled.done else "ignored",
        "alert": handled.alert_id,
        "reason": handled.answer_text,
    }
