"""The alerts area: the list of alerts, the heartbeat panel, and the page of one alert."""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import Min
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.entitlements import Entitlement
from accounts.models.users import User
from accounts.permissions import may
from alerting.models.alerts import Alert, TimelineEntry
from alerting.models.bridges import Bridge
from alerting.selectors import (
    may_join,
    may_respond,
    may_see_alerts,
    people_who_may_answer,
    visible_alerts,
    why_only_look,
)
from alerting.states import FINAL, Action, Status, actions_from
from escalation.engine.preview import PreviewStep, preview_next_step
from escalation.engine.review_times import Review
from escalation.models.notifications import Notification
from escalation.models.runs import EscalationRun
from escalation.oncall.selectors import on_call_periods_of
from escalation.responses import holds
from escalation.responses.allowed_actions import answers_the_last
from escalation.responses.respond import silent_after
from heartbeat_project.console.alert_lists import list_alerts
from heartbeat_project.console.forms.alert_list import OLD_TABS, BulkForm, FilterForm
from heartbeat_project.console.forms.alerts import (
    AssignForm,
    ReasonForm,
    ReassignForm,
    ReplyForm,
    RespondersForm,
)
from heartbeat_project.console.selectors import OPEN_COUNT, heartbeat_panel, page_number
from heartbeat_project.console.steps import recipients_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.ids import read_id
from heartbeat_project.kernel.wording import at_night
from integrations.heartbeats.selectors import may_preview, may_see_integrations

MAX_ENTRIES = 200  # of the timeline, and as many notifications, on an alert's page
MAX_MEMBERS = 50  # that the page of an alert shows
# How far ahead on-call periods are looked for; of each, the real end is shown.
ON_CALL_AHEAD = timedelta(days=14)
# The header by which an open page says what it has, and by which it learned that.
SEEN_VERSION = "X-Heartbeat-Version"
_TIMES = re.compile(rb"<time .*?</time>", re.DOTALL)
_RULE_CHANGED = TimelineEntry.Kind.RULE_CHANGED


def signed_in(request: HttpRequest) -> User:
    """Return the user of a request behind `login_required`."""
    assert isinstance(request.user, User)  # noqa: S101 - only narrows the type
    return request.user


def state_key(alert: Alert) -> str:
    """Return the state of the alert that a form was rendered for; if it differs at the POST, the page was stale."""
    return f"{alert.status}:{alert.owner_id or ''}"


def numbered(text: str) -> int | None:
    """Return the number of the alert that somebody asks for by `#5`; None for any other search."""
    text = text.strip()
    return read_id(text[1:]) if text.startswith("#") else None


def _list_context(request: HttpRequest, *, now: datetime) -> dict[str, Any]:
    user = signed_in(request)
    if not may_see_alerts(user):
        return {"may_see_alerts": False}
    query = request.GET.copy()
    if old_tab := query.pop("tab", None):  # an address from before there were sections
        query.setdefault("status", OLD_TABS.get(str(old_tab[-1]), ""))
    form = FilterForm(query, reader=user)
    form.is_valid()
    wanted, before = form.filters(), form.cleaned_data.get("before")
    found = list_alerts(user, wanted, before=before, now=now)
    setattr(request, OPEN_COUNT, found.open_count)  # the mark in the frame shows it, too
    kept = {name: query[name] for name in form.fields if name != "before" and query.get(name)}
    return {
        "may_see_alerts": True,
        "list": found,
        "now": now,
        "filter_form": form,
        "is_filtered": bool(wanted),
        "more_filters": any(name in kept for name in ("group", "owner", "since", "until")),
        "before": before,
        "query": urlencode(kept),
        "fragment_query": urlencode(kept | ({"before": before} if before else {})),
        "export_query": urlencode(wanted.export_query()),
        "missing_number": numbered(wanted.text),
    }


def panel_context(request: HttpRequest, *, now: datetime) -> dict[str, Any]:
    """Return what the heartbeat panel shows; its page is that of the query string."""
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
    """Show the alerts that the user may see, and the heartbeats beside them."""
    now = clock.now()
    user = signed_in(request)
    number = numbered(request.GET.get("q", ""))
    # htmx asks for a part of this page.
    is_part = "HX-Request" in request.headers
    if number and not is_part and visible_alerts(user).filter(pk=number).exists():
        return redirect("console:alert", number)
    context = {
        "nav_item": "alerts",
        "may_send": may(user, Entitlement.ALERTS_SEND),
        "may_preview": may_preview(user),
        "bulk_form": BulkForm(actor=user),
        "on_call_periods": [
            period
            for period in on_call_periods_of(user, starts_at=now, ends_at=now + ON_CALL_AHEAD)
            if period.starts_at <= now
        ],
        **_list_context(request, now=now),
        **panel_context(request, now=now),
    }
    return render(request, "console/alerts.html", context)


