"""What people do to an alert."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.models import User
from alerting import services
from alerting.models import Alert, TimelineEntry
from alerting.selectors import has_acknowledged, may_respond
from alerting.states import Action
from escalation.services.engine import hurry
from escalation.services.reassignment import reassign
from escalation.services.responders import add_responders
from heartbeat_project.console.forms import AssignForm, ReasonForm, ReassignForm, ReplyForm, RespondersForm
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
}


def _escalate(alert: Alert, *, actor: User, now: datetime) -> Alert:
    with transaction.atomic():
        alert = services.escalate(alert, actor=actor, now=now)
        hurry([alert.pk], now=now)
    return alert


_PLAIN: dict[str, tuple[Callable[..., Alert], str]] = {
    Action.ACKNOWLEDGE.value: (
        services.acknowledge,
        "Acknowledged. “Next” says who is told now.",
    ),
    Action.ESCALATE.value: (_escalate, "Escalated: the next people are told now."),
    Action.HOLD.value: (services.hold, "On hold: nobody else is told until it is resumed."),
    Action.RESUME.value: (services.resume, "Resumed."),
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
    form = _form(action, request)
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


def _form(action: str, request: HttpRequest) -> forms.Form | None:
    if action == Action.ASSIGN:
        return AssignForm(request.POST, actor=signed_in(request))
    if action in {Action.CLOSE, Action.CANCEL}:
        return ReasonForm(request.POST, prefix=action)
    if action == Action.REPLY:
        return ReplyForm(request.POST)
    if action == Action.REASSIGN:
        return ReassignForm(request.POST, actor=signed_in(request))
    if action == Action.ADD_RESPONDERS:
        return RespondersForm(request.POST, actor=signed_in(request))
    return None


def _apply(alert: Alert, action: str, *, actor: User, now: datetime, fields: dict[str, Any]) -> str:
    """Call the service and return what to say."""
    if action == TAKE:
        services.assign(alert, actor=actor, to=actor, now=now)
        return "It is yours: nobody else is told any more."
    if action == Action.ASSIGN:
        services.assign(alert, actor=actor, to=fields["user"], now=now)
        return f"Assigned to {fields['user']}: nobody else is told any more."
    if action in {Action.CLOSE, Action.CANCEL}:
        end = services.close if action == Action.CLOSE else services.cancel
        end(alert, actor=actor, now=now, reason=fields["reason"])
        return "Closed." if action == Action.CLOSE else "Cancelled."
    if action == Action.REPLY:
        services.reply(alert, actor=actor, now=now, text=fields["text"])
        return "Your note is in the timeline."
    if action == Action.REASSIGN:
        reassign(alert, actor=actor, now=now, **fields)
        return "Reassigned: its escalation begins anew. “Next” says who is notified now."
    if action == Action.ADD_RESPONDERS:
        add_responders(alert, actor=actor, now=now, **fields)
        return "They are notified now."
    change, said = _PLAIN[action]
    if action == Action.ACKNOWLEDGE and has_acknowledged(actor, alert):
        said = "You have acknowledged it already."
    change(alert, actor=actor, now=now)
    return said


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
