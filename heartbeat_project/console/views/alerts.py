"""The alerts area: the list, the heartbeat panel, and one alert."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import Min
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.entitlements import Entitlement
from accounts.models import User
from accounts.permissions import may
from alerting.models import Alert, Bridge, TimelineEntry
from alerting.selectors import may_respond, people_who_may_answer, visible_alerts
from alerting.states import FINAL, Action, Status, actions_from
from escalation import holds
from escalation.models import EscalationRun, Notification
from escalation.on_call import turns_of
from escalation.reviews import Review
from escalation.services.preview import Moment, foresee_next
from escalation.services.responses import silent_after
from escalation.wording import at_night
from heartbeat_project.console.forms import (
    AssignForm,
    ReasonForm,
    ReassignForm,
    ReplyForm,
    RespondersForm,
    SearchForm,
)
from heartbeat_project.console.selectors import alert_page, heartbeat_panel, page_number
from heartbeat_project.console.steps import lines_of
from heartbeat_project.kernel import clock
from integrations.selectors import may_foresee, may_see_integrations

SHOWN_ENTRIES = 200
DUTY_AHEAD = timedelta(days=14)
_RULE_CHANGED = TimelineEntry.Kind.RULE_CHANGED


def signed_in(request: HttpRequest) -> User:
    """Return the user of a request that `login_required` let through."""
    assert isinstance(request.user, User)  # noqa: S101 - for the type alone
    return request.user


def seen(alert: Alert) -> str:
    """Return what a form says about the alert that it was made for."""
    return f"{alert.status}:{alert.owner_id or ''}"


def _list_context(request: HttpRequest, *, now: datetime) -> dict[str, Any]:
    form = SearchForm(request.GET)
    form.is_valid()
    page = alert_page(
        signed_in(request),
        tab=request.GET.get("tab", "open"),
        search=form.cleaned_data.get("q") or "",
        before=form.cleaned_data.get("before"),
    )
    query = {"tab": page.tab} | ({"q": page.search} if page.search else {})
    return {
        "page": page,
        "now": now,
        "search_error": form.errors.get("q"),
        "query": urlencode(query),
        "fragment_query": urlencode(query | ({"before": page.before} if page.before else {})),
        "search_query": urlencode({"q": page.search}) if page.search else "",
    }


def _panel_context(request: HttpRequest, *, now: datetime) -> dict[str, Any]:
    user = signed_in(request)
    return {
        "panel": heartbeat_panel(user, page=page_number(request.GET.get("heartbeats", "1")), now=now),
        "now": now,
        "may_configure": may(user, Entitlement.INBOUND_INTEGRATIONS),
    }


@login_required
@never_cache
@require_safe
def alerts(request: HttpRequest) -> HttpResponse:
    """Show the alerts that the person may see, beside the heartbeats."""
    now = clock.now()
    user = signed_in(request)
    context = {
        "here": "alerts",
        "may_send": may(user, Entitlement.ALERTS_SEND),
        "may_foresee": may_foresee(user),
        "duty": [turn for turn in turns_of(user, starts_at=now, ends_at=now + DUTY_AHEAD) if turn.starts_at <= now],
        **_list_context(request, now=now),
        **_panel_context(request, now=now),
    }
    return render(request, "console/alerts.html", context)


@login_required
@never_cache
@require_safe
def alert_list(request: HttpRequest) -> HttpResponse:
    """Answer the list alone, for a page that is open."""
    return render(request, "console/alert_list.html", _list_context(request, now=clock.now()))


@login_required
@never_cache
@require_safe
def panel(request: HttpRequest) -> HttpResponse:
    """Answer the heartbeat panel alone, for a page that is open."""
    return render(request, "console/panel.html", _panel_context(request, now=clock.now()))


def _next_context(alert: Alert, *, now: datetime) -> dict[str, Any]:
    """Return who is told next and when, or why nobody is."""
    if alert.status in FINAL:
        return {}
    run = EscalationRun.objects.select_related("alert").filter(alert=alert).first()
    if run is None:
        return {"next_said": "This alert follows no escalation: nobody is told by itself."}
    end = at_night(alert.hold_until, zone=timezone.get_current_timezone()) if alert.hold_until else "it is resumed"
    stopped = {
        Status.ASSIGNED: f"Nobody else is told while {alert.owner or 'somebody'} has it.",
        Status.ON_HOLD: f"Nobody else is told until {end}.",
    }.get(Status(alert.status))
    if not stopped and run.acknowledge_stops and alert.acknowledged_at is not None:
        stopped = f"Nobody else is told: it is acknowledged, which is enough for “{run.name}”."
    moment = None if stopped else foresee_next(run, at=now)
    first = {} if stopped else {"first_at": _first_notified_at(alert, moment)}
    if moment is None:
        ends = f" or {alert.ends_when}" if alert.ends_when else ""
        over = f"No further step follows. It stays open until somebody takes it{ends}."
        return {"next_said": f"{stopped}{_review_said(run)}" if stopped else over, **first}
    return {"next_at": moment.at, "next_lines": lines_of(moment), "next_gaps": moment.gaps, **first}


def _first_notified_at(alert: Alert, coming: Moment | None) -> datetime | None:
    """Return when the first person who can answer is notified; None where somebody was, or nobody is foreseen."""
    pages = Notification.objects.filter(
        alert=alert, kind=Notification.Kind.PAGE, user__in=people_who_may_answer()
    ).order_by()
    if pages.filter(status__in=[Notification.Status.ACCEPTED, Notification.Status.DELIVERED]).exists():
        return None
    waiting = pages.filter(next_attempt_at__isnull=False).aggregate(at=Min("next_attempt_at"))["at"]
    foreseen = [told.at for told in coming.told if told.counts] if coming else []
    return min(foreseen if waiting is None else [waiting, *foreseen], default=None)


def _rule_link(user: User, alert: Alert) -> str:
    """Return where the policy or play stands that the alert's escalation follows, for those who may see it."""
    run = EscalationRun.objects.filter(alert=alert).only("policy_id", "play_id").first()
    if run is None or not may(user, Entitlement.RULES_VIEW):
        return ""
    if run.policy_id:
        return reverse("admin:escalation_escalationpolicy_change", args=[run.policy_id])
    return reverse("admin:escalation_responseplay_change", args=[run.play_id]) if run.play_id else ""


