"""The page of a bundle: all alerts of one message, and a button that takes them together."""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.selectors import respondable_alerts, visible_alerts
from alerting.states import LIVE
from alerting.via import CONSOLE
from escalation.models.notifications import Notification
from escalation.responses.act import take_together
from escalation.responses.open_alerts import MAX_TAKEN, OpenToReader, open_alerts_notified_to, open_to_reader
from escalation.responses.respond import list_names, which_are_yours
from escalation.responses.selectors import alerts_in
from heartbeat_project.console.selectors import PAGE_SIZE, page_number
from heartbeat_project.console.taking import page_seen_at, taking_context
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError

_MAX_REASONS: Final = 5  # alerts that were not assigned and are named with the reason; the page shows the others


@login_required
@never_cache
@require_safe
def bundle(request: HttpRequest, message_id: UUID) -> HttpResponse:
    """Show the alerts of one message with their status, and offer to take these and others that nobody has."""
    user, now = signed_in(request), clock.now()
    alerts = _find_alerts(user, message_id)
    pages = Paginator(alerts.select_related("owner", "acknowledged_by"), PAGE_SIZE)
    page = pages.get_page(page_number(request.GET.get("page", "1")))
    context = {
        "nav_item": "alerts",
        "now": now,
        "message_id": message_id,
        "notification": Notification.objects.filter(message_id=message_id).select_related("user", "group").first(),
        "page": page,
        "count": pages.count,
        "may_take": respondable_alerts(user).filter(pk__in=alerts.values("pk")).exists(),
        **taking_context(_open_to(user, alerts, before=None), alone=pages.count == 1, now=now),
        "held": alerts.filter(status="on_hold").count(),
        "owned": alerts.filter(status="assigned").count(),
        "over": alerts.exclude(status__in=sorted(LIVE)).count(),
    }
    return render(request, "console/bundle.html", context)


@login_required
@require_POST
def assign_bundle(request: HttpRequest, message_id: UUID) -> HttpResponse:
    """Assign to the user all alerts of this message that nobody has, and others; say which were left, and why."""
    user, now = signed_in(request), clock.now()
    alerts = _find_alerts(user, message_id)
    if not respondable_alerts(user).filter(pk__in=alerts.values("pk")).exists():
        raise PermissionDenied
    open_to = _open_to(user, alerts, before=page_seen_at(request))
    own = set(open_to.own.order_by().values_list("pk", flat=True))
    others = open_to.others.order_by("pk").values_list("pk", flat=True)[:MAX_TAKEN]
    try:
        assigned = take_together([*own, *others], actor=user, via=CONSOLE, now=now)
    except FieldError as error:
        messages.error(request, str(error))
        return redirect("console:bundle", message_id)
    if assigned:
        messages.success(request, which_are_yours(assigned, own, alone=alerts.count() == 1))
    unassigned = alerts.exclude(pk__in=assigned).exclude(owner=user, status__in=sorted(LIVE)).select_related("owner")
    if number := unassigned.count():
        reasons = "; ".join(f"#{alert.pk} {alert.known_as} {_why_not(alert)}" for alert in unassigned[:_MAX_REASONS])
        more = f"; and {number - _MAX_REASONS} more, see below" if number > _MAX_REASONS else ""
        messages.warning(request, f"{number} {'was' if number == 1 else 'were'} left as before: {reasons}{more}.")
    elif not assigned:
        messages.info(request, "Every alert of this message that has not ended is yours already.")
    if still_open := list_names(open_alerts_notified_to(user)):
        messages.warning(request, f"You were notified of these, too, and nobody has them: {still_open}.")
    return redirect("console:bundle", message_id)


def _open_to(user: User, alerts: QuerySet[Alert], *, before: datetime | None) -> OpenToReader:
    return open_to_reader(user, alerts.order_by().values("pk"), before=before)


def _find_alerts(user: User, message_id: UUID) -> QuerySet[Alert]:
    """Return the alerts of the message that the user may see. Raises Http404 if there are none."""
    alerts = alerts_in(message_id).filter(pk__in=visible_alerts(user).values("pk"))
    if not alerts.exists():
        raise Http404
    return alerts


def _why_not(alert: Alert) -> str:
    if alert.status == "on_hold":
        return "is on hold"
    if alert.status in LIVE:
        return f"belongs to {alert.owner}" if alert.owner else "is not yours to take"
    return f"is {alert.get_status_display().lower()}"
