"""The addresses to which systems POST their errors: an answer is sent once the event is stored and carried out."""

import time
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from accounts.request_queue import take_turn
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.audit import acting_for_nobody
from heartbeat_project.kernel.database import release_connection
from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.forms import takes_no_form
from heartbeat_project.kernel.problems import CONTENT_TYPE, problem, store_fault, unavailable
from integrations.inbound import signatures, sns
from integrations.inbound.addresses import api_integration
from integrations.inbound.decoding import TooLarge, decode, external_id
from integrations.inbound.event import RAW_TYPE, ReceivedEvent
from integrations.inbound.flood import PER_SECOND, FloodLimit, Refusals
from integrations.inbound.receive import IntegrationDeleted, Received, receive
from integrations.inbound.subscriptions import asks_for_confirmation, confirm_later
from integrations.models.events import EventState
from integrations.models.integrations import InboundIntegration
from integrations.ping_lane.batch import ip

MAX_BODY: Final = 1 << 20
FLOOD: Final = FloodLimit()
REFUSALS: Final = Refusals()
# Keys in a request's META. True if it has one of the threads for events, so that it needs no turn among the pages.
HAS_A_THREAD: Final = "heartbeat.has_a_thread"
# The id of the organization to which the address belongs; set by the view.
ORGANIZATION: Final = "heartbeat.organization"


@csrf_exempt
@takes_no_form
def post_alert(request: HttpRequest, token: str, source: str = "") -> HttpResponse:
    """Receive an event of an API integration, whatever its body is."""
    now = clock.now()
    wait = FLOOD.seconds_to_wait(token, at=time.monotonic())
    try:
        integration = api_integration(token, now=now)
        if integration is None:
            return unknown_address()
        if refusal := _refusal(request, integration, wait, now=now):
            return refusal
        request.META[ORGANIZATION] = integration.organization_id
        if HAS_A_THREAD not in request.META:
            take_turn(request.META, integration.organization_id)
        with acting_for_nobody():
            return _receive(request, integration, source=source.strip("/"), now=now)
    except IntegrationDeleted:
        return unknown_address()
    except NotNow as error:
        answer = unavailable(problem(error.status, detail=str(error), code=error.code, title=error.title))
        answer["Retry-After"] = str(error.retry_after)
        return answer
    except Exception as error:
        if fault := store_fault(error):
            return unavailable(fault)
        raise


def _refusal(
    request: HttpRequest, integration: InboundIntegration, wait: int | None, *, now: datetime
) -> HttpResponse | None:
    """Return the answer to a request that brings no event, or comes too soon after too many others."""
    methods = ["POST", "OPTIONS", *(["GET"] if integration.event_settings.allow_get else [])]
    if request.method == "OPTIONS":
        return _options(request, methods)
    if request.method not in methods:
        said = "GET is not allowed here; it can be in its settings." if request.method == "GET" else ""
        answer = problem_answer(405, said or "POST the event to this address.", "method_not_allowed")
        answer["Allow"] = ", ".join(methods)
        return answer
    if wait is not None:
        count_rejected(request, integration, REFUSALS.to_store(integration.pk, at=time.monotonic(), more=1), now=now)
        return flooded(integration, wait)
    if left := REFUSALS.to_store(integration.pk, at=time.monotonic()):
        EventState.objects.filter(pk=integration.pk).update(rejected_count=F("rejected_count") + left)
    return None


