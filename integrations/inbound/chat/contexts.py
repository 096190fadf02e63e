"""The signature in the context of Mattermost's buttons, which Mattermost itself does not sign.

Mattermost keeps the context on its server: who brings it back with the right signature is Mattermost.
"""

from typing import Any, Final

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from heartbeat_project.kernel.ids import digest
from integrations.inbound.chat_checks import SECRETS
from integrations.models.integrations import InboundIntegration

_SALT: Final = "integrations.chat.context"


def sign_context(integration: InboundIntegration, alert_id: int, action: str) -> dict[str, Any]:
    """Return the context of a button."""
    mac = _mac(integration, alert_id, action, settings.SECRET_KEY)
    return {"alert": alert_id, "action": str(action), "mac": mac}


def is_signed_context(integration: InboundIntegration, alert_id: int, action: str, mac: str) -> bool:
    """Return whether we signed this context for this integration, with the secret that it has now."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    macs = [_mac(integration, alert_id, action, key) for key in keys]
    return any(constant_time_compare(mac, expected) for expected in macs)


def _mac(integration: InboundIntegration, alert_id: int, action: str, key: str) -> str:
    chat = integration.chat_settings
    proof = digest(chat.secrets.get(SECRETS[chat.platform][0], ""))
    value = f"{integration.pk}:{proof}:{alert_id}:{action}"
    return salted_hmac(_SALT, value, secret=key, algorithm="sha256").hexdigest()
