"""Web Push (RFC 8030) to the browsers of a person: encrypted for the browser alone, signed with our VAPID key.

The message is encrypted as RFC 8291 says (content coding aes128gcm, RFC 8188) and we are named by a token of RFC 8292.
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

from escalation.channels import outgoing, texts
from escalation.channels.base import DeliveryError, Message

# A page that is an hour old has been passed on to the next person long ago.
LIVES: Final = timedelta(hours=1)
TOKEN_LIVES: Final = timedelta(hours=12)
RECORD_SIZE: Final = 4096
TEXT_LENGTH: Final = 600  # four bytes each, and a title: a push message has 4,096
GONE: Final = frozenset({404, 410})
CURVE: Final = ec.SECP256R1()
ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where a browser listens, and the keys that only it can read with."""

    endpoint: str
    key: ec.EllipticCurvePublicKey
    secret: bytes


class PushChannel:
    """Send to a browser's push service; a message that is sent again replaces itself there."""

    def send(self, message: Message) -> str:
        """Send the message and return where the push service keeps it."""
        subscription = read_subscription(message.address)
        words = {
            "title": texts.title(message),
            "body": texts.clip(texts.short(message) if message.alert else texts.long(message), TEXT_LENGTH),
            "url": texts.link(message),
            "tag": str(message.id),
        }
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(int(LIVES.total_seconds())),
            "Urgency": "high",
            "Topic": message.id.hex,
            "Authorization": authorization(subscription.endpoint, now=message.at),
        }
        try:
            reply = outgoing.post(
                subscription.endpoint,
                body=encrypt(json.dumps(words, ensure_ascii=False).encode(), subscription),
                headers=headers,
            )
        except outgoing.Refused as error:
            if error.reply.status not in GONE:
                raise
            raise DeliveryError(
                "This browser does not take push messages any more. Add it again from that browser.", bad_address=True
            ) from error
        return reply.headers.get("location", "")[:200] or str(message.id)

    def close(self) -> None:
        """Have nothing to let go of."""


def read_subscription(text: str) -> Subscription:
    """Return what a browser's PushSubscription says in JSON; raise DeliveryError for what is none."""
    try:
        given = json.loads(text)
        point = _unpacked(given["keys"]["p256dh"])
        secret = _unpacked(given["keys"]["auth"])
        key = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)
        endpoint = given["endpoint"].strip()
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


def authorization(endpoint: str, *, now: datetime) -> str:
    """Return the header by which the push service knows that it is us (RFC 8292)."""
    parts = urlsplit(endpoint)
    claims = {
        "aud": f"{parts.scheme}://{parts.netloc}",
        "exp": int((now + TOKEN_LIVES).timestamp()),
        "sub": settings.BASE_URL if settings.BASE_URL.startswith("https:") else f"mailto:{settings.VAPID_CONTACT}",
    }
    signed = f"{_packed_json({'typ': 'JWT', 'alg': 'ES256'})}.{_packed_json(claims)}"
    r, s = decode_dss_signature(vapid_key().sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"vapid t={signed}.{_packed(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}, k={public_key()}"


def public_key() -> str:
    """Return our VAPID key as browsers want it to subscribe."""
    return _packed(_point(vapid_key().public_key()))


def vapid_key() -> ec.EllipticCurvePrivateKey:
    """Return our key: the one that is set, or one derived from SECRET_KEY, which every process then agrees on."""
    return _vapid_key(settings.VAPID_PRIVATE_KEY, settings.SECRET_KEY)


@cache
def _vapid_key(given: str, secret_key: str) -> ec.EllipticCurvePrivateKey:
    if given:
        number = int.from_bytes(_unpacked(given), "big")
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
