"""Twilio's REST API (2010-04-01) for SMS and calls, and the signature of its callbacks.

Sources: Twilio's documentation of the Message and Call resources, of TwiML, and of webhook security.
"""

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit
from xml.sax.saxutils import escape

from django.conf import settings

from alerting.states import Action
from escalation import links
from escalation.channels import menus, outgoing
from escalation.channels.base import DeliveryError, Message
from escalation.channels.signatures import is_from_twilio
from escalation.models import Notification
from escalation.selectors import ASKING, told_in
from escalation.services.offers import alert_of, offered_in, refusal
from heartbeat_project.kernel.addresses import is_public

MENU_PATH: Final = "/api/v1/responses/twilio/voice/%s/"
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
        menu_at = f"{settings.BASE_URL}{MENU_PATH % links.token(message.id)}" if callback else ""
        fields |= {"From": settings.TWILIO_VOICE_FROM, "Twiml": _call(text, message=message, menu_at=menu_at)}
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
    """Answer whether Twilio signed this request with our token."""
    return is_from_twilio(signature, url=url, fields=fields, token=settings.TWILIO_AUTH_TOKEN)


def line(told: Notification) -> menus.Line | None:
    """Return the conference line that a call connects to; None without one, or where the person may not respond."""
    bridge = alert_of(told).bridge
    if bridge is None or not bridge.phone_number or refusal(told):
        return None
    return menus.Line(number=bridge.phone_number, code=bridge.access_code)


def together(offered: Collection[Action]) -> list[Action]:
    """Return what of this can be done with all alerts of a call at once: they can be assigned, and nothing else."""
    return [action for action in offered if action is Action.ASSIGN]


def _call(text: str, *, message: Message, menu_at: str) -> str:
    """Return what a call says, twice; with a menu of keys where Twilio can reach us and the person may respond."""
    offered = offered_in(message.id) if menu_at and message.kind in ASKING else ()
    told = told_in(message.id).first() if offered else None
    if told is not None:
        many = message.bundle is not None
        options = together(offered) if many else offered
        return menus.menu(text, answer_to=menu_at, offered=options, line=line(told), many=many)
    say = f"<Say>{escape(text)}</Say>"
    return f'<Response><Pause length="1"/>{say}<Pause length="1"/>{say}</Response>'


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
