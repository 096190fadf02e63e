"""Act on several alerts of the list at once."""

import time
from collections import Counter
from datetime import datetime
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_POST

from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.selectors import respondable_alerts
from alerting.services.alerts import StateConflict
from alerting.states import Action
from alerting.via import CONSOLE
from escalation.responses.act import act
from escalation.responses.allowed_actions import answers_the_last
from heartbeat_project.console.forms.alert_list import MAX_BULK, BulkForm
from heartbeat_project.console.views.alerts import signed_in, state_key
from heartbeat_project.console.views.frame import back
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError

# Seconds for one request: what is left then stays as it was, and the page says so.
MAX_SECONDS: Final = 10.0
_DONE: Final = {Action.ACKNOWLEDGE: "Acknowledged", Action.ASSIGN: "Assigned", Action.CLOSE: "Closed"}


@login_required
@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    """Act on the ticked alerts one by one, and say how many were changed and why others were not."""
    user, now = signed_in(request), clock.now()
    form = BulkForm(request.POST, actor=user)
    ticked = form.ticked()
    if not form.is_valid():
        errors = [error for texts in form.errors.values() for error in texts]
        messages.error(request, f"Nothing was changed. {' '.join(map(str, errors))}")
    elif not ticked:
        messages.warning(request, "Nothing was changed: tick the alerts first.")
    elif len(ticked) > MAX_BULK:
        messages.error(request, f"Nothing was changed: at most {MAX_BULK} alerts at once.")
    else:
        _report(request, Action(form.cleaned_data["action"]), ticked, form.cleaned_data, user=user, now=now)
    return back(request)


def _report(
    request: HttpRequest,
    action: Action,
    ticked: dict[int, str],
    fields: dict[str, Any],
    *,
    user: User,
    now: datetime,
) -> None:
    to = fields["user"] or user
    try:
        outcomes = _act_on(ticked, action, user=user, to=to, reason=fields["reason"], now=now)
    except FieldError as error:  # the same for all of them: such as an owner who may not have alerts
        messages.error(request, f"Nothing was changed. {error}")
        return
    if done := outcomes.pop("", 0):
        whom = f" to {'you' if to == user else to}" if action is Action.ASSIGN else ""
        messages.success(request, f"{_DONE[action]}{whom}: {_count(done)}.")
    for reason, number in outcomes.items():
        messages.warning(
            request, f"{_count(number).capitalize()} stayed as {'it was' if number == 1 else 'they were'}: {reason}."
        )


def _count(number: int) -> str:
    return "one alert" if number == 1 else f"{number} alerts"


def _act_on(
    ticked: dict[int, str], action: Action, *, user: User, to: User, reason: str, now: datetime
) -> Counter[str]:
    """Return how many alerts were changed (""), and how many were not, by reason.

    An alert that has changed since it was shown is left alone, as on its own page; acknowledging does no harm.
    """
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    alerts = list(respondable_alerts(user).filter(pk__in=list(ticked)).order_by("pk"))
    if missing := len(ticked) - len(alerts):
        outcomes["you may not act on it" if missing == 1 else "you may not act on them"] = missing
    for alert in alerts:
        if time.monotonic() - began > MAX_SECONDS:
            outcomes["this took too long, do it again for the rest"] += 1
        else:
            outcomes[_act_on_one(alert, action, seen=ticked[alert.pk], user=user, to=to, reason=reason, now=now)] += 1
    return outcomes


def _act_on_one(alert: Alert, action: Action, *, seen: str, user: User, to: User, reason: str, now: datetime) -> str:
    """Return why the alert was not changed; empty if it was."""
    if action is Action.ACKNOWLEDGE:
        if answers_the_last(user, alert):
            return "you have already acknowledged it"
    elif seen and seen != state_key(alert):
        return "somebody was faster"
    try:
        act(alert, action, actor=user, via=CONSOLE, now=now, to=to, reason=reason)
    except StateConflict:
        return "somebody was faster"
    return ""
