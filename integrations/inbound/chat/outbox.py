"""Sends what the outbox holds for chat platforms, and carries out requests that could not be carried out at once.

A message is claimed, sent and recorded, each in a transaction of its own; a worker that is lost leaves a lease that
ends. What fails is tried again after the pauses of all messages, and given up after a day: then it is no news.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, connections, transaction

from accounts.contact_kinds import PAUSES
from accounts.models.contact_methods import ContactMethod
from accounts.services.restores import unless_held
from alerting.models.alerts import Alert
from alerting.states import FINAL, Action, Status
from escalation.channels.base import DeliveryError
from escalation.channels.send_deadline import send_deadline
from escalation.models.runs import EscalationRun
from escalation.notifications.providers import circuit_breakers
from escalation.notifications.providers.channel_pool import endpoint
from escalation.responses.allowed_actions import allowed_by_run, caption
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from heartbeat_project.kernel.wording import one_line
from integrations.inbound.chat import mattermost, slack
from integrations.inbound.chat.carry_out import carry_out
from integrations.inbound.chat.contexts import sign_context
from integrations.inbound.chat.posts import NotTaken, post_json
from integrations.inbound.chat.requests import ChatRequest
from integrations.inbound.chat.threads import write
from integrations.inbound.receive import IntegrationDeleted
from integrations.inbound.selectors import request_url
from integrations.models.chat import ChatMessage, ChatSettings, ChatThread
from integrations.models.integrations import InboundIntegration

log = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=60)
SEND_SECONDS: Final = 10.0
AT_ONCE: Final = 4  # integrations whose messages one process sends at once
LOOK_AT: Final = 500  # due messages of one look
GIVEN_UP_AFTER: Final = timedelta(days=1)
# The address for late answers works for half an hour.
ANSWERS_UNTIL: Final = timedelta(minutes=30)
BUTTONS: Final = (Action.ASSIGN, Action.ACKNOWLEDGE, Action.ESCALATE, Action.CLOSE)
_MAX_ERROR: Final = 1_000
_NOTHING: Final[Sequence[int]] = ()
_Kind = ChatMessage.Kind


@unless_held(False)
def is_any_due(*, now: datetime) -> bool:
    """Return whether a message is due."""
    return ChatMessage.objects.filter(next_attempt_at__lte=now).exists()


def wake_sender() -> None:
    """Let a delivery worker send what is due; without the broker, this process does."""
    wake_on_commit("integrations.send_chat_messages", queue="delivery", or_here=True)


class ChatSender:
    """Sends in threads of its own, so that a platform that is slow holds up no task."""

    def __init__(self, *, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._again = self._running = False

    def wake_up(self) -> None:
        """Let the thread send what is due; return at once."""
        with self._lock:
            self._again = True
            if not self._running:
                threading.Thread(target=self._run, name="chat sender", daemon=True).start()
                self._running = True  # after the start, which fails if the system has no thread left

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="chat sender") as pool:
                while self._goes_on():
                    try:
                        while ids := claim(now=self._clock()):
                            list(pool.map(self._send, ids))
                    except Exception:
                        log.exception("sending to chats failed; the next tick tries again")
        finally:
            connections.close_all()

    def _send(self, message_id: int) -> None:
        try:
            send(message_id, now=self._clock())
        except Exception:
            log.exception("message %s to a chat was not sent; it is sent when its lease has ended", message_id)
        finally:
            connections.close_all()

    def _goes_on(self) -> bool:
        with self._lock:
            self._running, self._again = self._again, False
            return self._running


@unless_held(0)
def send_due(*, now: datetime) -> int:
    """Send what is due, one message after the other; return how many were claimed."""
    count = 0
    while ids := claim(now=now):
        for message_id in ids:
            send(message_id, now=now)
        count += len(ids)
    return count


@unless_held(_NOTHING)
def claim(*, now: datetime) -> Sequence[int]:
    """Lease at most one due message of each of some integrations; return their ids."""
    parameters: dict[str, Any] = {"now": now, "lease_ends": now + LEASE, "limit": AT_ONCE, "look_at": LOOK_AT}
    with connection.cursor() as cursor:
        cursor.execute(statement("integrations", "claim_chat_messages"), parameters)
        return tuple(message_id for (message_id,) in cursor.fetchall())


def send(message_id: int, *, now: datetime) -> None:
    """Send a claimed message, and record what came of it."""
    related = ("integration__chat_settings", "thread")
    message = ChatMessage.objects.select_related(*related).filter(pk=message_id).first()
    if message is None or message.next_attempt_at is None:
        return
    lease = message.next_attempt_at
    try:
        platform_id = _sent(message, now=now)
    except DeliveryError as error:
        _record_failure(message, lease, error, now=now)
        return
    except IntegrationDeleted:
        return
    with transaction.atomic():
        if _is_done(message, lease, sent_at=now) and message.kind == _Kind.ROOT and message.thread is not None:
            # A message below another one stays there.
            ChatThread.objects.filter(pk=message.thread_id, root="").update(root=platform_id[:100])


def _sent(message: ChatMessage, *, now: datetime) -> str:
    """Send the message; return the platform's id for it. Raises DeliveryError."""
    integration = message.integration
    if message.kind == _Kind.WORK:
        with transaction.atomic():
            answer = carry_out(integration, ChatRequest(**message.body), now=now)
            if answer.text and message.url:
                write(integration, _Kind.ANSWER, body={"text": answer.text}, url=message.url, now=now)
        return ""
    chat = integration.chat_settings
    if message.url:
        return _guarded(integration, message.url, _at_answer_address(message, chat), headers={}, now=now)
    token = chat.secrets.get("bot_token", "")
    if not token:
        raise DeliveryError("The token of the bot is missing.", permanent=True)
    base = chat.api_base or (slack.API if chat.platform == ChatSettings.Platform.SLACK else "")
    if not base or chat.platform == ChatSettings.Platform.GENERIC:
        raise DeliveryError("This platform cannot be written to.", permanent=True)
    path = "/chat.postMessage" if chat.platform == ChatSettings.Platform.SLACK else "/api/v4/posts"
    return _guarded(
        integration,
        f"{base}{path}",
        _post(message, chat),
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": str(message.key)},
        now=now,
    )


