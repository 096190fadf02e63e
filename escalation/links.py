"""Signed links, buttons and addresses: what a message carries so that its reader can respond without signing in.

A link names a message, and with it the person, the alert and the step: all of that stands in the message's row, and so
does the time from which its expiry counts. So the link holds 16 bytes of id and 12 of signature, which is short enough
for an SMS.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final
from uuid import UUID

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

# What is signed for one use is worth nothing for another.
LINK: Final = "escalation.links.link"
BUTTON: Final = "escalation.links.button"
ADDRESS: Final = "escalation.links.address"
_ID_BYTES: Final = 16
_SIGNATURE_BYTES: Final = 12
_TAGGED: Final = re.compile(r"[^@\s+]+\+([a-z2-7]{45})@[^@\s]+", re.IGNORECASE)


def page_url(message_id: UUID, *, alert_id: int | None = None) -> str:
    """Return the address of the page on which the reader of a message responds, or to one of its alerts."""
    one = f"/{alert_id}" if alert_id is not None else ""
    return f"{settings.BASE_URL}/r/{token(message_id)}{one}"


def token(message_id: UUID) -> str:
    """Return the 38 characters that stand for a message in a link."""
    return _encoded(message_id, salt=LINK)


def read_token(text: str) -> UUID | None:
    """Return the message that the link stands for; None when nobody here signed it."""
    return _read(text, salt=LINK, decode=_decoded)


def button(message_id: UUID) -> str:
    """Return what stands for a message in a button, whose presser the channel names: it opens no page."""
    return _encoded(message_id, salt=BUTTON)


def read_button(text: str) -> UUID | None:
    """Return the message that the button stands for; None when nobody here signed it."""
    return _read(text, salt=BUTTON, decode=_decoded)


def reply_address(message_id: UUID) -> str:
    """Return the address to which a mail about this message is answered; nothing where no such mail can arrive."""
    mailbox, _, host = settings.REPLY_ADDRESS.partition("@")
    # Mail servers may change the case of an address: this alphabet has one case.
    tag = base64.b32encode(_signed(message_id, salt=ADDRESS)).decode().rstrip("=").lower()
    return f"{mailbox}+{tag}@{host}" if host else ""


def read_address(text: str) -> UUID | None:
    """Return the message that an address in this header stands for; None when nobody here signed one."""
    for tag in _TAGGED.findall(text):
        found = _read(tag.upper(), salt=ADDRESS, decode=lambda given: base64.b32decode(given + "=" * (-len(given) % 8)))
        if found is not None:
            return found
    return None


def _encoded(message_id: UUID, *, salt: str) -> str:
    return base64.urlsafe_b64encode(_signed(message_id, salt=salt)).decode().rstrip("=")


def _decoded(given: str) -> bytes:
    return base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))


def _signed(message_id: UUID, *, salt: str, secret: str | None = None) -> bytes:
    signature = salted_hmac(salt, message_id.bytes, secret=secret, algorithm="sha256").digest()
    return message_id.bytes + signature[:_SIGNATURE_BYTES]


def _read(text: str, *, salt: str, decode: Callable[[str], bytes]) -> UUID | None:
    try:
        given = decode(text)
    except (ValueError, binascii.Error):
        return None
    if len(given) != _ID_BYTES + _SIGNATURE_BYTES:
        return None
    message_id = UUID(bytes=given[:_ID_BYTES])
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    expected = [_signed(message_id, salt=salt, secret=secret) for secret in secrets]
    return message_id if any(constant_time_compare(given, one) for one in expected) else None
