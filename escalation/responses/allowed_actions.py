"""Decide what a person can do from a message: by the policy, by their rights, and by the state of the alert."""

from collections.abc import Collection
from datetime import tzinfo
from typing import Any, Final
from uuid import UUID

from django.db.models import F, QuerySet

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from alerting.models.alerts import Alert, TimelineEntry
from alerting.selectors import has_acknowledged, may_answer, respondable_alerts, visible_alerts
from alerting.states import LIVE, Action, Status, actions_from
from escalation.engine import plan, walk
from escalation.engine.reviews import is_stopped
from escalation.models import channel_actions
from escalation.models.notifications import TO_OWNER, Notification
from escalation.models.runs import EscalationRun
from escalation.responses.selectors import last_notified_at, notifications_in
from heartbeat_project.kernel.wording import at_night, zone

# In the order in which messages show them: the first is what most people want at night.
ACTION_ORDER: Final = (Action.ASSIGN, Action.ACKNOWLEDGE, Action.ESCALATE, Action.CLOSE, Action.REPLY)
# The same for messages to the owner of an alert, who acknowledges to say that they are on it.
TO_ITS_OWNER: Final = (Action.ACKNOWLEDGE, Action.HOLD, Action.ESCALATE, Action.CLOSE, Action.REPLY)
_CAPTIONS: Final = {
    Action.ASSIGN: "Assign to me",
    Action.ACKNOWLEDGE: "Acknowledge",
    Action.ESCALATE: "Escalate",
    Action.CLOSE: "Close",
    Action.HOLD: "Hold until…",
    Action.REPLY: "Add a note",
}
# Actions that are allowed on an alert that somebody else has taken.
_HARMLESS: Final = frozenset({Action.ACKNOWLEDGE, Action.REPLY})
_Kind = TimelineEntry.Kind
_CHANGES: Final = (
    _Kind.ASSIGNED,
    _Kind.ESCALATED,
    _Kind.HELD,
    _Kind.RESUMED,
    _Kind.CLOSED,
    _Kind.CANCELLED,
    _Kind.GIVEN_BACK,
    _Kind.REASSIGNED,
    _Kind.REOPENED,
)


def caption(action: Action, *, to_owner: bool = False) -> str:
    """Return the label of the action's button."""
    return "I am on it" if to_owner and action is Action.ACKNOWLEDGE else _CAPTIONS[action]


def allowed_by_run(run: EscalationRun | None, channel: str) -> Collection[Action]:
    """Return the actions that the policy allows over a channel, in display order; a note is always allowed."""
    allowed = {*channel_actions.allowed_over(run.disabled_actions if run else (), channel), Action.REPLY}
    return [action for action in ACTION_ORDER if action in allowed]


def allowed_actions_of(notification: Notification) -> Collection[Action]:
    """Return the actions that this message allows; owners can always acknowledge and hold, whatever the policy says."""
    allowed = allowed_by_run(notification.run, notification.channel)
    if not asks_its_owner(notification):
        return allowed
    of_owner = {*allowed, Action.ACKNOWLEDGE, Action.HOLD}
    if notification.kind != Notification.Kind.ASSIGNMENT:
        # Only somebody who has just got the alert may pass it on: a later reminder asks whether they are still on it.
        of_owner.discard(Action.ESCALATE)
    return [action for action in TO_ITS_OWNER if action in of_owner]


def asks_its_owner(notification: Notification) -> bool:
    """Return whether this message asks the owner of the alert to do something, and the alert is still theirs."""
    if notification.kind not in TO_OWNER:
        return False
    alert = alert_of(notification)
    return alert.owner_id in {None, notification.user_id} and is_stopped(alert, notification.run)


def allowed_actions_in(message_id: UUID) -> Collection[Action]:
    """Return the actions that a message to be sent allows its reader; none for people who may not respond."""
    notification = notifications_in(message_id).first()
    if notification is None or not may_answer(person_of(notification)):
        return ()
    return allowed_actions_of(notification)


def why_cannot_respond(notification: Notification) -> str:
    """Return why this person cannot respond from this message at all, as it is said to them; empty if they can."""
    return why_cannot_respond_to_any(notification, [alert_of(notification).pk])


def why_cannot_respond_to_any(notification: Notification, alert_ids: Collection[int] | QuerySet[Any]) -> str:
    """Return why this person cannot respond to any of these alerts of a message; empty if they can respond to one."""
    user = person_of(notification)
    if not user.is_active:
        return "Your account is deactivated."
    if not _is_still_used(notification):
        return "This message went to an address that is no longer used. Sign in to respond."
    if user.kind == User.Kind.STAKEHOLDER:
        return "You are a stakeholder. Messages are for your information: you cannot respond to them."
    if not respondable_alerts(user).filter(pk__in=alert_ids).exists():
        return "You are not allowed to respond to this alert. Ask an administrator."
    return ""