def _guarded(
    integration: InboundIntegration, url: str, body: Mapping[str, Any], *, headers: Mapping[str, str], now: datetime
) -> str:
    """Post through the circuit breaker of the integration's platform."""
    provider = circuit_breakers.Provider(endpoint("chat", f"{integration.pk} {integration.chat_settings.api_base}"))

    def post() -> str:
        with send_deadline(SEND_SECONDS):
            return post_json(url, body, headers=headers)

    return circuit_breakers.call(
        provider, post, counts=lambda error: not error.permanent and error.retry_after is None, now=now
    )


def _at_answer_address(message: ChatMessage, chat: ChatSettings) -> Mapping[str, Any]:
    """Return the body for the address that the platform named: an answer to one person, or an alert for all."""
    is_slack = chat.platform == ChatSettings.Platform.SLACK
    if message.kind == _Kind.ANSWER:
        return slack.answer(message.body["text"]) if is_slack else mattermost.answer(message.body["text"])
    post = dict(_post(message, chat))
    for field in ("channel", "channel_id", "unfurl_links", "unfurl_media"):
        post.pop(field, None)
    if not is_slack:
        # Late answers of Mattermost have the form of its webhooks.
        post |= {"text": post.pop("message"), **post.pop("props", {})}
    return {**post, "response_type": "in_channel", "replace_original": False}


