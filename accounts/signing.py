"""Secrets that sign the webhooks to an address."""

import base64

from django.conf import settings
from django.utils.crypto import salted_hmac


def signing_secret(address: str) -> str:
    """Return the address's secret in the form of Standard Webhooks, `whsec_` and Base64.

    It is derived from SECRET_KEY, so that no secret is stored. It is shown only to users who have proved that the
    address is theirs, by a code that was sent to it.
    """
    return signing_secrets(address)[0]


def signing_secrets(address: str) -> list[str]:
    """Return the address's secret, then those of each former SECRET_KEY, which the receiver may still use."""
    keys = [
        salted_hmac("accounts.webhook", address, secret=secret, algorithm="sha256").digest()
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    ]
    return [f"whsec_{base64.b64encode(key).decode()}" for key in keys]
