"""Web Push (RFC 8030) to the browsers of a person: encrypted for the browser alone, signed with our VAPID key.

The message is encrypted by RFC 8291 (content coding aes128gcm, RFC 8188), and a token of RFC 8292 identifies us.
"""

import base64
import binascii
import hashlib
import json
import os
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.utils.crypto import salted_hmac

from escalation.channels import http_client, message_text
from escalation.channels.base import DeliveryError, Message
from heartbeat_project.kernel.http_client import HttpReply
from heartbeat_project.kernel.wording import clip

# How long a push service keeps a message: after an hour the escalation has reached the next people long ago.
TIME_TO_LIVE: Final = timedelta(hours=1)
TOKEN_LIFETIME: Final = timedelta(hours=12)
RECORD_SIZE: Final = 4096
TEXT_LENGTH: Final = 600  # letters of up to four bytes, beside a title: a push message has at most 4,096 bytes
GONE: Final = frozenset({404, 410})
OTHER_KEY: Final = frozenset({400, 401, 403})  # answers to a key that the browser did not subscribe to
CURVE: Final = ec.SECP256R1()
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class Subscription:
    """The endpoint of a browser, and the keys with which messages are encrypted for it alone."""

    endpoint: str
    key: ec.EllipticCurvePublicKey
    secret: bytes


class PushChannel:
    """Send to a browser's push service; a message that is sent again replaces itself there."""

    def send(self, message: Message) -> str:
        """Send the message and return the address under which the push service keeps it."""
        subscription = read_subscription(message.address)
        content = {
            "title": message_text.title(message),
            "body": clip(message_text.short(message) if message.alert else message_text.long(message), TEXT_LENGTH),
            "url": message_text.link(message),
            "tag": str(message.id),
        }
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(int(TIME_TO_LIVE.total_seconds())),
            "Urgency": "high",
            "Topic": message.id.hex,
        }
        try:
            reply = _post_with_any_key(
                subscription.endpoint,
                body=encrypt(json.dumps(content, ensure_ascii=False).encode(), subscription),
                headers=headers,
                now=message.at,
            )
        except http_client.Refused as error:
            if error.reply.status not in GONE:
                raise
            raise DeliveryError(
                "This browser takes no push messages any more. Add it again from that browser.", bad_address=True
            ) from error
        return reply.headers.get("location", "")[:200] or str(message.id)

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def read_subscription(text: str) -> Subscription:
    """Read a browser's PushSubscription from JSON; raise DeliveryError if it is none."""
    try:
        subscription = json.loads(text)
        point = _unpacked(subscription["keys"]["p256dh"])
        secret = _unpacked(subscription["keys"]["auth"])
        key = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)
        endpoint = subscription["endpoint"].strip()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise DeliveryError("This is not the subscription of a browser.", permanent=True) from error
    return Subscription(endpoint, key, secret)


def encrypt(
    text: bytes,
    subscription: Subscription,
    *,
    own: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Return the text as one aes128gcm record for the browser; `own` and `salt` are fresh unless a test gives them."""
    own = own or ec.generate_private_key(CURVE)
    salt = salt or os.urandom(16)
    ours, theirs = _point(own.public_key()), _point(subscription.key)
    shared = own.exchange(ec.ECDH(), subscription.key)
    key = _derive(shared, salt=subscription.secret, info=b"WebPush: info\x00" + theirs + ours, length=32)
    content_key = _derive(key, salt=salt, info=b"Content-Encoding: aes128gcm\x00", length=16)
    nonce = _derive(key, salt=salt, info=b"Content-Encoding: nonce\x00", length=12)
    sealed = AESGCM(content_key).encrypt(nonce, text + b"\x02", None)
    return salt + struct.pack("!IB", RECORD_SIZE, len(ours)) + ours + sealed


def _post_with_any_key(endpoint: str, *, body: bytes, headers: dict[str, str], now: datetime) -> HttpReply:
    """Post with the key that the browser subscribed to: ours, or one from before SECRET_KEY changed."""
    *others, last = vapid_keys()
    for key in others:
        try:
            return http_client.post(
                endpoint, body=body, headers={**headers, "Authorization": authorization(endpoint, now=now, key=key)}
            )
        except http_client.Refused as error:
            if error.reply.status not in OTHER_KEY:
                raise
    return http_client.post(
        endpoint, body=body, headers={**headers, "Authorization": authorization(endpoint, now=now, key=last)}
    )


def authorization(endpoint: str, *, now: datetime, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """Return the header that identifies us to the push service (RFC 8292); `key` is our present one by default."""
    key = key or vapid_key()
    parts = urlsplit(endpoint)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int((now + TOKEN_LIFETIME).timestamp()),
        "sub": settings.BASE_URL if settings.BASE_URL.startswith("https:") else f"mailto:{settings.VAPID_CONTACT}",
    }
    signed = f"{_packed_json({'typ': 'JWT', 'alg': 'ES256'})}.{_packed_json(claims)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"vapid t={signed}.{_packed(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}, k={public_key(key)}"


def public_key(key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """Return our public VAPID key in the form that browsers need to subscribe."""
    return _packed(_point((key or vapid_key()).public_key()))


def vapid_key() -> ec.EllipticCurvePrivateKey:
    """Return our key: the one of the settings, or one derived from SECRET_KEY, which is the same in every process."""
    return vapid_keys()[0]


def vapid_keys() -> list[ec.EllipticCurvePrivateKey]:
    """Return our key, then those derived from SECRET_KEY_FALLBACKS."""
    if settings.VAPID_PRIVATE_KEY:
        return [_vapid_key(settings.VAPID_PRIVATE_KEY, "")]
    return [_vapid_key("", secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


@cache
def _vapid_key(private_key: str, secret_key: str) -> ec.EllipticCurvePrivateKey:
    if private_key:
        number = int.from_bytes(_unpacked(private_key), "big")
    else:
        seed = salted_hmac("escalation.vapid", "1", secret=secret_key, algorithm="sha256").digest()
        number = int.from_bytes(hashlib.sha512(seed).digest(), "big") % (ORDER - 1) + 1
    return ec.derive_private_key(number, CURVE)


def _derive(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _packed_json(value: dict[str, object]) -> str:
    return _packed(json.dumps(value, separators=(",", ":")).encode())


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
