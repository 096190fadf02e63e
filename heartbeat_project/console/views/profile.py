"""What people say about themselves: name, time zone, keys, password."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts import services
from heartbeat_project.console.forms import ApiKeyForm, PasswordForm, ProfileForm
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.console.views.contact_methods import refused
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError
from integrations.selectors import opted_out_by

KEY_FORM_ID = "id_key_%s"  # ProfileForm on the same page has a name, too


def _page(request: HttpRequest, *, now: datetime, status: int = 200, **filled: Any) -> HttpResponse:
    """Render the profile; `filled` are the forms that had errors, and what is to be shown once."""
    user = signed_in(request)
    context = {
        "here": "profile",
        "now": now,
        "profile_form": ProfileForm(initial={"name": user.name, "time_zone": user.time_zone}),
        "methods": user.contact_methods.all(),
        "silenced": opted_out_by(user),
        "keys": user.api_keys.filter(revoked_at=None),
        "key_form": ApiKeyForm(auto_id=KEY_FORM_ID),
    }
    return render(request, "console/profile.html", context | filled, status=status)


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
            refused(form, error)
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
            refused(form, error)
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
def add_api_key(request: HttpRequest) -> HttpResponse:
    """Make a key and show it, this once: only its hash is kept."""
    now = clock.now()
    form = ApiKeyForm(request.POST, auto_id=KEY_FORM_ID)
    if form.is_valid():
        try:
            key, secret = services.create_api_key(signed_in(request), now=now, **form.cleaned_data)
        except FieldError as error:
            refused(form, error)
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
