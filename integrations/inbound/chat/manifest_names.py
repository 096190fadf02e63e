"""Names that both the manifest and Slack's requests have (pure)."""

from typing import Final

SHORTCUT: Final = "heartbeat_open"  # the callback id of the message action
