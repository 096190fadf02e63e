"""Messages of Amazon SNS: their signatures, the certificate for them, and the confirmation of a subscription.

Source: Amazon SNS, "Verifying the signatures of Amazon SNS messages". An address in a message is used only if it is one
of Amazon SNS (see is_sns_address); every other one is shown to people and never opened.

Who calls what:

* The request of the sender calls verdict(), which reaches no network. TRUSTED: go on; FORGED: answer 401. UNKNOWN: the
  certificate is not in this process's memory, which is so for the first message of a day. Then call fetch_certificate()
  with one second, outside any transaction, and verdict() again; if that is still UNKNOWN, answer 503 with Retry-After
  and store nothing. SNS sends again after a 5xx, which it does not after a 4xx.
* If a message of TYPE_SUBSCRIBE arrived, on whatever integration, a worker calls confirm() after the commit and shows
  the text of its answer on the integration. It checks the signature itself, since an integration need not ask for one.
"""

import base64
import binascii
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from heartbeat_project.kernel.http_client import HttpError, get
from heartbeat_project.kernel.wording import clip

TYPE_SUBSCRIBE: Final = "SubscriptionConfirmation"
FETCH_SECONDS: Final = 1.0
CONFIRM_SECONDS: Final = 10.0
MAX_URL: Final = 2000
MAX_CERTIFICATE: Final = 16 * 1024
MAX_CERTIFICATES: Final = 32
MAX_FAILURES: Final = 256
# A certificate is fetched again after this time; one that could not be had is tried again after the second.
KEPT_FOR: Final = timedelta(days=1)
AGAIN_AFTER: Final = timedelta(seconds=30)
# Fetches of this process at a time: messages with wrong addresses must not keep all its threads waiting.
MAX_FETCHES: Final = 2
# The names of regions, and nothing else: `sns.s3.amazonaws.com` would be a bucket that anybody may own.
_HOST: Final = re.compile(r"sns\.[a-z]{2}(?:-[a-z]{1,12}){1,3}-[0-9]{1,2}\.amazonaws\.com(?:\.cn)?")
_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Notification": _NOTIFICATION,
    TYPE_SUBSCRIBE: _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}


class Verdict(StrEnum):
    """What is known about the signature of a message."""

    TRUSTED = "trusted"
    FORGED = "forged"
    # The certificate is not in memory.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Whether a subscription was confirmed, and a text about it for people."""

    is_confirmed: bool
    text: str


class _Certificates:
    """The certificates that were fetched, and the addresses that had none, in the memory of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MAX_FETCHES)
        self._found: OrderedDict[str, tuple[datetime, x509.Certificate]] = OrderedDict()
        self._failed: OrderedDict[str, datetime] = OrderedDict()

    def get(self, url: str, *, now: datetime) -> x509.Certificate | None:
        with self._lock:
            fetched_at, certificate = self._found.get(url, (None, None))
            return certificate if fetched_at and abs(now - fetched_at) < KEPT_FOR else None

    def fetch(self, url: str, *, seconds: float, now: datetime) -> bool:
        if self.get(url, now=now):
            return True
        with self._lock:
            failed_at = self._failed.get(url)
        if failed_at and abs(now - failed_at) < AGAIN_AFTER:
            return False
        if not self._places.acquire(blocking=False):
            return False
        try:
            certificate = _fetched(url, seconds=seconds)
        finally:
            self._places.release()
        with self._lock:
            if certificate is None:
                self._failed[url] = now
                _shorten(self._failed, MAX_FAILURES)
                return False
            self._found[url] = (now, certificate)
            self._found.move_to_end(url)
            _shorten(self._found, MAX_CERTIFICATES)
            return True


_certificates = _Certificates()


def is_sns_address(url: str) -> bool:
    """Return whether an address leads to Amazon SNS itself, over TLS, without a port or a user of its own."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable():
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None


def topic(payload: Any) -> str:
    """Return the ARN of a message's topic; "" if it is no message of SNS."""
    return _field(payload, "TopicArn")


def verdict(payload: Any, *, now: datetime) -> Verdict:
    """Say whether Amazon SNS signed this message, without reaching the network; never raises."""
    signed = _signed_text(payload)
    algorithm = _algorithm(payload)
    signature = _signature(payload)
    url = _certificate_url(payload)
    if signed is None or algorithm is None or not signature or not url:
        return Verdict.FORGED
    certificate = _certificates.get(url, now=now)
    if certificate is None:
        return Verdict.UNKNOWN
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return Verdict.FORGED
    try:
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            return Verdict.FORGED
        key.verify(signature, signed, PKCS1v15(), algorithm)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return Verdict.FORGED
    return Verdict.TRUSTED


