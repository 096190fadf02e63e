"""Buttons below messages in shared channels: they act for the person who pressed."""

from datetime import datetime
from uuid import UUID

from alerting.states import Action
from escalation.responses.respond import ResponseOutcome, answer_as
from escalation.responses.selectors import notifications_in
from escalation.responses.undo import undo_text


def answer_press(message_id: UUID, action: Action, *, scope: str, member: str, now: datetime) -> str:
    """Carry out what a pressed button asks for, as `answer_as` does; return the answer with how to undo it."""
    result = answer_as(message_id, action, scope=scope, member=member, now=now)
    notification = notifications_in(message_id).first()
    if notification is None or result.outcome is not ResponseOutcome.DONE:
        return result.answer_text
    many = notifications_in(message_id).values("alert").distinct().order_by().count() > 1
    return f"{result.answer_text}{undo_text(notification, action, many=many)}"
