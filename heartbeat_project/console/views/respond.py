"""The page behind the link in a message: who was told sees the alert and responds, without signing in.

The token in the address is the whole authority: no session and no cookie is looked at, and looking changes nothing.
"""

import zoneinfo
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import Any, Final
from uuid import UUID

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from alerting.models import Alert
from alerting.services import REASON_LENGTH
from alerting.states import LIVE, Action
from escalation import holds, links, walk
from escalation.models import Notification, Response
from escalation.replies import NOTE_LENGTH
from escalation.selectors import TO_OWNER, expires_at, told_in
from escalation.services.bundles import LISTED, most_urgent_first
from escalation.services.offers import alert_of, asks_its_owner, caption, hindrance, person_of, refusal, standing
from escalation.services.offers import possible as possible_from
from escalation.services.responses import Answer, Outcome, on_it, respond, silent_after, take_all
from escalation.wording import what_next
from heartbeat_project.console.views.alerts import call_link
from heartbeat_project.kernel import clock

TAKE_ALL: Final = "take-all"
ON_IT: Final = "on-it"
# So many answers in so many seconds one link takes; a person needs a handful.
MOST_TRIES: Final = 20
TRIES_SECONDS: Final = 60
NEWS: Final = timedelta(minutes=1)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}


def _guarded(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer with headers that keep the address to its reader."""

    @wraps(view)
    def answer(request: HttpRequest, **where: Any) -> HttpResponse:
        response = view(request, **where)
        for name, value in _HEADERS.items():
            response[name] = value
        return response

    return answer


# Exempt: no browser adds the token by itself, as it adds a cookie; whoever can make a form that carries it has it.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@_guarded
def message(request: HttpRequest, token: str, alert_id: int | None = None) -> HttpResponse:
    """Show what one message told of, or one alert of many, and do what is asked for by POST."""
    now = clock.now()
    message_id = links.read_token(token)
    told = told_in(message_id) if message_id else Notification.objects.none()
    if alert_id is not None:
        told = told.filter(alert=alert_id)
    first = told.first()
    if message_id is None or first is None:
        return render(request, "respond/no_link.html", status=404)
    if expires_at(first) <= now:
        return render(request, "respond/expired.html", {"told": first}, status=410)
    alert_ids = set(told.values_list("alert_id", flat=True))
    show = partial(_show_list, alert_ids=alert_ids) if len(alert_ids) > 1 else _show_alert
    with timezone.override(zoneinfo.ZoneInfo(person_of(first).time_zone)):
        if request.method != "POST":
            return show(request, first, now=now)
        if _too_often(message_id):
            return _tried_too_often(request)
        wanted = request.POST.get("action", "")
        if len(alert_ids) > 1 and wanted == ON_IT:
            answer = on_it(first, alert_ids, via=Response.Via.PAGE, reference=str(message_id), now=now)
        elif len(alert_ids) > 1 and wanted == TAKE_ALL:
            answer = take_all(first, alert_ids, via=Response.Via.PAGE, reference=str(message_id), now=now)
        elif len(alert_ids) == 1 and wanted in set(Action):
            note = request.POST.get("note", "").replace("\x00", "")[:NOTE_LENGTH]
            answer = respond(
                first,
                Action(wanted),
                via=Response.Via.PAGE,
                reference=str(message_id),
                now=now,
                note=note,
                until=_held_until(request, now=now),
            )
        else:
            answer = Answer(Outcome.NOT_POSSIBLE, "That is nothing that can be done here. Nothing was changed.")
        if answer.outcome is Outcome.DONE:
            # A phone that loads the page again must not ask whether to send the form again.
            return HttpResponseRedirect(f"{request.path}?done", status=303)
        return show(request, first, now=now, answer=answer)


def _show_alert(
    request: HttpRequest, told: Notification, *, now: datetime, answer: Answer | None = None
) -> HttpResponse:
    alert = alert_of(told)
    refused = refusal(told)
    possible = [] if refused else possible_from(told)
    asked = request.GET.get("do", "")
    buttons = [action for action in possible if action not in {Action.HOLD, Action.CLOSE, Action.REPLY}]
    to_owner = asks_its_owner(told)
    # What was chosen in the message stands first.
    buttons.sort(key=lambda action: action != asked)
    run = told.run
    coming = walk.coming(walk.Plan.load(run.plan), walk.Position.load(run.position)) if run else None
    context = _common(request, told, alert_ids={alert.pk}, now=now, answer=answer) | {
        "alert": alert,
        "refused": refused,
        "standing": standing(told),
        "buttons": [(action, caption(action, to_owner=to_owner)) for action in buttons],
        "possible": set(possible),
        "asked": caption(Action(asked), to_owner=to_owner) if asked in possible else "",
        "to_owner": to_owner,
        "hold_choices": holds.choices(now=now, zone=timezone.get_current_timezone()),
        "zone_name": timezone.get_current_timezone_name(),
        "silent_after": silent_after(alert),
        "hindered": _hindered(told, asked) if possible and alert.status in LIVE else "",
        "next": what_next(coming, ends_when=alert.ends_when, at=now, zone=timezone.get_current_timezone())
        if alert.status == "open"
        else "",
        "call": call_link(alert.bridge) if alert.bridge else "",
        "note_length": NOTE_LENGTH,
        "reason_length": REASON_LENGTH,
    }
    return render(request, "respond/alert.html", context, status=_status(answer))


def _hindered(told: Notification, asked: str) -> str:
    """Say why the button that was chosen in the message is not there, or that another person has the alert."""
    if asked in set(Action):
        return hindrance(told, Action(asked))
    taken = alert_of(told).owner_id not in {None, told.user_id}
    return hindrance(told, Action.ASSIGN) if taken else ""


def _held_until(request: HttpRequest, *, now: datetime) -> datetime | None:
    """Return when a hold is to end; None where no time was chosen, or none that can be read."""
    zone = timezone.get_current_timezone()
    try:
        return holds.chosen(request.POST.get("until", ""), request.POST.get("time", ""), now=now, zone=zone)
    except ValueError:
        return None


def _show_list(
    request: HttpRequest, told: Notification, *, alert_ids: Collection[int], now: datetime, answer: Answer | None = None
) -> HttpResponse:
    alerts = Alert.objects.filter(pk__in=alert_ids).select_related("owner", "acknowledged_by")
    free = alerts.filter(status__in=["open", "on_hold"], owner=None)
    refused = refusal(told)
    context = _common(request, told, alert_ids=alert_ids, now=now, answer=answer) | {
        "alerts": most_urgent_first(alerts)[:LISTED],
        "count": len(alert_ids),
        "more": max(0, len(alert_ids) - LISTED),
        "refused": refused,
        "free": 0 if refused else free.count(),
        "take_all": TAKE_ALL,
        "on_it": "" if refused or told.kind not in TO_OWNER else ON_IT,
        "path": request.path,
    }
    return render(request, "respond/list.html", context, status=_status(answer))


def _common(
    request: HttpRequest, told: Notification, *, alert_ids: Collection[int], now: datetime, answer: Answer | None
) -> dict[str, Any]:
    done = None
    if "done" in request.GET:
        # For the page that follows the form; looked at later it would be no news.
        recent = Response.objects.filter(alert__in=alert_ids, user=told.user_id, at__gt=now - NEWS)
        done = recent.order_by("-at", "-id").first()
    return {
        "told": told,
        "now": now,
        "answer": answer or (Answer(Outcome.DONE, done.said) if done else None),
        "expires": expires_at(told),
    }


def _status(answer: Answer | None) -> int:
    return 409 if answer and answer.outcome is Outcome.NOT_POSSIBLE else 200


def _too_often(message_id: UUID) -> bool:
    """Count a try and answer whether there were too many of them; each web process counts for itself."""
    key = f"respond:{message_id}"
    cache.add(key, 0, timeout=TRIES_SECONDS)
    try:
        return cache.incr(key) > MOST_TRIES
    except ValueError:  # it ended between the two
        return False


def _tried_too_often(request: HttpRequest) -> HttpResponse:
    response = render(request, "respond/too_often.html", status=429)
    response["Retry-After"] = str(TRIES_SECONDS)
    return response
