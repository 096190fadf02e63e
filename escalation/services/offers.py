"""What a person may do from a message: by the rule, by their rights, and by where the alert stands."""

from collections.abc import Collection
from datetime import tzinfo
from typing import Final
from uuid import UUID

from accounts.models import User
from alerting.models import Alert, TimelineEntry
from alerting.selectors import may_answer, may_respond
from alerting.states import LIVE, Action, Status, actions_from
from escalation import offers, walk
from escalation.models import EscalationRun, Notification
from escalation.selectors import told_in
from escalation.wording import at_night, zone

# In the order in which they are shown: the first is what most people want at night.
OFFERED: Final = (Action.ASSIGN, Action.ACKNOWLEDGE, Action.ESCALATE, Action.CLOSE, Action.REPLY)
_CAPTIONS: Final = {
    Action.ASSIGN: "Assign to me",
    Action.ACKNOWLEDGE: "Acknowledge",
    Action.ESCALATE: "Escalate",
    Action.CLOSE: "Close",
    Action.REPLY: "Add a note",
}
# What does no harm to an alert that somebody else has taken.
_HARMLESS: Final = frozenset({Action.ACKNOWLEDGE, Action.REPLY})
_Kind = TimelineEntry.Kind
_CHANGES: Final = (_Kind.ASSIGNED, _Kind.ESCALATED, _Kind.HELD, _Kind.RESUMED, _Kind.CLOSED, _Kind.CANCELLED)


def caption(action: Action) -> str:
    """Return what stands on the action's button."""
    return _CAPTIONS[action]


def offered(run: EscalationRun | None, channel: str) -> Collection[Action]:
    """Return what this rule offers over this channel, in the order in which it is shown; a note is always possible."""
    chosen = {*offers.offered(run.withheld if run else (), channel), Action.REPLY}
    return [action for action in OFFERED if action in chosen]


def offered_in(message_id: UUID) -> Collection[Action]:
    """Return what a message that is about to be sent offers its reader: nothing to people who may not answer it."""
    told = told_in(message_id).first()
    if told is None or not may_answer(person_of(told)):
        return ()
    return offered(told.run, told.channel)


def refusal(told: Notification) -> str:
    """Say why this person cannot respond from this message at all; empty when they can."""
    user, method = person_of(told), told.contact_method
    if not user.is_active:
        return f"The account of {user} is deactivated. Nothing can be done from this message any more."
    if method is None or method.address != told.address:
        return "This message went to an address that is no longer used. Sign in to respond."
    if user.kind == User.Kind.STAKEHOLDER:
        return f"{user} receives messages as a stakeholder: there is nothing to do."
    if not may_respond(user, alert_of(told)):
        return f"{user} may not respond to this alert. An administrator can say why."
    return ""


def possible(told: Notification) -> list[Action]:
    """Return what can be done from this message right now, in the order in which it is shown."""
    if refusal(told):
        return []
    return [action for action in offered(told.run, told.channel) if not hindrance(told, action)]


def hindrance(told: Notification, action: Action) -> str:
    """Say why this action is not, or no longer, possible for somebody who may respond; empty when it is."""
    alert = alert_of(told)
    if action not in offered(told.run, told.channel):
        return "This is not offered over this channel. Sign in to do it."
    if action not in _HARMLESS and alert.status in LIVE and alert.owner_id not in {None, told.user_id}:
        return f"{standing(told)} Talk to {alert.owner}, or sign in to change that."
    taken = alert.status == Status.ASSIGNED and alert.owner_id == told.user_id
    acknowledged = alert.acknowledged_by_id == told.user_id
    if action not in actions_from(Status(alert.status)) or (action is Action.ASSIGN and taken):
        return standing(told)
    if action is Action.ACKNOWLEDGE and acknowledged and alert.acknowledged_at:
        return f"Acknowledged by {told.user} ({at_night(alert.acknowledged_at, zone=_zone(told))})."
    return _nothing_to_escalate(told) if action is Action.ESCALATE else ""


def standing(told: Notification) -> str:
    """Say where the alert stands, who brought it there and when."""
    alert = alert_of(told)
    entry = alert.timeline.filter(kind__in=_CHANGES).order_by("-at", "-id").first()
    if entry is None:
        return f"The alert is {alert.get_status_display()}: nobody has taken it yet."
    return f"{entry.text.rstrip('.')} ({at_night(entry.at, zone=_zone(told))})."


def alert_of(told: Notification) -> Alert:
    """Return the alert of a notification that is about one, as those that can be answered are."""
    assert told.alert is not None  # noqa: S101 - for the type alone: the selectors leave out all others
    return told.alert


def person_of(told: Notification) -> User:
    """Return whom a notification that can be answered is to: what a group shares cannot."""
    assert told.user is not None  # noqa: S101 - for the type alone: the selectors leave out all others
    return told.user


def _nothing_to_escalate(told: Notification) -> str:
    """Say that an old message would escalate past people who were told since, or that nobody is left."""
    later = Notification.objects.filter(alert=told.alert_id, kind=Notification.Kind.PAGE, step__gt=told.step)
    others = later.filter(user__isnull=False).exclude(user=told.user_id)
    since = others.select_related("user").order_by("step", "created_at").first()
    if since is not None:
        when = at_night(since.created_at, zone=_zone(told))
        return f"The escalation has gone on since this message: {since.user} was told ({when})."
    run = told.run
    if run is None:
        return "This alert follows no escalation."
    over = walk.coming(walk.Plan.load(run.plan), walk.Position.load(run.position)) is None
    if over and run.last_resort_at is not None:
        return f"No further step follows in “{run.name}”, and the Owner and App Admins were told."
    return ""


def _zone(told: Notification) -> tzinfo:
    return zone(person_of(told).time_zone)
