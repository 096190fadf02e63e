"""The profile: name, time zone, password and API keys."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from accounts.services import api_keys, users
from heartbeat_project.console.forms.profile import ApiKeyForm, PasswordForm, ProfileForm
from heartbeat_project.console.views.alerts import signed_in
from heartbeat_project.console.views.contact_methods import add_service_error
from heartbeat_project.kernel import clock
from heartbeat_project.kernel.errors import FieldError, NotNow
from integrations.heartbeats.selectors import opted_out_by

KEY_FORM_ID = "id_key_%s"  # ProfileForm on the same page has a field `name`, too


def _page(request: HttpRequest, *, now: datetime, status: int = 200, **overrides: Any) -> HttpResponse:
    """Render the profile; `overrides` are forms with errors, or a new key, which is shown only once."""
    user = signed_in(request)
    context = {
        "nav_item": "profile",
        "now": now,
        "profile_form": ProfileForm(
            initial={"name": user.name, "time_zone": user.time_zone, "recovery_notices": user.recovery_notices}
        ),
        "methods": user.contact_methods.all(),
        "silenced": opted_out_by(user),
        "keys": user.api_keys.filter(revoked_at=None),
        "key_form": ApiKeyForm(auto_id=KEY_FORM_ID),
    }
    return render(request, "console/profile.html", context | overrides, status=status)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show the profile, or save name, time zone and the choice about recovery notices."""
    now = clock.now()
    if request.method != "POST":
        return _page(request, now=now)
    form = ProfileForm(request.POST)
    if form.is_valid():
        try:
            users.update_profile(signed_in(request), now=now, **form.cleaned_data)
        except FieldError as error:
            add_service_error(form, error)
        else:
            messages.success(request, "Saved.")
            return redirect("console:profile")
    return _page(request, now=now, status=400, profile_form=form)


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Show the password form, or save a new password and keep this session signed in."""
    form = PasswordForm(request.POST if request.method == "POST" else None)
    status, headers = 400 if form.is_bound else 200, {}
    if form.is_valid():
        user = signed_in(request)
        try:
            user = users.update_profile(
                user,
                current_password=form.cleaned_data["current_password"],
                password=form.cleaned_data["password"],
                keep_api_keys=form.cleaned_data["keep_api_keys"],
                now=clock.now(),
            )
        except FieldError as error:
            add_service_error(form, error)
        except NotNow as error:
            form.add_error(None, str(error))
            status, headers = error.status, {"Retry-After": str(error.retry_after)}
        else:
            update_session_auth_hash(request, user)
            messages.success(request, "Your password is changed. Other browsers have to sign in again.")
            return redirect("console:profile")
    response = render(request, "console/password.html", {"nav_item": "profile", "form": form}, status=status)
    for name, value in headers.items():
        response[name] = value
    return response


@login_required
@never_cache
@require_POST
def add_api_key(request: HttpRequest) -> HttpResponse:
    """Create an API key and show it once; only its hash is stored."""
    now = clock.now()
    form = ApiKeyForm(request.POST, auto_id=KEY_FORM_ID)
    if form.is_valid():
        try:
            key, secret = api_keys.create_api_key(signed_in(request), now=now, **form.cleaned_data)
        except FieldError as error:
            add_service_error(form, error)
        else:
            return _page(request, now=now, new_key=key, secret=secret)
    return _page(request, now=now, status=400, key_form=form)


@login_required
@never_cache
@require_POST
def revoke_api_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """Revoke one of the user's own API keys."""
    user = signed_in(request)
    key = get_object_or_404(user.api_keys, pk=key_id)
    api_keys.revoke_api_key(key, actor=user, now=clock.now())
    messages.success(request, f"The key “{key.name}” is revoked. It does not work any more.")
    return redirect("console:profile")
