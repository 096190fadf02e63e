"""Answer a message: one service behind the respond page, SMS, calls, chat and e-mail.

A message can be answered once with each action. The row that records it is written first, in the same transaction as
the action: of two simultaneous answers the database accepts one, and the other one reports what the first did.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models.users import User
from accounts.services.chat_members import chat_user
from alerting import via as channels
from alerting.models.alerts import Alert
from alerting.selectors import respondable_alerts
from alerting.services import alerts
from alerting.states import STOPPED, Action
from alerting.via import Via
from escalation.models.notifications import TO_OWNER, Notification
from escalation.models.responses import Response
from escalation.models.runs import EscalationRun
from escalation.responses.act import ON_IT, act, answer_together, take_together
from escalation.responses.allowed_actions import (
    alert_of,
    asks_its_owner,
    person_of,
    status_text,
    why_cannot_respond,
    why_cannot_respond_to_any,
    why_not_allowed,
)
from escalation.responses.open_alerts import MAX_TAKEN, open_alerts_notified_to, open_to_reader
from escalation.responses.selectors import expires_at, most_urgent_first, notifications_in
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.ids import digest
from heartbeat_project.kernel.wording import at_night, one_line, zone

UNKNOWN_MEMBER: Final = (
    "Nothing was changed: Heartbeat does not know who you are. Type the command with “link”, and enter the code under "
    "My contact methods."
)
_TOO_OLD: Final = "This message is too old. Sign in to respond."
_NAMED: Final = 3  # alerts that an answer names; it counts the others
_CHANNELS: Final = {
    Response.Via.SMS: channels.SMS,
    Response.Via.VOICE: channels.VOICE,
    Response.Via.CHAT: channels.CHAT,
    Response.Via.EMAIL: channels.EMAIL,
}


class ResponseOutcome(StrEnum):
    """Whether an answer was carried out."""

    DONE = "done"
    ALREADY = "already"
    NOT_POSSIBLE = "not_possible"


@dataclass(frozen=True, slots=True)
class ResponseResult:
    """Whether an answer was carried out, and the text that says so on every channel."""

    outcome: ResponseOutcome
    answer_text: str


def answer_as(message_id: UUID, action: Action, *, scope: str, member: str, now: datetime) -> ResponseResult:
    """Carry out an action from a shared chat channel, for the person whom this member of the chat has proven to be.

    `scope` is that of the secret by which the press is proven. Only people of the organization that sent the message
    are considered.
    """
    first = notifications_in(message_id).first()
    person = chat_user(first.organization_id, scope=scope, member=member) if first else None
    if first is not None and person is None:
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, UNKNOWN_MEMBER)
    # Each person can assign and acknowledge. Escalating counts once for all: two people would trigger two steps.
    reference = str(message_id) if person is None or action is Action.ESCALATE else f"{message_id}:{person.pk}"
    return answer(message_id, action, via=Response.Via.CHAT, reference=reference, now=now, person=person)


def answer(
    message_id: UUID,
    action: Action,
    *,
    via: Response.Via,
    reference: str,
    now: datetime,
    person: User | None = None,
) -> ResponseResult:
    """Carry out an action from a message, which may be about many alerts; those can only be assigned together.

    It is carried out for `person`, by default the person who was notified.
    """
    notifications = notifications_in(message_id)
    first, alert_ids = notifications.first(), set(notifications.values_list("alert_id", flat=True))
    if first is None:
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, "Nothing was changed: this message is no longer known.")
    if person is not None:
        # The functions below act for the notification's user. This row is not saved.
        first.user = person
    if len(alert_ids) == 1:
        return respond(first, action, via=via, reference=reference, now=now)
    if action is Action.ASSIGN:
        return take_all(first, alert_ids, via=via, reference=reference, now=now)
    if action is Action.ACKNOWLEDGE and first.kind in TO_OWNER:
        return on_it(first, alert_ids, via=via, reference=reference, now=now)
    return ResponseResult(
        ResponseOutcome.NOT_POSSIBLE,
        f"Nothing was changed: this message is about {len(alert_ids)} alerts, which can only be assigned together.",
    )


def respond(
    notification: Notification,
    action: Action,
    *,
    via: Response.Via,
    reference: str,
    now: datetime,
    note: str = "",
    until: datetime | None = None,
    signed_in: User | None = None,
) -> ResponseResult:
    """Carry out an action for the person who was notified, at most once for each reference, and return the result.

    `reference` is the message for its link and buttons, and the provider's id for a reply or a call. `signed_in` is
    another user who was signed in where the link was used. An action that is too late or not allowed does not raise:
    the result says why.
    """
    note, alert_id = note.strip(), alert_of(notification).pk
    if expires_at(notification) <= now:
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, _TOO_OLD)
    if reason := why_cannot_respond(notification):
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, reason)
    if action is Action.REPLY:
        if not note:
            return ResponseResult(ResponseOutcome.NOT_POSSIBLE, "Nothing was added: the note is empty.")
        # Different notes on one message are different answers.
        reference = f"{reference}:{digest(note)[:16]}"
    try:
        with transaction.atomic():
            response, is_first = Response.objects.get_or_create(
                alert_id=alert_id,
                action=action,
                reference=reference,
                defaults={"user": person_of(notification), "via": via, "answer_text": "", "at": now},
            )
            notification.alert = Alert.objects.select_related("owner", "bridge").get(pk=alert_id)
            if not is_first:
                return ResponseResult(ResponseOutcome.ALREADY, _first_response_text(notification, response))
            if action is Action.HOLD and until is None:
                raise _NotPossible("Choose until when.")  # noqa: TRY301 - see below
            if reason := why_not_allowed(notification, action):
                raise _NotPossible(reason)  # noqa: TRY301 - this rolls back the row of the response
            how = how_answered(notification, via, signed_in=signed_in)
            response.answer_text = _act(notification, action, via=how, note=note, until=until, now=now)
            response.save(update_fields=["answer_text"])
    except (_NotPossible, alerts.StateConflict, FieldError) as error:
        notification.alert = Alert.objects.select_related("owner", "bridge").get(pk=alert_id)
        # Somebody was faster: what they did says more than the error.
        reason_text = status_text(notification) if isinstance(error, alerts.StateConflict) else str(error)
        outcome = ResponseOutcome.ALREADY if _is_effective(notification, action) else ResponseOutcome.NOT_POSSIBLE
        return ResponseResult(outcome, f"{reason_text} Nothing was changed.")
    return ResponseResult(ResponseOutcome.DONE, response.answer_text)


def take_all(
    notification: Notification,
    alert_ids: Collection[int] | QuerySet[Any],
    *,
    via: Response.Via,
    reference: str,
    now: datetime,
    before: datetime | None = None,
    signed_in: User | None = None,
) -> ResponseResult:
    """Assign all alerts of a message and all others that its reader was notified of to the reader, if nobody has them.

    `notification` is any notification of the message: they share the person, the address and the time. `before` is when
    the reader saw the number of alerts: those that they were notified of later are not assigned but named. Alerts whose
    policy disables the action over the message's channel are not assigned either.
    """
    if expires_at(notification) <= now:
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, _TOO_OLD)
    if reason := why_cannot_respond_to_any(notification, alert_ids):
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, reason)
    user = person_of(notification)
    open_to = open_to_reader(user, alert_ids, over=notification.channel, before=before)
    own = set(open_to.own.order_by().values_list("pk", flat=True))
    others = open_to.others.order_by("pk").values_list("pk", flat=True)[:MAX_TAKEN]
    ids_to_take = [*own, *others]
    if not ids_to_take and open_to_reader(user, alert_ids).own.exists():
        return ResponseResult(
            ResponseOutcome.NOT_POSSIBLE,
            "The escalation policy does not allow this over this channel. Sign in to do it.",
        )
    with transaction.atomic():
        try:
            assigned = take_together(
                ids_to_take, actor=user, via=how_answered(notification, via, signed_in=signed_in), now=now
            )
        except FieldError as error:
            return ResponseResult(ResponseOutcome.NOT_POSSIBLE, f"{error} Nothing was changed.")
        answer_text = f"{which_are_yours(assigned, own, alone=len(set(alert_ids)) == 1)}{_still_open_text(user)}"
        Response.objects.bulk_create(
            [
                Response(
                    alert_id=pk,
                    user=user,
                    action=Action.ASSIGN,
                    via=via,
                    reference=reference,
                    answer_text=answer_text,
                    at=now,
                )
                for pk in assigned
            ],
            ignore_conflicts=True,
        )
    if assigned:
        return ResponseResult(ResponseOutcome.DONE, answer_text)
    nothing_left = "Nothing was changed: every alert has an owner, is on hold or is over."
    return ResponseResult(ResponseOutcome.ALREADY, f"{nothing_left}{_still_open_text(user)}")


def on_it(
    notification: Notification,
    alert_ids: Collection[int] | QuerySet[Any],
    *,
    via: Response.Via,
    reference: str,
    now: datetime,
    signed_in: User | None = None,
) -> ResponseResult:
    """Note that the reader is on it, for all alerts of a message that are theirs and not over."""
    if expires_at(notification) <= now:
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, _TOO_OLD)
    if reason := why_cannot_respond_to_any(notification, alert_ids):
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, reason)
    user = person_of(notification)
    # Theirs are alerts that stopped for them: as the owner, without an owner, or acknowledged.
    is_theirs = Q(status__in=sorted(STOPPED)) & (Q(owner=user) | Q(owner=None)) | Q(status="open", acknowledged_by=user)
    theirs = respondable_alerts(user).filter(is_theirs, pk__in=alert_ids)
    with transaction.atomic():
        how = how_answered(notification, via, signed_in=signed_in)
        answered = answer_together(list(theirs.values_list("pk", flat=True)), actor=user, via=how, now=now)
        stay = "alert stays" if len(answered) == 1 else "alerts stay"
        answer_text = f"Thank you. {len(answered)} {stay} with you."
        Response.objects.bulk_create(
            [
                Response(
                    alert_id=pk,
                    user=user,
                    action=Action.ACKNOWLEDGE,
                    via=via,
                    reference=reference,
                    answer_text=answer_text,
                    at=now,
                )
                for pk in answered
            ],
            ignore_conflicts=True,
        )
    if answered:
        return ResponseResult(ResponseOutcome.DONE, answer_text)
    return ResponseResult(ResponseOutcome.ALREADY, "Nothing was changed: none of these alerts is yours any more.")


def silent_after(alert: Alert) -> str:
    """Return a sentence about the heartbeat of an alert that is closed by hand; empty for an alert without one."""
    return " No new alert opens until its heartbeat has pinged again." if alert.recovers else ""


def how_answered(notification: Notification, via: Response.Via, *, signed_in: User | None = None) -> Via:
    """Return how a message was answered, for the timeline."""
    if via == Response.Via.PAGE:
        return channels.by_link(notification.channel, signed_in=str(signed_in) if signed_in else "")
    return _CHANNELS[via]


def list_names(alerts: QuerySet[Alert]) -> str:
    """Name the alerts, most urgent first: “#55 backup, #56 orders and 3 more”; empty without any."""
    count = alerts.count()
    first = most_urgent_first(alerts)[:_NAMED] if count else ()
    names = ", ".join(f"#{alert.pk} {one_line(alert.known_as)}" for alert in first)
    return f"{names} and {count - _NAMED} more" if count > _NAMED else names


