"""The list of heartbeats, and what is done with several of them at once."""

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from heartbeat_project.console.asking import ask_before, asks_first
from heartbeat_project.console.bulk_heartbeats import MAX_AT_ONCE, act_on_all, bulk_choices
from heartbeat_project.console.heartbeat_list import ALL, MINE, SORTS, STATES, heartbeat_page, read_choice
from heartbeat_project.console.strips import LEGEND
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError
from heartbeat_project.kernel.ids import read_id
from integrations.heartbeats.selectors import integrations_of, may_configure, may_preview, may_see_integrations
from integrations.models.integrations import InboundIntegration


@login_required
@never_cache
@require_safe
def heartbeat_list(request: HttpRequest) -> HttpResponse:
    """Show a page of the heartbeats that match the filters."""
    user, now = signed_in(request), clock.now()
    if not may_see_integrations(user):
        raise PermissionDenied
    choice = read_choice(request.GET, user=user)
    page = heartbeat_page(user, choice, now=now, zone=timezone.get_current_timezone())
    numbers = dict(page.counts)
    context = {
        "nav_item": "heartbeats",
        "now": now,
        "page": page,
        "choice": choice,
        "all_query": urlencode(choice.query(state="")),
        "states": [
            (state, numbers[state], urlencode(choice.query(state=state))) for state in STATES if state in numbers
        ],
        "groups": [(MINE, "My groups"), (ALL, "All groups"), *((str(group.pk), group.name) for group in page.groups)],
        "sorts": [(sort, label) for sort, label in SORTS.items() if page.details or sort in {"worst", "name"}],
        "tag_query": urlencode(choice.query(tag="")),
        "first_query": urlencode(choice.query()),
        "next_query": urlencode(choice.query(after=page.next_after)) if page.next_after else "",
        "is_narrowed": bool(choice.search or choice.tag or choice.state),
        "bulk_choices": bulk_choices(user) if page.details and page.rows else [],
        "may_preview": may_preview(user),
        "legend": LEGEND,
    }
    return render(request, "console/heartbeats.html", context)


@login_required
@never_cache
@require_POST
@asks_first("console:heartbeats")
def bulk(request: HttpRequest) -> HttpResponse:
    """Do one thing with the heartbeats that are ticked, or with none of them."""
    user, now = signed_in(request), clock.now()
    if not may_configure(user):
        raise PermissionDenied
    ids = [pk for pk in map(read_id, request.POST.getlist("ids")[: MAX_AT_ONCE + 1]) if pk is not None]
    rows = integrations_of(user).filter(type=InboundIntegration.Type.HEARTBEAT, pk__in=ids)
    integrations = list(rows[: MAX_AT_ONCE + 1])
    action, tags = request.POST.get("action", ""), request.POST.get("tags", "")[:3_000]
    if not integrations:
        messages.error(request, "Tick the heartbeats first.")
    elif len(integrations) > MAX_AT_ONCE:
        messages.error(request, f"Tick at most {MAX_AT_ONCE} heartbeats.")
    else:
        try:
            with ask_before(request, *integrations, user=user, now=now):
                done = act_on_all(integrations, action=action, tags=tags, actor=user, now=now)
        except DomainError as error:
            messages.error(request, f"Nothing was changed. {error}")
        else:
            messages.success(request, done)
    query = urlencode(read_choice(request.GET, user=user).query())
    return redirect(f"{reverse('console:heartbeats')}{'?' if query else ''}{query}")
