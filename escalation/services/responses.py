"""What people answer to a message: one service behind the page, SMS, calls, chat and e-mail.

A message may be answered once with each action. The row that says so is written first and in the same transaction as
what it does: of two that come at once the database lets one in, and the other is told what that one did.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts.models import User
from accounts.selectors import slack_member
from alerting import services as alerts
from alerting.models import Alert
from alerting.selectors import respondable_alerts
from alerting.states import STOPPED, Action
from escalation.models import Notification, Response
from escalation.selectors import TO_OWNER, expires_at, told_in
from escalation.services.actions import ON_IT, act, answer_together, take_together
from escalation.services.offers import alert_of, asks_its_owner, hindrance, offered, person_of, refusal, standing
from escalation.wording import at_night, zone
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.ids import digest

UNKNOWN_MEMBER: Final = (
    "Nothing was changed: nobody in Heartbeat has your Slack member ID. Add your Slack member ID under My contact "
    "methods to answer from Slack."
)
_TOO_OLD: Final = "This message is too old to be answered. Sign in to respond."


class Outcome(StrEnum):
    """What came of an answer."""

    DONE = "done"
    ALREADY = "already"
    NOT_POSSIBLE = "not_possible"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it, in words that fit every channel."""

    outcome: Outcome
    said: str


def answer_as(slack_id: str, message_id: UUID, action: Action, *, now: datetime) -> Answer:
    """Do what somebody asks for in a channel that many read: for the person whose member ID it is, and nobody else.

    Only people of the organization whose message it is are looked at.
    """
    first = told_in(message_id).first()
    person = slack_member(slack_id, organization_id=first.organization_id) if first else None
    if first is not None and person is None:
        return Answer(Outcome.NOT_POSSIBLE, UNKNOWN_MEMBER)
    # Each person takes and acknowledges for themselves; two who escalate at once would tell two steps instead of one.
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
) -> Answer:
    """Do what is asked for from a message, which may be about many alerts: those can only be taken together.

    It is done for `person`, or without one for who was told.
    """
    told = told_in(message_id)
    first, alert_ids = told.first(), set(told.values_list("alert_id", flat=True))
    if first is None:
        return Answer(Outcome.NOT_POSSIBLE, "What this message told of is not known any more. Nothing was changed.")
    if person is not None:
        # All that follows asks about who was told: this row, which is not saved, now says the person.
        first.user = person
    if len(alert_ids) == 1:
        return respond(first, action, via=via, reference=reference, now=now)
    if action is Action.ASSIGN:
        return take_all(first, alert_ids, via=via, reference=reference, now=now)
    if action is Action.ACKNOWLEDGE and first.kind in TO_OWNER:
        return on_it(first, alert_ids, via=via, reference=reference, now=now)
    return Answer(
        Outcome.NOT_POSSIBLE,
        f"This message is about {len(alert_ids)} alerts: they can only be assigned together. Nothing was changed.",
    )


def respond(
    told: Notification,
    action: Action,
    *,
    via: Response.Via,
    reference: str,
    now: datetime,
    note: str = "",
    until: datetime | None = None,
) -> Answer:
    """Do what the person who was told asks for, at most once for each reference, and say what came of it.

    `reference` names what is used up: the message for its link and buttons, the provider's id for a reply or a call.
    Only the state of the alert, the person's rights and the rule decide; nothing is raised for what is too late.
    """
    note, alert_id = note.strip(), alert_of(told).pk
    if expires_at(told) <= now:
        return Answer(Outcome.NOT_POSSIBLE, _TOO_OLD)
    if refused := refusal(told):
        return Answer(Outcome.NOT_POSSIBLE, refused)
    if action is Action.REPLY:
        if not note:
            return Answer(Outcome.NOT_POSSIBLE, "The note is empty: nothing was added.")
        reference = f"{reference}:{digest(note)[:16]}"
    try:
        with transaction.atomic():
            used, first = Response.objects.get_or_create(
                alert_id=alert_id,
                action=action,
                reference=reference,
                defaults={"user": person_of(told), "via": via, "said": "", "at": now},
            )
            told.alert = Alert.objects.select_related("owner", "bridge").get(pk=alert_id)
            if not first:
                return Answer(Outcome.ALREADY, _used(told, used))
            if action is Action.HOLD and until is None:
                raise _NotPossible("Choose until when.")  # noqa: TRY301 - as below
            if hindered := hindrance(told, action):
                raise _NotPossible(hindered)  # noqa: TRY301 - the row of the use must go with it
            used.said = _act(told, action, note=note, until=until, now=now)
            used.save(update_fields=["said"])
    except (_NotPossible, alerts.StateConflict, FieldError) as error:
        told.alert = Alert.objects.select_related("owner", "bridge").get(pk=alert_id)
        said = standing(told) if isinstance(error, alerts.StateConflict) else str(error)
        outcome = Outcome.ALREADY if _is_so(told, action) else Outcome.NOT_POSSIBLE
        return Answer(outcome, f"{said} Nothing was changed.")
    return Answer(Outcome.DONE, used.said)


