"""The endpoint to which a mail server posts mails: they are stored as they arrived, and read by a worker."""

from django.conf import settings
from django.http import Http404, HttpRequest, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from escalation.api.inbound_webhooks import unsigned
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.forms import takes_no_form
from heartbeat_project.kernel.problems import CONTENT_TYPE, problem
from integrations.inbound.mail_addresses import MAX_ADDRESS, MAX_RECIPIENTS
from integrations.inbound.mail_storing import store_received
from integrations.inbound.mails import MAX_MAIL, TooManyWaiting


@csrf_exempt
@require_POST
@takes_no_form
def mail(request: HttpRequest) -> JsonResponse:
    """Store a mail (RFC 5322) and answer 202 once it is committed, whatever it contains.

    The recipients decide whether it is an event, a ping, or an answer: those in the address (`?recipient=`), else
    those in its headers.
    """
    now = clock.now()
    if not settings.INBOUND_MAIL_SECRET:
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.INBOUND_MAIL_SECRET}"):
        return unsigned("the mail server")
    try:
        # Attachments are never read, so the beginning of a long mail is enough.
        recipients = request.GET.getlist("recipient")[:MAX_RECIPIENTS]
        # Mail servers write the empty sender of a bounce as nothing.
        sender = (request.GET["sender"] or "<>") if "sender" in request.GET else ""
        ids = store_received(request.read(MAX_MAIL), recipients=recipients, sender=_clean(sender), now=now)
    except TooManyWaiting as error:
        body = problem(error.status, detail=str(error), code=error.code, title=error.title)
        answer = JsonResponse(body, status=error.status, content_type=CONTENT_TYPE, headers={"Retry-After": "60"})
        # `store_mail` logs this once in ten minutes. Without the mark, Django would log each such answer as an error.
        answer._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001
        return answer
    return JsonResponse({"event": ids[0]}, status=202)


def _clean(sender: str) -> str:
    return "".join(letter for letter in sender if letter.isprintable())[:MAX_ADDRESS]
