"""The kinds of messages, as every channel knows them (pure)."""

from enum import StrEnum
from typing import Final


class MessageKind(StrEnum):
    """Why somebody gets a message; the same values as Notification.Kind, which a test compares."""

    PAGE = "page"
    LAST_RESORT = "last_resort"
    RECOVERY = "recovery"
    NOTICE = "notice"
    ASSIGNMENT = "assignment"
    REMINDER = "reminder"


# Messages to the person who has the alert.
TO_OWNER: Final = frozenset({MessageKind.ASSIGNMENT, MessageKind.REMINDER})
# Messages that ask for nothing.
INFORMING: Final = frozenset({MessageKind.RECOVERY, MessageKind.NOTICE})
