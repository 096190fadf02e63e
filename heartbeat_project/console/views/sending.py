"""Alerts made by hand: a form, a preview of who is told, and the sending; and whom silences would not reach."""

from datetime import datetime

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.entitlements import Entitlement
from accounts.models import User
from accounts.permissions import may
from accounts.selectors import failing_methods
from alerting.models import TEST_LASTS, Alert
from alerting.selectors import live_test
from escalation.on_call import AHEAD
from escalation.services.manual import preview_alert, send_alert
from escalation.services.preview import Forecast
from heartbeat_project.console.forms import NewAlertForm
from heartbeat_project.console.selectors import page_number
from heartbeat_project.console.steps import Line, lines_of
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.errors import DomainError, FieldError
from heartbeat_project.kernel.ids import new_token
from integrations.coverage import coverage_of
from integrations.models import InboundIntegration
from integrations.readiness import who_would_be_told
from integrations.selectors import may_foresee
from integrations.services.paging_tests import preview_test, start_test

PAGE_SIZE = 50


def _steps(forecast: Forecast) -> list[tuple[datetime, list[Line], list[str]]]:
    """Return the steps of a forecast: when, who is told, and what leads nowhere."""
    return [(moment.at, lines_of(moment), list(moment.gaps)) for moment in forecast.moments]


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def new_alert(request: HttpRequest) -> HttpResponse:
    """Show the form, then who would be told, then send; nothing is sent without the second page."""
    sender, now = signed_in(request), clock.now()
    if not may(sender, Entitlement.ALERTS_SEND):
        raise PermissionDenied
    if request.method != "POST":
        return render(request, "console/new_alert.html", _form(NewAlertForm(sender=sender)))
    form = NewAlertForm(request.POST, sender=sender)
    wish = request.POST.get("wish", "preview")
    if not form.is_valid():
        return render(request, "console/new_alert.html", _form(form), status=400)
    try:
        if wish == "send":
            alert = send_alert(form.draft(), sender=sender, now=now)
            messages.success(request, "Sent: the first people are being told now.")
            return redirect("console:alert", alert.pk)
        forecast = preview_alert(form.draft(), sender=sender, now=now)
    except FieldError as error:
        form.refuse(error)
        return render(request, "console/new_alert.html", _form(form), status=400)
    if wish == "edit":
        return render(request, "console/new_alert.html", _form(form))
    context = {
        "here": "alerts",
        "form": form,
        "forecast": forecast,
        "steps": _steps(forecast),
        "now": now,
        # Of this preview alone: pressed twice it sends once, and another preview sends another alert.
        "source_id": new_token(),
    }
    return render(request, "console/new_alert_preview.html", context)


def _form(form: NewAlertForm) -> dict[str, object]:
    return {"here": "alerts", "form": form}


@login_required
@never_cache
@require_safe
def readiness(request: HttpRequest) -> HttpResponse:
    """List the heartbeats whose silence would reach nobody, now or in the 14 days to come, and rotas with trouble."""
    user, now = signed_in(request), clock.now()
    if not may_foresee(user):
        raise PermissionDenied
    coverage = coverage_of(user.organization, at=now)
    gaps = coverage.gaps
    integrations = InboundIntegration.objects.filter(pk__in=gaps).order_by("name", "pk")
    page = Paginator(integrations, PAGE_SIZE).get_page(page_number(request.GET.get("page", "1")))
    context = {
        "here": "alerts",
        "now": now,
        "count": len(gaps),
        "page": page,
        "rows": [(integration, gaps[integration.pk]) for integration in page],
        "groups": coverage.groups,
        "failing": failing_methods(user.organization)[:PAGE_SIZE],
        "looked_until": coverage.looked_until if coverage.looked_until < now + AHEAD else None,
        "may_configure": may(user, Entitlement.INBOUND_INTEGRATIONS),
    }
    return render(request, "console/readiness.html", context)


@login_required
@never_cache
@require_safe
def forecast(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show who would be told if this heartbeat fell silent now."""
    user, now = signed_in(request), clock.now()
    if not may_foresee(user):
        raise PermissionDenied
    integration = _integration(user, integration_id)
    foreseen = who_would_be_told(integration, at=now)
    context = {
        "here": "alerts",
        "integration": integration,
        "forecast": foreseen,
        "steps": _steps(foreseen),
        "now": now,
        "may_configure": may(user, Entitlement.INBOUND_INTEGRATIONS),
    }
    return render(request, "console/who_would_be_told.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def test_paging(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show who would be notified by a test of this heartbeat, and start it on request."""
    user, now = signed_in(request), clock.now()
    if not may(user, Entitlement.INBOUND_INTEGRATIONS):
        raise PermissionDenied
    integration = _integration(user, integration_id)
    if request.method == "POST":
        try:
            alert = start_test(integration, actor=user, now=now)
        except DomainError as error:
            messages.error(request, str(error))
            return redirect("console:test_paging", integration.pk)
        messages.success(request, "The test runs: the first people are notified now. What became of it is below.")
        return redirect("console:alert", alert.pk)
    foreseen = preview_test(integration, at=now)
    context = {
        "here": "alerts",
        "integration": integration,
        "forecast": foreseen,
        "steps": _steps(foreseen),
        "running": Alert.objects.filter(live_test(), integration_id=integration.pk).first(),
        "refusal": next((problem.text for problem in foreseen.problems if problem.code == "refused"), ""),
        "lasts": in_words(TEST_LASTS),
        "now": now,
    }
    return render(request, "console/test_paging.html", context)


def _integration(user: User, integration_id: int) -> InboundIntegration:
    return get_object_or_404(InboundIntegration, pk=integration_id, organization_id=user.organization_id)
