"""What people say about themselves: name, time zone, contact methods, keys, password."""

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import services
from accounts.models import EMAIL_OFFICIAL, ContactMethod, User
from heartbeat_project.console.forms import ApiKeyForm, CodeForm, ContactMethodForm, PasswordForm, ProfileForm
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import DomainError, FieldError

KEY_FORM_ID = "id_key_%s"  # ProfileForm on the same page has a name, too


def _page(request: HttpRequest, *, now: datetime, status: int = 200, **filled: Any) -> HttpResponse:
    """Render the profile; `filled` are the forms that had errors, and what is to be shown once."""
    user = signed_in(request)
    context = {
        "here": "profile",
        "now": now,
        "profile_form": ProfileForm(initial={"name": user.name, "time_zone": user.time_zone}),
        "methods": user.contact_methods.all(),
        "official": EMAIL_OFFICIAL,
        "method_form": ContactMethodForm(),
        "failed_code": {},
        "keys": user.api_keys.filter(revoked_at=None),
        "key_form": ApiKeyForm(auto_id=KEY_FORM_ID),
    }
    return render(request, "console/profile.html", context | filled, status=status)


def _refused(form: forms.Form, error: DomainError) -> None:
    field = getattr(error, "field", None)
    form.add_error(field if field in form.fields else None, str(error))


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show the profile, or save name and time zone."""
    now = clock.now()
    if request.method != "POST":
        return _page(request, now=now)
    form = ProfileForm(request.POST)
    if form.is_valid():
        try:
            services.update_profile(signed_in(request), **form.cleaned_data)
        except FieldError as error:
            _refused(form, error)
        else:
            messages.success(request, "Saved.")
            return redirect("console:profile")
    return _page(request, now=now, status=400, profile_form=form)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Ask for a new password, or save it and stay signed in."""
    form = PasswordForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        user = signed_in(request)
        try:
            user = services.update_profile(
                user,
                current_password=form.cleaned_data["current_password"],
                password=form.cleaned_data["password"],
            )
        except FieldError as error:
            _refused(form, error)
        else:
            update_session_auth_hash(request, user)
            messages.success(request, "Your password is changed. Other browsers have to sign in again.")
            return redirect("console:profile")
    return render(
        request,
        "console/password.html",
        {"here": "profile", "form": form},
        status=400 if form.is_bound else 200,
    )


@login_required
@never_cache
@require_POST
def add_contact_method(request: HttpRequest) -> HttpResponse:
    """Add an address; it is used once its code was entered."""
    user = signed_in(request)
    form = ContactMethodForm(request.POST)
    if form.is_valid():
        try:
            method = services.create_contact_method(user, actor=user, **form.cleaned_data)
        except FieldError as error:
            _refused(form, error)
        else:
            messages.success(request, f"A code is on its way to {method.address}. Enter it below to use the address.")
            return redirect("console:profile")
    return _page(request, now=clock.now(), status=400, method_form=form)


@login_required
@never_cache
@require_POST
def change_contact_method(request: HttpRequest, method_id: int, action: str) -> HttpResponse:
    """Do one thing to one of the person's own contact methods."""
    now = clock.now()
    user = signed_in(request)
    method = get_object_or_404(user.contact_methods, pk=method_id)
    if action == "verify":
        return _verify(request, method, user=user, now=now)
    try:
        if action == "code":
            services.request_code(method, actor=user)
            messages.success(request, f"A new code is on its way to {method.address}: one a minute at most.")
        elif action in {"up", "down"}:
            _move(method, user=user, by=-1 if action == "up" else 1)
        elif action in {"enable", "disable"}:
            services.update_contact_method(method, actor=user, enabled=action == "enable")
        elif action == "delete":
            services.delete_contact_method(method, actor=user)
            messages.success(request, f"{method.label} is removed.")
        else:
            raise Http404
    except DomainError as error:
        messages.error(request, str(error))
    return redirect("console:profile")


def _verify(request: HttpRequest, method: ContactMethod, *, user: User, now: datetime) -> HttpResponse:
    form = CodeForm(request.POST)
    if form.is_valid():
        try:
            services.verify_contact_method(method, code=form.cleaned_data["code"], actor=user, now=now)
        except DomainError as error:
            _refused(form, error)
        else:
            messages.success(request, f"{method.address} is confirmed: it is used from now on.")
            return redirect("console:profile")
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


@login_required
@never_cache
@require_POST
def add_api_key(request: HttpRequest) -> HttpResponse:
    """Make a key and show it, this once: only its hash is kept."""
    now = clock.now()
    form = ApiKeyForm(request.POST, auto_id=KEY_FORM_ID)
    if form.is_valid():
        try:
            key, secret = services.create_api_key(signed_in(request), now=now, **form.cleaned_data)
        except FieldError as error:
            _refused(form, error)
        else:
            return _page(request, now=now, new_key=key, secret=secret)
    return _page(request, now=now, status=400, key_form=form)


@login_required
@never_cache
@require_POST
def revoke_api_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Make one of the person's own keys useless."""
    user = signed_in(request)
    key = get_object_or_404(user.api_keys, pk=key_id)
    services.revoke_api_key(key, actor=user, now=clock.now())
    messages.success(request, f"The key “{key.name}” is revoked: it is refused from now on.")
    return redirect("console:profile")
