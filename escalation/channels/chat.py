"""Chat: incoming webhooks of Slack, of what takes the same form (Mattermost, Rocket.Chat), and of Microsoft Teams."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings

from escalation import links
from escalation.channels import buttons, outgoing, texts
from escalation.channels.base import Message
from escalation.selectors import ASKING
from escalation.services.offers import caption, offered_in

TEAMS: Final = (".webhook.office.com", ".logic.azure.com", ".powerplatform.com", ".azure-apim.net")


class ChatChannel:
    """POST the long text to an incoming webhook."""

    def send(self, message: Message) -> str:
        """Send the message and return our own id: these services give none."""
        host = urlsplit(message.address).hostname or ""
        words = _teams(message) if host.endswith(TEAMS) else _slack(message)
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(message.id)}
        outgoing.post(message.address, body=json.dumps(words).encode(), headers=headers)
        return str(message.id)

    def close(self) -> None:
        """Have nothing to let go of."""


def _slack(message: Message) -> dict[str, Any]:
    """Return Slack's form; names in the text cannot call a channel or make a link."""
    offered = offered_in(message.id) if settings.SLACK_SIGNING_SECRET and message.kind in ASKING else ()
    # Beside buttons that ask who pressed, a link that asks nobody would be the open window.
    link = texts.console_link(message) if offered else texts.link(message)
    lines = [f"*{_escaped(texts.title(message))}*", _escaped(texts.long(message)), link]
    text = "\n".join(line for line in lines if line)
    words: dict[str, Any] = {"text": text, "unfurl_links": False}
    if offered and message.alert is not None:
        captions = [(action, caption(action)) for action in offered]
        words["blocks"] = buttons.blocks(text, token=links.button(message.id), page=link, offered=captions)
    return words


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(message: Message) -> dict[str, Any]:
    """Return an adaptive card, which Teams' workflows and its older connectors both take."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "weight": "Bolder", "wrap": True, "text": _plain(texts.title(message))},
            {"type": "TextBlock", "wrap": True, "text": _plain(texts.long(message))},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Open in Heartbeat", "url": texts.link(message)}],
    }
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


def _plain(text: str) -> str:
    """Return the text so that a card shows it as it is: no links made of square brackets, lines kept."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("\n", "\n\n")