def _review_said(run: EscalationRun) -> str:
    """Say what comes by itself to an alert that somebody has."""
    if run.review_at is None or run.review == Review.HOLD_ENDS:
        return ""
    at = at_night(run.review_at, zone=timezone.get_current_timezone())
    if run.review == Review.REMIND:
        return f" Without an action a reminder goes out at {at}."
    return f" Without an action it is open again at {at}."


def _progress_context(user: User, alert: Alert, *, now: datetime) -> dict[str, Any]:
    entries = alert.timeline.select_related("actor").order_by("-at", "-id")[: SHOWN_ENTRIES + 1]
    told = Notification.objects.filter(alert=alert).select_related("user", "group").order_by("-created_at", "-id")
    timeline = list(entries)
    return {
        "alert": alert,
        "now": now,
        "timeline": timeline[:SHOWN_ENTRIES],
        "timeline_cut": len(timeline) > SHOWN_ENTRIES,
        "rule_link": _rule_link(user, alert) if any(entry.kind == _RULE_CHANGED for entry in timeline) else "",
        "notifications": told[:SHOWN_ENTRIES],
        **_next_context(alert, now=now),
    }


@login_required
@never_cache
@require_safe
def alert(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Show one alert: what is wrong, what can be done, what happened."""
    return show_alert(request, find_alert(request, alert_id), now=clock.now())


def find_alert(request: HttpRequest, alert_id: int) -> Alert:
    """Return an alert that the person may see; any other one is a 404."""
    visible = visible_alerts(signed_in(request)).select_related("owner", "acknowledged_by", "bridge")
    return get_object_or_404(visible, pk=alert_id)


def show_alert(
    request: HttpRequest,
    alert: Alert,
    *,
    now: datetime,
    forms: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """Render the alert's page; `forms` replaces those that had errors."""
    user = signed_in(request)
    possible = _possible(user, alert)
    context = _live_context(user, alert, now=now) | _actions_context(user, alert, possible, now=now)
    return render(request, "console/alert.html", context | (forms or {}), status=status)


def _possible(user: User, alert: Alert) -> set[Action]:
    return set(actions_from(Status(alert.status))) if may_respond(user, alert) else set()


def _version(alert: Alert, possible: set[Action]) -> str:
    """Return what decides which actions a page offers."""
    return f"{seen(alert)}:{'acknowledged' if alert.acknowledged_at else ''}:{len(possible)}"


def _actions_context(user: User, alert: Alert, possible: set[Action], *, now: datetime) -> dict[str, Any]:
    return {
        "offers": True,
        "version": _version(alert, possible),
        "possible": {action.value for action in possible},
        "seen": seen(alert),
        "assign_form": AssignForm(actor=user, integration_id=alert.integration_id, now=now)
        if Action.ASSIGN in possible
        else None,
        "hold_choices": holds.choices(now=now, zone=timezone.get_current_timezone()),
        "zone_name": timezone.get_current_timezone_name(),
        "silent_after": silent_after(alert),
        "close_form": ReasonForm(prefix="close"),
        "cancel_form": ReasonForm(prefix="cancel"),
        "reply_form": ReplyForm(),
        "reassign_form": ReassignForm(actor=user) if Action.REASSIGN in possible else None,
        "responders_form": RespondersForm(actor=user) if Action.ADD_RESPONDERS in possible else None,
    }


def _live_context(user: User, alert: Alert, *, now: datetime) -> dict[str, Any]:
    return _progress_context(user, alert, now=now) | {
        "here": "alerts",
        "call": call_link(alert.bridge) if alert.bridge else "",
        "integration_link": _integration_link(user, alert),
    }


@login_required
@never_cache
@require_safe
def progress(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Answer where the alert stands and what happens, for a page that is open, and what can be done if that changed.

    `version` is what the page's actions were made for: a list of all people to assign it to is not sent every time.
    """
    user, alert, now = signed_in(request), find_alert(request, alert_id), clock.now()
    context = _live_context(user, alert, now=now)
    possible = _possible(user, alert)
    if request.GET.get("version") != _version(alert, possible):
        context |= _actions_context(user, alert, possible, now=now)
    return render(request, "console/alert_live.html", context)


def call_link(bridge: Bridge) -> str:
    """Return a link that dials the number and, after two pauses, the access code."""
    if not bridge.phone_number:
        return ""
    number = "".join(sign for sign in bridge.phone_number if sign.isdigit() or sign in "+*#")
    code = "".join(sign for sign in bridge.access_code if sign.isdigit() or sign in "*#")
    return "tel:" + quote(number + (f",,{code}" if code else ""), safe="+,*")


def _integration_link(user: User, alert: Alert) -> str:
    if alert.integration_id is None or not may_see_integrations(user):
        return ""
    if may(user, Entitlement.INBOUND_INTEGRATIONS):
        return reverse("admin:integrations_inboundintegration_change", args=[alert.integration_id])
    return reverse("console:heartbeat", args=[alert.integration_id])
