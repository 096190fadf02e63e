"""Checks that an event comes from whom it should: signatures and secrets of senders, compared in constant time.

What is signed is the body as it came, byte by byte: no sender signs the parsed value. GitHub, GitLab, Sentry, Slack and
Amazon SNS send their bodies as they sign them, without compression. Of those that do compress, some sign what they
send, and others sign it before they compress it (GetStream); so both are right for a body that says it is compressed.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from escalation.channels.signatures import is_from_slack
from integrations.inbound import sns
from integrations.inbound.content_encodings import TooLarge, unpack

# How far the time of a signed request may be from our clock; outside it, it may be a replay.
TOLERANCE: Final = timedelta(minutes=5)
MAX_SECRET: Final = 1000
MAX_HEADER: Final = 100
_MAX_SIGNATURES: Final = 20
_HEADER_CHARACTERS: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What a check looks at. `header` is the name that was configured, in lower case."""

    secret: str
    header: str
    raw: bytes
    headers: Mapping[str, str]
    payload: Any
    now: datetime

    def get(self, name: str) -> str:
        """Return a header's value, "" without it."""
        return self.headers.get(name, "")

    @property
    def bodies(self) -> list[bytes]:
        """Return the body as it came, and unpacked if it is compressed."""
        if not self.get("content-encoding"):
            return [self.raw]
        try:
            return [self.raw, unpack(self.raw, headers=self.headers)[0]]
        except TooLarge:
            return [self.raw]


def is_signed(
    config: Mapping[str, Any], *, raw: bytes, headers: Mapping[str, str], payload: Any, now: datetime
) -> bool:
    """Return whether a request is signed as the field `signature` of its integration asks for; never raises.

    The names of `headers` are in lower case, `raw` is the body as it came. The time that it takes does not depend on
    the secret. Only Amazon SNS needs `payload`, and its certificate in the memory of this process; see sns.verdict().
    """
    check = _CHECKS.get(_text(config.get("scheme")))
    secret = _text(config.get("secret"))
    if check is None or not (secret or config.get("scheme") == "sns"):
        return False
    header = _text(config.get("header")).lower()
    return check(_Request(secret=secret, header=header, raw=raw, headers=headers, payload=payload, now=now))


def challenge(config: Mapping[str, Any]) -> str | None:
    """Return the header WWW-Authenticate for the 401 to an unsigned request; None if it needs none.

    Clients with a password in their address, Amazon SNS among them, send it only after they were asked for it.
    """
    return 'Basic realm="Heartbeat", charset="UTF-8"' if config.get("scheme") == "basic" else None


def faults(config: Any) -> list[str]:
    """Return a sentence for each reason why this cannot be saved as the field `signature`."""
    if not isinstance(config, dict):
        return ["The signature must be an object with scheme, header and secret."]
    lines = [f"A signature has no “{name}”." for name in config if name not in {"scheme", "header", "secret"}]
    scheme = config.get("scheme")
    if not isinstance(scheme, str) or scheme not in _CHECKS:
        return [*lines, f"The scheme must be one of {', '.join(_CHECKS)}."]
    return [*lines, *header_faults(scheme, config.get("header")), *secret_faults(scheme, config.get("secret"))]


def header_faults(scheme: str, header: Any) -> list[str]:
    """Return a sentence for each reason why a scheme that is known cannot be saved with this header."""
    if scheme not in _WITH_HEADER:
        return [] if not header else [f"The scheme {scheme} has a header of its own: leave the header out."]
    if not isinstance(header, str) or not header:
        return [f"The scheme {scheme} needs the name of the header that holds the signature or the secret."]
    if len(header) > MAX_HEADER or not set(header.lower()) <= _HEADER_CHARACTERS:
        return [f"The header must be the name of an HTTP header, with at most {MAX_HEADER} characters."]
    return []


def secret_faults(scheme: str, secret: Any) -> list[str]:
    """Return a sentence for each reason why a scheme that is known cannot be saved with this secret."""
    if secret is None or secret == "":
        return [] if scheme == "sns" else ["The secret is missing."]
    if not isinstance(secret, str):
        return ["The secret must be text."]
    if len(secret) > MAX_SECRET:
        return [f"The secret may have at most {MAX_SECRET:,} characters."]
    if secret != secret.strip():
        return ["The secret begins or ends with a space or a line break."]
    if not secret.isprintable():
        return ["The secret has characters that cannot be typed."]
    return _scheme_faults(scheme, secret)


def _scheme_faults(scheme: str, secret: str) -> list[str]:
    if scheme in {"header", "gitlab_token"} and not secret.isascii():
        return ["The secret is sent in a header, so it may have ASCII characters only."]
    if scheme == "basic" and ":" not in secret:
        return ["The secret must be user and password with a colon between them."]
    if scheme == "standard" and not _standard_key(secret):
        return ["The secret must be “whsec_” and Base64, as the sender shows it."]
    if scheme == "sns" and not secret.startswith("arn:"):
        return ["The secret of the scheme sns is the ARN of the topic, or nothing."]
    return []


