"""The page behind the link in a message: its reader sees the alert and responds without signing in.

The token in the address is the whole authority, as long as the addressee (the person to whom the link was sent) may
see the alert. Opening the page changes nothing. The session is read for one purpose only: if somebody else is signed
in, the page first asks whether they act as themselves, in the console, or as the addressee.
"""

import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts.models.users import User
from accounts.services.try_limits import check_tries
from alerting.models.alerts import Alert
from alerting.selectors import respondable_alerts, visible_alerts
from alerting.services.alerts import REASON_LENGTH
from alerting.states import LIVE, Action, Status
from escalation.engine import plan, walk
from escalation.engine.next_step_text import what_next
from escalation.models.notifications import TO_OWNER, Notification
from escalation.models.responses import Response
from escalation.responses import holds, tokens
from escalation.responses.allowed_actions import (
    ACTION_ORDER,
    alert_of,
    asks_its_owner,
    available_actions,
    caption,
    person_of,
    status_text,
    why_cannot_respond,
    why_cannot_respond_to_any,
    why_closed,
    why_not_allowed,
)
from escalation.responses.open_alerts import open_to_reader
from escalation.responses.replies.parse_reply import NOTE_LENGTH
from escalation.responses.respond import ResponseOutcome, ResponseResult, on_it, respond, silent_after, take_all
from escalation.responses.selectors import LISTED, expires_at, most_urgent_first, notifications_in
from heartbeat_project.console.asking import sent_fields
from heartbeat_project.console.taking import page_seen_at, taking_context
from heartbeat_project.console.views.alerts import call_link
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import TooManyTries

TAKE_ALL: Final = "take-all"
ON_IT: Final = "on-it"
# Rate limit per link: 20 POSTs in 60 s. A person needs a handful.
MAX_TRIES: Final = 20
TRIES_SECONDS: Final = 60
RESULT_SHOWN_FOR: Final = timedelta(minutes=1)
# Query parameter with the id of the user who was signed in and chose to act as the addressee. It counts only while
# that user is signed in: if the address is passed on, or somebody else signs in, the page asks again.
CHOSEN_BY: Final = "chosen_by"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class _Visit:
    """The alerts of the page and its visitor; `signed_in` is set only if somebody other than the addressee is."""

    request: HttpRequest
    message_id: UUID
    notification: Notification
    alert_ids: QuerySet[Notification, int]
    count: int
    now: datetime
    signed_in: User | None = None

    @property
    def query(self) -> str:
        """The query string that keeps the choice of identity in links of this page."""
        return f"?{CHOSEN_BY}={self.signed_in.pk}" if self.signed_in else ""

    @property
    def has_chosen(self) -> bool:
        """Whether the visitor has chosen an identity, or need not choose."""
        return self.signed_in is None or self.request.GET.get(CHOSEN_BY) == str(self.signed_in.pk)