@login_required
@never_cache
@require_safe
def alert_list(request: HttpRequest) -> HttpResponse:
    """Return the list as a fragment, for the refresh of an open page."""
    now = clock.now()
    response = render(request, "console/alert_list.html", _list_context(request, now=now))
    # A page that has this already gets it again each minute alone, for its times.
    text = _TIMES.sub(b"", response.content) + f"{now:%H:%M}".encode()
    version = hashlib.sha256(text).hexdigest()[:16]
    if request.headers.get(SEEN_VERSION) == version:
        return HttpResponse(status=204)
    response[SEEN_VERSION] = version
    return response


@login_required
@never_cache
@require_safe
def panel(request: HttpRequest) -> HttpResponse:
    """Return the heartbeat panel as a fragment, for the refresh of an open page."""
    return render(request, "console/panel.html", panel_context(request, now=clock.now()))


def _next_context(alert: Alert, *, now: datetime) -> dict[str, Any]:
    """Return who is notified next and when, or the reason why nobody is; empty for an alert that has ended."""
    if alert.status in FINAL:
        return {}
    run = EscalationRun.objects.select_related("alert").filter(alert=alert).first()
    if run is None:
        return {"next_text": "This alert has no escalation: nobody is notified automatically."}
    end = at_night(alert.hold_until, zone=timezone.get_current_timezone()) if alert.hold_until else "it is resumed"
    stopped_text = {
        Status.ASSIGNED: f"Nobody else is notified while {alert.owner or 'somebody'} has it.",
        Status.ON_HOLD: f"Nobody else is notified until {end}.",
    }.get(Status(alert.status))
    if not stopped_text and run.acknowledge_stops and alert.acknowledged_at is not None:
        stopped_text = f"Nobody else is notified: it is acknowledged, and “{run.name}” stops at that."
    if stopped_text:
        return {"next_text": f"{stopped_text}{_review_text(run)}"}
    preview_step = preview_next_step(run, at=now)
    first_at = _first_notified_at(alert, preview_step)
    if preview_step is None:
        or_ends = f" or {alert.ends_when}" if alert.ends_when else ""
        text = f"No further step follows. It stays open until somebody takes it{or_ends}."
        return {"next_text": text, "first_at": first_at}
    return {
        "next_at": preview_step.at,
        "next_rows": recipients_in(preview_step),
        "next_notes": preview_step.notes,
        "first_at": first_at,
    }


def _first_notified_at(alert: Alert, next_step: PreviewStep | None) -> datetime | None:
    """Return when the first person who can answer will be notified.

    None if somebody has been notified already, or if nobody is going to be.
    """
    pages = Notification.objects.filter(
        alert=alert, kind=Notification.Kind.PAGE, user__in=people_who_may_answer()
    ).order_by()
    if pages.filter(status__in=[Notification.Status.ACCEPTED, Notification.Status.DELIVERED]).exists():
        return None
    times = [notification.at for notification in next_step.notifications if notification.counts] if next_step else []
    next_attempt_at = pages.filter(next_attempt_at__isnull=False).aggregate(at=Min("next_attempt_at"))["at"]
    if next_attempt_at is not None:
        times.append(next_attempt_at)
    return min(times, default=None)


def _rule_link(user: User, alert: Alert) -> str:
    """Return the address of the policy or play that the escalation follows; empty if the user may not see it."""
    run = EscalationRun.objects.filter(alert=alert).only("policy_id", "play_id").first()
    if run is None or not may(user, Entitlement.RULES_VIEW):
        return ""
    if run.policy_id:
        return reverse("admin:escalation_escalationpolicy_change", args=[run.policy_id])
    return reverse("admin:escalation_responseplay_change", args=[run.play_id]) if run.play_id else ""


def _review_text(run: EscalationRun) -> str:
    """Return what happens next if the owner of an alert does nothing; empty if nothing does."""
    if run.review_at is None or run.review == Review.HOLD_ENDS:
        return ""
    at = at_night(run.review_at, zone=timezone.get_current_timezone())
    if run.review == Review.REMIND:
        return f" If nothing is done, a reminder is sent at {at}."
    return f" If nothing is done, it is open again at {at}."


