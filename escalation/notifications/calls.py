"""Reports about answered calls. They come late, twice and in any order; the state that says most wins."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce

from accounts.models.contact_methods import ContactMethod
from accounts.services.failing_methods import record_working
from alerting.models.alerts import Alert, TimelineEntry
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.notifications.after_failures import go_on_after_failures, lock_runs
from escalation.notifications.next_method import PERSONAL, use_next_methods
from escalation.notifications.timeline_names import message_to
from escalation.responses.allowed_actions import allowed_actions_in, answers_the_last

_State, _Status = Notification.CallState, Notification.Status
# From the state that says least to the one that says most: a pressed key proves that a person answered, even if the
# provider took them for a machine.
_RANKS: Final = ("", _State.ANSWERED, _State.NO_KEY, _State.MACHINE, _State.KEYS)
MACHINE_TOOK_IT: Final = "An answering machine took the call."


def record_call(message_id: UUID, state: Notification.CallState, *, provider_id: str, now: datetime) -> bool:
    """Record what a report says about an answered call, and go on accordingly; return whether it was news.

    A person who answered has the message. If they pressed no key until the call was over, their next contact method is
    used at once. A call that an answering machine took has failed, and the next method is used as after any failure.
    `provider_id` is the call's; a pressed key counts for any call that carried the message.
    """
    with transaction.atomic():
        # Runs before notifications, as in outcomes.record: two failures at the end of a walk must see each other.
        runs = lock_runs([message_id])
        calls = _lock_calls_to_update(message_id, state, provider_id=provider_id)
        if not calls:
            return False
        if state == _State.MACHINE:
            _fail(calls, runs, provider_id=provider_id, now=now)
        else:
            _deliver(calls, state, provider_id=provider_id, asked=bool(allowed_actions_in(message_id)), now=now)
    return True


def subjects_in(message_id: UUID) -> list[str] | None:
    """Return the subjects of the alerts that a message is about, each once; None if no such message is stored."""
    rows = Notification.objects.filter(message_id=message_id).order_by("alert_id")
    subjects = list(rows.values_list("alert__subject", flat=True))
    return list(dict.fromkeys(subject for subject in subjects if subject)) if subjects else None


def _lock_calls_to_update(message_id: UUID, state: str, *, provider_id: str) -> list[Notification]:
    """Lock and return the notifications of the message whose recorded state says less than this one.

    A report may overtake the provider's answer to our request: then the status is still `sending`, and the provider's
    id is not known yet.
    """
    calls = Notification.objects.filter(
        message_id=message_id, channel=ContactMethod.Kind.VOICE, call_state__in=_RANKS[: _RANKS.index(state)]
    )
    was_called = Q(status__in=[_Status.ACCEPTED, _Status.DELIVERED], provider_id=provider_id) | Q(
        status=_Status.SENDING
    )
    if state == _State.KEYS:
        # The key was sent to our own signed address, so it is believed even if we never learned that call's id.
        was_called = Q(status__in=[_Status.SENDING, _Status.ACCEPTED, _Status.DELIVERED, _Status.FAILED])
    locked = calls.filter(was_called).select_for_update(no_key=True, of=("self",))
    return list(locked.select_related("alert", "user", "group").order_by("id"))


def _fail(calls: Sequence[Notification], runs: dict[int, EscalationRun], *, provider_id: str, now: datetime) -> None:
    """Record that an answering machine took the calls; go on as after any failure."""
    ids = [call.pk for call in calls]
    Notification.objects.filter(pk__in=ids).update(
        status=_Status.FAILED,
        call_state=_State.MACHINE,
        next_attempt_at=None,
        provider_id=provider_id,
        last_error=MACHINE_TOOK_IT,
    )
    _write_lines(
        calls, TimelineEntry.Kind.NOTIFICATION_FAILED, dict.fromkeys(ids, "an answering machine took it"), now=now
    )
    go_on_after_failures(ids, runs, now=now)


def _deliver(calls: Sequence[Notification], state: str, *, provider_id: str, asked: bool, now: datetime) -> None:
    """Record that a person answered the calls; `asked` says that the call offered keys to press."""
    Notification.objects.filter(pk__in=[call.pk for call in calls]).update(
        status=_Status.DELIVERED,
        call_state=state,
        next_attempt_at=None,
        provider_id=provider_id,
        last_error="",
        accepted_at=Coalesce("accepted_at", now),
    )
    expedited: set[tuple[int, int | None, int]] = set()
    if asked and state == _State.NO_KEY:
        used = use_next_methods([call.pk for call in calls if _still_asks(call)], now=now)
        expedited = {(row.alert_id, row.user_id, row.step) for row in used}
    lines = {call.pk: _result(call, state, asked=asked, expedited=expedited) for call in calls}
    _write_lines(calls, TimelineEntry.Kind.NOTIFIED, lines, now=now)
    record_working({call.contact_method_id for call in calls if call.contact_method_id is not None})


def _still_asks(call: Notification) -> bool:
    """Return whether the call still needs an answer: its reader has not given one in another way meanwhile."""
    alert, user = call.alert, call.user
    if alert is None or user is None or call.kind not in PERSONAL:
        return False
    if call.kind == Notification.Kind.PAGE and not call.asked_for and alert.status != Alert.Status.OPEN:
        return False
    return alert.acknowledged_at is None or not answers_the_last(user, alert)


def _result(call: Notification, state: str, *, asked: bool, expedited: set[tuple[int, int | None, int]]) -> str:
    """Return the end of the timeline's line about the call; `expedited` are (alert, user, step) with a next method."""
    if state == _State.KEYS:
        return "answered, a key was pressed"
    if state == _State.ANSWERED or not asked:
        return "answered"
    if (call.alert_id, call.user_id, call.step) in expedited:
        return "answered, no key was pressed: the next contact method is used now"
    return "answered, no key was pressed"


def _write_lines(calls: Sequence[Notification], kind: str, texts: dict[UUID, str], *, now: datetime) -> None:
    TimelineEntry.objects.bulk_create(
        TimelineEntry(
            alert_id=call.alert_id,
            at=now,
            kind=kind,
            text=f"{message_to(call)}: {texts[call.pk]}",
        )
        for call in calls
        if call.alert_id is not None
    )