def why_closed(notification: Notification, alert_ids: Collection[int] | QuerySet[Any]) -> str:
    """Return why the link of this message shows nothing any more; empty while its reader may see one of its alerts.

    A link outlives the account, the rights and the address of its reader: somebody else may have it now.
    """
    user = person_of(notification)
    if not user.is_active:
        return "The account that this message was sent to is deactivated."
    if not _is_still_used(notification):
        return "This message went to an address that is no longer used. Sign in to respond."
    if not visible_alerts(user).filter(pk__in=alert_ids).exists():
        return "The person it was sent to can no longer see this alert. Ask an administrator."
    return ""


def _is_still_used(notification: Notification) -> bool:
    """Return whether the address that a message went to still belongs to its reader.

    A browser that renews its subscription gets a new address but stays the same browser. It differs from a replaced
    address in that it was verified before the message, and not since.
    """
    method = notification.contact_method
    if method is None:
        return False
    if method.address == notification.address:
        return True
    is_browser = method.kind == notification.channel == ContactMethod.Kind.PUSH
    return is_browser and method.verified_at is not None and method.verified_at <= notification.created_at


def available_actions(notification: Notification) -> list[Action]:
    """Return the actions that are possible from this message right now, in display order."""
    if why_cannot_respond(notification):
        return []
    return [action for action in allowed_actions_of(notification) if not why_not_allowed(notification, action)]


def available_actions_for_many(message_id: UUID) -> list[Action]:
    """Return the actions that are possible right now with at least one of the alerts of a message."""
    live = notifications_in(message_id).filter(alert__status__in=LIVE)
    notification = live.filter(alert__owner=None).first() or live.filter(alert__owner=F("user")).first()
    return available_actions(notification) if notification is not None else []


def why_not_allowed(notification: Notification, action: Action) -> str:
    """Return why this action is not possible for somebody who may respond; empty if it is."""
    alert = alert_of(notification)
    if action not in allowed_actions_of(notification):
        return "This message does not allow that. Sign in to do it."
    if action not in _HARMLESS and alert.status in LIVE and alert.owner_id not in {None, notification.user_id}:
        return f"{status_text(notification)} Talk to {alert.owner}, or sign in to change that."
    is_own = alert.status == Status.ASSIGNED and alert.owner_id == notification.user_id
    acknowledged = alert.acknowledged_by_id == notification.user_id
    if action not in actions_from(Status(alert.status)) or (action is Action.ASSIGN and is_own):
        return status_text(notification)
    if action is Action.ACKNOWLEDGE and acknowledged and not asks_its_owner(notification):
        return _acknowledged_by(person_of(notification), alert)
    return _nothing_to_escalate(notification) if action is Action.ESCALATE else ""


def answers_the_last(person: User, alert: Alert) -> bool:
    """Return whether the person has acknowledged the alert since its escalation last notified them."""
    return has_acknowledged(person, alert, since=last_notified_at(alert.pk, person.pk))


def status_text(notification: Notification) -> str:
    """Return a sentence about the state of the alert, who changed it last and when."""
    alert = alert_of(notification)
    entry = alert.timeline.filter(kind__in=_CHANGES).order_by("-at", "-id").first()
    if entry is None:
        return f"The alert is {alert.get_status_display()}: nobody has taken it yet."
    return f"{entry.text.rstrip('.')} ({at_night(entry.at, zone=_zone(notification))})."


def alert_of(notification: Notification) -> Alert:
    """Return the alert of a notification that can be answered."""
    assert notification.alert is not None  # noqa: S101 - for the type alone: the selectors leave out all others
    return notification.alert


def person_of(notification: Notification) -> User:
    """Return the user of a notification that can be answered."""
    assert notification.user is not None  # noqa: S101 - for the type alone: the selectors leave out all others
    return notification.user


def _acknowledged_by(person: User, alert: Alert) -> str:
    """Return when the person, who acknowledged first, did so; empty if they have been notified again since."""
    if alert.acknowledged_at is None or not answers_the_last(person, alert):
        return ""
    return f"Acknowledged by {person} ({at_night(alert.acknowledged_at, zone=zone(person.time_zone))})."


def _nothing_to_escalate(notification: Notification) -> str:
    """Return why escalating from this message is pointless: others were notified since, or nobody is left; or ""."""
    later = Notification.objects.filter(
        alert=notification.alert_id, kind=Notification.Kind.PAGE, step__gt=notification.step
    )
    others = later.filter(user__isnull=False).exclude(user=notification.user_id)
    since = others.select_related("user").order_by("step", "created_at").first()
    if since is not None:
        when = at_night(since.created_at, zone=_zone(notification))
        return f"The alert has been escalated since this message: {since.user} was notified ({when})."
    run = notification.run
    if run is None:
        return "This alert has no escalation."
    coming = walk.coming_or_repeat(plan.Plan.load(run.plan), walk.Position.load(run.position))
    if coming is None and run.last_resort_at is not None:
        return f"“{run.name}” has no further step. The Owner and App Admins were notified."
    return ""


def _zone(notification: Notification) -> tzinfo:
    return zone(person_of(notification).time_zone)
