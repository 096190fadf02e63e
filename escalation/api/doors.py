"""Where providers bring what people answer: SMS and keys from Twilio, buttons from Slack, mails from a mail server.

Each request is signed, or it is refused; a door that is not set up is not there. What is well signed and makes no
sense is answered 200 with nothing done, because a provider would only send it again.
"""

import json
import logging
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from escalation import links
from escalation.channels import buttons, menus, outgoing, twilio
from escalation.channels.base import DeliveryError
from escalation.channels.signatures import is_from_slack, is_from_twilio
from escalation.models import Notification, Response
from escalation.replies import DIGITS, Reply, read_mail, read_reply
from escalation.selectors import expires_at, told_in, told_over
from escalation.services.notices import write_answer
from escalation.services.offers import alert_of, asks_its_owner, offered_in, possible, refusal, standing
from escalation.services.responses import Answer, Outcome, answer, answer_as, respond
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.ids import digest
from heartbeat_project.kernel.problems import CONTENT_TYPE, problem

log = logging.getLogger(__name__)

HELP: Final = (
    "Nothing was done. Reply 6 to escalate, 7 to acknowledge, 8 to assign it to you, 9 to close it; for another alert "
    "with its number, as in “7 123”."
)
_MAIL_HELP: Final = (
    "Nothing was done: your first line was not understood. Write one of these words alone in the first line: assign, "
    "acknowledge, escalate, close; or a note as in “note: on my way”."
)
# Slack waits three seconds for us; this is part of it.
_SLACK_SECONDS: Final = 2.0
_MOST_MAIL: Final = 1_000_000
_MOST_TEXT: Final = 100_000


@csrf_exempt
@require_POST
def sms(request: HttpRequest) -> HttpResponse:
    """Take a reply by SMS and answer by SMS; numbers that were told of nothing get no answer."""
    now = clock.now()
    if refused := _not_from_twilio(request):
        return refused
    told = told_over("sms", request.POST.get("From", ""), now=now)
    newest = told.first()
    if newest is None:
        return _twiml(menus.text_message(""))
    reply = read_reply(request.POST.get("Body", ""))
    if reply is None:
        return _twiml(menus.text_message(HELP))
    meant = told.filter(alert=reply.number).first() if reply.number is not None else newest
    if meant is None:
        return _twiml(menus.text_message(f"You were not told of an alert {reply.number} over this number."))
    if reply.number is None and (count := _count_in_message(newest)) > 1:
        page = links.page_url(_message_of(newest))
        return _twiml(menus.text_message(f"That message was about {count} alerts. Reply with a number, or see {page}"))
    done = respond(
        meant,
        reply.action,
        via=Response.Via.SMS,
        reference=request.POST.get("MessageSid", "")[:40] or str(meant.pk),
        now=now,
        note=reply.note,
    )
    return _twiml(menus.text_message(done.said))


@csrf_exempt
@require_POST
def voice(request: HttpRequest, token: str) -> HttpResponse:
    """Say what the call is about and do what the pressed key asks for."""
    now = clock.now()
    if refused := _not_from_twilio(request):
        return refused
    message_id = links.read_token(token)
    told = told_in(message_id).first() if message_id else None
    if message_id is None or told is None or expires_at(told) <= now:
        return _twiml(menus.farewell("This call is about nothing that is still known. Goodbye."))
    key = request.POST.get("Digits", "")
    said = ""
    if key == menus.CONNECT and (line := twilio.line(told)):
        return _twiml(menus.connect(line))
    if action := DIGITS.get(key):
        call = request.POST.get("CallSid", "")[:40] or str(message_id)
        said = answer(message_id, action, via=Response.Via.VOICE, reference=call, now=now).said
    elif key and key != menus.REPLAY:
        said = "This key does nothing."
    told = told_in(message_id).get(pk=told.pk)
    offered = possible(told)
    text = f"{alert_of(told).short_text} {refusal(told) or standing(told)}"
    count = _count_in_message(told)
    many = count > 1
    if many:
        offered = [] if refusal(told) else twilio.together(offered_in(message_id))
        text = f"{count} alerts came together. One of them: {alert_of(told).short_text}"
    if said and not offered:
        return _twiml(menus.farewell(said))
    here = settings.BASE_URL + request.path
    return _twiml(
        menus.menu(
            text,
            answer_to=here,
            offered=offered,
            line=twilio.line(told),
            said=said,
            many=many,
            to_owner=asks_its_owner(told),
        )
    )


@csrf_exempt
@require_POST
def slack(request: HttpRequest) -> HttpResponse:
    """Take a pressed button for the person whom Slack names; the answer goes to who pressed it."""
    now = clock.now()
    if not settings.SLACK_SIGNING_SECRET:
        raise Http404
    signed = is_from_slack(
        request.headers.get("X-Slack-Signature", ""),
        body=request.body,
        timestamp=request.headers.get("X-Slack-Request-Timestamp", ""),
        secret=settings.SLACK_SIGNING_SECRET,
        now=now,
    )
    if not signed:
        return _unsigned("Slack")
    press = buttons.read_press(request.POST.get("payload", ""))
    if press is None:
        return HttpResponse(status=200)
    if message_id := links.read_button(press.token):
        said = answer_as(press.presser, message_id, press.action, now=now).said
    else:
        said = "This button is not ours. Nothing was changed."
    if press.answer_at:
        _answer_slack(press.answer_at, said)
    return JsonResponse(buttons.answer(said))


