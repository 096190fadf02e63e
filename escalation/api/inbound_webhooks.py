"""Endpoints to which providers bring responses: SMS and keys from Twilio, buttons from Slack.

A request without a valid signature is refused; an endpoint that is not set up answers 404. A signed request that makes
no sense is answered 200 and changes nothing, because the provider would only send it again.
"""

import json
import logging
from typing import Final
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.services.chat_members import scope_of
from alerting.local_times import in_readers_zone
from alerting.phone_keys import DIGITS
from alerting.states import FINAL, LIVE, Action
from escalation.channels import http_client, slack_blocks, speech, twilio, twiml
from escalation.channels.base import DeliveryError
from escalation.channels.signatures import is_from_slack, is_from_twilio
from escalation.models.notifications import Notification
from escalation.models.responses import Response
from escalation.notifications.call_menu import actions_for_all, conference_line, other_alerts_text
from escalation.notifications.calls import record_call
from escalation.responses import tokens
from escalation.responses.allowed_actions import (
    alert_of,
    asks_its_owner,
    available_actions,
    available_actions_for_many,
    person_of,
    status_text,
    why_cannot_respond,
)
from escalation.responses.presses import answer_press
from escalation.responses.replies.answer_replies import answer_sms
from escalation.responses.replies.parse_reply import TEXT_LENGTH
from escalation.responses.respond import ResponseOutcome, answer
from escalation.responses.selectors import expires_at, notifications_in
from escalation.responses.undo import undo_text
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.forms import takes_no_form
from heartbeat_project.kernel.problems import CONTENT_TYPE, problem
from heartbeat_project.kernel.public_url import public_url

log = logging.getLogger(__name__)

# Seconds to post an answer, within the three seconds that Slack waits for us.
_SLACK_SECONDS: Final = 2.0


@csrf_exempt
@require_POST
def sms(request: HttpRequest) -> HttpResponse:
    """Act on a reply by SMS and answer by SMS; numbers that were never notified get no answer."""
    now = clock.now()
    if refused := _not_from_twilio(request):
        return refused
    fields = request.POST
    answer_text = answer_sms(
        twilio.field(fields, "From"),
        fields.get("Body", "")[:TEXT_LENGTH],
        reference=twilio.field(fields, "MessageSid", length=40),
        opt_out=twilio.field(fields, "OptOutType", length=40),
        now=now,
    )
    return _twiml(twiml.text_message(answer_text))


@csrf_exempt
@require_POST
def voice(request: HttpRequest, token: str) -> HttpResponse:
    """Do what the pressed key stands for, and answer with what the call says next."""
    now = clock.now()
    if refused := _not_from_twilio(request):
        return refused
    message_id = tokens.read_token(token)
    notification = notifications_in(message_id).first() if message_id else None
    if message_id is None or notification is None or expires_at(notification) <= now:
        return _twiml(twiml.farewell("This call is about an alert that is no longer stored. Goodbye."))
    key = request.POST.get("Digits", "")
    if key in twiml.KEYS:
        call = twilio.field(request.POST, "CallSid")
        record_call(message_id, Notification.CallState.KEYS, provider_id=call, now=now)
    spoken, count = "", _count_in_message(notification)
    if key == twiml.CONNECT and (line := conference_line(_spoken_about(notification))):
        return _twiml(twiml.connect(line))
    if action := DIGITS.get(key):
        call = twilio.field(request.POST, "CallSid", length=40) or str(message_id)
        result = answer(message_id, action, via=Response.Via.VOICE, reference=call, now=now)
        spoken = result.answer_text
        if result.outcome is ResponseOutcome.DONE:
            undo = undo_text(notification, action, many=count > 1, spoken=True)
            spoken = f"As {person_of(notification)}: {spoken}{undo}"
    elif key and key != twiml.REPLAY:
        spoken = "This key does nothing."
    many = count > 1
    notification = _spoken_about(notification)
    actions = [action for action in available_actions(notification) if action in DIGITS.values()]
    alert, state = alert_of(notification), why_cannot_respond(notification) or status_text(notification)
    text = f"Alert {alert.pk}. {_short_text(notification)} {state}"
    if many:
        actions = actions_for_all(available_actions_for_many(message_id))
        text = f"{count} alerts came together. One of them: {_short_text(notification)}"
        text += other_alerts_text(notification) if Action.ASSIGN in actions else ""
    line = conference_line(notification)
    is_over = alert_of(notification).status in FINAL
    if not actions and line is None and (spoken or is_over):
        return _twiml(twiml.farewell(speech.speakable(spoken or f"{text} Goodbye.")))
    own_address = public_url(request.path)
    return _twiml(
        twiml.menu(
            speech.speakable(text),
            answer_to=own_address,
            actions=actions,
            line=line,
            before=speech.speakable(spoken),
            many=many,
            to_owner=asks_its_owner(notification),
        )
    )


