"""The pages of one heartbeat: its past, its log, how to ping it, and who changed it."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.models.users import User
from alerting.models.alerts import Alert
from alerting.selectors import visible_alerts
from alerting.states import LIVE
from heartbeat_project.console.heartbeat_past import EDITS, KINDS, LOG_SIZE, Month, line_of, log_of, past_of
from heartbeat_project.console.ping_snippets import snippets_for
from heartbeat_project.console.strips import LEGEND, briefly, percent_of
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.durations import in_words
from heartbeat_project.kernel.ids import read_id
from integrations.heartbeats.selectors import MAINTENANCE, api_url, integrations_of, may_configure, state_of
from integrations.models.heartbeats import Heartbeat, HeartbeatEvent
from integrations.models.integrations import InboundIntegration
from integrations.ping_lane.batch import Arrival, record_pings

_MAX_INSTANT: Final = 40  # characters of a time in an address
_MASK: Final = "••••••••"


def find_heartbeat(request: HttpRequest, integration_id: int, *, manages: bool) -> InboundIntegration:
    """Return the heartbeat of an address. Raises Http404, and PermissionDenied if the user does not manage it."""
    user = signed_in(request)
    rows = integrations_of(user).filter(type=InboundIntegration.Type.HEARTBEAT)
    integration = get_object_or_404(rows, pk=integration_id)
    if manages and not may_configure(user):
        raise PermissionDenied
    return integration


def now_context(integration: InboundIntegration, user: User, *, now: datetime) -> dict[str, Any]:
    """Return what the part "now" of the pages shows; times only for users who manage the heartbeat."""
    heartbeat = integration.heartbeat
    state = state_of(heartbeat, now=now)
    live = Alert.objects.filter(integration_id=integration.pk, is_test=False, status__in=sorted(LIVE))
    alert = visible_alerts(user).filter(pk__in=live.values("pk")).order_by("-pk").first()
    counts_to = heartbeat.suspended_until if state == MAINTENANCE else heartbeat.deadline_at
    countdown = ""
    if counts_to is not None:
        away = counts_to - now
        countdown = f"in {in_words(away)}" if counts_to > now else f"{in_words(-away)} ago"
    return {
        "now": now,
        "integration": integration,
        "heartbeat": heartbeat,
        "state": state,
        "verdict": _verdict(heartbeat, state),
        "counts_to": counts_to if state != Heartbeat.State.DISABLED else None,
        "countdown": countdown,
        "live_alert": alert,
        "hidden_alert": alert is None and state == Heartbeat.State.MISSED and live.exists(),
        "may_configure": may_configure(user),
    }


def overview_context(integration: InboundIntegration, user: User, *, now: datetime) -> dict[str, Any]:
    """Return what the overview shows besides who is notified."""
    past = past_of(integration, now=now, zone=timezone.get_current_timezone())
    return {
        **now_context(integration, user, now=now),
        "tab": "overview",
        "past": past,
        "months": [_month_row(month) for month in past.months] if past else [],
        "legend": LEGEND,
    }


@login_required
@never_cache
@require_safe
def now_part(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Render what the heartbeat is now alone; open pages ask for it again and again."""
    integration = find_heartbeat(request, integration_id, manages=False)
    context = now_context(integration, signed_in(request), now=clock.now())
    return render(request, "console/heartbeat_now.html", context)


