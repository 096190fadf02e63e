"""What the page of a Chat integration shows besides its state: the steps to set up its platform, and what failed."""

import json
from typing import Any, Final

from integrations.inbound.chat.manifest import slack_manifest
from integrations.inbound.chat_checks import SECRETS
from integrations.inbound.selectors import request_url
from integrations.models.chat import ChatMessage
from integrations.models.integrations import InboundIntegration

_SHOWN_FAILURES: Final = 5


def chat_page(integration: InboundIntegration) -> dict[str, Any]:
    """Return the address, the manifest, the secrets that are missing, and the last messages that failed."""
    chat = integration.chat_settings
    manifest = slack_manifest(integration)
    failed = ChatMessage.objects.filter(integration=integration).exclude(last_error="").order_by("-id")
    return {
        "chat": chat,
        "request_url": request_url(integration),
        "manifest": json.dumps(manifest, indent=2) if manifest else "",
        "needs_proof": SECRETS[chat.platform][0] not in chat.secrets,
        "needs_bot": chat.platform != chat.Platform.GENERIC and "bot_token" not in chat.secrets,
        "chat_failures": failed[:_SHOWN_FAILURES],
    }
