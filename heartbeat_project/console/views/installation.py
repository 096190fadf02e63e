"""What an organization uses, and how the installation sends: the pages “Usage” and “Outbound Integrations”."""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.contact_kinds import CONTACT_KINDS
from accounts.entitlements import Entitlement
from accounts.permissions import may
from escalation.notifications.providers.outbound import outbound_channels
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from integrations.upkeep.usage import usage_of

View = Callable[[HttpRequest], HttpResponse]


def needs(entitlement: Entitlement) -> Callable[[View], View]:
    """Decorate a page that only users with this entitlement may see; others get 403."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest) -> HttpResponse:
            if not may(request.user, entitlement):
                raise PermissionDenied
            return view(request)

        return checked

    return decorate


@login_required
@never_cache
@require_safe
@needs(Entitlement.BILLING)
def usage(request: HttpRequest) -> HttpResponse:
    """Show the heartbeats, alerts and messages of each month."""
    months = usage_of(signed_in(request).organization, now=clock.now())
    kinds = [kind for kind in CONTACT_KINDS.values() if any(kind.code in month.messages for month in months)]
    context = {
        "nav_item": "usage",
        "labels": [kind.label for kind in kinds],
        "rows": [(month, [month.messages.get(kind.code, 0) for kind in kinds]) for month in months],
    }
    return render(request, "console/usage.html", context)


@login_required
@never_cache
@require_safe
@needs(Entitlement.OUTBOUND_INTEGRATIONS)
def outbound(request: HttpRequest) -> HttpResponse:
    """Show over which channels the installation sends, and what is not set up."""
    return render(request, "console/outbound.html", {"channels": outbound_channels(), "nav_item": "outbound"})