@login_required
@never_cache
@require_safe
def log(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show a page of the log: pings, silences, edits, maintenance and our own outages, newest first."""
    integration = find_heartbeat(request, integration_id, manages=True)
    kind = request.GET.get("kind", "")
    kind = kind if kind in KINDS else ""
    in_utc = request.GET.get("zone") == "utc"
    before = _instant(request.GET.get("before", ""))
    page = log_of(integration, kind=kind, before=before)
    query = {"kind": kind} if kind else {}
    query |= {"zone": "utc"} if in_utc else {}
    context = {
        **_page(request, integration, "log"),
        "lines": page.lines,
        "kinds": KINDS.items(),
        "kind": kind,
        "zone": "utc" if in_utc else "",
        "own_zone": signed_in(request).time_zone,
        "is_later": before is not None,
        "query": urlencode(query),
        "older_query": urlencode({**query, "before": page.before.isoformat()}) if page.before else "",
    }
    zone = UTC if in_utc else timezone.get_current_timezone()
    with timezone.override(zone):
        return render(request, "console/heartbeat_log.html", context)


@login_required
@never_cache
@require_safe
def edits(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show a page of the edits of the heartbeat, newest first."""
    integration = find_heartbeat(request, integration_id, manages=True)
    events = HeartbeatEvent.objects.filter(integration=integration, kind__in=EDITS).select_related("actor")
    before = read_id(request.GET.get("before", ""))
    last = None if before is None else events.filter(pk=before).first()
    if last is not None:
        events = events.filter(at__lte=last.at).exclude(at=last.at, pk__gte=last.pk)
    rows = list(events[: LOG_SIZE + 1])
    page = rows[:LOG_SIZE]
    context = {
        **_page(request, integration, "edits"),
        "lines": [line_of(event) for event in page],
        "is_later": last is not None,
        "query": "",
        "older_query": urlencode({"before": page[-1].pk}) if len(rows) > LOG_SIZE else "",
    }
    return render(request, "console/heartbeat_log.html", context)


@login_required
@never_cache
@require_safe
def how_to_ping(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Show the API URL, masked, and the ways in which jobs ping it."""
    integration = find_heartbeat(request, integration_id, manages=True)
    url = api_url(integration)
    context = {
        **now_context(integration, signed_in(request), now=clock.now()),
        "nav_item": "heartbeats",
        "tab": "ping",
        "api_url": url,
        "masked_url": f"{settings.BASE_URL}/Heartbeat/{_MASK}",
        "snippets": snippets_for(url, interval_minutes=integration.heartbeat.interval_minutes),
        "opened": request.GET.get("way", "curl"),
    }
    return render(request, "console/how_to_ping.html", context)


@login_required
@never_cache
@require_POST
def test_ping(request: HttpRequest, integration_id: int) -> HttpResponse:
    """Record a ping as the job would send it."""
    integration = find_heartbeat(request, integration_id, manages=True)
    agent = f"the page, by {signed_in(request).name}"
    arrival = Arrival(token=integration.token, received_at=clock.now(), user_agent=agent)
    (receipt,) = record_pings([arrival])
    if receipt is None:
        messages.error(request, "The API URL was rotated in the meantime. Nothing was recorded.")
    elif receipt.status == "disabled":
        messages.warning(request, "The test ping is recorded. The heartbeat is disabled, so no timer runs.")
    else:
        messages.success(request, "The test ping is recorded, and a new interval has begun.")
    return redirect("console:how_to_ping", integration.pk)


def _page(request: HttpRequest, integration: InboundIntegration, tab: str) -> dict[str, Any]:
    return {
        "nav_item": "heartbeats",
        "now": clock.now(),
        "integration": integration,
        "tab": tab,
        "may_configure": may_configure(signed_in(request)),
    }


def _verdict(heartbeat: Heartbeat, state: str) -> str:
    if state == MAINTENANCE:
        return "In maintenance: nothing opens until it ends."
    if state == Heartbeat.State.WAITING:
        return "Waits for its first ping." if heartbeat.deadline_at is None else "The first ping is still to come."
    sentences = {
        Heartbeat.State.HEALTHY: "Pings arrive as expected.",
        Heartbeat.State.MISSED: "Silent: no ping came by its deadline.",
        Heartbeat.State.DISABLED: "Disabled: no timer runs.",
    }
    return sentences[Heartbeat.State(state)]


def _month_row(month: Month) -> dict[str, Any]:
    numbers = month.numbers
    return {
        "starts_at": month.starts_at,
        "is_whole": month.is_whole,
        "available": "no data" if numbers.availability is None else percent_of(numbers.availability),
        "silences": numbers.silences,
        "silent": _time(numbers.time("down")),
        "longest": _time(numbers.longest),
        "recovery": _time(numbers.mean_recovery or timedelta()),
        "maintenance": _time(numbers.time("maintenance")),
        "outages": _time(numbers.time("outage")),
        "no_data": _time(numbers.time("no_data", "disabled")),
    }


def _time(length: timedelta) -> str:
    return briefly(length) if length else "-"


def _instant(text: str) -> datetime | None:
    """Return the instant that an address names; None if it names none."""
    if not text or len(text) > _MAX_INSTANT:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