def take_all(
    told: Notification, alert_ids: Collection[int], *, via: Response.Via, reference: str, now: datetime
) -> Answer:
    """Assign to their reader all alerts of one message that nobody owns and that are not over, and say how many.

    `told` is one of the message's notifications: they share the person, the address and the time.
    """
    if expires_at(told) <= now:
        return Answer(Outcome.NOT_POSSIBLE, _TOO_OLD)
    if refused := refusal(told):
        return Answer(Outcome.NOT_POSSIBLE, refused)
    if Action.ASSIGN not in offered(told.run, told.channel):
        return Answer(Outcome.NOT_POSSIBLE, "This is not offered over this channel. Sign in to do it.")
    user = person_of(told)
    mine = respondable_alerts(user).filter(pk__in=alert_ids).values_list("pk", flat=True)
    with transaction.atomic():
        try:
            taken = take_together(list(mine), actor=user, now=now)
        except FieldError as error:
            return Answer(Outcome.NOT_POSSIBLE, f"{error} Nothing was changed.")
        many = len(taken) != 1
        said = f"{len(taken)} alert{'s are' if many else ' is'} yours: nobody else is told any more."
        Response.objects.bulk_create(
            [
                Response(alert_id=pk, user=user, action=Action.ASSIGN, via=via, reference=reference, said=said, at=now)
                for pk in taken
            ],
            ignore_conflicts=True,
        )
    if taken:
        return Answer(Outcome.DONE, said)
    return Answer(Outcome.ALREADY, "Nothing is left to take: every alert has an owner or is over. Nothing was changed.")


def on_it(
    told: Notification, alert_ids: Collection[int], *, via: Response.Via, reference: str, now: datetime
) -> Answer:
    """Write down that the reader is on it, for all alerts of one message that they have and that are not over."""
    if expires_at(told) <= now:
        return Answer(Outcome.NOT_POSSIBLE, _TOO_OLD)
    if refused := refusal(told):
        return Answer(Outcome.NOT_POSSIBLE, refused)
    user = person_of(told)
    has = Q(status__in=sorted(STOPPED)) & (Q(owner=user) | Q(owner=None)) | Q(status="open", acknowledged_by=user)
    theirs = respondable_alerts(user).filter(has, pk__in=alert_ids)
    with transaction.atomic():
        answered = answer_together(list(theirs.values_list("pk", flat=True)), actor=user, now=now)
        many = len(answered) != 1
        said = f"Thank you: {len(answered)} alert{'s stay' if many else ' stays'} with you."
        Response.objects.bulk_create(
            [
                Response(
                    alert_id=pk, user=user, action=Action.ACKNOWLEDGE, via=via, reference=reference, said=said, at=now
                )
                for pk in answered
            ],
            ignore_conflicts=True,
        )
    if answered:
        return Answer(Outcome.DONE, said)
    return Answer(Outcome.ALREADY, "None of these alerts is yours any more. Nothing was changed.")


def silent_after(alert: Alert) -> str:
    """Say what ending an alert by hand means for its heartbeat; nothing for an alert that has none."""
    return " There is no further alert before the next ping." if alert.recovers else ""


class _NotPossible(Exception):
    """The action is too late or not offered; the message says why."""


def _act(told: Notification, action: Action, *, note: str, until: datetime | None, now: datetime) -> str:
    """Do it and return what to say; raise StateConflict when somebody was faster."""
    alert, user = alert_of(told), person_of(told)
    name = f"#{alert.pk} {alert.source_name}"
    if action is Action.REPLY:
        act(alert, action, actor=user, now=now, text=note)
        return f"Your note on {name} is in the timeline."
    if action is Action.CLOSE:
        alert = act(alert, action, actor=user, now=now, reason=note)
        return f"You closed {name}.{silent_after(alert)}"
    if action is Action.ACKNOWLEDGE and asks_its_owner(told):
        act(alert, Action.REPLY, actor=user, now=now, text=f"{ON_IT} {note}".strip())
        return f"Thank you: {name} stays with you."
    alert = act(alert, action, actor=user, now=now, until=until)
    if action is Action.ASSIGN:
        said = f"{name} is yours: nobody else is told any more."
    elif action is Action.ESCALATE:
        said = f"You escalated {name}: the next people are told now."
    elif action is Action.HOLD:
        end = at_night(alert.hold_until, zone=zone(user.time_zone)) if alert.hold_until else "it is resumed"
        said = f"{name} is on hold: nobody is told until {end}."
    else:
        if told.run is not None and told.run.acknowledge_stops:
            what_follows = "nobody else is told"
        elif alert.status == Alert.Status.ON_HOLD:
            what_follows = "it is on hold, and nobody is told until it is resumed"
        else:
            what_follows = "others are told until somebody takes it"
        said = f"You acknowledged {name}: {what_follows}."
    if note:
        act(alert, Action.REPLY, actor=user, now=now, text=note)
    return said


def _is_so(told: Notification, action: Action) -> bool:
    """Answer whether what the person asks for is what they did before, through another door."""
    alert = alert_of(told)
    if action is Action.ACKNOWLEDGE:
        return alert.acknowledged_by_id == told.user_id
    return action is Action.ASSIGN and alert.owner_id == told.user_id


def _used(told: Notification, used: Response) -> str:
    """Say what the first use did, and where the alert stands if that has changed since."""
    when = at_night(used.at, zone=zone(person_of(told).time_zone))
    return f"{used.user} did this already ({when}): {used.said} Now: {standing(told)}"
