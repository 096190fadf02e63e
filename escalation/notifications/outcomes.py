"""Outcomes: records what became of each message for all notifications that travelled in it."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from accounts.contact_kinds import CONTACT_KINDS, ENDPOINTS, PAUSES, PHONES
from accounts.models.contact_methods import ContactMethod
from accounts.services.failing_methods import Refusal, record_stop, record_working
from alerting.models.alerts import TimelineEntry
from escalation.engine import progress
from escalation.models.notifications import Notification
from escalation.notifications.after_failures import (
    HELD,
    TOO_LONG,
    all_failed,
    go_on_beside,
    go_on_without,
    lock_runs,
    log_lost_last_resorts,
    open_early,
)
from escalation.notifications.claim import Claim
from escalation.notifications.next_method import use_next_methods
from escalation.notifications.notices.failing_methods import note_refusals
from escalation.notifications.providers import circuit_breakers
from escalation.notifications.timeline_names import message_to
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.mail import STORED, mail_is_stored
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import zone

log = logging.getLogger(__name__)

# What no open alert asks for, such as a recovery or a notice, is not news any more after this.
GIVEN_UP_AFTER: Final = timedelta(days=1)
# Number of messages that are expedited at once when their channel works again; each success expedites more.
MAX_AT_ONCE: Final = 5_000
# Number of tries that may go to a phone in an hour, see PHONE_PAUSES.
MAX_TRIES_AN_HOUR: Final = 3
_Kind, _Status, _TimelineKind = Notification.Kind, Notification.Status, TimelineEntry.Kind


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """The result of a send: the provider's id, or the error and whether it is permanent.

    `later` is how long to wait before the next try, if a time is known; with `later` and no error there was no try.
    `elsewhere` says that no provider was asked, because its circuit breaker is open; this counts as a failure.
    `unreached` says that no provider could be reached; this is a failure, but not one of the few tries to a phone.
    `bad_address` says that the address itself was refused, `stopped` that its owner sent STOP, `uncertain` that the
    message may have arrived, and `limited` that a rate limit of ours holds it back for `later`.
    """

    provider_id: str = ""
    error: str = ""
    permanent: bool = False
    later: timedelta | None = None
    elsewhere: bool = False
    unreached: bool = False
    bad_address: bool = False
    stopped: bool = False
    uncertain: bool = False
    limited: bool = False


@dataclass(frozen=True, slots=True)
class _Record:
    """The columns that are written for each notification of one message, and its line in the timeline."""

    status: str
    next_attempt_at: datetime | None = None
    provider_id: str = ""
    error: str = ""
    tried: bool = True
    uncertain: bool = False
    timeline_kind: str = ""
    line: str = ""
    limited: bool = False
    failing: bool = False


@dataclass(frozen=True, slots=True)
class _Written:
    """The notifications that were written, because their lease was still the caller's.

    `ids_by_message` has all of them. `overdue` are those that a limit has now held back for TOO_LONG. `lost` are those
    that began to fail, and those that failed for good while their reader still counted as reached by them.
    """

    ids_by_message: Mapping[UUID, list[UUID]]
    overdue: list[UUID]
    lost: list[UUID]

    def within(self, message_ids: Iterable[UUID]) -> list[UUID]:
        """Return the notifications that travelled in these messages."""
        return list(chain.from_iterable(self.ids_by_message.get(message_id, ()) for message_id in message_ids))


def record(results: Sequence[tuple[Claim, DeliveryOutcome]], *, now: datetime) -> set[UUID]:
    """Record the outcomes of claimed messages; return the ids of those whose lease was still the caller's.

    In the same transaction escalations go on without messages that failed, as far as that follows from the outcomes.
    """
    if not results:
        return set()
    records = [(claim, _record(claim, outcome, now=now)) for claim, outcome in results]
    failed_ids = [claim.message_id for claim, record in records if record.status == _Status.FAILED]
    # Only the first failure of a message can let its walk go on.
    failing_ids = [
        claim.message_id for claim, record in records if record.failing and claim.notification.failing_since is None
    ]
    accepted = [claim for claim, record in records if record.status == _Status.ACCEPTED]
    with transaction.atomic():
        # Locked before the messages: if the last two messages of a walk fail at once, one of the two transactions must
        # see the other's failure.
        runs = lock_runs([*failed_ids, *failing_ids, *_may_be_overdue(records, now=now)])
        written = _write(records, now=now)
        if written.lost:
            go_on_without(written.lost, runs, why=all_failed, now=now)
        if given_up := written.within(failed_ids):
            log_lost_last_resorts(given_up)
            open_early(given_up, now=now)
        if written.overdue:
            go_on_beside(written.overdue, runs, now=now)
        # These were sent twice, because a worker was lost. Nobody knows when they arrived, so the next method is used.
        if sent_again := written.within(claim.message_id for claim in accepted if _was_lost(claim)):
            use_next_methods(sent_again, now=now)
        settle_recoveries(written.within(written.ids_by_message), now=now)
        _judge_addresses([result for result in results if result[0].message_id in written.ids_by_message], now=now)
    for claim, record in records:
        if claim.message_id in written.ids_by_message:
            _note_progress(claim.notification, record, now=now)
    if accepted:
        retry_now({_destination(claim) for claim in accepted}, now=now)
    return set(written.ids_by_message)


def retry_now(destinations: Collection[tuple[str, str]], *, pause: timedelta = PAUSES[-1], now: datetime) -> int:
    """Make retries due at once at destinations, as (channel, address), that work again; return their number.

    An empty address means all addresses of the channel. Notifications to one person over one method go in one message.
    Call this when a message was accepted, and when a circuit breaker closes. A message is expedited at most once in a
    `pause`, so that a full mailbox is not tried after each success of another; to a phone at most once in an hour.
    """
    # Sorted, so that the parameters are the same for the same destinations.
    ordered = sorted(destinations)
    parameters: dict[str, Any] = {
        "channels": [channel for channel, _ in ordered],
        "addresses": [address for _, address in ordered],
        "pauses": [timedelta(hours=1) if channel in PHONES else pause for channel, _ in ordered],
        "phones": sorted(PHONES),
        "limit": MAX_AT_ONCE,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "retry_now"), parameters)
        expedited: int = cursor.rowcount
    if expedited:
        wake_on_commit("escalation.deliver_due", queue="delivery")
    return expedited


@circuit_breakers.on_recovery
def retry_on_recovery(provider: circuit_breakers.Provider, *, now: datetime) -> None:
    """Make retries due at once for a provider that works again; one that accepts SMS may accept calls, too."""
    if provider.channel in PHONES:
        retry_now({(channel, "") for channel in PHONES}, now=now)
    else:
        # A provider may come and go: after a short return, its messages wait no longer than the circuit breaker does.
        retry_now({(provider.channel, provider.address)}, pause=circuit_breakers.PAUSE, now=now)


def _destination(claim: Claim) -> tuple[str, str]:
    """Return the destination that works if this message was accepted: its endpoint, or its channel's one server."""
    notification = claim.notification
    address = notification.address if notification.channel in ENDPOINTS else ""
    return notification.channel, address


