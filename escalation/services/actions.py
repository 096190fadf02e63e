"""The one way in which people change alerts: the console, the API, links, SMS, calls, mail and chat call it.

What follows from an action is in the same transaction: who is notified, where the escalation goes on, and when the
alert is looked at again, so that one that was taken is not forgotten.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.db import transaction

from accounts.models import User
from alerting import services as alerts
from alerting.models import Alert, TimelineEntry
from alerting.states import LIVE, Action, Status
from escalation import walk
from escalation.models import EscalationRun
from escalation.reviews import Review, Taken, next_review
from escalation.services.engine import hurry
from escalation.services.manual import SOURCE as MANUAL
from escalation.services.taken import go_on, is_stopped, notify_new_owner, save_reviews

ON_IT: Final = "I am on it."


def act(
    alert: Alert,
    action: Action,
    *,
    actor: User,
    now: datetime,
    to: User | None = None,
    until: datetime | None = None,
    text: str = "",
    reason: str = "",
) -> Alert:
    """Do to the alert what `actor` asks for, and return it as it stands then.

    `to` is who gets an assigned alert (without: the actor), `until` when a hold ends, `text` a note, `reason` why it is
    closed or cancelled; each is for its action alone. Raises what the service of the action in `alerting` raises.
    """
    change = _change(action, to=to or actor, until=until, text=text, reason=reason)
    with transaction.atomic():
        alert = change(alert, actor=actor, now=now)
        run = EscalationRun.objects.select_for_update(no_key=True).filter(alert=alert.pk).first()
        if run is not None:
            follow(run, alert, action, actor=actor, now=now)
    return alert


def take_together(alert_ids: Sequence[int], *, actor: User, now: datetime) -> list[int]:
    """Make the actor the owner of those of the alerts that nobody owns and that are not over; return their ids.

    Raises FieldError("user") when they cannot take alerts.
    """
    with transaction.atomic():
        taken = alerts.assign_alerts(alert_ids, actor=actor, to=actor, now=now)
        _review_together(taken, now=now)
    return taken


def answer_together(alert_ids: Collection[int], *, actor: User, now: datetime) -> list[int]:
    """Write down that the actor is on it for those of the alerts that are not over, and return their ids."""
    with transaction.atomic():
        live = Alert.objects.select_for_update(no_key=True).filter(pk__in=alert_ids, status__in=sorted(LIVE))
        answered = list(live.order_by("id").values_list("id", flat=True))
        TimelineEntry.objects.bulk_create(
            TimelineEntry(alert_id=pk, at=now, kind=TimelineEntry.Kind.REPLIED, actor=actor, text=ON_IT)
            for pk in answered
        )
        _review_together(answered, now=now)
    return answered


def _change(action: Action, *, to: User, until: datetime | None, text: str, reason: str) -> Any:
    """Return what changes the alert alone."""
    changes: dict[Action, Any] = {
        Action.ACKNOWLEDGE: alerts.acknowledge,
        Action.UNACKNOWLEDGE: alerts.unacknowledge,
        Action.ASSIGN: partial(alerts.assign, to=to),
        Action.GIVE_BACK: alerts.give_back,
        Action.ESCALATE: alerts.escalate,
        Action.HOLD: partial(alerts.hold, until=until),
        Action.RESUME: alerts.resume,
        Action.CLOSE: partial(alerts.close, reason=reason),
        Action.CANCEL: partial(alerts.cancel, reason=reason),
        Action.REPLY: partial(alerts.reply, text=text),
    }
    return changes[action]


def follow(run: EscalationRun, alert: Alert, action: Action, *, actor: User, now: datetime) -> None:
    """Do what a person's action brings to the escalation, and set when the alert is looked at again.

    The caller holds the alert and its run.
    """
    if action is Action.ESCALATE:
        hurry([alert.pk], now=now)
    elif action is Action.ACKNOWLEDGE:
        _end_retries(run, actor)
    elif action is Action.GIVE_BACK or (action is Action.UNACKNOWLEDGE and run.acknowledge_stops):
        go_on([run], now=now)
    by_owner = actor.pk == alert.owner_id
    if run.review == Review.HANDED and action is not Action.ASSIGN and not by_owner and alert.status == Status.ASSIGNED:
        # What others do or say is no sign that whom it was assigned to knows of it.
        return
    handed = alert.status == Status.ASSIGNED and not by_owner and _was_handed(alert, action)
    _set_review(run, alert, handed=handed, now=now)
    if action is Action.ASSIGN and handed and alert.owner is not None:
        notify_new_owner(run, alert.owner, by=actor, now=now)
    save_reviews([run])


def _was_handed(alert: Alert, action: Action) -> bool:
    """Answer whether somebody else assigned the alert to its owner, who did nothing since."""
    if action is not Action.RESUME:
        return action is Action.ASSIGN
    assigned = alert.timeline.filter(kind=TimelineEntry.Kind.ASSIGNED).order_by("-id").first()
    if assigned is None or assigned.actor_id == alert.owner_id:
        return False
    return not alert.timeline.filter(actor=alert.owner_id, id__gt=assigned.pk).exists()


def _end_retries(run: EscalationRun, person: User) -> None:
    """Let nobody be notified again by a step that they answered; the engine finds at its time what is left."""
    position = walk.Position.load(run.position)
    answered = walk.answered(position, person.pk)
    if answered != position:
        run.position = answered.dump()
        run.save(update_fields=["position"])


def _review_together(alert_ids: Sequence[int], *, now: datetime) -> None:
    runs = EscalationRun.objects.select_for_update(no_key=True, of=("self",)).select_related("alert")
    found = list(runs.filter(alert__in=alert_ids).order_by("id"))
    for run in found:
        _set_review(run, run.alert, handed=False, now=now)
    save_reviews(found)


def _set_review(run: EscalationRun, alert: Alert, *, handed: bool, now: datetime) -> None:
    taken = Taken(
        stopped=is_stopped(alert, run),
        watched=alert.source != MANUAL,
        handed=handed,
        hold_until=alert.hold_until,
        remind_after=timedelta(minutes=float(run.reopen_after_minutes)),
        reopened_at=run.reopened_at,
    )
    run.acted_at = now
    run.review, run.review_at = next_review(taken, acted_at=now) or ("", None)
