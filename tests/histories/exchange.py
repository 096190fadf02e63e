"""A channel that remembers what it was given.

The one place where it shows who was really notified of what, and when.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from escalation.channels import email, message_text, webhook
from escalation.channels.base import Channel, DeliveryError, Message
from escalation.models.notifications import Notification

KINDS = ("email", "sms", "webhook")
# What cannot be taken back or recognized a second time.
NEVER_AGAIN = {"sms"}


class WorkerLost(BaseException):
    """The process that was sending is gone: nothing after this line happens in it."""


@dataclass(frozen=True)
class Carried:
    """One notification in a message, and how its alert stood when the message went out."""

    key: tuple[Any, ...]
    kind: str
    user: int
    alert: int | None
    status: str
    close_reason: str
    stopped: bool
    owner: int | None


@dataclass(frozen=True)
class Sent:
    """A message that the channel took; `known` says whether the sender learned of it."""

    at: datetime
    message_id: UUID
    channel: str
    address: str
    carried: tuple[Carried, ...]
    link: str
    known: bool


@dataclass
class Exchange:
    """Every channel at once. `troubles` are by kind, or by address: refuses, refuses_for_good, swallows."""

    now: Callable[[], datetime]
    sent: list[Sent] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)
    worker_dies: str = ""

    def channels(self) -> dict[str, Callable[[], Channel]]:
        return {kind: partial(_TimelineKind, self, kind) for kind in KINDS}

    def take(self, kind: str, message: Message) -> str:
        trouble = self.troubles.get(message.address) or self.troubles.get(kind)
        if trouble == "refuses":
            raise DeliveryError("Not now.", retry_after=timedelta(seconds=20) if kind == "webhook" else None)
        if trouble == "refuses_for_good":
            raise DeliveryError("There is nobody of this name.", permanent=True)
        dies, self.worker_dies = self.worker_dies, ""
        if dies == "before":
            raise WorkerLost
        swallowed = trouble == "swallows"
        self.sent.append(self._sent(kind, message, known=not (swallowed or dies)))
        if dies:
            raise WorkerLost
        if swallowed:
            raise DeliveryError("No answer came.", permanent=kind in NEVER_AGAIN, uncertain=True)
        return f"given by {kind}"

    def _sent(self, kind: str, message: Message, *, known: bool) -> Sent:
        words = {"email": lambda: email.compose(message).body, "sms": lambda: message_text.short(message)}
        text = words.get(kind, lambda: str(webhook.document(message)))()
        rows = Notification.objects.filter(message_id=message.id, status="sending").select_related("alert", "run")
        return Sent(
            at=self.now(),
            message_id=message.id,
            channel=kind,
            address=message.address,
            carried=tuple(_carried(row) for row in rows.order_by("alert_id", "kind")),
            link=next(iter(re.findall(r"https?://[^/\s]+(/r/[\w-]+)", text)), ""),
            known=known,
        )


@dataclass
class _TimelineKind:
    exchange: Exchange
    kind: str

    def send(self, message: Message) -> str:
        return self.exchange.take(self.kind, message)

    def close(self) -> None:
        """Have nothing to let go of."""


def _carried(row: Notification) -> Carried:
    alert, run = row.alert, row.run
    return Carried(
        key=(row.kind, row.alert_id, row.run_id, row.step, row.retry, row.repeat, row.user_id, row.label)
        if alert
        else (row.kind, row.pk),
        kind=row.kind,
        user=row.user_id,
        alert=row.alert_id,
        status=alert.status if alert else "",
        close_reason=alert.close_reason if alert else "",
        stopped=bool(alert and run and run.acknowledge_stops and alert.acknowledged_at and row.kind != "last_resort"),
        owner=alert.owner_id if alert else None,
    )