def _was_lost(claim: Claim) -> bool:
    """Return whether a worker was lost while it sent this message, and no failure was recorded since."""
    return claim.notification.unknown_outcomes > 0 and claim.notification.failing_since is None


def _note_progress(notification: Notification, record: _Record, *, now: datetime) -> None:
    """Note that a message was sent, or that a page was given up, see escalation.engine.progress."""
    if record.status == _Status.ACCEPTED:
        progress.note(progress.Work.SENT, at=now)
    elif record.status == _Status.FAILED and notification.kind in {_Kind.PAGE, _Kind.LAST_RESORT}:
        progress.note(progress.Work.GIVEN_UP, at=now)


def settle_recoveries(notification_ids: list[UUID], *, now: datetime) -> None:
    """Send the recovery notices that waited for the outcome of these notifications; drop those of unnotified people."""
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "settle_recoveries"), {"ids": notification_ids, "now": now})
        if cursor.rowcount:
            wake_on_commit("escalation.deliver_due", queue="delivery")


def _judge_addresses(results: Sequence[tuple[Claim, DeliveryOutcome]], *, now: datetime) -> None:
    """Record which contact methods have a refused address, and which work again.

    An accepted message proves that the address works, except for SMS and calls, where only a receipt does.
    """
    refused, working = [], []
    for claim, outcome in results:
        notification = claim.notification
        method = notification.contact_method
        if method is None or notification.about_failing:
            continue
        if outcome.stopped:
            record_stop(method.address, now=now)
        elif outcome.bad_address:
            refused.append(Refusal(method.pk, method.address, outcome.error))
        elif method.failed_at is not None and outcome.provider_id and notification.channel not in PHONES:
            working.append(method.pk)
    note_refusals(refused, now=now)
    record_working(working)


