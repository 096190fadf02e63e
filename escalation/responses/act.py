"""Carry out what people do to alerts; the console, the API, links, SMS, calls, mail and chat all call this module.

The consequences of an action are in the same transaction: who is notified, where the escalation continues, and when the
alert is reviewed, so that an alert that somebody took is not forgotten.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from django.db import transaction
from django.db.models.functions import Coalesce

from accounts.models.users import User
from alerting.models.alerts import Alert, TimelineEntry
from alerting.services import alerts
from alerting.states import LIVE, Action, Status
from alerting.via import Via
from escalation.engine import walk
from escalation.engine.advance import escalate
from escalation.engine.manual import SOURCE as MANUAL
from escalation.engine.review_times import Review, Taken, next_review
from escalation.engine.reviews import go_on, is_stopped, notify_new_owner, save_reviews
from escalation.models.runs import EscalationRun
from escalation.responses.selectors import last_notified_at

ON_IT: Final = "I am on it."


def act(
    alert: Alert,
    action: Action,
    *,
    actor: User,
    via: Via,
    now: datetime,
    to: User | None = None,
    until: datetime | None = None,
    text: str = "",
    reason: str = "",
) -> Alert:
    """Carry out an action of `actor`, which arrived over the channel `via`, and return the changed alert.

    `to` is the new owner of an assigned alert (by default the actor), `until` the end of a hold, `text` a note and
    `reason` why the alert is closed or cancelled; other actions ignore them. Raises what the service of the action in
    `alerting` raises.
    """
    change = _change(action, to=to or actor, until=until, text=text, reason=reason)
    with transaction.atomic():
        alert = change(alert, actor=actor, via=via, now=now)
        run = EscalationRun.objects.select_for_update(no_key=True).filter(alert=alert.pk).first()
        if run is not None:
            follow(run, alert, action, actor=actor, now=now)
    return alert


def take_together(alert_ids: Sequence[int], *, actor: User, via: Via, now: datetime) -> list[int]:
    """Assign those of the alerts that are open and have no owner to the actor; return their ids.

    Raises FieldError("user") if the actor cannot take alerts.
    """
    with transaction.atomic():
        assigned = alerts.assign_alerts(alert_ids, actor=actor, to=actor, via=via, now=now)
        _review_together(assigned, now=now)
    return assigned


def answer_together(alert_ids: Collection[int], *, actor: User, via: Via, now: datetime) -> list[int]:
    """Note in the timeline of all alerts that are not over that the actor is on it; return their ids."""
    with transaction.atomic():
        live = Alert.objects.select_for_update(no_key=True).filter(pk__in=alert_ids, status__in=sorted(LIVE))
        answered = list(live.order_by("id").values_list("id", flat=True))
        TimelineEntry.objects.bulk_create(
            TimelineEntry(
                alert_id=pk,
                at=now,
                kind=TimelineEntry.Kind.REPLIED,
                actor=actor,
                text=ON_IT,
                via=via.channel,
                how=via.how,
            )
            for pk in answered
        )
        _review_together(answered, now=now)
    return answered


def acknowledge_by_integration(alert_ids: Sequence[int], *, name: str, now: datetime) -> None:
    """Record that the system behind an integration says that somebody has seen these alerts, if they are live.

    The escalations go on unless their policies say otherwise, and the alerts are reviewed as after any acknowledgement.
    """
    if not alert_ids:
        return
    with transaction.atomic():
        # Locked in id order, as by others that change several alerts.
        live = Alert.objects.filter(pk__in=alert_ids, status__in=sorted(LIVE)).order_by("pk")
        live_ids = list(live.select_for_update(no_key=True).values_list("pk", flat=True))
        Alert.objects.filter(pk__in=live_ids).update(acknowledged_at=Coalesce("acknowledged_at", now))
        lines = [(alert_id, f"Acknowledged in {name}.") for alert_id in live_ids]
        alerts.write_timeline(TimelineEntry.Kind.ACKNOWLEDGED, lines, now=now)
        _review_together(live_ids, now=now)


class _Change(Protocol):
    def __call__(self, alert: Alert, *, actor: User, via: Via, now: datetime) -> Alert: ...


def _change(action: Action, *, to: User, until: datetime | None, text: str, reason: str) -> _Change:
    """Return the function that carries out the action on the alert, without its consequences."""
    changes: dict[Action, _Change] = {
        Action.ACKNOWLEDGE: _acknowledge,
        Action.UNACKNOWLEDGE: alerts.unacknowledge,
        Action.ASSIGN: partial(alerts.assign, to=to),
        Action.GIVE_BACK: alerts.give_back,
        Action.ESCALATE: escalate,
        Action.HOLD: partial(alerts.hold, until=until),
        Action.RESUME: alerts.resume,
        Action.CLOSE: partial(alerts.close, reason=reason),
        Action.CANCEL: partial(alerts.cancel, reason=reason),
        Action.REPLY: partial(alerts.reply, text=text),
    }
    return changes[action]


def _acknowledge(alert: Alert, *, actor: User, via: Via, now: datetime) -> Alert:
    return alerts.acknowledge(alert, actor=actor, via=via, now=now, since=last_notified_at(alert.pk, actor.pk))


def follow(run: EscalationRun, alert: Alert, action: Action, *, actor: User, now: datetime) -> None:
    """Apply the consequences of a person's action to the escalation, and set when the alert is reviewed.

    The caller has locked the alert and its run.
    """
    if action is Action.ACKNOWLEDGE:
        _end_retries(run, actor)
    elif action is Action.GIVE_BACK or (action is Action.UNACKNOWLEDGE and run.acknowledge_stops):
        go_on([run], now=now)
    by_owner = actor.pk == alert.owner_id
    if run.review == Review.HANDED and action is not Action.ASSIGN and not by_owner and alert.status == Status.ASSIGNED:
        # Actions of others do not show that the new owner knows of the alert: the review of the hand-over stays.
        return
    handed = alert.status == Status.ASSIGNED and not by_owner and _was_handed(alert, action)
    _set_review(run, alert, handed=handed, now=now)
    if action is Action.ASSIGN and handed and alert.owner is not None:
        notify_new_owner(run, alert.owner, by=actor, now=now)
    save_reviews([run])


def _was_handed(alert: Alert, action: Action) -> bool:
    """Return whether somebody else assigned the alert to its owner, who has done nothing with it since."""
    if action is not Action.RESUME:
        return action is Action.ASSIGN
    assigned = alert.timeline.filter(kind=TimelineEntry.Kind.ASSIGNED).order_by("-id").first()
    if assigned is None or assigned.actor_id == alert.owner_id:
        return False
    return not alert.timeline.filter(actor=alert.owner_id, id__gt=assigned.pk).exists()


def _end_retries(run: EscalationRun, person: User) -> None:
    """Cancel the retries of the steps that the person answered; the engine computes at the next step what is left."""
    position = walk.Position.load(run.position)
    answered = walk.answered(position, person.pk)
    if answered != position:
        run.position = answered.dump()
        run.save(update_fields=["position"])


def _review_together(alert_ids: Sequence[int], *, now: datetime) -> None:
    runs = EscalationRun.objects.select_for_update(no_key=True, of=("self",)).select_related("alert")
    # There may be thousands: leave out the long fields, which are not needed here.
    locked_runs = list(runs.filter(alert__in=alert_ids).defer("plan", "position", "alert__long_text").order_by("id"))
    for run in locked_runs:
        _set_review(run, run.alert, handed=False, now=now)
    save_reviews(locked_runs)


def _set_review(run: EscalationRun, alert: Alert, *, handed: bool, now: datetime) -> None:
    state = Taken(
        stopped=is_stopped(alert, run),
        watched=alert.source != MANUAL,
        handed=handed,
        hold_until=alert.hold_until,
        remind_after=timedelta(minutes=float(run.reopen_after_minutes)),
        reopened_at=run.reopened_at,
    )
    run.acted_at = now
    run.review, run.review_at = next_review(state, acted_at=now) or ("", None)
