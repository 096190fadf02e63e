"""How a person is told: their contact methods, each confirmed, tested, ordered, changed and removed by themselves."""

import json
from datetime import datetime
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import services, windows
from accounts.addresses import why_unavailable
from accounts.models import EMAIL_OFFICIAL, ContactMethod, User
from accounts.signing import signing_secret
from escalation.channels import push
from heartbeat_project.console.asking import asking, asks_first
from heartbeat_project.console.contact_actions import act_on, on_its_way
from heartbeat_project.console.forms import KINDS, CodeForm, ContactMethodForm, EditContactMethodForm, SlackForm
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError, FieldError

_Kind = ContactMethod.Kind
MAX_RENEWAL: Final = 16_384  # bytes of two subscriptions, which are short
BY_HAND: Final = (_Kind.EMAIL, _Kind.SMS, _Kind.VOICE, _Kind.CHAT, _Kind.WEBHOOK, _Kind.APPRISE)


def _page(request: HttpRequest, *, now: datetime, status: int = 200, **filled: Any) -> HttpResponse:
    """Render the list; `filled` are the forms that had errors."""
    user = signed_in(request)
    failed: ContactMethodForm | None = filled.pop("failed_form", None)
    adding = [
        {
            "kind": kind,
            "words": KINDS[kind],
            "unavailable": why_unavailable(kind),
            "form": failed if failed and failed.kind == kind else ContactMethodForm(kind=kind),
        }
        for kind in BY_HAND
    ]
    context = {
        "here": "profile",
        "now": now,
        "methods": user.contact_methods.all(),
        "official": EMAIL_OFFICIAL,
        "adding": adding,
        "push_key": push.public_key(),
        "push_error": failed if failed and failed.kind == _Kind.PUSH else None,
        "failed_code": {},
        "slack_form": SlackForm(initial={"slack_id": user.slack_id}) if settings.SLACK_SIGNING_SECRET else None,
    }
    return render(request, "console/contact_methods.html", context | filled, status=status)


def refused(form: forms.Form, error: DomainError) -> None:
    """Show what a service refused, at its field where the form has it."""
    field = getattr(error, "field", None)
    form.add_error(field if field in form.fields else None, str(error))


@login_required
@never_cache
@require_safe
def contact_methods(request: HttpRequest) -> HttpResponse:
    """Show the person's own contact methods, and how to add more."""
    return _page(request, now=clock.now())


@login_required
@never_cache
@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """Add a contact method; it is used once its code was entered."""
    user = signed_in(request)
    kind = request.POST.get("kind", _Kind.EMAIL)
    if kind not in KINDS:
        raise Http404
    form = ContactMethodForm(request.POST, kind=kind)
    if form.is_valid():
        try:
            method = services.create_contact_method(user, actor=user, kind=kind, **form.cleaned_data)
        except DomainError as error:
            refused(form, error)
        else:
            on_its_way(request, "A code", method, then=". Enter it below to use it.")
            return redirect("console:contact_methods")
    return _page(request, now=clock.now(), status=400, failed_form=form)


@login_required
@never_cache
@require_POST
def save_slack_id(request: HttpRequest) -> HttpResponse:
    """Save whose buttons in Slack act for the person."""
    form = SlackForm(request.POST)
    if form.is_valid():
        try:
            user = services.update_profile(signed_in(request), **form.cleaned_data)
        except DomainError as error:
            refused(form, error)
        else:
            said = "Saved: you can answer from Slack." if user.slack_id else "Saved: nobody answers from Slack as you."
            messages.success(request, said)
            return redirect("console:contact_methods")
    return _page(request, now=clock.now(), status=400, slack_form=form)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@asks_first(back="/profile/contact-methods/")
