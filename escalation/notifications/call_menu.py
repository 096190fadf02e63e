"""What a call offers: keys for the actions that are allowed, and a conference line to be connected to."""

from collections.abc import Collection
from uuid import UUID

from alerting.states import FINAL, Action
from escalation.channels.base import CallMenu, ConferenceLine
from escalation.models.notifications import TO_OWNER, Notification
from escalation.responses import tokens
from escalation.responses.allowed_actions import alert_of, available_actions, person_of, why_cannot_respond
from escalation.responses.open_alerts import open_to_reader
from escalation.responses.selectors import notifications_in


def call_menu(message_id: UUID, *, allowed_actions: Collection[Action], many: bool) -> CallMenu | None:
    """Return the menu of a call that is about to be made; None if its reader may not respond.

    `many`: the call is about several alerts, and a key acts on all of them.
    """
    notification = notifications_in(message_id).first() if allowed_actions else None
    if notification is None:
        return None
    actions = actions_for_all(allowed_actions) if many else available_actions(notification)
    return CallMenu(
        token=tokens.token(message_id),
        actions=actions,
        line=conference_line(notification),
        many=many,
        to_owner=notification.kind in TO_OWNER,
        addition=other_alerts_text(notification) if many and Action.ASSIGN in actions else "",
    )


def conference_line(notification: Notification) -> ConferenceLine | None:
    """Return the conference line that a call connects to.

    None if the alert has none or is closed or cancelled, and if the person may not respond.
    """
    alert = alert_of(notification)
    bridge = alert.bridge_or_copy
    if bridge is None or not bridge.phone_number or alert.status in FINAL or why_cannot_respond(notification):
        return None
    return ConferenceLine(number=bridge.phone_number, code=bridge.access_code)


def actions_for_all(actions: Collection[Action]) -> list[Action]:
    """Return which of these actions can be done with all alerts of a call at once.

    Alerts that nobody has can be assigned. Their owner can say that they are on it: HOLD is allowed to owners alone.
    """
    has_them = Action.ASSIGN not in actions and Action.HOLD in actions
    action_for_all = Action.ACKNOWLEDGE if has_them else Action.ASSIGN
    return [action for action in actions if action is action_for_all]


def other_alerts_text(notification: Notification) -> str:
    """Say how many alerts beside those of this message its reader takes with them; empty if there are none."""
    alert_ids = set(notifications_in(notification.message_id or notification.pk).values_list("alert_id", flat=True))
    count = open_to_reader(person_of(notification), alert_ids, over=notification.channel).others.count()
    if not count:
        return ""
    others = "1 other that you were" if count == 1 else f"{count} others that you were"
    return f" {others} notified of {'is' if count == 1 else 'are'} open, too."