def fetch_certificate(payload: Any, *, now: datetime, seconds: float = FETCH_SECONDS) -> bool:
    """Fetch the certificate that a message names, into the memory of this process; return whether it is there.

    It waits for the network, for at most `seconds`. Without an answer, or while two others are fetched, it is False.
    """
    url = _certificate_url(payload)
    return bool(url) and _certificates.fetch(url, seconds=seconds, now=now)


def confirm(payload: Any, *, now: datetime, seconds: float = CONFIRM_SECONDS) -> Confirmation:
    """Confirm the subscription that a message of TYPE_SUBSCRIBE asks for, if Amazon SNS signed it; never raises.

    It waits for the network, for at most `seconds` twice. Confirming twice does no harm.
    """
    url = _field(payload, "SubscribeURL")
    why_not = _why_not_confirmed(payload, url, now=now, seconds=seconds)
    if not why_not:
        return Confirmation(True, f"The subscription to {clip(topic(payload), 300)} was confirmed.")
    by_hand = f" If you know where it comes from, open it yourself: {clip(url, MAX_URL)}" if url else ""
    return Confirmation(False, f"The subscription was not confirmed: {why_not}{by_hand}")


def _why_not_confirmed(payload: Any, url: str, *, now: datetime, seconds: float) -> str:
    """Confirm a subscription; return why that cannot be done, "" if it was."""
    if _field(payload, "Type") != TYPE_SUBSCRIBE or not _is_confirmation_address(url):
        return "its address is not one of Amazon SNS."
    found = verdict(payload, now=now)
    if found is Verdict.UNKNOWN and fetch_certificate(payload, now=now, seconds=seconds):
        found = verdict(payload, now=now)
    if found is not Verdict.TRUSTED:
        unknown = "the certificate of Amazon SNS could not be fetched."
        return unknown if found is Verdict.UNKNOWN else "Amazon SNS did not sign the message."
    try:
        reply = get(url, headers={}, seconds=seconds, max_bytes=MAX_CERTIFICATE)
    except HttpError as error:
        return f"{str(error).rstrip('.')}."
    return "" if reply.status == 200 else f"Amazon SNS answered {reply.status}."


def _is_confirmation_address(url: str) -> bool:
    """Return whether an address confirms a subscription at Amazon SNS, and does nothing else there."""
    return is_sns_address(url) and ("Action", "ConfirmSubscription") in parse_qsl(urlsplit(url).query)


def _certificate_url(payload: Any) -> str:
    url = _field(payload, "SigningCertURL")
    return url if is_sns_address(url) and urlsplit(url).path.endswith(".pem") else ""


def _signed_text(payload: Any) -> bytes | None:
    """Return the fields that are signed, each with its name before it; None if one is missing."""
    names = _SIGNED_FIELDS.get(_field(payload, "Type"), ())
    # Only the subject may be missing, and then its name is missing too.
    lines = [f"{name}\n{_field(payload, name)}\n" for name in names if _field(payload, name) or name != "Subject"]
    is_whole = names and all(isinstance(payload.get(name), str) for name in names if name != "Subject")
    return "".join(lines).encode("utf-8", "surrogatepass") if is_whole else None


def _algorithm(payload: Any) -> hashes.HashAlgorithm | None:
    algorithms: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 (SNS's own)
    return algorithms.get(_field(payload, "SignatureVersion"))


def _signature(payload: Any) -> bytes:
    try:
        return base64.b64decode(_field(payload, "Signature").encode("utf-8", "surrogatepass"), validate=True)
    except binascii.Error:
        return b""


def _field(payload: Any, name: str) -> str:
    value = payload.get(name) if isinstance(payload, dict) else None
    return value if isinstance(value, str) else ""


def _fetched(url: str, *, seconds: float) -> x509.Certificate | None:
    try:
        reply = get(url, headers={}, seconds=seconds, max_bytes=MAX_CERTIFICATE)
        return x509.load_pem_x509_certificate(reply.body) if reply.status == 200 and not reply.is_cut else None
    except (HttpError, ValueError):
        return None


def _shorten(entries: OrderedDict[str, Any], length: int) -> None:
    while len(entries) > length:
        entries.popitem(last=False)
