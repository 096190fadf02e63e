"""The buttons of an alert's page: act on the alert, and say what happened."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.models.users import User
from alerting.models.alerts import Alert, TimelineEntry
from alerting.selectors import may_respond
from alerting.services import alerts
from alerting.states import Action
from alerting.via import CONSOLE
from escalation.engine.reachable import why_not_reached
from escalation.responses.act import act as change
from escalation.responses.add_responders import add_responders
from escalation.responses.allowed_actions import answers_the_last
from escalation.responses.reassign import reassign
from escalation.responses.respond import silent_after
from heartbeat_project.console.forms.alerts import (
    AssignForm,
    HoldForm,
    ReasonForm,
    ReassignForm,
    ReplyForm,
    RespondersForm,
)
from heartbeat_project.console.views.alerts import find_alert, show_alert, signed_in, state_key
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from heartbeat_project.kernel.wording import at_night

TAKE = "take"
# These do no harm when done twice or late. The others are refused if the alert has changed since the page was rendered.
_IDEMPOTENT_ACTIONS = {Action.ACKNOWLEDGE.value, Action.REPLY.value}
_Kind = TimelineEntry.Kind
_PARTICIPLES = {
    _Kind.ASSIGNED: "assigned",
    _Kind.ESCALATED: "escalated",
    _Kind.REASSIGNED: "reassigned",
    _Kind.HELD: "put on hold",
    _Kind.RESUMED: "resumed",
    _Kind.CLOSED: "closed",
    _Kind.CANCELLED: "cancelled",
    _Kind.GIVEN_BACK: "given back",
    _Kind.REOPENED: "opened again",
}
# Actions that bring in other people: the service, and what the next page says.
_SERVICES_FOR_OTHERS: Final[dict[Action, tuple[Callable[..., Alert], str]]] = {
    Action.REASSIGN: (reassign, "Reassigned: the escalation starts again. “Next” shows who is notified now."),
    Action.ADD_RESPONDERS: (add_responders, "They are notified now."),
}
_SUCCESS_TEXTS = {
    Action.ACKNOWLEDGE: "Acknowledged. “Next” shows who is notified now.",
    Action.UNACKNOWLEDGE: "No longer acknowledged. “Next” shows who is notified now.",
    Action.GIVE_BACK: "Given back: the escalation goes on. “Next” shows who is notified now.",
    Action.ESCALATE: "Escalated: the next people are notified now.",
    Action.RESUME: "Resumed.",
    Action.REPLY: "Your note is in the timeline.",
}


@login_required
@require_POST
def act(request: HttpRequest, alert_id: int, action: str) -> HttpResponse:
    """Act on the alert and show it again; if the page was stale, change nothing and say what happened meanwhile."""
    now = clock.now()
    user = signed_in(request)
    alert = find_alert(request, alert_id)
    if action != TAKE and action not in set(Action):
        raise Http404
    if not may_respond(user, alert):
        raise PermissionDenied
    seen_state = request.POST.get("seen", "")
    if action not in _IDEMPOTENT_ACTIONS and seen_state and seen_state != state_key(alert):
        messages.warning(request, f"{what_happened(alert)} Nothing was changed. Look at it again.")
        return redirect("console:alert", alert.pk)
    form = _form(action, request, alert, now=now)
    if form is not None and not form.is_valid():
        return show_alert(request, alert, now=now, forms={f"{action}_form": form}, status=400)
    fields = form.cleaned_data if form is not None else {}
    try:
        answer_text = _apply(alert, action, actor=user, now=now, fields=fields)
    except alerts.StateConflict:
        alert.refresh_from_db()
        messages.warning(request, f"{what_happened(alert)} Nothing was changed. Look at it again.")
    except FieldError as error:
        if form is None or error.field not in form.fields:
            raise
        form.add_error(error.field, str(error))
        return show_alert(request, alert, now=now, forms={f"{action}_form": form}, status=400)
    else:
        messages.success(request, answer_text)
    return redirect("console:alert", alert.pk)


def _form(action: str, request: HttpRequest, alert: Alert, *, now: datetime) -> forms.Form | None:
    actor, data = signed_in(request), request.POST
    factories: dict[str, Callable[[], forms.Form]] = {
        Action.ASSIGN: lambda: AssignForm(
            data, actor=actor, integration_id=alert.integration_id, priority=alert.priority, now=now
        ),
        Action.HOLD: lambda: HoldForm(data, now=now),
        Action.CLOSE: lambda: ReasonForm(data, prefix=action),
        Action.CANCEL: lambda: ReasonForm(data, prefix=action),
        Action.REPLY: lambda: ReplyForm(data),
        Action.REASSIGN: lambda: ReassignForm(data, actor=actor),
        Action.ADD_RESPONDERS: lambda: RespondersForm(data, actor=actor),
    }
    return factories[action]() if action in factories else None


def _apply(alert: Alert, action: str, *, actor: User, now: datetime, fields: dict[str, Any]) -> str:
    """Call the service of the action; return the sentence for the next page."""
    chosen_action = Action.ASSIGN if action == TAKE else Action(action)
    if chosen_action in _SERVICES_FOR_OTHERS:
        service, answer_text = _SERVICES_FOR_OTHERS[chosen_action]
        service(alert, actor=actor, via=CONSOLE, now=now, **fields)
        return answer_text
    is_repeated = chosen_action is Action.ACKNOWLEDGE and answers_the_last(actor, alert)
    to = fields.pop("user", actor)
    alert = change(alert, chosen_action, actor=actor, via=CONSOLE, now=now, to=to, **fields)
    if is_repeated:
        return "You have already acknowledged it."
    if chosen_action is Action.ASSIGN:
        return _assigned(alert, to, actor=actor, now=now)
    if chosen_action is Action.HOLD:
        end = at_night(alert.hold_until, zone=timezone.get_current_timezone()) if alert.hold_until else "it is resumed"
        return f"On hold: nobody else is notified until {end}."
    if chosen_action in {Action.CLOSE, Action.CANCEL}:
        return f"{alert.get_status_display()}.{silent_after(alert)}"
    return _SUCCESS_TEXTS[chosen_action]


def _assigned(alert: Alert, to: User, *, actor: User, now: datetime) -> str:
    if to.pk == actor.pk:
        return "It is yours: nobody else is notified any more."
    reasons = why_not_reached([to], integration_id=alert.integration_id, priority=alert.priority, now=now)
    why_not = " ".join(reasons.get(to.pk, []))
    outcome = f"But: {why_not}" if why_not else f"{to} is notified now."
    return f"Assigned to {to}: nobody else is notified any more. {outcome}"


def what_happened(alert: Alert) -> str:
    """Return who changed the alert last and when, as a sentence."""
    entry = alert.timeline.filter(kind__in=list(_PARTICIPLES)).select_related("actor").order_by("-at", "-id").first()
    if entry is None:
        return f"This alert is {alert.get_status_display()} now."
    at = f"{timezone.localtime(entry.at):%H:%M}"
    participle = _PARTICIPLES[_Kind(entry.kind)]
    if entry.actor is None:
        return f"This alert was {participle} at {at}: {entry.text}"
    if entry.kind == _Kind.ASSIGNED:
        return f"{entry.actor} has assigned this alert to {alert.owner or 'somebody'} at {at}."
    if entry.kind == _Kind.HELD:
        return f"{entry.actor} has put this alert on hold at {at}."
    return f"{entry.actor} has {participle} this alert at {at}."
