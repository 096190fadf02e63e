"""Carry out what a user writes about an alert, without a message that asked them: from a chat."""

from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models.contact_methods import ContactMethod
from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.selectors import respondable_alerts
from alerting.services.alerts import StateConflict
from alerting.states import Action, Status, actions_from
from alerting.via import Via
from escalation.models.responses import Response
from escalation.models.runs import EscalationRun
from escalation.responses.allowed_actions import allowed_by_run
from escalation.responses.respond import ResponseOutcome, ResponseResult, act_and_say
from heartbeat_project.kernel.errors import DomainError, FieldError

# Those that the grammar of replies knows.
_ALLOWED: Final = frozenset({Action.ACKNOWLEDGE, Action.ASSIGN, Action.ESCALATE, Action.CLOSE, Action.REPLY})
_REFERENCE_LENGTH: Final = 100


def respond_as(
    user: User, alert_id: int, action: Action, *, via: Via, reference: str, now: datetime, note: str = ""
) -> ResponseResult:
    """Carry out an action of a user on an alert that they may act on, at most once for each reference.

    The rights are those of the console, and what the policy disables in chats stays disabled. Nothing is raised for an
    action that is too late or not allowed: the result says why. An alert that the user may not act on, or of another
    organization, does not differ from one that does not exist.
    """
    alert = respondable_alerts(user).select_related("owner", "bridge").filter(pk=alert_id).first()
    if alert is None:
        text = f"Nothing was changed: there is no alert #{alert_id} that you may respond to."
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, text)
    run = EscalationRun.objects.filter(alert=alert.pk).first()
    note, name = note.strip(), f"#{alert.pk} {alert.known_as}"
    if reason := _why_not(alert, run, action, note=note):
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, f"{name}: {reason} Nothing was changed.")
    try:
        with transaction.atomic():
            response, is_first = Response.objects.get_or_create(
                alert_id=alert.pk,
                action=action,
                reference=reference[:_REFERENCE_LENGTH],
                defaults={"user": user, "via": Response.Via.CHAT, "answer_text": "", "at": now},
            )
            if not is_first:
                return ResponseResult(ResponseOutcome.ALREADY, response.answer_text)
            response.answer_text = act_and_say(alert, action, run=run, actor=user, via=via, note=note, now=now)
            response.save(update_fields=["answer_text"])
    except (StateConflict, FieldError) as error:
        return ResponseResult(ResponseOutcome.NOT_POSSIBLE, f"{name}: {_text(error)} Nothing was changed.")
    return ResponseResult(ResponseOutcome.DONE, response.answer_text)


def _why_not(alert: Alert, run: EscalationRun | None, action: Action, *, note: str) -> str:
    """Return why the action is not possible; "" if it is."""
    if action is Action.REPLY and not note:
        return "The note is empty."
    if action not in _ALLOWED or action not in allowed_by_run(run, ContactMethod.Kind.CHAT):
        return "The escalation policy does not allow this in a chat. Sign in to do it."
    if action not in actions_from(Status(alert.status)):
        return f"It is {alert.get_status_display()}."
    return ""


def _text(error: DomainError) -> str:
    text = str(error)
    return text if text.endswith(".") else f"{text}."
