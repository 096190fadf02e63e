"""The manifest from which Slack makes an app for an integration.

Source: Slack, "App manifest reference".
"""

from typing import Any, Final

from integrations.inbound.chat.manifest_names import SHORTCUT
from integrations.inbound.selectors import request_url
from integrations.models.chat import ChatSettings
from integrations.models.integrations import InboundIntegration

_MAX_NAME: Final = 35  # characters of an app's name
_MENTIONS: Final = {"app_mention": "app_mentions:read"}
_MESSAGES: Final = {"message.channels": "channels:history", "message.groups": "groups:history"}


def slack_manifest(integration: InboundIntegration) -> dict[str, Any] | None:
    """Return the manifest for an integration of Slack; None for other platforms."""
    chat = integration.chat_settings
    if chat.platform != ChatSettings.Platform.SLACK:
        return None
    url = request_url(integration)
    events: dict[str, str] = {}
    if "mention" in chat.open_from:
        events |= _MENTIONS
    if "message" in chat.open_from:
        events |= _MESSAGES
    settings: dict[str, Any] = {
        "interactivity": {"is_enabled": True, "request_url": url},
        "org_deploy_enabled": False,
        "socket_mode_enabled": False,
        "token_rotation_enabled": False,
    }
    if events:
        settings["event_subscriptions"] = {"request_url": url, "bot_events": sorted(events)}
    return {
        "display_information": {"name": integration.name[:_MAX_NAME], "description": "Open and answer alerts."},
        "features": {
            "bot_user": {"display_name": "Heartbeat", "always_online": True},
            "slash_commands": [
                {
                    "command": chat.command,
                    "url": url,
                    "description": "Open or answer an alert",
                    "usage_hint": "text, or help",
                    "should_escape": False,
                }
            ],
            "shortcuts": [
                {
                    "name": "Open an alert",
                    "type": "message",
                    "callback_id": SHORTCUT,
                    "description": "Opens an alert with this message",
                }
            ],
        },
        "oauth_config": {"scopes": {"bot": sorted({"commands", "chat:write", "chat:write.public", *events.values()})}},
        "settings": settings,
    }
