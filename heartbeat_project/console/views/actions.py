"""What people do to an alert."""

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

from accounts.models import User
from alerting import services
from alerting.models import Alert, TimelineEntry
from alerting.selectors import has_acknowledged, may_respond
from alerting.states import Action
from escalation.services.actions import act as change
from escalation.services.reachable import why_not_reached
from escalation.services.reassignment import reassign
from escalation.services.responders import add_responders
from escalation.services.responses import silent_after
from escalation.wording import at_night
from heartbeat_project.console.forms import (
    AssignForm,
    HoldForm,
    ReasonForm,
    ReassignForm,
    ReplyForm,
    RespondersForm,
)
from heartbeat_project.console.views.alerts import find_alert, seen, show_alert, signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError

TAKE = "take"
# Done twice or late they do no harm; the others ask that the alert still is what the person saw.
_ALWAYS_WELCOME = {Action.ACKNOWLEDGE.value, Action.REPLY.value}
_Kind = TimelineEntry.Kind
_DONE = {
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


_FOR_OTHERS: Final[dict[Action, tuple[Callable[..., Alert], str]]] = {
    Action.REASSIGN: (reassign, "Reassigned: its escalation begins anew. “Next” says who is notified now."),
    Action.ADD_RESPONDERS: (add_responders, "They are notified now."),
}
_SAID = {
    Action.ACKNOWLEDGE: "Acknowledged. “Next” says who is told now.",
    Action.UNACKNOWLEDGE: "No longer acknowledged. “Next” says who is told now.",
    Action.GIVE_BACK: "Given back: the escalation goes on. “Next” says who is told now.",
    Action.ESCALATE: "Escalated: the next people are told now.",
    Action.RESUME: "Resumed.",
    Action.REPLY: "Your note is in the timeline.",
}


@login_required
@require_POST
def act(request: HttpRequest, alert_id: int, action: str) -> HttpResponse:
    """Do one thing to the alert and show it again; a stale page gets told what happened meanwhile."""
    now = clock.now()
    user = signed_in(request)
    alert = find_alert(request, alert_id)
    if action != TAKE and action not in set(Action):
        raise Http404
    if not may_respond(user, alert):
        raise PermissionDenied
    sent = request.POST.get("seen", "")
    if action not in _ALWAYS_WELCOME and sent and sent != seen(alert):
        messages.warning(request, f"{what_happened(alert)} Nothing was changed; look again.")
        return redirect("console:alert", alert.pk)
    form = _form(action, request, alert, now=now)
    if form is not None and not form.is_valid():
        return show_alert(request, alert, now=now, forms={f"{action}_form": form}, status=400)
    fields = form.cleaned_data if form is not None else {}
    try:
        said = _apply(alert, action, actor=user, now=now, fields=fields)
    except services.StateConflict:
        alert.refresh_from_db()
        messages.warning(request, f"{what_happened(alert)} Nothing was changed; look again.")
    except FieldError as error:
        if form is None or error.field not in form.fields:
            raise
        form.add_error(error.field, str(error))
        return show_alert(request, alert, now=now, forms={f"{action}_form": form}, status=400)
    else:
        messages.success(request, said)
    return redirect("console:alert", alert.pk)


def _form(action: str, request: HttpRequest, alert: Alert, *, now: datetime) -> forms.Form | None:
    actor, sent = signed_in(request), request.POST
    made: dict[str, Callable[[], forms.Form]] = {
        Action.ASSIGN: lambda: AssignForm(sent, actor=actor, integration_id=alert.integration_id, now=now),
        Action.HOLD: lambda: HoldForm(sent, now=now),
        Action.CLOSE: lambda: ReasonForm(sent, prefix=action),
        Action.CANCEL: lambda: ReasonForm(sent, prefix=action),
        Action.REPLY: lambda: ReplyForm(sent),
        Action.REASSIGN: lambda: ReassignForm(sent, actor=actor),
        Action.ADD_RESPONDERS: lambda: RespondersForm(sent, actor=actor),
    }
    return made[action]() if action in made else None


def _apply(alert: Alert, action: str, *, actor: User, now: datetime, fields: dict[str, Any]) -> str:
    """Call the service and return what to say."""
    wanted = Action.ASSIGN if action == TAKE else Action(action)
    if wanted in _FOR_OTHERS:
        ask_others, said = _FOR_OTHERS[wanted]
        ask_others(alert, actor=actor, now=now, **fields)
        return said
    again = wanted is Action.ACKNOWLEDGE and has_acknowledged(actor, alert)
    to = fields.pop("user", actor)
    alert = change(alert, wanted, actor=actor, now=now, to=to, **fields)
    if again:
        return "You have acknowledged it already."
    if wanted is Action.ASSIGN:
        return _assigned(alert, to, actor=actor, now=now)
    if wanted is Action.HOLD:
        end = at_night(alert.hold_until, zone=timezone.get_current_timezone()) if alert.hold_until else "it is resumed"
        return f"On hold: nobody else is told until {end}."
    if wanted in {Action.CLOSE, Action.CANCEL}:
        return f"{alert.get_status_display()}.{silent_after(alert)}"
    return _SAID[wanted]


def _assigned(alert: Alert, to: User, *, actor: User, now: datetime) -> str:
    if to.pk == actor.pk:
        return "It is yours: nobody else is told any more."
    why = why_not_reached([to], integration_id=alert.integration_id, now=now).get(to.pk, [])
    notified = f"But: {' '.join(why)}" if why else f"{to} is notified now."
    return f"Assigned to {to}: nobody else is told any more. {notified}"


def what_happened(alert: Alert) -> str:
    """Return who changed the alert last and when, as a sentence."""
    entry = alert.timeline.filter(kind__in=list(_DONE)).select_related("actor").order_by("-at", "-id").first()
    if entry is None:
        return f"This alert is {alert.get_status_display()} now."
    at = f"{timezone.localtime(entry.at):%H:%M}"
    done = _DONE[_Kind(entry.kind)]
    if entry.actor is None:
        return f"This alert was {done} at {at}: {entry.text}"
    if entry.kind == _Kind.ASSIGNED:
        return f"{entry.actor} has assigned this alert to {alert.owner or 'somebody'} at {at}."
    if entry.kind == _Kind.HELD:
        return f"{entry.actor} has put this alert on hold at {at}."
    return f"{entry.actor} has {done} this alert at {at}."