def which_are_yours(assigned: Collection[int], own: AbstractSet[int], *, alone: bool) -> str:
    """Return how many alerts were taken, and which of them other messages were about; `alone`: this one had one."""
    others = [pk for pk in assigned if pk not in own]
    alerts_are = "alert is" if len(assigned) == 1 else "alerts are"
    details = ""
    if others:
        own_count = len(assigned) - len(others)
        names = list_names(Alert.objects.filter(pk__in=others))
        of_message = "this one" if alone else f"{own_count} of this message"
        details = f" ({of_message}, and {names})" if own_count else f" ({names})"
    return f"{len(assigned)} {alerts_are} yours{details}. Nobody else will be notified."


class _NotPossible(Exception):
    """The action is too late or not allowed; the message says why."""


def _still_open_text(user: User) -> str:
    """Return a sentence that names the open alerts that the person was notified of; empty without any."""
    names = list_names(open_alerts_notified_to(user))
    return f" Still open: {names}." if names else ""


def _act(
    notification: Notification, action: Action, *, via: Via, note: str, until: datetime | None, now: datetime
) -> str:
    """Carry out the action and return the answer. Raises StateConflict if somebody was faster."""
    alert, user = alert_of(notification), person_of(notification)
    name = f"#{alert.pk} {alert.known_as}"
    if action is Action.ACKNOWLEDGE and asks_its_owner(notification):
        act(alert, Action.REPLY, actor=user, via=via, now=now, text=f"{ON_IT} {note}".strip())
        return f"Thank you. {name} stays with you."
    return act_and_say(alert, action, run=notification.run, actor=user, via=via, note=note, until=until, now=now)


