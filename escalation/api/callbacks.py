"""Where providers report what became of a message."""

from uuid import UUID

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from escalation.channels import twilio
from escalation.services.receipts import record_delivered, record_undelivered
from heartbeat_project.kernel import clock


@method_decorator(csrf_exempt, name="dispatch")
class TwilioCallback(View):
    """A status callback of Twilio for a message or call; its signature is all that is believed.

    A report that says nothing new, or about a message that is not there any more, is answered 204 like any other: there
    is nothing that Twilio could do about it.
    """

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, message_id: UUID) -> HttpResponse:
        """Take the report."""
        try:
            fields = {name: request.POST.getlist(name) for name in request.POST}
        except TooManyFieldsSent:
            return HttpResponse(status=400)
        # The address as we gave it: proxies change what the request says about it.
        url = settings.BASE_URL + twilio.CALLBACK_PATH % message_id
        if not twilio.is_signed(request.headers.get("X-Twilio-Signature", ""), url=url, fields=fields):
            return HttpResponse("The signature is not Twilio's.", status=403, content_type="text/plain")
        said = request.POST
        provider_id = (said.get("MessageSid") or said.get("CallSid") or "").replace("\x00", "")[:200]
        status = said.get("MessageStatus") or said.get("CallStatus") or ""
        if provider_id and status in twilio.DELIVERED:
            record_delivered(message_id, provider_id=provider_id, now=clock.now())
        elif provider_id and status in twilio.FAILED:
            code = said.get("ErrorCode", "")
            error = f"Twilio: {status}{f' (code {code})' if code else ''}"
            record_undelivered(
                message_id,
                provider_id=provider_id,
                error=error,
                bad_address=twilio.says_bad_number(status, code=code),
                now=clock.now(),
            )
        return HttpResponse(status=204)
