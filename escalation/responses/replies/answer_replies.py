"""Act on replies by SMS and mail: find the alert that a reply means, carry it out, and write the answer.

An SMS without a number is about the last message that went to its phone. If several messages may have been the last, if
its alert is over, or if the words leave a doubt, nothing is done, and the answer says which alerts are open. There is
one exception: if a single other alert is open, it can be assigned, acknowledged or escalated. A mail is about the alert
of the mail that it answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models.contact_methods import ContactMethod
from accounts.services.failing_methods import record_start, record_stop
from alerting.models.alerts import Alert
from alerting.phone_keys import DIGITS
from alerting.selectors import respondable_alerts
from alerting.states import LIVE, Action, Status
from escalation.models.notifications import TO_OWNER, Notification
from escalation.models.responses import Response
from escalation.responses import tokens
from escalation.responses.allowed_actions import (
    alert_of,
    allowed_actions_of,
    available_actions,
    person_of,
    why_cannot_respond,
    why_not_allowed,
)
from escalation.responses.replies.parse_reply import ParsedReply, parse_mail, parse_reply
from escalation.responses.respond import ResponseOutcome, ResponseResult, answer, respond
from escalation.responses.selectors import notifications_in, sent_to_number
from escalation.responses.undo import undo_text
from heartbeat_project.kernel.wording import clip, one_line

# Words that carriers act on if they are the whole SMS; source: Twilio, "Twilio support for opt-out keywords".
STOP_WORDS: Final = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "OPTOUT", "REVOKE"})
START_WORDS: Final = frozenset({"START", "UNSTOP", "YES"})
AGAIN: Final = "You will receive alerts at this number again."
MAIL_HELP: Final = (
    "Nothing was done: your first line was not understood. Reply with one word in the first line: assign, acknowledge, "
    "escalate or close. To add a note, write “note: on my way”."
)
# Latest notifications that are searched for alerts that are still open.
_LOOK_THROUGH: Final = 1_000
_NAME_LENGTH: Final = 40  # characters of an alert's name in an SMS
_MAX_RIVALS: Final = 3  # alerts that an answer asks to choose from
# Actions that are carried out on the only open alert if the alert of the last message is over: they can be undone.
_ALLOWED_ON_OTHER: Final = frozenset({Action.ASSIGN, Action.ACKNOWLEDGE, Action.ESCALATE})
_ACTION_TEXTS: Final = {
    Action.ASSIGN: "to assign it to you",
    Action.ACKNOWLEDGE: "to acknowledge",
    Action.ESCALATE: "to escalate",
    Action.CLOSE: "to close it",
}
_KEYS: Final = {action: key for key, action in DIGITS.items()}
_Status = Notification.Status


@dataclass(frozen=True, slots=True)
class LastMessage:
    """The message that a reply without a number is about.

    `notification` is one of its notifications; `alerts` is the number of its alerts. `rivals` are the ids of alerts of
    other messages that may also have been the last: they were sent at the same time or are being sent.
    """

    notification: Notification
    alerts: int
    rivals: Sequence[int] = ()


def answer_sms(number: str, text: str, *, reference: str, now: datetime, opt_out: str = "") -> str:
    """Carry out what an SMS from this number asks for; return the answer, empty if no alert was sent to the number.

    `reference` is the provider's id of the SMS: an SMS that is delivered twice is carried out once. `opt_out` is how
    the carrier itself understood the SMS (STOP or START), if it says so.
    """
    word = text.strip().upper()
    if opt_out == "STOP" or word in STOP_WORDS:
        record_stop(number, now=now)
        return ""
    if (opt_out == "START" or word in START_WORDS) and record_start(number):
        return AGAIN
    sent = sent_to_number(number, now=now)
    last = last_message(sent, now=now)
    if last is None:
        return ""
    holders = _holders(number)
    if answer_text := _earlier_answer(holders, reference=reference):
        return answer_text
    notification, answer_text = _answer_reply(sent, last, parse_reply(text), reference=reference, now=now)
    return f"As {person_of(notification)}: {answer_text}" if len(holders) > 1 else answer_text


def answer_mail(notification: Notification, text: str, *, reference: str, now: datetime) -> ResponseResult:
    """Carry out what a reply mail to this message asks for, and return the result."""
    reply = parse_mail(text)
    if reply is None:
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, MAIL_HELP)
    if reply.number not in {None, notification.alert_id}:
        name = _name(alert_of(notification))
        answer_text = f"Nothing was done: this mail is about {name}. Reply to the mail about #{reply.number} instead."
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, answer_text)
    result = respond(notification, reply.action, via=Response.Via.EMAIL, reference=reference, now=now, note=reply.note)
    if result.outcome is ResponseOutcome.DONE:
        return ResponseResult(result.outcome, f"{result.answer_text}{undo_text(notification, reply.action)}")
    answer_text = _about(notification, result.answer_text)
    if why_cannot_respond(notification):
        return ResponseResult(result.outcome, answer_text)
    user = person_of(notification)
    notifications = Notification.objects.filter(alert=OuterRef("pk"), user=user)
    others = (
        respondable_alerts(user).filter(Exists(notifications), status=Status.OPEN).exclude(pk=alert_of(notification).pk)
    )
    newest = others.order_by("-id").first()
    if newest is not None:
        answer_text += f" {_name(newest)} is still open."
    return ResponseResult(result.outcome, answer_text)


def last_message(sent: QuerySet[Notification], *, now: datetime) -> LastMessage | None:
    """Return the last message among the notifications of `sent_to_number`; None if there is none."""
    # Nobody has read a message that the carrier reported as not delivered.
    arrived = sent.exclude(status=_Status.FAILED, accepted_at__isnull=False)
    last = _first(arrived.filter(accepted_at__isnull=False))
    if last is None:
        last = _first(arrived)
        together = arrived
    else:
        # Also the messages of the same instant, and those that were being sent at that time: which one the reader saw
        # last is unknown. A claim that is older than two leases belongs to a worker that died.
        under_way = Q(accepted_at=None) & (Q(went_at__gte=last.accepted_at) | Q(status=_Status.SENDING))
        lease = 2 * timedelta(seconds=settings.NOTIFICATION_LEASE_SECONDS)
        together = arrived.filter(
            under_way | Q(accepted_at=last.accepted_at), Q(went_at__gte=min(last.accepted_at or now, now - lease))
        )
    if last is None:
        return None
    message_id = last.message_id or last.pk
    alert_ids = _alerts_in(last)
    others = together.exclude(message_id=message_id).exclude(pk=message_id)
    if len(alert_ids) == 1:
        others = others.exclude(alert=last.alert_id)
    rivals = others.order_by().values_list("alert_id", flat=True).distinct()[:_MAX_RIVALS]
    return LastMessage(last, len(alert_ids), sorted(pk for pk in rivals if pk is not None))


def _answer_reply(
    sent: QuerySet[Notification], last: LastMessage, reply: ParsedReply | None, *, reference: str, now: datetime
) -> tuple[Notification, str]:
    """Carry out a reply; return the notification that it is about, and the answer."""
    notification = last.notification
    if reply is not None and reply.number is not None:
        by_number = _first(sent.filter(alert=reply.number))
        if by_number is not None:
            return by_number, _act(sent, by_number, reply, reference=reference, now=now)
        unknown = f"Nothing was changed: #{reply.number} was not sent to this number."
        answer_text = f"{unknown} {_open_text(_still_open(sent, notification, without=()), reply.action)}"
    elif last.rivals:
        answer_text = _ask_which_alert(sent, last, reply)
    elif reply is None:
        answer_text = f"Nothing was done: your reply was not understood. {_list_available_actions(sent, last)}"
    elif last.alerts > 1:
        answer_text = _act_on_all(sent, last, reply, reference=reference, now=now)
    else:
        other = _only_open_alert(sent, notification, reply.action)
        if other is not None:
            answer_text = _act(sent, other, reply, reference=reference, now=now)
            return other, f"{_name(alert_of(notification))} is over. {answer_text}"
        answer_text = _act(sent, notification, reply, reference=reference, now=now)
    return notification, answer_text


def _only_open_alert(sent: QuerySet[Notification], notification: Notification, action: Action) -> Notification | None:
    """Return the notification of the only open alert of this person, if that of the last message is over; or None."""
    if alert_of(notification).status in LIVE or action not in _ALLOWED_ON_OTHER or why_cannot_respond(notification):
        return None
    others = _still_open(sent, notification)
    other = _first(sent.filter(alert=others[0])) if len(others) == 1 else None
    # Somebody who tries the product must not take a real alert by mistake, nor a test instead of a real one.
    if other is None or alert_of(other).is_test != alert_of(notification).is_test:
        return None
    return None if why_cannot_respond(other) or why_not_allowed(other, action) else other


def _act(
    sent: QuerySet[Notification], notification: Notification, reply: ParsedReply, *, reference: str, now: datetime
) -> str:
    """Carry out a reply on one alert; return the answer with how to undo it and which other alerts are open."""
    result = respond(notification, reply.action, via=Response.Via.SMS, reference=reference, now=now, note=reply.note)
    answer_text = _about(notification, result.answer_text)
    if why_cannot_respond(notification):
        return answer_text
    is_done = result.outcome is ResponseOutcome.DONE
    if is_done:
        answer_text += undo_text(notification, reply.action)
        if reply.action is not Action.ASSIGN:
            return answer_text
    others = _still_open(sent, notification)
    if others or not is_done:
        answer_text += f" {_open_text(others, reply.action)}"
    return answer_text


def _act_on_all(
    sent: QuerySet[Notification], last: LastMessage, reply: ParsedReply, *, reference: str, now: datetime
) -> str:
    """Carry out a reply on all alerts of a message, if the action is possible for all; return the answer."""
    notification = last.notification
    together = _together(notification)
    if reply.action is not together and not why_cannot_respond(notification):
        return (
            f"Nothing was done: the last message was about {last.alerts} alerts. {_list_available_actions(sent, last)}"
        )
    message_id, alert_ids = notification.message_id or notification.pk, _alerts_in(notification)
    result = answer(message_id, reply.action, via=Response.Via.SMS, reference=reference, now=now)
    answer_text = result.answer_text
    if result.outcome is ResponseOutcome.NOT_POSSIBLE:
        return answer_text
    if result.outcome is ResponseOutcome.DONE:
        answer_text += undo_text(notification, Action.ASSIGN, many=True)
    others = _still_open(sent, notification, without=alert_ids)
    if others:
        answer_text += f" {_open_text(others, reply.action)}"
    return answer_text


def _ask_which_alert(sent: QuerySet[Notification], last: LastMessage, reply: ParsedReply | None) -> str:
    """Return the question which alert is meant, if several messages may have been the last."""
    key = _KEYS[reply.action] if reply is not None and reply.action in _KEYS else _KEYS[Action.ASSIGN]
    alert_ids = [pk for pk in dict.fromkeys((last.notification.alert_id, *last.rivals)) if pk is not None]
    alerts = Alert.objects.in_bulk(alert_ids)
    choices = [f"“{key} {pk}” for {_short(alerts[pk])}" for pk in alert_ids[:_MAX_RIVALS] if alerts[pk].status in LIVE]
    reason = "Nothing was done: several messages were sent to you at the same time."
    if choices:
        return f"{reason} Reply with the number: {', '.join(choices)}."
    open_text = _open_text(_still_open(sent, last.notification, without=alert_ids), None)
    return f"{reason} Their alerts are over. {open_text}"


def _list_available_actions(sent: QuerySet[Notification], last: LastMessage) -> str:
    """Return a sentence about the possible replies, with their digits."""
    notification = last.notification
    if reason := why_cannot_respond(notification):
        return reason
    if last.alerts > 1:
        together = _together(notification)
        page = tokens.page_url(notification.message_id or notification.pk)
        example = f"“{_KEYS[Action.ASSIGN]} {notification.alert_id}”"
        if together is None:
            return f"Add the number of one of them, as in {example}, or see {page}"
        for_all = f"Reply {_KEYS[together]} {_for_all_text(together, last.alerts)}"
        return f"{for_all}, or add the number of one of them, as in {example}, or see {page}"
    others = _still_open(sent, notification)
    choices = [
        f"{_KEYS[action]} {_ACTION_TEXTS[action]}" for action in available_actions(notification) if action in _KEYS
    ]
    name = _name(alert_of(notification))
    answer_text = f"For {name} reply {', '.join(choices)}." if choices else f"{name} is over."
    if others:
        answer_text += f" {_open_text(others, None)}"
    return answer_text


def _together(notification: Notification) -> Action | None:
    """Return the action that is possible for all alerts of a message at once; None if the policy disables it."""
    action = Action.ACKNOWLEDGE if notification.kind in TO_OWNER else Action.ASSIGN
    return action if action in allowed_actions_of(notification) else None


def _for_all_text(action: Action, number: int) -> str:
    return f"to take all {number}" if action is Action.ASSIGN else f"to say that you are on all {number}"


def _still_open(
    sent: QuerySet[Notification], notification: Notification, *, without: Sequence[int] | None = None
) -> list[int]:
    """Return the ids of the alerts that this person was notified of by SMS and that nobody has, latest first.

    Alerts `without` are left out, by default the alert of the notification.
    """
    left_out = {notification.alert_id} if without is None else set(without)
    recent = sent.filter(user=notification.user_id).values_list("alert_id", flat=True)[:_LOOK_THROUGH]
    alert_ids = [pk for pk in dict.fromkeys(recent) if pk is not None and pk not in left_out]
    waiting = Alert.objects.filter(pk__in=alert_ids, status=Status.OPEN, owner=None)
    live = set(waiting.values_list("pk", flat=True))
    return [pk for pk in alert_ids if pk in live]


def _open_text(alert_ids: Sequence[int], action: Action | None) -> str:
    """Return a sentence about the newest open alert, how to reply to it, and how many more there are."""
    if not alert_ids:
        return "Nothing else is open."
    newest = Alert.objects.get(pk=alert_ids[0])
    more = f", and {len(alert_ids) - 1} more" if len(alert_ids) > 1 else ""
    key = _KEYS.get(action or Action.ASSIGN, _KEYS[Action.ASSIGN])
    return f"Still open: {_name(newest)} (reply {key} {newest.pk}){more}."


def _about(notification: Notification, answer_text: str) -> str:
    """Return the answer, with the alert's number and name in front if it does not contain the number."""
    alert = alert_of(notification)
    return answer_text if f"#{alert.pk}" in answer_text else f"{_name(alert)}: {answer_text}"


