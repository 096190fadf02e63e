"""What is written into a chat about an alert that was opened there: the alert with its buttons, and each change."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Max

from accounts.services.restores import unless_held
from alerting.models.alerts import TimelineEntry
from alerting.states import FINAL, Status
from heartbeat_project.kernel.sql import statement
from heartbeat_project.kernel.wakeup import wake_on_commit
from integrations.inbound.chat.requests import ChatRequest, Origin
from integrations.models.chat import ChatMessage, ChatSettings, ChatThread
from integrations.models.integrations import InboundIntegration

_Kind = TimelineEntry.Kind
# Entries that are changes of the alert; all others say who was notified.
CHANGES: Final = (
    *(_Kind.ACKNOWLEDGED, _Kind.UNACKNOWLEDGED, _Kind.ASSIGNED, _Kind.GIVEN_BACK, _Kind.REASSIGNED),
    *(_Kind.ESCALATED, _Kind.ESCALATION_ENDED, _Kind.LAST_RESORT, _Kind.RESPONDERS_ADDED),
    *(_Kind.HELD, _Kind.RESUMED, _Kind.REOPENED, _Kind.CLOSED, _Kind.CANCELLED),
    *(_Kind.REPLIED, _Kind.UPDATED, _Kind.MEMBER),
)
AT_ONCE: Final = 50  # threads
MAX_LINES: Final = 20  # of one thread at once
_MAX_LINE: Final = 2_000


def begin_thread(integration: InboundIntegration, alert_id: int, request: ChatRequest, *, now: datetime) -> None:
    """Write the alert with its buttons into the chat, if the platform can be written to; its changes follow.

    Without the token of a bot, the message goes to the address for late answers, and nothing follows.
    """
    chat = integration.chat_settings
    body: dict[str, Any] = {"alert": alert_id, "by": request.member_name}
    # The answer to a button or to a message action is for one person alone, so it is no place for an alert.
    has_bot, answer_at = bool(chat.secrets.get("bot_token")), request.answer_at
    if chat.platform == ChatSettings.Platform.GENERIC or not (request.channel and has_bot):
        if answer_at and request.origin == Origin.COMMAND:
            write(integration, ChatMessage.Kind.ROOT, body=body, url=answer_at, now=now)
        return
    newest = TimelineEntry.objects.filter(alert=alert_id).aggregate(newest=Max("id"))["newest"] or 0
    thread = ChatThread.objects.create(
        alert_id=alert_id,
        integration=integration,
        channel=request.channel,
        root=request.thread or request.message,
        seen_entry=newest,
        is_open=chat.updates != ChatSettings.Updates.NONE,
        created_at=now,
    )
    write(integration, ChatMessage.Kind.ROOT, body=body, thread=thread, now=now)


def write(
    integration: InboundIntegration,
    kind: ChatMessage.Kind,
    *,
    body: dict[str, Any],
    now: datetime,
    url: str = "",
    thread: ChatThread | None = None,
) -> ChatMessage:
    """Write a message into the outbox."""
    message = ChatMessage.objects.create(
        integration=integration, kind=kind, url=url, thread=thread, body=body, created_at=now, next_attempt_at=now
    )
    wake_on_commit("integrations.send_chat_messages", queue="delivery")
    return message


@unless_held(0)
def write_changes(*, now: datetime) -> int:
    """Write the changes of alerts that their threads have not got yet into the outbox; return how many lines."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            parameters: dict[str, Any] = {"kinds": [str(kind) for kind in CHANGES], "limit": AT_ONCE}
            cursor.execute(statement("integrations", "changed_chat_threads"), parameters)
            alert_ids = [alert_id for (alert_id,) in cursor.fetchall()]
        threads = ChatThread.objects.filter(pk__in=alert_ids).select_related("integration__chat_settings", "alert")
        lines: list[ChatMessage] = []
        for thread in threads:
            lines += _lines_of(thread, now=now)
        ChatMessage.objects.bulk_create(lines)
        if lines:
            wake_on_commit("integrations.send_chat_messages", queue="delivery")
    return len(lines)


def _lines_of(thread: ChatThread, *, now: datetime) -> Sequence[ChatMessage]:
    """Return the next lines of a locked thread, which is closed behind the last one of an alert that is over."""
    entries = thread.alert.timeline.filter(id__gt=thread.seen_entry, kind__in=CHANGES).select_related("actor")
    new = list(entries.order_by("id")[:MAX_LINES])
    thread.seen_entry = new[-1].pk if new else thread.seen_entry
    is_over = Status(thread.alert.status) in FINAL and len(new) < MAX_LINES
    thread.is_open = not is_over and thread.integration.chat_settings.updates != ChatSettings.Updates.NONE
    thread.save(update_fields=["seen_entry", "is_open"])
    return [
        ChatMessage(
            integration=thread.integration,
            thread=thread,
            kind=ChatMessage.Kind.LINE,
            body={"text": _sentence(entry, thread.alert_id)},
            created_at=now,
            next_attempt_at=now,
        )
        for entry in new
    ]


def _sentence(entry: TimelineEntry, alert_id: int) -> str:
    is_note = entry.kind == _Kind.REPLIED and entry.actor is not None
    text = f"{entry.actor}: {entry.sentence}" if is_note else entry.sentence
    return f"#{alert_id}: {text}"[:_MAX_LINE]