def _guarded(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate a view with headers that keep the address from leaking: no referrer, no store, no index, no frame."""

    @wraps(view)
    def answer(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        response = view(request, **kwargs)
        for name, value in _HEADERS.items():
            response[name] = value
        return response

    return answer


# Exempt from CSRF: the authority is the token in the address, which no browser adds by itself as it adds a cookie.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@_guarded
def message(request: HttpRequest, token: str, alert_id: int | None = None) -> HttpResponse:
    """Show the alerts of one message, or one alert of many; a POST responds to them."""
    now = clock.now()
    message_id = tokens.read_token(token)
    rows = notifications_in(message_id) if message_id else Notification.objects.none()
    if alert_id is not None:
        rows = rows.filter(alert=alert_id)
    first = rows.first()
    if message_id is None or first is None:
        return render(request, "respond/no_link.html", status=404)
    if closed_page := _closed_page(request, first, rows, now=now):
        return closed_page
    rows = rows.filter(alert__in=visible_alerts(person_of(first)))
    first = rows.first() or first
    # A query, used as a subquery of others: a message may be about thousands of alerts.
    alert_ids = rows.order_by().values_list("alert_id", flat=True)
    count = alert_ids.distinct().count()
    user = request.user if isinstance(request.user, User) and request.user.pk != first.user_id else None
    visit = _Visit(request, message_id, first, alert_ids, count, now, user)
    show = _show_list if count > 1 else _show_alert
    with timezone.override(zoneinfo.ZoneInfo(person_of(first).time_zone)):
        if request.method == "POST" and _is_over_limit(message_id, now=now):
            return _too_often_page(request)
        if not visit.has_chosen:
            return _ask_who(visit)
        answer = _answer(visit) if request.method == "POST" else None
        if answer and answer.outcome is ResponseOutcome.DONE:
            # Redirect, so that reloading the page does not ask whether to send the form again.
            query = f"{visit.query}&done" if visit.query else "?done"
            return HttpResponseRedirect(f"{request.path}{query}", status=303)
        return show(visit, answer=answer)


def _closed_page(
    request: HttpRequest, first: Notification, rows: QuerySet[Notification], *, now: datetime
) -> HttpResponse | None:
    """Return the page of a link that has expired or whose addressee may not see the alerts; None if it is valid."""
    if expires_at(first) <= now:
        return render(request, "respond/expired.html", {"notification": first}, status=410)
    if reason := why_closed(first, rows.order_by().values("alert_id")):
        return render(request, "respond/closed.html", {"reason": reason}, status=410)
    return None


def _answer(visit: _Visit) -> ResponseResult:
    """Respond as the form asks, in the name of the addressee."""
    data, now = visit.request.POST, visit.now
    action_name, is_single = data.get("action", ""), visit.count == 1
    via, reference = Response.Via.PAGE, str(visit.message_id)
    origin: dict[str, Any] = {"via": via, "reference": reference, "now": now, "signed_in": visit.signed_in}
    if action_name == ON_IT and not is_single:
        return on_it(visit.notification, visit.alert_ids, **origin)
    if action_name == TAKE_ALL:
        return take_all(visit.notification, visit.alert_ids, before=page_seen_at(visit.request), **origin)
    if action_name in set(Action) and is_single:
        note = data.get("note", "").replace("\x00", "")[:NOTE_LENGTH]
        until = _held_until(visit.request, now=now)
        return respond(visit.notification, Action(action_name), note=note, until=until, **origin)
    return ResponseResult(ResponseOutcome.NOT_POSSIBLE, "This cannot be done here. Nothing was changed.")


def _ask_who(visit: _Visit) -> HttpResponse:
    """Ask whether to act as the signed-in user or as the addressee; keep a form that was sent until then."""
    request, notification, user = visit.request, visit.notification, visit.signed_in
    assert user is not None  # noqa: S101 - only narrows the type: the question is put only to a signed-in user
    alert, count = alert_of(notification), visit.count
    console_url = (
        reverse("console:alert", args=[alert.pk])
        if count == 1
        else reverse("console:bundle", args=[notification.message_id])
    )
    requested = request.GET.get("do", "")
    query: dict[str, Any] = {CHOSEN_BY: user.pk}
    if requested in set(Action):
        query["do"] = requested
    sent_action, to_owner = request.POST.get("action", ""), asks_its_owner(notification)
    captions: dict[str, str] = {action: caption(action, to_owner=to_owner) for action in (*ACTION_ORDER, Action.HOLD)}
    captions |= {TAKE_ALL: "Assign all to me", ON_IT: "I am on it"}
    context = {
        "notification": notification,
        "alert": alert,
        "count": count,
        "signed_in": user,
        "console_url": console_url if visible_alerts(user).filter(pk__in=visit.alert_ids).exists() else "",
        "may_act": respondable_alerts(user).filter(pk__in=visit.alert_ids).exists(),
        "addressee_url": f"{request.path}?{urlencode(query)}",
        "sent_fields": sent_fields(request),
        "action_name": captions.get(sent_action, ""),
        "expires": expires_at(notification),
    }
    return render(request, "respond/whose.html", context, status=409 if request.method == "POST" else 200)


def _show_alert(visit: _Visit, *, answer: ResponseResult | None = None) -> HttpResponse:
    request, notification, now = visit.request, visit.notification, visit.now
    alert = alert_of(notification)
    why_refused = why_cannot_respond(notification)
    available = [] if why_refused else available_actions(notification)
    requested = request.GET.get("do", "")
    buttons = [action for action in available if action not in {Action.HOLD, Action.CLOSE, Action.REPLY}]
    to_owner = asks_its_owner(notification)
    # The action that was chosen in the message comes first.
    buttons.sort(key=lambda action: action != requested)
    # Whoever has the alert wants to end it; the other buttons did their work when they took it.
    is_theirs = alert.status == Status.ASSIGNED and alert.owner_id == notification.user_id and not to_owner
    closes_first = Action.CLOSE in available and (requested == Action.CLOSE or (is_theirs and requested not in buttons))
    zone, next_text = timezone.get_current_timezone(), ""
    if alert.status == Status.OPEN:
        run = notification.run
        coming = None
        if run:
            coming = walk.coming_or_repeat(plan.Plan.load(run.plan), walk.Position.load(run.position))
        next_text = what_next(coming, ends_when=alert.ends_when, at=now, zone=zone)
    context = _common(visit, answer=answer, why_refused=why_refused) | {
        "alert": alert,
        "why_refused": why_refused,
        "status_text": status_text(notification),
        "buttons": [(action, caption(action, to_owner=to_owner)) for action in buttons],
        "available_actions": set(available),
        "requested_caption": caption(Action(requested), to_owner=to_owner) if requested in available else "",
        "to_owner": to_owner,
        "closes_first": closes_first,
        "hold_choices": holds.choices(now=now, zone=zone),
        "zone_name": timezone.get_current_timezone_name(),
        "silent_after": silent_after(alert),
        "why_not_allowed": _why_not_allowed(notification, requested) if available and alert.status in LIVE else "",
        "next_text": next_text,
        "bridge": alert.bridge_or_copy,
        "call": call_link(alert.bridge_or_copy) if alert.bridge_or_copy else "",
        "note_length": NOTE_LENGTH,
        "reason_length": REASON_LENGTH,
    }
    return render(request, "respond/alert.html", context, status=_status(answer))


def _why_not_allowed(notification: Notification, requested: str) -> str:
    """Return why the action chosen in the message is not possible, or that another person has the alert."""
    if requested in set(Action):
        return why_not_allowed(notification, Action(requested))
    has_other_owner = alert_of(notification).owner_id not in {None, notification.user_id}
    return why_not_allowed(notification, Action.ASSIGN) if has_other_owner else ""


def _held_until(request: HttpRequest, *, now: datetime) -> datetime | None:
    """Return when a hold is to end; None if no time was chosen, or one that cannot be read."""
    zone = timezone.get_current_timezone()
    try:
        return holds.chosen(request.POST.get("until", ""), request.POST.get("time", ""), now=now, zone=zone)
    except ValueError:
        return None


def _show_list(visit: _Visit, *, answer: ResponseResult | None = None) -> HttpResponse:
    request, notification, count = visit.request, visit.notification, visit.count
    alerts = Alert.objects.filter(pk__in=visit.alert_ids).select_related("owner", "acknowledged_by")
    why_refused = why_cannot_respond_to_any(notification, visit.alert_ids)
    context = _common(visit, answer=answer, why_refused=why_refused) | {
        "alerts": most_urgent_first(alerts)[:LISTED],
        "count": count,
        "more": max(0, count - LISTED),
        "why_refused": why_refused,
        "on_it": "" if why_refused or notification.kind not in TO_OWNER else ON_IT,
        "path": request.path,
    }
    return render(request, "respond/list.html", context, status=_status(answer))


def _common(visit: _Visit, *, answer: ResponseResult | None, why_refused: str) -> dict[str, Any]:
    notification = visit.notification
    if answer is None and "done" in visit.request.GET:
        # The redirect after the form: show what was done. An old address with `done` shows nothing.
        responses = Response.objects.filter(user=notification.user_id, reference__startswith=str(visit.message_id))
        recent = responses.filter(at__gt=visit.now - RESULT_SHOWN_FOR)
        if response := recent.order_by("-at", "-id").first():
            answer = ResponseResult(ResponseOutcome.DONE, response.answer_text)
    return {
        "notification": notification,
        "now": visit.now,
        "answer": answer,
        "expires": expires_at(notification),
        "signed_in": visit.signed_in,
        "query": visit.query,
    } | _take_all_context(visit, why_refused=why_refused)


def _take_all_context(visit: _Visit, *, why_refused: str) -> dict[str, Any]:
    """Return what can be taken together; nothing for a message that asks a person about their own alerts."""
    notification = visit.notification
    if notification.kind in TO_OWNER or why_refused:
        return {"take_all": "", "free": 0, "others": 0}
    open_to = open_to_reader(person_of(notification), visit.alert_ids, over=notification.channel)
    return {"take_all": TAKE_ALL, **taking_context(open_to, alone=visit.count == 1, now=visit.now)}


def _status(answer: ResponseResult | None) -> int:
    return 409 if answer and answer.outcome is ResponseOutcome.NOT_POSSIBLE else 200


def _is_over_limit(message_id: UUID, *, now: datetime) -> bool:
    """Count a try against the limit of the link; return whether it is exceeded."""
    try:
        check_tries(f"respond|{message_id}", limit=MAX_TRIES, within=timedelta(seconds=TRIES_SECONDS), now=now)
    except TooManyTries:
        return True
    return False


def _too_often_page(request: HttpRequest) -> HttpResponse:
    response = render(request, "respond/too_often.html", status=429)
    response["Retry-After"] = str(TRIES_SECONDS)
    return response