def edit(request: HttpRequest, method_id: int) -> HttpResponse:
    """Show one contact method in full, or save what was changed about it."""
    user = signed_in(request)
    method = get_object_or_404(user.contact_methods, pk=method_id)
    shown = {
        "label": method.label,
        "address": method.address,
        "delay_minutes": method.delay_minutes.normalize(),
        "repeat_count": method.repeat_count,
        "repeat_gap_minutes": method.repeat_gap_minutes.normalize(),
        "windows": windows.in_words(method.windows),
    }
    form = EditContactMethodForm(
        request.POST if request.method == "POST" else None,
        initial={name: f"{value:f}" if name.endswith("minutes") else value for name, value in shown.items()},
        kind=method.kind,
        is_official=method.label == EMAIL_OFFICIAL,
    )
    if form.is_valid():
        try:
            with asking(request, method, user=user, now=clock.now()):
                changed = services.update_contact_method(method, actor=user, **form.cleaned_data)
        except DomainError as error:
            refused(form, error)
        else:
            if method.verified_at and not changed.verified_at:
                on_its_way(request, "A code", changed, before="Saved. ", then=": enter it to go on.")
            else:
                messages.success(request, "Saved.")
            return redirect("console:contact_methods")
    verified_webhook = method.kind == _Kind.WEBHOOK and method.verified_at is not None
    context = {
        "here": "profile",
        "method": method,
        "form": form,
        "official": EMAIL_OFFICIAL,
        "secret": signing_secret(method.address) if verified_webhook else "",
    }
    return render(request, "console/contact_method.html", context, status=400 if form.is_bound else 200)


@login_required
@never_cache
@require_POST
@asks_first(back="/profile/contact-methods/")
def change(request: HttpRequest, method_id: int, action: str) -> HttpResponse:
    """Do one thing to one of the person's own contact methods."""
    now = clock.now()
    user = signed_in(request)
    method = get_object_or_404(user.contact_methods, pk=method_id)
    if action == "verify":
        return _verify(request, method, user=user, now=now)
    if action in {"up", "down"}:
        _move(method, user=user, by=-1 if action == "up" else 1)
    else:
        act_on(request, method, action, user=user, now=now)
    return redirect("console:contact_methods")


def _verify(request: HttpRequest, method: ContactMethod, *, user: User, now: datetime) -> HttpResponse:
    form = CodeForm(request.POST)
    if form.is_valid():
        try:
            services.verify_contact_method(method, code=form.cleaned_data["code"], actor=user, now=now)
        except DomainError as error:
            refused(form, error)
        else:
            messages.success(request, f"{method.label} is confirmed: it is used from now on.")
            return redirect("console:contact_methods")
    return _page(request, now=now, status=400, failed_code={method.pk: form})


def _move(method: ContactMethod, *, user: User, by: int) -> None:
    """Swap the method with its neighbour; positions become 0, 1, 2, …"""
    with transaction.atomic():
        order = list(user.contact_methods.select_for_update())
        place = order.index(method)
        other = min(max(place + by, 0), len(order) - 1)
        order[place], order[other] = order[other], order[place]
        for position, row in enumerate(order):
            if row.position != position:
                services.update_contact_method(row, actor=user, position=position)


@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """Return the program that shows push messages; it stands at the top because it may act only below its address."""
    context = {"push_key": push.public_key()}
    response = render(request, "console/service-worker.js", context, content_type="text/javascript")
    response["Cache-Control"] = "no-cache"
    return response


@csrf_exempt  # no cookie is asked for: the old subscription, which only that browser knows, says who it is
@require_POST
def renew_push(request: HttpRequest) -> HttpResponse:
    """Take the subscription that replaces a browser's old one: JSON with `old` and `new`, as browsers write them."""
    try:
        given = json.loads(request.body) if len(request.body) <= MAX_RENEWAL else {}
        old, new = (json.dumps(given[name]) for name in ("old", "new"))
        found = services.renew_push_subscription(old=old, new=new)
    except (ValueError, TypeError, KeyError, RecursionError, FieldError):
        return HttpResponse(status=400)
    return HttpResponse(status=204 if found else 404)