def _receive(request: HttpRequest, integration: InboundIntegration, *, source: str, now: datetime) -> HttpResponse:
    raw = request.read(MAX_BODY + 1)
    headers = {name.lower(): value for name, value in request.headers.items()}
    if RAW_TYPE in headers:
        headers["content-type"] = headers.pop(RAW_TYPE)
    query = request.GET.dict()
    try:
        decoded = decode(raw, headers=headers, query=query)
    except TooLarge:
        return problem_answer(413, "An event may have 1 MiB, packed and unpacked.", "too_large")
    signature = integration.event_settings.signature or {}
    if signature.get("scheme") == "sns" and not _has_certificate(decoded.payload, now=now):
        # Amazon SNS sends again after a 5xx.
        return unavailable(
            problem(503, detail="The certificate of Amazon SNS is not there yet.", code="no_certificate")
        )
    if signature and not signatures.is_signed(signature, raw=raw, headers=headers, payload=decoded.payload, now=now):
        return _unsigned(request, integration, signature, now=now)
    event = ReceivedEvent(
        raw=raw,
        received_at=now,
        payload=decoded.payload,
        headers=headers,
        query=query,
        source=source,
        fault=decoded.fault,
    )
    received = receive(integration, event, now=now, external_id=external_id(headers, decoded.payload))
    if asks_for_confirmation(decoded.payload):
        confirm_later(received.event_id)
    return JsonResponse(answer_of(received))


def _has_certificate(payload: Any, *, now: datetime) -> bool:
    """Return whether the certificate of a message of Amazon SNS is in memory; it is fetched within a second."""
    if sns.verdict(payload, now=now) is not sns.Verdict.UNKNOWN:
        return True
    release_connection()  # the network may take a second
    return sns.fetch_certificate(payload, now=now)


def answer_of(received: Received) -> dict[str, Any]:
    """Return the body of the answer; what became of the first part stands on top, too."""
    first = received.results[0] if received.results else None
    return {
        "status": "ok",
        "event": received.event_id,
        "action": first.action if first else "ignored",
        "alert": first.alert_id if first else None,
        "results": [result.as_json() for result in received.results],
        "fault": {"field": received.fault.field, "text": received.fault.text} if received.fault else None,
    }


def _unsigned(
    request: HttpRequest, integration: InboundIntegration, signature: dict[str, Any], *, now: datetime
) -> HttpResponse:
    """Count the request, of which nothing else is stored, and answer 401."""
    count_rejected(request, integration, 1, now=now)
    answer = problem_answer(401, "The signature is missing or wrong.", "unsigned")
    if challenge := signatures.challenge(signature):
        answer["WWW-Authenticate"] = challenge
    return answer


def count_rejected(request: HttpRequest, integration: InboundIntegration, count: int, *, now: datetime) -> None:
    """Count requests that were refused, of which nothing else is stored."""
    if not count:
        return
    with transaction.atomic():
        EventState.objects.filter(pk=integration.pk).update(
            rejected_count=F("rejected_count") + count,
            last_rejected_at=now,
            last_rejected_from=ip(request.META.get("REMOTE_ADDR")),
        )


def flooded(integration: InboundIntegration, wait: int) -> HttpResponse:
    """Return the answer to a request beyond the hard limit."""
    text = (
        f"The integration “{integration.name}” takes {PER_SECOND} requests in a second at this address. "
        f"Send this one again in {wait} s."
    )
    body = problem(
        429,
        detail=text,
        code="too_many_events",
        integration=integration.name,
        limit=PER_SECOND,
        window_seconds=1,
    )
    answer = JsonResponse(body, status=429, content_type=CONTENT_TYPE)
    answer["Retry-After"] = str(wait)
    return answer


def _options(request: HttpRequest, methods: list[str]) -> HttpResponse:
    """Allow a sender of CloudEvents, which asks before it delivers."""
    answer = HttpResponse(status=200, headers={"Allow": ", ".join(methods)})
    if origin := request.headers.get("WebHook-Request-Origin"):
        answer["WebHook-Allowed-Origin"] = origin
    return answer


def unknown_address() -> HttpResponse:
    """Return the answer at an address that no integration has."""
    return problem_answer(404, "No integration has this address. It may have been rotated or deleted.", "not_found")


def problem_answer(status: int, text: str, code: str) -> HttpResponse:
    """Return a refusal."""
    return JsonResponse(problem(status, detail=text, code=code), status=status, content_type=CONTENT_TYPE)
