"""Endpoints to which providers report what became of a message."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from escalation.channels import speech, twilio
from escalation.models.notifications import Notification
from escalation.notifications.calls import record_call, subjects_in
from escalation.notifications.receipts import record_delivered, record_undelivered
from heartbeat_project.kernel import clock


@method_decorator(csrf_exempt, name="dispatch")
class TwilioCallback(View):
    """A status callback of Twilio for a message or call, authenticated by its signature alone.

    A report that is not new, or about a message that does not exist any more, is answered 204 like all others: Twilio
    could do nothing about it.
    """

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, message_id: UUID) -> HttpResponse:
        """Take the report."""
        try:
            fields = {name: request.POST.getlist(name) for name in request.POST}
        except TooManyFieldsSent:
            return HttpResponse(status=400)
        # The address that was given to Twilio: proxies may change the one in the request.
        url = settings.BASE_URL + twilio.CALLBACK_PATH % message_id
        if not twilio.is_signed(request.headers.get("X-Twilio-Signature", ""), url=url, fields=fields):
            return HttpResponse("The signature is not Twilio's.", status=403, content_type="text/plain")
        form = request.POST
        provider_id = twilio.field(form, "MessageSid") or twilio.field(form, "CallSid")
        status = form.get("MessageStatus") or form.get("CallStatus") or ""
        if provider_id and "CallSid" in form and _is_answered(form):
            _take_answered_call(message_id, provider_id, form, now=clock.now())
        elif provider_id and status in twilio.DELIVERED:
            record_delivered(message_id, provider_id=provider_id, now=clock.now())
        elif provider_id and status in twilio.FAILED:
            code = twilio.field(form, "ErrorCode", length=20)
            error = f"Twilio: {status}{f' (code {code})' if code else ''}"
            record_undelivered(
                message_id,
                provider_id=provider_id,
                error=error,
                bad_address=twilio.says_bad_number(status, code=code),
                stopped=code == twilio.STOPPED,
                now=clock.now(),
            )
        return HttpResponse(status=204)


def _is_answered(fields: Mapping[str, str]) -> bool:
    """Return whether a report is about a call that a person or a machine answered."""
    status = fields.get("CallStatus", "")
    return status == twilio.COMPLETED or (bool(fields.get("AnsweredBy")) and status not in twilio.FAILED)


def _take_answered_call(message_id: UUID, call: str, fields: Mapping[str, str], *, now: datetime) -> None:
    """Record who answered; an answering machine gets one sentence instead of the text of the call."""
    is_over = fields.get("CallStatus") == twilio.COMPLETED
    if not twilio.is_machine(fields.get("AnsweredBy", "")):
        state = Notification.CallState.NO_KEY if is_over else Notification.CallState.ANSWERED
        record_call(message_id, state, provider_id=call, now=now)
        return
    subjects = subjects_in(message_id)
    is_news = record_call(message_id, Notification.CallState.MACHINE, provider_id=call, now=now)
    # A call with a code has no stored message (`subjects` is None); its code must not be left on a machine either.
    if not is_over and (is_news or subjects is None):
        twilio.leave_on_machine(call, speech.voicemail(subjects or []))