@csrf_exempt
@require_POST
@takes_no_form
def slack(request: HttpRequest) -> HttpResponse:
    """Act on a pressed button for the person whom Slack names; that person gets the answer."""
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
        return unsigned("Slack")
    press = slack_blocks.read_press(request.POST.get("payload", ""))
    if press is None:
        return HttpResponse(status=200)
    if message_id := tokens.read_button(press.token):
        scope = scope_of("slack", settings.SLACK_SIGNING_SECRET)
        answer_text = answer_press(message_id, press.action, scope=scope, member=press.presser, now=now)
    else:
        answer_text = "This button is not from Heartbeat. Nothing was changed."
    if press.answer_at:
        _answer_slack(press.answer_at, answer_text)
    return JsonResponse(slack_blocks.answer(answer_text))


def _not_from_twilio(request: HttpRequest) -> HttpResponse | None:
    """Return a refusal if Twilio did not sign the request, else None; Twilio signs our public address."""
    if not settings.TWILIO_AUTH_TOKEN:
        raise Http404
    signed = is_from_twilio(
        request.headers.get("X-Twilio-Signature", ""),
        url=public_url(request.get_full_path()),
        fields={name: [str(value) for value in values] for name, values in request.POST.lists()},
        token=settings.TWILIO_AUTH_TOKEN,
    )
    return None if signed else unsigned("Twilio")


def unsigned(by: str) -> JsonResponse:
    """Return the refusal of a request without a valid signature of `by`."""
    body = problem(403, detail=f"This request is not signed by {by}.", code="not_signed")
    return JsonResponse(body, status=403, content_type=CONTENT_TYPE)


def _twiml(document: str) -> HttpResponse:
    return HttpResponse(document, content_type="text/xml; charset=utf-8")


def _message_of(notification: Notification) -> UUID:
    return notification.message_id or notification.pk


def _spoken_about(notification: Notification) -> Notification:
    """Return the notification that a call speaks about, read anew: one of a live alert if there is one."""
    members = notifications_in(_message_of(notification))
    return members.filter(alert__status__in=LIVE).first() or members.get(pk=notification.pk)


def _short_text(notification: Notification) -> str:
    """Return the alert's text for a call, with its times in the zone of the person who is called."""
    alert, time_zone = alert_of(notification), person_of(notification).time_zone
    return in_readers_zone(alert.short_text, alert.facts, time_zone=time_zone)


def _count_in_message(notification: Notification) -> int:
    return notifications_in(_message_of(notification)).values("alert").distinct().order_by().count()


def _answer_slack(address: str, text: str) -> None:
    """Post the answer to the address that Slack named; a failure does not undo the action."""
    body = json.dumps(slack_blocks.answer(text)).encode()
    try:
        http_client.post(address, body=body, headers={"Content-Type": "application/json"}, seconds=_SLACK_SECONDS)
    except DeliveryError as error:
        log.warning("Slack did not take the answer: %s", error)
