"""The words with which the timeline names a message: its channel, its kind and its recipient."""

from typing import Final

from accounts.models.contact_methods import ContactMethod
from escalation.models.notifications import Notification

_Kind = Notification.Kind
CHANNEL_NAMES: Final[dict[str, str]] = {str(kind): str(name) for kind, name in ContactMethod.Kind.choices}
# Pages have no word of their own: "SMS to Ben".
KIND_NAMES: Final = {
    _Kind.RECOVERY: "recovery notice ",
    _Kind.LAST_RESORT: "last resort ",
    _Kind.ASSIGNMENT: "assignment ",
    _Kind.REMINDER: "reminder ",
}


def message_to(notification: Notification) -> str:
    """Return the beginning of a line of the timeline, such as "SMS to Ben" or "E-mail reminder to Ben"."""
    kind = KIND_NAMES.get(_Kind(notification.kind), "")
    channel = CHANNEL_NAMES.get(notification.channel, notification.channel)
    return f"{channel} {kind}to {notification.addressee}"