def act_and_say(
    alert: Alert,
    action: Action,
    *,
    run: EscalationRun | None,
    actor: User,
    via: Via,
    now: datetime,
    note: str = "",
    until: datetime | None = None,
) -> str:
    """Carry out the action and return the answer to the actor. Raises what the action's service raises."""
    name = f"#{alert.pk} {alert.known_as}"
    if action is Action.REPLY:
        act(alert, action, actor=actor, via=via, now=now, text=note)
        return f"Your note was added to {name}."
    if action is Action.CLOSE:
        alert = act(alert, action, actor=actor, via=via, now=now, reason=note)
        return f"You closed {name}.{silent_after(alert)}"
    alert = act(alert, action, actor=actor, via=via, now=now, until=until)
    if action is Action.ASSIGN:
        answer_text = f"{name} is yours. Nobody else will be notified."
    elif action is Action.ESCALATE:
        answer_text = f"You escalated {name}. The next people are notified now."
    elif action is Action.HOLD:
        end = at_night(alert.hold_until, zone=zone(actor.time_zone)) if alert.hold_until else "it is resumed"
        answer_text = f"{name} is on hold. Nobody is notified until {end}."
    else:
        if run is not None and run.acknowledge_stops:
            what_follows = "Nobody else will be notified."
        elif alert.status == Alert.Status.ON_HOLD:
            what_follows = "It is on hold: nobody is notified until it is resumed."
        else:
            what_follows = "Others are still notified until somebody takes it."
        answer_text = f"You acknowledged {name}. {what_follows}"
    if note:
        act(alert, Action.REPLY, actor=actor, via=via, now=now, text=note)
    return answer_text


def _is_effective(notification: Notification, action: Action) -> bool:
    """Return whether the person has already done what they ask for, over another channel."""
    alert = alert_of(notification)
    if action is Action.ACKNOWLEDGE:
        return alert.acknowledged_by_id == notification.user_id
    return action is Action.ASSIGN and alert.owner_id == notification.user_id


def _first_response_text(notification: Notification, first: Response) -> str:
    """Return what the first answer with this reference did, and the state of the alert now."""
    when = at_night(first.at, zone=zone(person_of(notification).time_zone))
    return f"{first.user} already did this ({when}): {first.answer_text} Now: {status_text(notification)}"
