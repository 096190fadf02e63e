"""The address for the requests of chat platforms: commands, messages and pressed buttons.

Nothing is read but what proves the request, until it is proven. The answer comes within 2.5 s: what waits for a lock
for longer is carried out by a worker, which answers at the address that the platform named.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.models.users import User
from accounts.request_queue import take_turn
from accounts.services.chat_members import chat_user, scope_of
from alerting.models.alerts import Alert
from escalation.api import inbound_webhooks
from escalation.channels.signatures import is_from_slack
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.audit import acting_for_nobody
from heartbeat_project.kernel.errors import NotNow
from heartbeat_project.kernel.forms import takes_no_form
from heartbeat_project.kernel.problems import problem, store_fault, unavailable
from integrations.api.events import (
    FLOOD,
    HAS_A_THREAD,
    ORGANIZATION,
    REFUSALS,
    count_rejected,
    flooded,
    problem_answer,
    unknown_address,
)
from integrations.inbound.addresses import chat_integration
from integrations.inbound.chat import generic, mattermost, slack
from integrations.inbound.chat.carry_out import ChatAnswer, carry_out, press
from integrations.inbound.chat.contexts import is_signed_context
from integrations.inbound.chat.requests import MAX_BODY, Challenge, ChatRequest, Origin
from integrations.inbound.chat.threads import write
from integrations.inbound.receive import IntegrationDeleted
from integrations.models.chat import ChatMessage, ChatSettings
from integrations.models.events import EventState
from integrations.models.integrations import InboundIntegration

# How long one statement waits for a lock; Slack waits three seconds for an answer.
LOCK_SECONDS: Final = 1.5
_LATER: Final = "This takes longer than usual; the answer follows."
_BUSY: Final = "Nothing was done: too much happens at once. Send it again."
_LOCKED: Final = "55P03"  # PostgreSQL's lock_not_available
_Platform = ChatSettings.Platform


@csrf_exempt
@takes_no_form
def chat(request: HttpRequest, token: str) -> HttpResponse:
    """Carry out one request of a chat platform."""
    now = clock.now()
    wait = FLOOD.seconds_to_wait(token, at=time.monotonic())
    try:
        integration = chat_integration(token, now=now)
        if integration is None:
            return unknown_address()
        if refusal := _refusal(request, integration, wait, now=now):
            return refusal
        request.META[ORGANIZATION] = integration.organization_id
        if HAS_A_THREAD not in request.META:
            take_turn(request.META, integration.organization_id)
        with acting_for_nobody():
            return _receive(request, integration, now=now)
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
    """Return the answer to a request that is no POST, or comes too soon after too many others."""
    if request.method != "POST":
        answer = problem_answer(405, "POST the platform's requests to this address.", "method_not_allowed")
        answer["Allow"] = "POST"
        return answer
    if wait is None:
        return None
    more = REFUSALS.to_store(integration.pk, at=time.monotonic(), more=1)
    count_rejected(request, integration, more, now=now)
    return flooded(integration, wait)


@csrf_exempt
@require_POST
@takes_no_form
def slack_buttons(request: HttpRequest) -> HttpResponse:
    """Act on a button that was pressed in the app of HEARTBEAT_SLACK_SIGNING_SECRET: of a page, or of an alert.

    A Slack app has one address for all of its buttons.
    """
    if not settings.SLACK_SIGNING_SECRET:
        raise Http404
    if len(request.body) > MAX_BODY:
        return problem_answer(413, "A request may have 256 KiB.", "too_large")
    now = clock.now()
    read = slack.read(request.body, api_base="") if _is_signed_by_slack(request, _app_secret(), now=now) else None
    if not isinstance(read, ChatRequest) or read.origin != Origin.BUTTON or read.page_token:
        return inbound_webhooks.slack(request)
    with acting_for_nobody():
        alert = Alert.objects.filter(pk=read.alert or 0, integration_type=InboundIntegration.Type.CHAT).first()
        scope = scope_of("slack", _app_secret())
        user: User | None = None
        if alert is not None:
            user = chat_user(alert.organization_id, scope=scope, member=read.member)
        text = press(read, user, scope=scope, integration=None, now=now)
        integration = InboundIntegration.objects.filter(pk=(alert and alert.integration_id) or 0).first()
        if integration is not None and read.answer_at:
            write(integration, ChatMessage.Kind.ANSWER, body={"text": text}, url=read.answer_at, now=now)
    return JsonResponse(slack.answer(text))


def _app_secret() -> str:
    return str(settings.SLACK_SIGNING_SECRET)


def _receive(request: HttpRequest, integration: InboundIntegration, *, now: datetime) -> HttpResponse:
    raw = request.read(MAX_BODY + 1)
    if len(raw) > MAX_BODY:
        return problem_answer(413, "A request may have 256 KiB.", "too_large")
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        read = _READERS[integration.chat_settings.platform](raw, headers, integration, now)
    except _Unproven:
        count_rejected(request, integration, 1, now=now)
        return problem_answer(401, "The signature or token is missing or wrong.", "unsigned")
    if left := REFUSALS.to_store(integration.pk, at=time.monotonic()):
        EventState.objects.filter(pk=integration.pk).update(rejected_count=F("rejected_count") + left)
    if isinstance(read, Challenge):
        return HttpResponse(read.text, content_type="text/plain; charset=utf-8")
    if read is None:
        return HttpResponse(status=200)
    return _answered(integration, read, _carried_out(integration, read, now=now), now=now)


class _Unproven(Exception):
    """The request does not come from whom it should."""


def _is_signed_by_slack(request: HttpRequest, secret: str, *, now: datetime) -> bool:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return _is_slacks(request.body, headers, secret, now=now)


def _is_slacks(raw: bytes, headers: Mapping[str, str], secret: str, *, now: datetime) -> bool:
    return is_from_slack(
        headers.get("x-slack-signature", ""),
        body=raw,
        timestamp=headers.get("x-slack-request-timestamp", ""),
        secret=secret,
        now=now,
    )


def _read_slack(
    raw: bytes, headers: Mapping[str, str], integration: InboundIntegration, now: datetime
) -> ChatRequest | Challenge | None:
    settings_of_chat = integration.chat_settings
    if not _is_slacks(raw, headers, settings_of_chat.secrets.get("signing_secret", ""), now=now):
        raise _Unproven
    return slack.read(raw, api_base=settings_of_chat.api_base)


def _read_mattermost(
    raw: bytes,
    headers: Mapping[str, str],
    integration: InboundIntegration,
    now: datetime,  # noqa: ARG001 - one signature for all platforms
) -> ChatRequest | Challenge | None:
    secrets, fields = integration.chat_settings.secrets, mattermost.fields_of(raw)
    if "context" in fields:
        alert, action, mac = mattermost.context_of(fields)
        if not secrets.get("command_token") or not is_signed_context(integration, alert, action, mac):
            raise _Unproven
        return mattermost.read_press(fields)
    names = ["command_token"] if mattermost.is_command(fields) else ["webhook_token", "command_token"]
    _check_token(mattermost.token_of(fields, headers), [secrets.get(name, "") for name in names])
    return mattermost.read(fields, api_base=integration.chat_settings.api_base)


def _read_generic(
    raw: bytes,
    headers: Mapping[str, str],
    integration: InboundIntegration,
    now: datetime,  # noqa: ARG001 - one signature for all platforms
) -> ChatRequest | Challenge | None:
    fields = generic.fields_of(raw, headers)
    _check_token(generic.token_of(fields, headers), [integration.chat_settings.secrets.get("token", "")])
    return generic.read(fields, headers)


_READERS: Final = {
    _Platform.SLACK.value: _read_slack,
    _Platform.MATTERMOST.value: _read_mattermost,
    _Platform.GENERIC.value: _read_generic,
}


def _check_token(token: str, expected: list[str]) -> None:
    """Raise _Unproven unless the token is one of the expected ones that are set."""
    matches = [bool(secret) and constant_time_compare(token, secret) for secret in expected]
    if not any(matches):
        raise _Unproven


def _carried_out(integration: InboundIntegration, read: ChatRequest, *, now: datetime) -> ChatAnswer:
    """Carry out the request; if it would wait too long, leave it to a worker."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, TRUE)", [f"{int(LOCK_SECONDS * 1000)}ms"])
            return carry_out(integration, read, now=now)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != _LOCKED:
            raise
    if not (read.answer_at or read.origin in {Origin.MENTION, Origin.MESSAGE}):
        return ChatAnswer(_BUSY)
    write(integration, ChatMessage.Kind.WORK, body=asdict(read), url=read.answer_at, now=now)
    return ChatAnswer(_LATER if read.answer_at else "")