def _post(message: ChatMessage, chat: ChatSettings) -> Mapping[str, Any]:
    """Return a message to a channel or a thread, as the platform takes it."""
    thread = message.thread
    root = thread.root if thread is not None and chat.updates != ChatSettings.Updates.CHANNEL else ""
    channel = thread.channel if thread is not None else str(message.body.get("channel", ""))
    if thread is None:
        root = str(message.body.get("thread", ""))
    elif message.kind == _Kind.LINE and not root and chat.updates != ChatSettings.Updates.CHANNEL:
        raise NotTaken("The alert itself was not taken, so there is no thread.")
    is_slack = chat.platform == ChatSettings.Platform.SLACK
    if message.kind != _Kind.ROOT:
        text = str(message.body.get("text", ""))
        post = slack.post if is_slack else mattermost.post
        return post(text, channel=channel, thread=root)
    alert = Alert.objects.select_related("organization").filter(pk=message.body["alert"]).first()
    if alert is None:
        raise NotTaken("The alert is no longer stored.")
    run = EscalationRun.objects.filter(alert=alert.pk).first()
    allowed = allowed_by_run(run, ContactMethod.Kind.CHAT)
    is_over = Status(alert.status) in FINAL
    buttons = [] if is_over else [(action, caption(action)) for action in BUTTONS if action in allowed]
    text, url = _alert_text(alert, str(message.body.get("by", ""))), f"{settings.BASE_URL}/alerts/{alert.pk}/"
    if is_slack:
        return slack.post(text, channel=channel, thread=root, buttons=buttons, alert=alert.pk, url=url)
    signed = [(action, label, sign_context(message.integration, alert.pk, action)) for action, label in buttons]
    address = request_url(message.integration) or ""
    return mattermost.post(text, channel=channel, thread=root, buttons=signed, request_url=address)


def _alert_text(alert: Alert, by: str) -> str:
    opener = f", opened by {by}" if by else ""
    return f"#{alert.pk} {one_line(alert.subject)}\n{alert.get_priority_display()} priority{opener}"


def _record_failure(message: ChatMessage, lease: datetime, error: DeliveryError, *, now: datetime) -> None:
    """Let the message be tried again, or give it up: then no line of its thread follows a missing alert."""
    limit = ANSWERS_UNTIL if message.url else GIVEN_UP_AFTER
    text = str(error).replace("\x00", "")[:_MAX_ERROR]
    if not error.permanent and now - message.created_at < limit:
        pause = max(PAUSES[min(message.attempts, len(PAUSES)) - 1], error.retry_after or timedelta())
        mine = ChatMessage.objects.filter(pk=message.pk, next_attempt_at=lease)
        mine.update(next_attempt_at=now + pause, last_error=text)
        return
    log.warning("message %s to a chat was given up: %s", message.pk, text)
    with transaction.atomic():
        if _is_done(message, lease, last_error=text) and message.kind == _Kind.ROOT and message.thread is not None:
            ChatThread.objects.filter(pk=message.thread_id, root="").update(is_open=False)
            rest = ChatMessage.objects.filter(thread=message.thread_id, next_attempt_at__isnull=False)
            if message.thread.root == "":
                rest.update(next_attempt_at=None, last_error="The alert itself was not taken, so there is no thread.")


def _is_done(message: ChatMessage, lease: datetime, **changes: Any) -> bool:
    """Write the end of a message, unless another worker has it; return whether it was written."""
    mine = ChatMessage.objects.filter(pk=message.pk, next_attempt_at=lease)
    return bool(mine.update(**{"next_attempt_at": None, "last_error": "", **changes}))


def delete_old_messages(*, now: datetime, kept_for: timedelta, limit: int) -> int:
    """Delete at most `limit` messages that are done and older than `kept_for`; return how many there were."""
    old = ChatMessage.objects.filter(created_at__lt=now - kept_for, next_attempt_at=None).order_by("created_at")
    return ChatMessage.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit])).delete()[0]


def delete_old_threads(*, before: datetime, limit: int) -> int:
    """Delete at most `limit` closed threads that began before a time; return how many there were."""
    old = ChatThread.objects.filter(created_at__lt=before, is_open=False).order_by("created_at")
    return ChatThread.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit])).delete()[0]
