"""A push service with a browser behind it, which checks who sends and really decrypts."""

import base64
import json
import os

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.providers.server import Provider, Request, answer


def packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class PushService(Provider):
    """`shown` is what the browser behind it showed; `key` is the sender's public key that it subscribed with."""

    key: str = ""

    def __post_init__(self) -> None:
        self.usual = self._take
        self.shown: list[dict] = []
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._secret = os.urandom(16)
        super().__post_init__()

    @property
    def subscription(self) -> str:
        """Return what `JSON.stringify(subscription)` gives in a browser."""
        keys = {"p256dh": packed(self._point), "auth": packed(self._secret)}
        return json.dumps({"endpoint": f"{self.url}/push/1", "expirationTime": None, "keys": keys})

    @property
    def _point(self) -> bytes:
        return self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def _take(self, request: Request) -> bytes:
        headers = request.headers
        if headers.get("content-encoding") != "aes128gcm" or "ttl" not in headers or len(headers["topic"]) > 32:
            return answer(400)
        if not self._knows_sender(headers.get("authorization", "")):
            return answer(403, b"invalid VAPID")
        self.shown.append(json.loads(self.decrypted(request.body)))
        return answer(201, Location=f"{self.url}/message/{len(self.shown)}")

    def _knows_sender(self, authorization: str) -> bool:
        parts = dict(part.strip().split("=", 1) for part in authorization.removeprefix("vapid ").split(","))
        signed, _, signature = parts["t"].rpartition(".")
        claims = json.loads(unpacked(signed.split(".")[1]))
        raw = unpacked(signature)
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unpacked(parts["k"]))
        pair = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public.verify(pair, signed.encode(), ec.ECDSA(hashes.SHA256()))
        known = claims["aud"] == self.url and claims["sub"].startswith(("mailto:", "https:"))
        return known and parts["k"] == self.key

    def decrypted(self, body: bytes) -> bytes:
        """Return the text, as RFC 8188 and RFC 8291 notify the browser to."""
        salt, length = body[:16], body[20]
        theirs, sealed = body[21 : 21 + length], body[21 + length :]
        sender = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)

        def derive(secret, salt, info, length):
            return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)

        shared = self._private.exchange(ec.ECDH(), sender)
        key = derive(shared, self._secret, b"WebPush: info\x00" + self._point + theirs, 32)
        nonce = derive(key, salt, b"Content-Encoding: nonce\x00", 12)
        plain = AESGCM(derive(key, salt, b"Content-Encoding: aes128gcm\x00", 16)).decrypt(nonce, sealed, None)
        assert plain.endswith(b"\x02")
        return plain[:-1]