def back_off(channel: str, message_id: UUID, attempts: int) -> timedelta:
    """Return how long to wait after this attempt: the channel's pause, and up to a fifth more.

    The extra part differs from message to message, so that messages that failed together are not retried together.
    """
    pauses = CONTACT_KINDS[channel].pauses
    spread = (message_id.int + attempts) % 100 / 500
    return pauses[min(max(attempts, 1), len(pauses)) - 1] * (1 + spread)


def _pause(claim: Claim) -> timedelta:
    """Return how long to wait after this try failed."""
    notification, attempts = claim.notification, claim.attempts
    # The third pause to a phone is long because a try may have been added to the two before. Without one it is not.
    if notification.channel in PHONES and attempts == MAX_TRIES_AN_HOUR and notification.expedited_at is None:
        attempts += 1
    return back_off(notification.channel, claim.message_id, attempts)


def _record(claim: Claim, outcome: DeliveryOutcome, *, now: datetime) -> _Record:
    if outcome.limited and outcome.later is not None:
        return _hold_back(claim, outcome.later, now=now)
    if not outcome.error and outcome.later is not None:
        return _Record(_Status.PENDING, now + outcome.later, tried=False)
    if not outcome.error:
        return _accept(claim, outcome, now=now)
    # PostgreSQL takes no NUL in a text.
    error = outcome.error.replace("\x00", "")[:1_000]
    notification = claim.notification
    # Sent twice without a known outcome: a third copy would disturb more than it helps.
    is_uncertain_again = outcome.uncertain and notification.unknown_outcomes > 0
    needs_no_answer = notification.alert_id is None or notification.kind == _Kind.RECOVERY
    is_too_old = needs_no_answer and now - notification.created_at >= GIVEN_UP_AFTER
    if outcome.permanent or is_uncertain_again or is_too_old:
        more = ""
        if is_uncertain_again and not outcome.permanent:
            more = " It may have arrived, and is not sent again."
        return _Record(
            _Status.FAILED,
            error=error,
            uncertain=outcome.uncertain,
            timeline_kind=_TimelineKind.NOTIFICATION_FAILED,
            line=_line(claim, f"failed: {error}{more}"),
        )
    is_to_phone = notification.channel in PHONES
    is_no_try = outcome.elsewhere or (outcome.unreached and is_to_phone)
    if is_no_try:
        wait = outcome.later or PAUSES[0]
        # A phone message that was tried before is never a probe. While a circuit breaker holds it, it comes again soon.
        is_probed_for = outcome.unreached or not is_to_phone or claim.attempts == 1
        if notification.failing_since is not None and is_probed_for:
            # Probes find out when the provider is back, so this message waits as long as it has failed already.
            wait = max(wait, min(now - notification.failing_since, PAUSES[-1]))
    else:
        wait = max(_pause(claim), outcome.later or timedelta())
    result = "failed, tried again"
    if outcome.elsewhere:
        result = "not sent yet"
    elif outcome.uncertain:
        result = "nobody knows whether it arrived, sent once more"
    return _Record(
        _Status.PENDING,
        now + wait,
        error=error,
        tried=not is_no_try,
        uncertain=outcome.uncertain,
        timeline_kind=_TimelineKind.NOTIFICATION_FAILED,
        line=_line(claim, f"{result}: {error}"),
        failing=True,
    )