def _github(request: _Request) -> bool:
    """Check X-Hub-Signature-256. Source: GitHub, "Validating webhook deliveries"."""
    return _any_body(request, lambda body: _same(request.get("x-hub-signature-256"), f"sha256={_hex(request, body)}"))


def _sentry(request: _Request) -> bool:
    """Check Sentry-Hook-Signature. Source: Sentry, "Webhooks" of its integration platform."""
    return _any_body(request, lambda body: _same(request.get("sentry-hook-signature"), _hex(request, body)))


def _standard(request: _Request) -> bool:
    """Check webhook-signature. Source: Standard Webhooks 1.0.

    While a sender changes its secret, it signs with the old one and the new one, and one of them must be right.
    """
    timestamp = request.get("webhook-timestamp")
    key = _standard_key(request.secret)
    if not key or not _is_recent(timestamp, now=request.now):
        return False
    signatures = request.get("webhook-signature").split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
    begin = _bytes(f"{request.get('webhook-id')}.{timestamp}.")

    def is_right(body: bytes) -> bool:
        digest = hmac.new(key, begin + body, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(digest).decode()
        return any(_same(signature, expected) for signature in signatures)

    return _any_body(request, is_right)


def _gitlab_token(request: _Request) -> bool:
    """Check X-Gitlab-Token, which is the secret itself. Source: GitLab, "Webhooks"."""
    return _same(request.get("x-gitlab-token"), request.secret)


def _sns(request: _Request) -> bool:
    """Check the signature in the message of Amazon SNS, and its topic if one is configured."""
    is_of_topic = not request.secret or sns.topic(request.payload) == request.secret
    return is_of_topic and sns.verdict(request.payload, now=request.now) is sns.Verdict.TRUSTED


def _slack(request: _Request) -> bool:
    """Check X-Slack-Signature. Source: Slack, "Verifying requests from Slack"."""
    return _any_body(
        request,
        lambda body: is_from_slack(
            request.get("x-slack-signature"),
            body=body,
            timestamp=request.get("x-slack-request-timestamp"),
            secret=request.secret,
            now=request.now,
        ),
    )


def _hmac_sha256(request: _Request) -> bool:
    """Check a header with HMAC-SHA256 of the body in hex or Base64, with or without `sha256=` in front."""
    received = request.get(request.header).strip().removeprefix("sha256=")

    def is_right(body: bytes) -> bool:
        digest = _hmac(request, body)
        return _same(received.lower(), digest.hex()) or _same(received, base64.b64encode(digest).decode())

    return _any_body(request, is_right)


def _header(request: _Request) -> bool:
    """Check a header that holds the secret itself."""
    return _same(request.get(request.header), request.secret)


def _basic(request: _Request) -> bool:
    """Check user and password of HTTP's basic authentication (RFC 7617)."""
    scheme, _, credentials = request.get("authorization").partition(" ")
    expected = base64.b64encode(_bytes(request.secret)).decode()
    return _same(credentials.strip(), expected) and scheme.lower() == "basic"


_CHECKS: Final[Mapping[str, Callable[[_Request], bool]]] = {
    "github": _github,
    "sentry": _sentry,
    "standard": _standard,
    "gitlab_token": _gitlab_token,
    "sns": _sns,
    "slack": _slack,
    "hmac_sha256": _hmac_sha256,
    "header": _header,
    "basic": _basic,
}
_WITH_HEADER: Final = frozenset({"hmac_sha256", "header"})
SCHEMES: Final = tuple(_CHECKS)


def _any_body(request: _Request, is_right: Callable[[bytes], bool]) -> bool:
    return any(is_right(body) for body in request.bodies)


def _hmac(request: _Request, body: bytes) -> bytes:
    return hmac.new(_bytes(request.secret), body, hashlib.sha256).digest()


def _hex(request: _Request, body: bytes) -> str:
    return _hmac(request, body).hex()


def _standard_key(secret: str) -> bytes:
    """Return the key in a secret; b"" if it is none."""
    encoded = secret.removeprefix("whsec_").rstrip("=")
    try:
        return base64.b64decode(_bytes(encoded + "=" * (-len(encoded) % 4)), validate=True)
    except binascii.Error:
        return b""


def _is_recent(timestamp: str, *, now: datetime) -> bool:
    if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 12:
        return False
    return abs(now.timestamp() - int(timestamp)) <= TOLERANCE.total_seconds()


def _same(received: str, expected: str) -> bool:
    return hmac.compare_digest(_bytes(received), _bytes(expected))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
