"""The page of a bundle: all alerts that one message told of, and taking them together."""

from typing import Final
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from alerting.models import Alert
from alerting.selectors import respondable_alerts, visible_alerts
from alerting.states import LIVE
from escalation.models import Notification
from escalation.services.actions import take_together
from escalation.services.bundles import alerts_in
from heartbeat_project.console.selectors import PAGE_SIZE, page_number
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError

# So many of those that were not assigned are named with the reason; the page shows it for all.
_NAMED: Final = 5
_FREE: Final = Q(status__in=["open", "on_hold"], owner=None)


@login_required
@never_cache
@require_safe
def bundle(request: HttpRequest, envelope: UUID) -> HttpResponse:
    """Show the alerts of one message, with where each stands, and offer to take those that nobody owns."""
    user = signed_in(request)
    alerts = _find_alerts(user, envelope)
    pages = Paginator(alerts.select_related("owner", "acknowledged_by"), PAGE_SIZE)
    page = pages.get_page(page_number(request.GET.get("page", "1")))
    mine = respondable_alerts(user).filter(pk__in=alerts.values("pk"))
    context = {
        "here": "alerts",
        "now": clock.now(),
        "envelope": envelope,
        "told": Notification.objects.filter(envelope=envelope).select_related("user", "group").first(),
        "page": page,
        "count": pages.count,
        "may_take": mine.exists(),
        "free": mine.filter(_FREE).count(),
        "owned": alerts.filter(status__in=sorted(LIVE), owner__isnull=False).count(),
        "over": alerts.exclude(status__in=sorted(LIVE)).count(),
    }
    return render(request, "console/bundle.html", context)


@login_required
@require_POST
def assign_bundle(request: HttpRequest, envelope: UUID) -> HttpResponse:
    """Assign to the person what nobody owns, and say which alerts were left as they are, and why."""
    user = signed_in(request)
    alerts = _find_alerts(user, envelope)
    ids = list(respondable_alerts(user).filter(pk__in=alerts.values("pk")).values_list("pk", flat=True))
    if not ids:
        raise PermissionDenied
    try:
        assigned = take_together(ids, actor=user, now=clock.now())
    except FieldError as error:
        messages.error(request, str(error))
        return redirect("console:bundle", envelope)
    if assigned:
        many = len(assigned) != 1
        messages.success(
            request,
            f"{len(assigned)} alert{'s are' if many else ' is'} yours: "
            f"nobody else is told about {'them' if many else 'it'} any more.",
        )
    left = alerts.exclude(pk__in=assigned).exclude(owner=user, status__in=sorted(LIVE)).select_related("owner")
    if number := left.count():
        reasons = "; ".join(f"#{alert.pk} {alert.source_name} {_why_not(alert)}" for alert in left[:_NAMED])
        more = f"; and {number - _NAMED} more, see below" if number > _NAMED else ""
        messages.warning(request, f"{number} {'was' if number == 1 else 'were'} left as before: {reasons}{more}.")
    elif not assigned:
        messages.info(request, "Every alert of this message that is not over is yours already.")
    return redirect("console:bundle", envelope)


def _find_alerts(user: User, envelope: UUID) -> QuerySet[Alert]:
    """Return those alerts of the message that the person may see; a message without any is a 404."""
    alerts = alerts_in(envelope).filter(pk__in=visible_alerts(user).values("pk"))
    if not alerts.exists():
        raise Http404
    return alerts


def _why_not(alert: Alert) -> str:
    if alert.status in LIVE:
        return f"belongs to {alert.owner}" if alert.owner else "is not yours to take"
    return f"is {alert.get_status_display().lower()}"
