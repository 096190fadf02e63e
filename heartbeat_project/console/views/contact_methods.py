"""The page "My contact methods": add, confirm, test, order, change and remove one's own contact methods."""

import json
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import windows
from accounts.addresses import why_unavailable
from accounts.contact_kinds import CONTACT_KINDS
from accounts.models.contact_methods import EMAIL_OFFICIAL, ContactMethod
from accounts.models.users import User
from accounts.services.chat_members import find_code, link_member, unlink_member
from accounts.services.contact_methods import (
    create_contact_method,
    renew_push_subscription,
    update_contact_method,
    verify_contact_method,
)
from accounts.signing import signing_secret
from escalation.channels import push
from heartbeat_project.console.asking import ask_before, asks_first
from heartbeat_project.console.contact_actions import act_on, report_sending
from heartbeat_project.console.forms.contact_methods import (
    ChatCodeForm,
    CodeForm,
    ContactMethodForm,
    EditContactMethodForm,
)
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError, FieldError
from heartbeat_project.kernel.forms import takes_no_form
from integrations.models.chat import ChatSettings

_Kind = ContactMethod.Kind
MAX_RENEWAL: Final = 16_384  # bytes of JSON with two subscriptions of some hundred bytes each


def _page(request: HttpRequest, *, now: datetime, status: int = 200, **overrides: Any) -> HttpResponse:
    """Render the list; `overrides` are forms with errors, which replace empty ones in the context."""
    user = signed_in(request)
    failed: ContactMethodForm | None = overrides.pop("failed_form", None)
    adding = [
        {
            "kind": kind.code,
            "texts": kind.form,
            "unavailable": why_unavailable(kind.code),
            "form": failed if failed and failed.kind == kind.code else ContactMethodForm(kind=kind.code),
        }
        for kind in CONTACT_KINDS.values()
        if kind.by_hand
    ]
    context = {
        "nav_item": "profile",
        "now": now,
        "methods": user.contact_methods.all(),
        "official": EMAIL_OFFICIAL,
        "adding": adding,
        "push_key": push.public_key(),
        "push_error": failed if failed and failed.kind == _Kind.PUSH else None,
        "failed_code": {},
        "chat_members": user.chat_members.all(),
        "chat_form": ChatCodeForm(auto_id="id_chat_%s") if _has_chat(user) else None,
    }
    return render(request, "console/contact_methods.html", context | overrides, status=status)


def add_service_error(form: forms.Form, error: DomainError) -> None:
    """Add a service's error to the form, at its field if the form has that field."""
    field = getattr(error, "field", None)
    form.add_error(field if field in form.fields else None, str(error))


@login_required
@never_cache
@require_safe
def contact_methods(request: HttpRequest) -> HttpResponse:
    """Show the user's own contact methods, and forms to add more."""
    return _page(request, now=clock.now())


@login_required
@never_cache
@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """Add a contact method and send its code; it is used once the code was entered."""
    user = signed_in(request)
    kind = request.POST.get("kind", _Kind.EMAIL)
    if kind not in CONTACT_KINDS:
        raise Http404
    form = ContactMethodForm(request.POST, kind=kind)
    if form.is_valid():
        try:
            method = create_contact_method(user, actor=user, kind=kind, **form.cleaned_data)
        except DomainError as error:
            add_service_error(form, error)
        else:
            report_sending(request, "A code", method, then=". Enter it below to use it.")
            return redirect("console:contact_methods")
    return _page(request, now=clock.now(), status=400, failed_form=form)


def _has_chat(user: User) -> bool:
    """Return whether the user's organization has a chat that could give a code."""
    return ChatSettings.objects.filter(integration__organization_id=user.organization_id).exists()


@login_required
@never_cache
@require_POST
def link_chat(request: HttpRequest) -> HttpResponse:
    """Show whom a code stands for, and link the chat account once the user has confirmed that it is theirs.

    Somebody who sends their own code to others would otherwise get their rights.
    """
    now, user = clock.now(), signed_in(request)
    form = ChatCodeForm(request.POST, auto_id="id_chat_%s")
    if form.is_valid():
        code = form.cleaned_data["code"]
        try:
            if "confirmed" not in request.POST:
                context = {"nav_item": "profile", "code": code, "found": find_code(user, code, now=now)}
                return render(request, "console/link_chat.html", context)
            member = link_member(user, code, now=now)
        except DomainError as error:
            add_service_error(form, error)
        else:
            messages.success(request, f"{member} is linked: its commands and buttons act for you.")
            return redirect("console:contact_methods")
    return _page(request, now=now, status=400, chat_form=form)