@csrf_exempt
@require_POST
def mail(request: HttpRequest) -> HttpResponse:
    """Take a mail as it arrived (RFC 5322) that answers one of ours, and write back what came of it."""
    now = clock.now()
    if not (settings.REPLY_ADDRESS and settings.INBOUND_MAIL_SECRET):
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.INBOUND_MAIL_SECRET}"):
        return _unsigned("the mail server")
    # What is attached is of no use: the beginning of a long mail is enough.
    arrived = message_from_bytes(request.read(_MOST_MAIL), _class=EmailMessage, policy=policy.default)
    if _is_automatic(arrived):
        return JsonResponse({"said": "Nothing was done: a machine wrote this mail."})
    message_id = _answered(arrived)
    told = list(told_in(message_id)[:2]) if message_id else []
    if len(told) != 1:
        return JsonResponse({"said": "Nothing was done: this mail answers none of ours."})
    reply = read_mail(_text(arrived))
    reference = digest(_header(arrived, "Message-ID") or str(message_id))
    with transaction.atomic():
        done = _answer_mail(told[0], reply, reference=reference[:40], now=now)
        # A mail server that brings the same mail again gets the same answer, and the person no second one.
        if done.outcome is not Outcome.ALREADY:
            write_answer(told[0], said=done.said, now=now)
    return JsonResponse({"said": done.said})


def _answer_mail(told: Notification, reply: Reply | None, *, reference: str, now: Any) -> Answer:
    if reply is None or reply.number not in {None, told.alert_id}:
        return Answer(Outcome.NOT_POSSIBLE, _MAIL_HELP)
    return respond(told, reply.action, via=Response.Via.EMAIL, reference=reference, now=now, note=reply.note)


def _not_from_twilio(request: HttpRequest) -> HttpResponse | None:
    """Return the refusal of what Twilio did not sign; the address that it called is the public one."""
    if not settings.TWILIO_AUTH_TOKEN:
        raise Http404
    signed = is_from_twilio(
        request.headers.get("X-Twilio-Signature", ""),
        url=settings.BASE_URL + request.get_full_path(),
        fields={name: [str(value) for value in values] for name, values in request.POST.lists()},
        token=settings.TWILIO_AUTH_TOKEN,
    )
    return None if signed else _unsigned("Twilio")


def _unsigned(by: str) -> JsonResponse:
    body = problem(403, detail=f"This request is not signed by {by}.", code="not_signed")
    return JsonResponse(body, status=403, content_type=CONTENT_TYPE)


def _twiml(document: str) -> HttpResponse:
    return HttpResponse(document, content_type="text/xml; charset=utf-8")


def _message_of(told: Notification) -> UUID:
    return told.envelope or told.pk


def _count_in_message(told: Notification) -> int:
    return told_in(_message_of(told)).values("alert").distinct().order_by().count()


def _answer_slack(address: str, said: str) -> None:
    """Post the answer where Slack takes it; what was done stays done when that fails."""
    body = json.dumps(buttons.answer(said)).encode()
    try:
        outgoing.post(address, body=body, headers={"Content-Type": "application/json"}, seconds=_SLACK_SECONDS)
    except DeliveryError as error:
        log.warning("Slack did not take the answer: %s", error)


def _is_automatic(mail: EmailMessage) -> bool:
    """Answer whether a machine wrote it: a vacation note, a bounce, a list (RFC 3834)."""
    if _header(mail, "Auto-Submitted", otherwise="no").split(";")[0].strip().lower() != "no":
        return True
    if _header(mail, "Return-Path").strip() == "<>" or mail.get_content_type() == "multipart/report":
        return True
    marks = ("X-Autoreply", "X-Autorespond", "List-Id", "List-Unsubscribe")
    if _header(mail, "Precedence").strip().lower() in {"bulk", "junk", "list", "auto_reply"}:
        return True
    return any(mark in mail for mark in marks)


def _answered(mail: EmailMessage) -> UUID | None:
    """Return which of our messages this answers, by the signed tag in an address it went to."""
    for name in ("Delivered-To", "X-Original-To", "To", "Cc"):
        for value in mail.get_all(name, []):
            if message_id := links.read_address(str(value)):
                return message_id
    return None


def _text(mail: EmailMessage) -> str:
    part = mail.get_body(preferencelist=("plain",))
    if part is None:
        return ""
    try:
        return str(part.get_content())[:_MOST_TEXT]
    except (LookupError, ValueError):
        return ""


def _header(mail: EmailMessage, name: str, *, otherwise: str = "") -> str:
    value = mail.get(name)
    return otherwise if value is None else str(value)