def _progress_context(user: User, alert: Alert, *, now: datetime) -> dict[str, Any]:
    entries = alert.timeline.select_related("actor").order_by("-at", "-id")[: MAX_ENTRIES + 1]
    rows = Notification.objects.filter(alert=alert).select_related("user", "group").order_by("-created_at", "-id")
    timeline = list(entries)
    return {
        "alert": alert,
        "now": now,
        "timeline": timeline[:MAX_ENTRIES],
        "timeline_cut": len(timeline) > MAX_ENTRIES,
        "rule_link": _rule_link(user, alert) if any(entry.kind == _RULE_CHANGED for entry in timeline) else "",
        "notifications": rows[:MAX_ENTRIES],
        **_next_context(alert, now=now),
    }


@login_required
@never_cache
@require_safe
def alert(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Show one alert: what is wrong, what can be done, and what has happened."""
    return show_alert(request, find_alert(request, alert_id), now=clock.now())


def find_alert(request: HttpRequest, alert_id: int) -> Alert:
    """Return an alert that the user may see. Raises Http404 for any other."""
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
    """Render the alert's page; `forms` holds the forms with errors, by their names in the template."""
    user = signed_in(request)
    available_actions = _available_actions(user, alert)
    context = _live_context(user, alert, now=now) | _actions_context(user, alert, available_actions, now=now)
    return render(request, "console/alert.html", context | (forms or {}), status=status)


def _available_actions(user: User, alert: Alert) -> set[Action]:
    if not may_respond(user, alert):
        return set()
    available_actions = set(actions_from(Status(alert.status)))
    # Also offered if somebody else has acknowledged it: a person's messages stop only when they acknowledge themselves.
    return available_actions - {Action.ACKNOWLEDGE} if answers_the_last(user, alert) else available_actions


def _version(alert: Alert, available_actions: set[Action]) -> str:
    """Return a key of everything that decides which actions the page offers."""
    return f"{state_key(alert)}:{'acknowledged' if alert.acknowledged_at else ''}:{len(available_actions)}"


def _actions_context(user: User, alert: Alert, available_actions: set[Action], *, now: datetime) -> dict[str, Any]:
    assign_form = None
    if Action.ASSIGN in available_actions:
        assign_form = AssignForm(actor=user, integration_id=alert.integration_id, priority=alert.priority, now=now)
    return {
        "has_actions": True,
        "version": _version(alert, available_actions),
        "available_actions": {action.value for action in available_actions},
        "why_only_look": why_only_look(user),
        "seen": state_key(alert),
        "assign_form": assign_form,
        "hold_choices": holds.choices(now=now, zone=timezone.get_current_timezone()),
        "zone_name": timezone.get_current_timezone_name(),
        "silent_after": silent_after(alert),
        "close_form": ReasonForm(prefix="close"),
        "cancel_form": ReasonForm(prefix="cancel"),
        "reply_form": ReplyForm(),
        "reassign_form": ReassignForm(actor=user) if Action.REASSIGN in available_actions else None,
        "responders_form": RespondersForm(actor=user) if Action.ADD_RESPONDERS in available_actions else None,
    }


def _live_context(user: User, alert: Alert, *, now: datetime) -> dict[str, Any]:
    return _progress_context(user, alert, now=now) | {
        "nav_item": "alerts",
        **_bridge_context(user, alert),
        "integration_link": _integration_link(user, alert),
        **_members_context(alert),
    }


def _members_context(alert: Alert) -> dict[str, Any]:
    """Return the problems that stand in the alert, those that are open first."""
    if not alert.key_hash:  # only events have members
        return {}
    members = alert.members.all()
    shown = list(members.order_by("-is_open", "id")[: MAX_MEMBERS + 1])
    more = members.count() - MAX_MEMBERS if len(shown) > MAX_MEMBERS else 0
    return {"members": shown[:MAX_MEMBERS], "more_members": more}


@login_required
@never_cache
@require_safe
def progress(request: HttpRequest, alert_id: int) -> HttpResponse:
    """Return the live parts of an alert's page as a fragment, for the refresh of an open page.

    The actions are sent only if the page's `version` is out of date, because they list everybody in the organization.
    """
    user, alert, now = signed_in(request), find_alert(request, alert_id), clock.now()
    context = _live_context(user, alert, now=now)
    available_actions = _available_actions(user, alert)
    if request.GET.get("version") != _version(alert, available_actions):
        context |= _actions_context(user, alert, available_actions, now=now)
    return render(request, "console/alert_live.html", context)


def _bridge_context(user: User, alert: Alert) -> dict[str, Any]:
    """Return how to join the alert's bridge; empty if the user may not join it. Everybody sees its name."""
    bridge = alert.bridge_or_copy
    if bridge is None or not may_join(user, alert):
        return {}
    return {"bridge": bridge, "call": call_link(bridge)}


def call_link(bridge: Bridge) -> str:
    """Return a `tel:` link that dials the number and, after two pauses, the access code; empty without a number."""
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