@login_required
@never_cache
@require_POST
def unlink_chat(request: HttpRequest, member_id: int) -> HttpResponse:
    """Remove one of the user's chat accounts."""
    try:
        if not unlink_member(signed_in(request), member_id):
            raise Http404
    except DomainError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "Removed: this chat account no longer acts for you.")
    return redirect("console:contact_methods")


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@asks_first(back="console:contact_methods")
def edit(request: HttpRequest, method_id: int) -> HttpResponse:
    """Show one contact method in full, or save changes to it."""
    user = signed_in(request)
    method = get_object_or_404(user.contact_methods, pk=method_id)
    initial = {
        "label": method.label,
        "address": method.address,
        "delay_minutes": method.delay_minutes.normalize(),
        "repeat_count": method.repeat_count,
        "repeat_gap_minutes": method.repeat_gap_minutes.normalize(),
        "windows": windows.in_words(method.windows),
        "critical_outside_windows": method.critical_outside_windows,
        "from_priority": method.from_priority,
    }
    form = EditContactMethodForm(
        request.POST if request.method == "POST" else None,
        initial={name: f"{value:f}" if name.endswith("minutes") else value for name, value in initial.items()},
        kind=method.kind,
        is_official=method.label == EMAIL_OFFICIAL,
    )
    if form.is_valid():
        try:
            with ask_before(request, method, user=user, now=clock.now()):
                changed = update_contact_method(method, actor=user, **form.cleaned_data)
        except DomainError as error:
            add_service_error(form, error)
        else:
            if method.verified_at and not changed.verified_at:
                report_sending(request, "A code", changed, before="Saved. ", then=": enter it to go on.")
            else:
                messages.success(request, "Saved.")
            return redirect("console:contact_methods")
    verified_webhook = method.kind == _Kind.WEBHOOK and method.verified_at is not None
    context = {
        "nav_item": "profile",
        "method": method,
        "form": form,
        "official": EMAIL_OFFICIAL,
        "secret": signing_secret(method.address) if verified_webhook else "",
    }
    return render(request, "console/contact_method.html", context, status=400 if form.is_bound else 200)


@login_required
@never_cache
@require_POST
@asks_first(back="console:contact_methods")
def change(request: HttpRequest, method_id: int, action: str) -> HttpResponse:
    """Do what a button of one of the user's own contact methods asks for."""
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
            verify_contact_method(method, code=form.cleaned_data["code"], actor=user, now=now)
        except DomainError as error:
            add_service_error(form, error)
        else:
            messages.success(request, f"{method.label} is confirmed: it is used from now on.")
            return redirect("console:contact_methods")
    return _page(request, now=now, status=400, failed_code={method.pk: form})


def _move(method: ContactMethod, *, user: User, by: int) -> None:
    """Swap the method with its neighbour, and number the positions 0, 1, 2, …"""
    with transaction.atomic():
        order = list(user.contact_methods.select_for_update())
        index = order.index(method)
        neighbour = min(max(index + by, 0), len(order) - 1)
        order[index], order[neighbour] = order[neighbour], order[index]
        for position, row in enumerate(order):
            if row.position != position:
                update_contact_method(row, actor=user, position=position)


@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """Return the service worker that shows push messages; its address is at the top level, which sets its scope."""
    context = {"push_key": push.public_key()}
    response = render(request, "console/service-worker.js", context, content_type="text/javascript")
    response["Cache-Control"] = "no-cache"
    return response


@csrf_exempt  # no session is used: the old subscription, which only that browser knows, is the proof
@require_POST
@takes_no_form
def renew_push(request: HttpRequest) -> HttpResponse:
    """Replace a browser's push subscription; the body is JSON with `old` and `new`, in the form of the Push API."""
    try:
        body = json.loads(request.body) if len(request.body) <= MAX_RENEWAL else {}
        old, new = (json.dumps(body[name]) for name in ("old", "new"))
        renewed = renew_push_subscription(old=old, new=new)
    except (ValueError, TypeError, KeyError, RecursionError, FieldError):
        return HttpResponse(status=400)
    return HttpResponse(status=204 if renewed else 404)
