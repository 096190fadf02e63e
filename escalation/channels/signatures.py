"""The signatures of requests that providers send to us (pure)."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

# How old, or how far ahead of our clock, a signed request from Slack may be; an older one may be a replay.
SLACK_TOLERANCE: Final = timedelta(minutes=5)


def twilio_signature(url: str, fields: Mapping[str, Sequence[str]], *, token: str) -> str:
    """Return X-Twilio-Signature: Base64 of HMAC-SHA1 over the address and the sorted form fields.

    Source: Twilio, "Webhooks security". `url` is the address that Twilio called, with its query.
    """
    parts = (name + value for name in sorted(fields) for value in sorted(set(fields[name])))
    signed = (url + "".join(parts)).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.new(token.encode(), signed, hashlib.sha1).digest()).decode()


def is_from_twilio(signature: str, *, url: str, fields: Mapping[str, Sequence[str]], token: str) -> bool:
    """Return whether Twilio signed this request with our token; no request counts as signed without a token."""
    return bool(token) and _same(signature, twilio_signature(url, fields, token=token))


def slack_signature(body: bytes, *, timestamp: str, secret: str) -> str:
    """Return X-Slack-Signature: `v0=` and the hex HMAC-SHA256 over version, time stamp and raw body.

    Source: Slack, "Verifying requests from Slack".
    """
    signed = b"v0:" + timestamp.encode("utf-8", "surrogatepass") + b":" + body
    return "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def is_from_slack(signature: str, *, body: bytes, timestamp: str, secret: str, now: datetime) -> bool:
    """Return whether Slack signed this request with our secret within the last five minutes."""
    if not secret or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 12:
        return False
    if abs(now.timestamp() - int(timestamp)) > SLACK_TOLERANCE.total_seconds():
        return False
    return _same(signature, slack_signature(body, timestamp=timestamp, secret=secret))


def _same(received: str, expected: str) -> bool:
    return hmac.compare_digest(received.encode("utf-8", "surrogatepass"), expected.encode())
