"""Twilio's REST API (2010-04-01) for SMS and calls, and the signature of its callbacks.

Sources: Twilio's documentation of the Message and Call resources, of TwiML, and of webhook security.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit
from xml.sax.saxutils import escape

from django.conf import settings
from django.utils.crypto import constant_time_compare

from escalation.channels import outgoing
from escalation.channels.base import DeliveryError, Message
from heartbeat_project.kernel.addresses import is_public

CALLBACK_PATH: Final = "/api/v1/provider-callbacks/twilio/%s/"
# What became of a message or call, by Twilio's own word; other words are on the way there.
DELIVERED: Final = frozenset({"delivered", "read", "completed"})
FAILED: Final = frozenset({"failed", "undelivered", "busy", "no-answer", "canceled"})


def send(kind: str, *, message: Message, text: str) -> str:
    """Send an SMS or start a call and return its SID.

    Raises DeliveryError; `uncertain` also for a success that names no SID, because somebody may have been told.
    """
    fields = {"To": message.address}
    callback = callback_url(str(message.id))
    if kind == "sms":
        sender = settings.TWILIO_FROM
        fields |= {"MessagingServiceSid" if sender.startswith("MG") else "From": sender, "Body": text}
        fields |= {"StatusCallback": callback} if callback else {}
    else:
        say = f"<Say>{escape(text)}</Say>"
        twiml = f'<Response><Pause length="1"/>{say}<Pause length="1"/>{say}</Response>'
        fields |= {"From": settings.TWILIO_VOICE_FROM, "Twiml": twiml}
        fields |= {"StatusCallback": callback} if callback else {}
    resource = "Messages" if kind == "sms" else "Calls"
    url = f"{settings.TWILIO_URL}/2010-04-01/Accounts/{settings.TWILIO_ACCOUNT_SID}/{resource}.json"
    try:
        reply = outgoing.post(
            url,
            body=urlencode(fields).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Authorization": _authorization()},
        )
    except outgoing.Refused as error:
        raise _in_their_words(error) from error
    sid = _json(reply.body).get("sid")
    if not isinstance(sid, str) or not sid:
        raise DeliveryError("The answer named no SID.", uncertain=True)
    return sid


def callback_url(message_id: str) -> str:
    """Return where Twilio is to report what became of a message; nothing where it could not reach us."""
    host = urlsplit(settings.BASE_URL).hostname or ""
    named = "." in host and not host.replace(".", "").isdigit() and not host.endswith((".local", ".internal"))
    return settings.BASE_URL + CALLBACK_PATH % message_id if named or is_public(host) else ""


def is_signed(signature: str, *, url: str, fields: Mapping[str, Sequence[str]]) -> bool:
    """Answer whether Twilio signed this callback: HMAC-SHA1 over the address and the sorted fields, with our token."""
    if not settings.TWILIO_AUTH_TOKEN:
        return False
    return constant_time_compare(signature, sign(url, fields))


def sign(url: str, fields: Mapping[str, Sequence[str]]) -> str:
    """Return the signature of a callback with these form fields."""
    parts = (name + value for name in sorted(fields) for value in sorted(set(fields[name])))
    signed = (url + "".join(parts)).encode("utf-8", "surrogatepass")
    key = settings.TWILIO_AUTH_TOKEN.encode()
    return base64.b64encode(hmac.new(key, signed, hashlib.sha1).digest()).decode()


def _authorization() -> str:
    pair = f"{settings.TWILIO_ACCOUNT_SID}:{settings.TWILIO_AUTH_TOKEN}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _in_their_words(error: outgoing.Refused) -> DeliveryError:
    """Say what Twilio said: its code leads to the page that explains it."""
    answer = _json(error.reply.body)
    if not answer.get("message"):
        return error
    said = f"{error.reply.status}: {answer['message']} (code {answer.get('code')})"
    return DeliveryError(said[:500], permanent=error.permanent, retry_after=error.retry_after)


def _json(body: bytes) -> Mapping[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
