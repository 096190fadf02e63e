"""Identifiers: ids that come from outside, tokens of URLs and mail addresses, and API keys."""

import hashlib
import secrets
from typing import Final

MAX_ID: Final = 2**63 - 1  # the largest bigint
MAIL_TOKEN_LENGTH: Final = 26
_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_DIGITS: Final = len(str(MAX_ID))


def read_id(text: str) -> int | None:
    """Return the id that a text of ASCII digits holds; None if the text cannot be an id, however long it is."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        return None
    number = int(text)
    return number if 0 < number <= MAX_ID else None


def new_token() -> str:
    """Return a URL-safe secret of 192 random bits (32 characters)."""
    return secrets.token_urlsafe(24)


def new_mail_token() -> str:
    """Return a secret of 130 random bits as 26 letters of base32: mail servers may change the case of an address."""
    return "".join(secrets.choice(_BASE32) for _ in range(MAIL_TOKEN_LENGTH))


def digest(secret: str) -> str:
    """Return the SHA-256 hex digest of a random secret.

    A plain hash is enough because the secret itself has far more entropy than can be searched.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
