"""One heartbeat as people on call see it, and whether its silence is told to them."""

from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.entitlements import Entitlement
from accounts.permissions import may
from accounts.services import opt_in, opt_out
from alerting.selectors import visible_alerts
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from integrations.models import InboundIntegration
from integrations.readiness import why_nobody
from integrations.selectors import integrations_of, may_foresee, state_of

FROM_PROFILE: Final = "profile"
SHOWN_ALERTS: Final = 5


def _found(request: HttpRequest, integration_id: int) -> InboundIntegration:
    visible = integrations_of(signed_in(request)).filter(heartbeat__isnull=False)
    return get_object_or_404(visible, pk=integration_id)


@login_required
@never_cache
@require_safe
def heartbeat(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show where a heartbeat stands, and whether the person is told when it falls silent."""
    user, now = signed_in(request), clock.now()
    integration = _found(request, integration_id)
    opted_out = user.opt_outs.filter(integration_id=integration.pk).exists()
    nobody = why_nobody(integration, at=now) if integration.enabled else ""
    only_you = integration.enabled and not nobody and bool(why_nobody(integration, without=user, at=now))
    alerts = visible_alerts(user).filter(integration_id=integration.pk).order_by("-pk")
    context = {
        "here": "alerts",
        "now": now,
        "integration": integration,
        "state": state_of(integration.heartbeat, now=now),
        "alerts": alerts.filter(is_test=False)[:SHOWN_ALERTS],
        "tests": alerts.filter(is_test=True)[:1],
        "opted_out": opted_out,
        "nobody": nobody,
        "only_you": only_you,
        "may_foresee": may_foresee(user),
        "may_configure": may(user, Entitlement.INBOUND_INTEGRATIONS),
    }
    return render(request, "console/heartbeat.html", context)


@login_required
@never_cache
@require_POST
def tell_me(request: HttpRequest, integration_id: int, wish: str) -> HttpResponse:
    """Tell the person nothing more about a heartbeat, or tell them again; each undoes the other."""
    user, now = signed_in(request), clock.now()
    integration = _found(request, integration_id)
    if wish == "stop":
        opt_out(user, integration_id=integration.pk, now=now)
        messages.success(request, f"You are told nothing more about “{integration}”.")
        if integration.enabled and why_nobody(integration, at=now):
            messages.warning(request, f"Without you, the first step of “{integration}” reaches nobody.")
    else:
        opt_in(user, integration_id=integration.pk)
        messages.success(request, f"You are told about “{integration}” again.")
    if request.POST.get("from") == FROM_PROFILE:
        return redirect("console:profile")
    return redirect("console:heartbeat", integration.pk)