def _accept(claim: Claim, outcome: DeliveryOutcome, *, now: datetime) -> _Record:
    """Return the record of an accepted message; without a mail server, of a mail that was only stored."""
    provider_id = outcome.provider_id.replace("\x00", "")[:200]
    notification = claim.notification
    stored = STORED if notification.channel == ContactMethod.Kind.EMAIL and mail_is_stored() else ""
    result = f"{stored[:1].lower()}{stored[1:]}" if stored else "sent"
    if notification.failing_since is not None:
        result += f", after it had failed for {in_words(now - notification.failing_since)}"
    elif _was_lost(claim):
        result += " again: the worker that sent it first was lost, and it may have come twice"
    return _Record(
        _Status.ACCEPTED,
        provider_id=provider_id,
        error=stored,
        timeline_kind=_TimelineKind.NOTIFIED,
        line=_line(claim, result),
    )


def _hold_back(claim: Claim, wait: timedelta, *, now: datetime) -> _Record:
    """Return the record of a message that waits until its rate limit has room."""
    until = (now + wait).astimezone(zone(claim.notification.recipient.time_zone))
    sentence = f"{message_to(claim.notification)}: held by the limit until about {until:%H:%M}"
    return _Record(
        _Status.PENDING, now + wait, tried=False, timeline_kind=_TimelineKind.NOTIFIED, line=sentence, limited=True
    )


def _may_be_overdue(records: Sequence[tuple[Claim, _Record]], *, now: datetime) -> list[UUID]:
    """Return the messages that a limit may have held back for too long by now; the statement decides for each row."""
    limited_by = now - TOO_LONG
    claims = [claim for claim, record in records if record.limited]
    return [claim.message_id for claim in claims if claim.limited_since and claim.limited_since <= limited_by]


def _line(claim: Claim, result: str) -> str:
    """Return the line of the timeline: the channel, the recipient, the result, and the other alerts in the message."""
    sentence = f"{message_to(claim.notification)}: {result}"
    others = claim.alerts - 1
    if others < 1:
        return sentence
    plural = "" if others == 1 else "s"
    return f"{sentence}, in one message with {others} other alert{plural} (message {claim.message_id})"


def _write(records: Sequence[tuple[Claim, _Record]], *, now: datetime) -> _Written:
    parameters: dict[str, Any] = {
        "now": now,
        "message_ids": [claim.message_id for claim, _ in records],
        "leases": [claim.lease_ends for claim, _ in records],
        "statuses": [str(record.status) for _, record in records],
        "next": [record.next_attempt_at for _, record in records],
        "provider_ids": [record.provider_id for _, record in records],
        "errors": [record.error for _, record in records],
        "tried": [record.tried for _, record in records],
        "uncertain": [record.uncertain for _, record in records],
        "timeline_kinds": [str(record.timeline_kind) for _, record in records],
        "lines": [record.line for _, record in records],
        "limited": [record.limited for _, record in records],
        "failing": [record.failing for _, record in records],
        "too_long": TOO_LONG,
        "held": HELD,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement("escalation", "record_outcomes"), parameters)
        rows = cursor.fetchall()
    return _Written(
        ids_by_message={message_id: ids for message_id, ids, _, _ in rows},
        overdue=list(chain.from_iterable(overdue or () for _, _, overdue, _ in rows)),
        lost=list(chain.from_iterable(lost or () for _, _, _, lost in rows)),
    )
