"""The secret with which webhooks to one address are signed."""

import base64

from django.utils.crypto import salted_hmac


def signing_secret(address: str) -> str:
    """Return the address's secret in the form of Standard Webhooks, `whsec_` and Base64.

    It is derived from SECRET_KEY, so that no secret is stored. It is shown only to who has proved, by a code that was
    sent there, that the address is theirs.
    """
    key = salted_hmac("accounts.webhook", address, algorithm="sha256").digest()
    return f"whsec_{base64.b64encode(key).decode()}"
