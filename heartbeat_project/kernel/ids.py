"""Secrets that name things: ping tokens and API keys."""

import hashlib
import secrets


def new_token() -> str:
    """Return a URL-safe secret of 192 random bits (32 characters)."""
    return secrets.token_urlsafe(24)


def digest(secret: str) -> str:
    """Return the SHA-256 hex digest of a random secret.

    A plain hash is enough because the secret itself has far more entropy than can be searched.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