def _name(alert: Alert) -> str:
    return f"#{alert.pk} {_short(alert)}"


def _short(alert: Alert) -> str:
    return clip(one_line(alert.known_as), _NAME_LENGTH)


def _first(sent: QuerySet[Notification]) -> Notification | None:
    """Return the latest notification with its related rows, which are read for this one only."""
    pk = sent.values_list("pk", flat=True).first()
    return sent.get(pk=pk) if pk is not None else None


def _alerts_in(notification: Notification) -> list[int]:
    """Return the ids of the alerts of its message; for a recovery, which cannot be answered, that of its own alert."""
    alert_ids = (
        notifications_in(notification.message_id or notification.pk)
        .order_by()
        .values_list("alert_id", flat=True)
        .distinct()
    )
    return sorted(pk for pk in alert_ids if pk is not None) or [alert_of(notification).pk]


def _holders(number: str) -> list[int]:
    """Return the ids of the users whose verified number this is."""
    methods = ContactMethod.objects.filter(
        kind=ContactMethod.Kind.SMS, address=number, verified_at__isnull=False, user__isnull=False
    )
    return sorted({pk for pk in methods.values_list("user", flat=True) if pk is not None})


def _earlier_answer(holders: Sequence[int], *, reference: str) -> str:
    """Return the answer to the same SMS if the provider delivers it again; empty if it is new."""
    same = Q(reference=reference) | Q(reference__startswith=f"{reference}:")
    first = Response.objects.filter(same, user__in=holders, via=Response.Via.SMS).order_by("id").first()
    return f"You already did this: {first.answer_text}" if first else ""
