"""Sign links, buttons and reply addresses, with which the reader of a message can respond without signing in.

A token names only a message. The rows of the message hold the person, the alerts, the step and the time from which the
expiry counts. So a token has 16 bytes of id and 12 bytes of signature, which is short enough for an SMS.
"""

import base64
import binascii
from collections.abc import Callable
from itertools import islice
from typing import Final
from uuid import UUID

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

# Salts: a signature for one use is not valid for another.
LINK: Final = "escalation.responses.tokens.link"
BUTTON: Final = "escalation.responses.tokens.button"
ADDRESS: Final = "escalation.responses.tokens.address"
_ID_BYTES: Final = 16
_SIGNATURE_BYTES: Final = 12
_TAG_LENGTH: Final = 45  # characters: 28 bytes in base32
# Characters of a mail's headers that are read: mail servers accept fewer.
HEADER_LENGTH: Final = 262_144
_MAX_TAGS: Final = 100  # tags of one header whose signature is checked, since each check takes time
# Characters that separate addresses; none of them can occur in a reply address.
_SEPARATORS: Final = str.maketrans(dict.fromkeys(",;:<>()[]\"'", " "))


def page_url(message_id: UUID, *, alert_id: int | None = None) -> str:
    """Return the URL of the page on which the reader responds to a message, or to one of its alerts."""
    alert_part = f"/{alert_id}" if alert_id is not None else ""
    return f"{settings.BASE_URL}/r/{token(message_id)}{alert_part}"


def token(message_id: UUID) -> str:
    """Return the token of a message in a link: 38 characters."""
    return _encode(message_id, salt=LINK)


def read_token(text: str) -> UUID | None:
    """Return the message id of a link's token; None if its signature is not valid."""
    return _verify(text, salt=LINK, decode=_decode)


def button(message_id: UUID) -> str:
    """Return the token of a message in a button, which opens no page: the channel says who pressed it."""
    return _encode(message_id, salt=BUTTON)


def read_button(text: str) -> UUID | None:
    """Return the message id of a button's token; None if its signature is not valid."""
    return _verify(text, salt=BUTTON, decode=_decode)


def reply_address(message_id: UUID) -> str:
    """Return the address for replies to a mail; empty if this installation cannot receive mail."""
    mailbox, _, host = settings.REPLY_ADDRESS.partition("@")
    # Base32, since mail servers may change the case of an address.
    tag = base64.b32encode(_sign(message_id, salt=ADDRESS)).decode().rstrip("=").lower()
    return f"{mailbox}+{tag}@{host}" if host else ""


def read_address(text: str) -> UUID | None:
    """Return the message id of the first reply address in a header; None if there is none with a valid signature.

    The header is cut to a length and split at separators, so that the time grows only with its length.
    """
    tags = (_tag(word) for word in text[:HEADER_LENGTH].translate(_SEPARATORS).split())
    for tag in islice(filter(None, tags), _MAX_TAGS):
        message_id = _verify(
            tag.upper(), salt=ADDRESS, decode=lambda encoded: base64.b32decode(encoded + "=" * (-len(encoded) % 8))
        )
        if message_id is not None:
            return message_id
    return None


def _tag(word: str) -> str:
    """Return the part of an address after its last plus sign if it is as long as our tags; otherwise ""."""
    mailbox, _, host = word.partition("@")
    name, _, tag = mailbox.rpartition("+")
    return tag if name and host and len(tag) == _TAG_LENGTH else ""


def _encode(message_id: UUID, *, salt: str) -> str:
    return base64.urlsafe_b64encode(_sign(message_id, salt=salt)).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _sign(message_id: UUID, *, salt: str, secret: str | None = None) -> bytes:
    signature = salted_hmac(salt, message_id.bytes, secret=secret, algorithm="sha256").digest()
    return message_id.bytes + signature[:_SIGNATURE_BYTES]


def _verify(text: str, *, salt: str, decode: Callable[[str], bytes]) -> UUID | None:
    try:
        decoded = decode(text)
    except (ValueError, binascii.Error):
        return None
    if len(decoded) != _ID_BYTES + _SIGNATURE_BYTES:
        return None
    message_id = UUID(bytes=decoded[:_ID_BYTES])
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    expected = [_sign(message_id, salt=salt, secret=secret) for secret in secrets]
    return message_id if any(constant_time_compare(decoded, signature) for signature in expected) else None
