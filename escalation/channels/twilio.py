"""Twilio's REST API (2010-04-01) for SMS and calls, and the signature of its callbacks.

Sources: Twilio's documentation of the Message and Call resources, of TwiML, and of webhook security.
"""

import base64
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

from django.conf import settings

from escalation.channels import http_client, twiml
from escalation.channels.base import DeliveryError, Message
from escalation.channels.signatures import is_from_twilio
from heartbeat_project.kernel.addresses import is_public

log = logging.getLogger(__name__)

MENU_PATH: Final = "/api/v1/responses/twilio/voice/%s/"
CALLBACK_PATH: Final = "/api/v1/provider-callbacks/twilio/%s/"
# The final states of a message or call in Twilio's reports; other states come before these.
DELIVERED: Final = frozenset({"delivered", "read"})
# The state of a call that a person or an answering machine answered.
COMPLETED: Final = "completed"
FAILED: Final = frozenset({"failed", "undelivered", "busy", "no-answer", "canceled"})
# Machines are detected while the call goes on, so that a person hears no silence first; the callback gets the result.
_DETECTION: Final = {"MachineDetection": "Enable", "AsyncAmd": "true"}
OUR_ACCOUNT: Final = frozenset({401, 402})
_CALL_SID: Final = re.compile(r"CA[0-9a-f]{32}")
# With these, a sentence ends.
_ENDS: Final = (".", "!", "?", "…", ".”", "!”", "?”")
# Seconds to change a running call, within the 15 s that Twilio waits for the answer to its callback.
_CHANGE_SECONDS: Final = 2.0
# Error codes about the number: not valid, not reachable, no mobile phone, or its owner sent STOP.
BAD_NUMBERS: Final = frozenset({"21211", "21214", "21217", "21610", "21614", "21635"})
STOPPED: Final = "21610"
# Error codes of undelivered SMS that are our fault: queue, account, filter, price, sender that is not registered.
OURS: Final = frozenset({"30001", "30002", "30007", "30010", "30032", "30034"})


def send(kind: str, *, message: Message, text: str) -> str:
    """Send an SMS or start a call and return its SID.

    Raises DeliveryError, which is `uncertain` also if the answer has no SID: somebody may have been notified.
    """
    fields = {"To": message.address}
    callback = callback_url(str(message.id))
    if kind == "sms":
        sender = settings.TWILIO_FROM
        fields |= {"MessagingServiceSid" if sender.startswith("MG") else "From": sender, "Body": text}
        fields |= {"StatusCallback": callback} if callback else {}
    else:
        twiml_document = _call(text, message=message, keys_arrive=bool(callback))
        fields |= {"From": settings.TWILIO_VOICE_FROM, "Twiml": twiml_document}
        fields |= {"StatusCallback": callback, **_DETECTION, "AsyncAmdStatusCallback": callback} if callback else {}
    resource = "Messages" if kind == "sms" else "Calls"
    sid = _json(_post(resource, fields)).get("sid")
    if not isinstance(sid, str) or not sid:
        raise DeliveryError("The answer has no SID.", uncertain=True)
    return sid


def leave_on_machine(call: str, text: str) -> bool:
    """Make a call that an answering machine took say `text` and end; return whether Twilio accepted the change.

    If it comes too late, the machine keeps what the call has said so far.
    """
    if not _CALL_SID.fullmatch(call):
        return False
    try:
        _post(f"Calls/{call}", {"Twiml": twiml.left_on_a_machine(text)}, seconds=_CHANGE_SECONDS)
    except DeliveryError as error:
        log.warning("call %s could not be changed for an answering machine: %s", call, error)
        return False
    return True


def is_machine(answered_by: str) -> bool:
    """Return whether a machine took the call; if Twilio does not know, it counts as a person."""
    return answered_by == "fax" or answered_by.startswith("machine_")


def callback_url(message_id: str) -> str:
    """Return the address to which Twilio reports the state of a message; "" if Twilio cannot reach us."""
    host = urlsplit(settings.BASE_URL).hostname or ""
    has_public_name = "." in host and not host.replace(".", "").isdigit() and not host.endswith((".local", ".internal"))
    return settings.BASE_URL + CALLBACK_PATH % message_id if has_public_name or is_public(host) else ""


def field(fields: Mapping[str, str], name: str, *, length: int = 200) -> str:
    """Return a field of a request from Twilio: at most `length` letters, and printable ones alone."""
    return "".join(sign for sign in fields.get(name, "")[:length] if sign.isprintable())


def is_signed(signature: str, *, url: str, fields: Mapping[str, Sequence[str]]) -> bool:
    """Return whether Twilio signed this request with our token."""
    return is_from_twilio(signature, url=url, fields=fields, token=settings.TWILIO_AUTH_TOKEN)


def says_bad_number(status: str, *, code: str) -> bool:
    """Return whether an SMS was undelivered because of the number; a single time, the phone may have been off."""
    return status == "undelivered" and code not in OURS


def _call(text: str, *, message: Message, keys_arrive: bool) -> str:
    """Return what a call says, twice; with a menu of keys if the person may respond and Twilio can reach us."""
    if message.alert or message.bundle:
        # The subject of an event is seldom a sentence; and two people may share the phone.
        text = f"{text if text.endswith(_ENDS) else f'{text}.'} This call is for {message.reader}."
    menu = message.call_menu
    if menu is None or not keys_arrive:
        return twiml.twice(text)
    return twiml.menu(
        f"{text}{menu.addition}",
        answer_to=f"{settings.BASE_URL}{MENU_PATH % menu.token}",
        actions=menu.actions,
        line=menu.line,
        many=menu.many,
        to_owner=menu.to_owner,
    )


def _post(resource: str, fields: Mapping[str, str], *, seconds: float | None = None) -> bytes:
    """Create or change a resource of our account and return the answer; raise DeliveryError with Twilio's message."""
    url = f"{settings.TWILIO_URL}/2010-04-01/Accounts/{settings.TWILIO_ACCOUNT_SID}/{resource}.json"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": _authorization()}
    try:
        return http_client.post(url, body=urlencode(fields).encode(), headers=headers, seconds=seconds).body
    except http_client.Refused as error:
        raise _with_twilios_message(error) from error


def _authorization() -> str:
    pair = f"{settings.TWILIO_ACCOUNT_SID}:{settings.TWILIO_AUTH_TOKEN}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _with_twilios_message(error: http_client.Refused) -> DeliveryError:
    """Return the error with Twilio's message and code; Twilio has a page about each code."""
    answer = _json(error.reply.body)
    if not answer.get("message"):
        return error
    error_text = f"{error.reply.status}: {answer['message']} (code {answer.get('code')})"
    return DeliveryError(
        error_text[:500],
        # An error of our own account can be mended while the alert is open.
        permanent=error.permanent and error.reply.status not in OUR_ACCOUNT,
        retry_after=error.retry_after,
        bad_address=error.permanent and str(answer.get("code")) in BAD_NUMBERS,
        stopped=str(answer.get("code")) == STOPPED,
    )


def _json(body: bytes) -> Mapping[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
