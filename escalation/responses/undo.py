"""How to undo what an answer has just done."""

from django.conf import settings

from alerting.states import Action
from escalation.models.notifications import TO_OWNER, Notification


def undo_text(notification: Notification, action: Action, *, many: bool = False, spoken: bool = False) -> str:
    """Return how to undo an action that was just carried out, as the end of its answer; empty if nothing undoes it.

    `many`: the action was carried out on all alerts of the message. `spoken` is for a call, which names no address.
    """
    if action is Action.CLOSE:
        return " A closed alert cannot be reopened."
    if action is Action.ASSIGN:
        purpose = "give one back" if many else "give it back"
    elif action is Action.ACKNOWLEDGE and notification.kind not in TO_OWNER:
        purpose = "undo"
    else:
        return ""
    if spoken:
        return f" To {purpose}, sign in."
    path = f"bundles/{notification.message_id or notification.pk}" if many else f"alerts/{notification.alert_id}"
    return f" To {purpose}: {settings.BASE_URL}/{path}/"
