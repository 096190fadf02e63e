"""Chat: incoming webhooks of Slack, of Mattermost and Rocket.Chat (the same format), and of Microsoft Teams."""

import json
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from escalation.channels import http_client, message_text, slack_blocks
from escalation.channels.base import Message
from heartbeat_project.kernel.http_client import HttpReply

# How services answer when a webhook is gone: Slack's words, then error codes of Teams' workflows and of Mattermost.
GONE: Final = (
    *("no_service", "no_active_hooks", "no_team", "team_disabled", "channel_not_found", "channel_is_archived"),
    *("user_not_found", "invalid_token", "workflownotfound", "web.incoming_webhook.invalid"),
)
TEAMS: Final = (".webhook.office.com", ".logic.azure.com", ".powerplatform.com", ".azure-apim.net")


class ChatChannel:
    """POST the long text to an incoming webhook."""

    def send(self, message: Message) -> str:
        """Send the message and return our own id: these services give none."""
        host = urlsplit(message.address).hostname or ""
        form = _teams(message) if host.endswith(TEAMS) else _slack(message)
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(message.id)}
        try:
            http_client.post(message.address, body=json.dumps(form).encode(), headers=headers)
        except http_client.Refused as error:
            error.bad_address = _is_gone(error.reply)
            error.permanent = error.permanent or error.bad_address
            raise
        return str(message.id)

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def _is_gone(reply: HttpReply) -> bool:
    """Return whether the service says that this webhook, or its channel, does not exist any more.

    A 404 alone may come from a proxy, and a 403 may be about this message alone.
    """
    if reply.status == HTTPStatus.GONE:
        return True
    body = reply.text.lower()
    return 400 <= reply.status < 500 and any(word in body for word in GONE)


def _slack(message: Message) -> dict[str, Any]:
    """Return Slack's format, escaped so that a name in the text cannot notify a channel or make a link."""
    has_buttons = bool(settings.SLACK_SIGNING_SECRET and message.allowed_actions)
    # Buttons name the person who presses them; a link that works for anybody beside them would defeat that.
    link = message_text.console_link(message) if has_buttons else message_text.link(message)
    lines = [f"*{_escaped(message_text.title(message))}*", _escaped(message_text.long(message)), link]
    text = "\n".join(line for line in lines if line)
    form: dict[str, Any] = {"text": text, "unfurl_links": False}
    if has_buttons and message.alert is not None:
        actions = [(allowed.action, allowed.caption) for allowed in message.allowed_actions]
        form["blocks"] = slack_blocks.blocks(text, token=message.button_token, page=link, actions=actions)
    return form


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(message: Message) -> dict[str, Any]:
    """Return an adaptive card, which both Teams' workflows and its older connectors take."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "weight": "Bolder", "wrap": True, "text": _plain(message_text.title(message))},
            {"type": "TextBlock", "wrap": True, "text": _plain(message_text.long(message))},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Open in Heartbeat", "url": message_text.link(message)}],
    }
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


def _plain(text: str) -> str:
    """Escape a text for a card: square brackets make no links, and line breaks are kept."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("\n", "\n\n")