def _answered(integration: InboundIntegration, read: ChatRequest, answer: ChatAnswer, *, now: datetime) -> HttpResponse:
    """Return the answer as the platform takes it; what it does not show goes to the address for late answers."""
    if read.platform == _Platform.GENERIC:
        body: dict[str, Any] = {"status": "ok", "text": answer.text, "action": answer.action or None}
        return JsonResponse({**body, "alert": answer.alert, "event": answer.event})
    if not answer.text:
        return HttpResponse(status=200)
    if read.platform == _Platform.MATTERMOST:
        if read.origin == Origin.BUTTON:
            return JsonResponse(mattermost.press_answer(answer.text))
        is_command = read.origin == Origin.COMMAND
        return JsonResponse(mattermost.answer(answer.text) if is_command else mattermost.comment(answer.text))
    if read.origin == Origin.COMMAND:
        return JsonResponse(slack.answer(answer.text))
    # Slack shows no body but that of a command.
    if read.answer_at:
        write(integration, ChatMessage.Kind.ANSWER, body={"text": answer.text}, url=read.answer_at, now=now)
    elif read.origin in {Origin.MENTION, Origin.MESSAGE} and answer.action not in {"opened", "replayed"}:
        place = {"channel": read.channel, "thread": read.thread or read.message}
        if integration.chat_settings.secrets.get("bot_token"):
            write(integration, ChatMessage.Kind.ANSWER, body={"text": answer.text, **place}, now=now)
    return HttpResponse(status=200)
