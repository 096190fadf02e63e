"""The page of an integration for people on call: its state, and whether its alerts notify them."""

from datetime import datetime
from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models.users import User
from accounts.services.opt_outs import opt_in, opt_out
from alerting.selectors import visible_alerts
from escalation.engine.preview import PreviewNotification
from heartbeat_project.console.views.alerts import panel_context, signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.durations import in_words
from integrations.coverage.who_is_notified import who_would_be_notified, why_nobody, why_nobody_with_and_without
from integrations.heartbeats.selectors import integrations_of, may_configure, may_preview
from integrations.inbound.selectors import state_of
from integrations.models.integrations import InboundIntegration

FROM_PROFILE: Final = "profile"
MAX_ALERTS: Final = 5
MAX_PEOPLE: Final = 3


def _find(request: HttpRequest, integration_id: int) -> InboundIntegration:
    return get_object_or_404(integrations_of(signed_in(request)), pk=integration_id)


def _notified_text(integration: InboundIntegration, user: User, *, now: datetime) -> str:
    """Return a sentence: would the user be notified if an alert of the integration opened now, and when."""
    if not integration.enabled:
        return "No: it is disabled."
    escalation_preview = who_would_be_notified(integration, at=now)
    notifications: list[PreviewNotification] = []
    for preview_step in escalation_preview.steps:
        notifications.extend(row for row in preview_step.notifications if row.user_id is not None)
    own_at = min((row.at for row in notifications if row.user_id == user.pk), default=None)
    if own_at is None and user in escalation_preview.instead:
        return "Yes: as an Owner or App Admin, because nobody else would be reached."
    if own_at is None:
        return "No: its policy or play does not lead to you now."
    if own_at <= now:
        return "Yes: you are notified at once."
    wait = in_words(own_at - now)
    earlier = list(dict.fromkeys(row.name for row in notifications if row.at < own_at))
    if not earlier or not may_preview(user):  # only users who may preview see the names of others
        return f"Yes: you are notified after {wait}."
    names = ", ".join(earlier[:MAX_PEOPLE]) + (" and others" if len(earlier) > MAX_PEOPLE else "")
    return f"Yes: you are notified after {wait}, after {names}."


@login_required
@never_cache
@require_safe
def heartbeats(request: HttpRequest) -> HttpResponse:
    """Show all heartbeats, those that are silent first."""
    user, now = signed_in(request), clock.now()
    context = {"nav_item": "heartbeats", "may_preview": may_preview(user), **panel_context(request, now=now)}
    return render(request, "console/heartbeats.html", context)


@login_required
@never_cache
@require_safe
def heartbeat(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show the state of an integration, and whether the user is notified of its alerts."""
    user, now = signed_in(request), clock.now()
    integration = _find(request, integration_id)
    opted_out = user.opt_outs.filter(integration_id=integration.pk).exists()
    gap_reason = reason_without = ""
    if integration.enabled:
        gap_reason, reason_without = why_nobody_with_and_without(integration, user, at=now)
    alerts = visible_alerts(user).filter(integration_id=integration.pk).order_by("-pk")
    context = {
        "nav_item": "heartbeats",
        "now": now,
        "integration": integration,
        "state": state_of(integration, now=now),
        "alerts": alerts.filter(is_test=False)[:MAX_ALERTS],
        "tests": alerts.filter(is_test=True)[:1],
        "opted_out": opted_out,
        "notified_text": "" if opted_out else _notified_text(integration, user, now=now),
        "gap_reason": gap_reason,
        "only_you": bool(reason_without) and not gap_reason,
        "may_preview": may_preview(user),
        "may_configure": may_configure(user),
    }
    return render(request, "console/heartbeat.html", context)


@login_required
@never_cache
@require_POST
def notify_me(request: HttpRequest, integration_id: int, wish: str) -> HttpResponse:
    """Mute an integration for the user (`wish` is "stop"), or unmute it."""
    user, now = signed_in(request), clock.now()
    integration = _find(request, integration_id)
    if wish == "stop":
        opt_out(user, integration_id=integration.pk, now=now)
        messages.success(request, f"Muted: you are no longer notified about “{integration}”.")
        if integration.enabled and why_nobody(integration, at=now):
            messages.warning(request, f"Without you, the first step of “{integration}” reaches nobody.")
    else:
        opt_in(user, integration_id=integration.pk)
        messages.success(request, f"You are notified about “{integration}” again.")
    if request.POST.get("from") == FROM_PROFILE:
        return redirect("console:profile")
    return redirect("console:heartbeat", integration.pk)
